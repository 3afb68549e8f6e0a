"""The nouns: locations parsed, ids that name what is copied where, and literal prefixes."""

from __future__ import annotations

import msgspec
import pytest

from tests.core import ONE_MD5, ref, transfer
from worker.core.errors import UsageError
from worker.core.model import Endpoint, Transfer, is_md5, parse_uri
from worker.core.options import Options


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/a", "bucket", "a"),
        ("s3://bucket/a/", "bucket", "a/"),
        ("s3://bucket//a", "bucket", "/a"),
        ("s3://bucket/a//b/../c", "bucket", "a//b/../c"),
        ("s3://bucket/a%2Fb+c d?e#f", "bucket", "a%2Fb+c d?e#f"),
        ("s3://bucket/s3://other/x", "bucket", "s3://other/x"),
        ("s3://bucket/\u00e9\n", "bucket", "\u00e9\n"),
        ("s3://my.dotted-bucket.9/x", "my.dotted-bucket.9", "x"),
        ("s3://Old_Bucket_OF_2009/x", "Old_Bucket_OF_2009", "x"),
        ("s3://abc", "abc", ""),
    ],
)
def test_a_location_is_bucket_and_literal_prefix(uri: str, bucket: str, prefix: str) -> None:
    assert parse_uri(uri) == (bucket, prefix)
    assert parse_uri(Endpoint(bucket=bucket, prefix=prefix).uri) == (bucket, prefix)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "bucket",
        "bucket/prefix",
        "/tmp/folder",  # noqa: S108 - no file is made
        "s3:/bucket",
        "s3:bucket",
        "s3://",
        "s3:///prefix",
        "s3://ab",
        "s3://.bucket",
        "s3://bucket-",
        "s3://buc ket",
        "s3://bucket\n/x",
        "s3://b\u00fccket",
        "s3://user@bucket/x",
        "s3://bucket:443/x",
        "S3://bucket/x",
        "gs://bucket/x",
        "https://bucket.s3.amazonaws.com/x",
        " s3://bucket",
    ],
)
def test_what_is_no_location_is_a_usage_error_that_shows_it(uri: str) -> None:
    with pytest.raises(UsageError, match="write s3://bucket or s3://bucket/prefix") as caught:
        parse_uri(uri)
    assert repr(uri) in str(caught.value)


def test_a_transfers_id_never_changes_between_releases() -> None:
    assert transfer("1991/", "archive/").id == "5232d2a4a0f8763d"


@pytest.mark.parametrize(
    "reach",
    [
        {"region": "cn-north-1"},
        {"credentials": "profile:other"},
        {"endpoint_url": "http://127.0.0.1:5000"},
    ],
)
def test_how_a_bucket_is_reached_is_not_part_of_the_id(reach: dict[str, str]) -> None:
    plain = transfer("a/", "b/")
    reached = Transfer(
        msgspec.structs.replace(plain.source, **reach), msgspec.structs.replace(plain.destination, **reach)
    )
    assert reached != plain
    assert reached.id == plain.id


def test_how_objects_are_copied_is_not_part_of_the_id() -> None:
    plain = transfer("a/", "b/")
    assert msgspec.structs.replace(plain, options=Options(strategy="stream", tags="ignore")).id == plain.id


def test_different_buckets_or_prefixes_make_different_ids() -> None:
    names = ["one", "two"]
    prefixes = ["", "a", "a/", "/a"]
    ends = [Endpoint(bucket=name, prefix=prefix) for name in names for prefix in prefixes]
    ids = [Transfer(source, destination).id for source in ends for destination in ends]
    assert len(set(ids)) == len(ids) == 64
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)


@pytest.mark.parametrize(
    ("source", "destination", "key", "expected"),
    [
        ("", "", "a/b", "a/b"),
        ("a/", "", "a/b", "b"),
        ("a", "", "a/b", "/b"),
        ("", "x", "a/b", "xa/b"),
        ("", "x/", "a/b", "x/a/b"),
        ("a/", "x", "a/b", "xb"),
        ("a/b", "x/", "a/bc", "x/c"),
        ("a/", "x/", "a/", "x/"),
        ("a/", "x/", "a//./../b", "x//./../b"),
        ("a/", "x/", "a/a/b", "x/a/b"),
        ("\U0001f600", "\u00e9", "\U0001f600b", "\u00e9b"),
        ("a/b", "", "a/b", ""),
    ],
)
def test_prefixes_are_literal(source: str, destination: str, key: str, expected: str) -> None:
    assert transfer(source, destination).destination_key(key) == expected


@pytest.mark.parametrize(
    ("etag", "shape"),
    [
        (ONE_MD5, True),
        (f"{ONE_MD5}-2", False),
        (ONE_MD5.upper(), False),
        (f'"{ONE_MD5}"', False),
        (f"{ONE_MD5}\n", False),
        (ONE_MD5[:-1], False),
        ("", False),
        ("g" * 32, False),
    ],
)
def test_an_etag_of_md5_shape_is_told_from_others(etag: str, *, shape: bool) -> None:
    assert is_md5(etag) is shape


def test_values_are_frozen() -> None:
    with pytest.raises(AttributeError):
        ref("a").size = 2  # type: ignore[misc]
