"""Attributes arrive whole, whichever way an object goes: compared field by field, by boto3."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any, cast

import pytest

from tests.contract import KEY, MIB, SEED, Make, Pair, Place, adopt, md5, needs, new_place
from tests.servers import Can, Server
from worker.aws.transfer import WireTransferrer
from worker.core.model import ObjectRef, Transfer
from worker.core.options import Options, Strategy
from worker.flow.in_parts import InParts

WAYS: dict[str, Strategy] = {
    "one PUT": "stream",
    "parts": "stream",
    "one copy": "server-side",
    "copied parts": "server-side",
}
# A place of its own and a life of its own are what makes a copy another object.
OWN = {"ResponseMetadata", "LastModified", "VersionId"}

ATTRIBUTES: dict[str, dict[str, object]] = {
    "type": {"ContentType": "text/csv; charset=iso-8859-1"},
    "cache": {"CacheControl": "max-age=3600, immutable"},
    "disposition": {"ContentDisposition": "attachment; filename=\"a 'b' %E2%82%AC;.csv\""},
    "encoding": {"ContentEncoding": "gzip"},
    "language": {"ContentLanguage": "de-CH, fr"},
    "redirect": {"WebsiteRedirectLocation": "/other?a=b#c"},
    "metadata": {"Metadata": {"one": "1", "with-dash.and-dot": "a, b;c=d", "spaces": "a  b", "empty": ""}},
    "tags": {"Tagging": "a%20b%2B=c%3D%2Bd&e.f_g-h=%2F%3A%40&empty="},
    "class": {"StorageClass": "STANDARD_IA"},
    "none": {},
}
DELICATE: dict[str, dict[str, object]] = {
    "expires": {"Expires": datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)},
    # As S3 shows what is no ASCII.
    "unicode": {"Metadata": {"name": "=?UTF-8?B?w6kg8J+Ygg==?=", "other": "=?UTF-8?Q?=E2=82=AC?="}},
}
LOCKS: dict[str, dict[str, object]] = {
    "retention": {
        "ObjectLockMode": "GOVERNANCE",
        "ObjectLockRetainUntilDate": datetime(2099, 2, 3, 4, 5, 6, tzinfo=UTC),
    },
    "hold": {"ObjectLockLegalHoldStatus": "ON"},
}


def pair_for(server: Server, make: Make, way: str, *, lock: bool = False, **options: Any) -> Pair:  # noqa: ANN401
    """A website and a bucket, both with Object Lock or without, and a transferrer that goes this way."""

    def in_parts(transfer: Transfer, server: Server) -> InParts:
        whole = cast("WireTransferrer", make(transfer, server))
        return InParts(whole, whole.multipart, Random(SEED))

    pair = Pair(new_place(server, lock=lock), new_place(server, lock=lock), in_parts)
    pair.options = Options(strategy=WAYS[way], **options)
    website = {"IndexDocument": {"Suffix": "index.html"}}
    pair.source.s3.put_bucket_website(Bucket=pair.source.bucket, WebsiteConfiguration=website)
    return pair


def can_lock(server: Server, way: str) -> bool:
    """Whether locked objects can go this way: parts want a digest, which over plain HTTP cannot follow."""
    return way != "parts" or server.certificate is not None


def put(pair: Pair, way: str, **attributes: Any) -> ObjectRef:  # noqa: ANN401
    """Put a source object so that it goes this way."""
    if "part" not in way:
        # A locked object's bytes want a digest.
        return pair.put(b"some bytes", ContentMD5=md5(b"some bytes"), **attributes)
    return pair.two_parts(Random(SEED).randbytes(5 * MIB), b"second", **attributes)


def shown(place: Place, key: str) -> dict[str, Any]:
    """All that S3 shows of an object, tags included."""
    head = place.s3.head_object(Bucket=place.bucket, Key=key, ChecksumMode="ENABLED")
    tags = place.s3.get_object_tagging(Bucket=place.bucket, Key=key)["TagSet"]
    return {name: value for name, value in head.items() if name not in OWN} | {
        "tags": sorted((tag["Key"], tag["Value"]) for tag in tags)
    }


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a user of the server."""
    adopt(monkeypatch, server.environment())


@pytest.fixture(scope="session")
def pairs(server: Server, make: Make) -> dict[str, Pair]:
    """Two buckets for each way."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        adopt(monkeypatch, server.environment())
        found = {way: pair_for(server, make, way) for way in WAYS}
        for pair in found.values():
            pair.transferrer.look(ObjectRef("in/none", 0, "", 0))
    return found


@pytest.fixture
def pair(pairs: dict[str, Pair], way: str) -> Iterator[Pair]:
    """Two empty buckets for this way."""
    yield pairs[way]
    pairs[way].source.empty()
    pairs[way].destination.empty()


def assert_arrives(pair: Pair, way: str, attributes: dict[str, object]) -> None:
    pair.copy(put(pair, way, **attributes))
    source, copied = shown(pair.source, KEY), shown(pair.destination, "out/a key")
    kept = {name: value for name, value in attributes.items() if name != "Tagging"}
    assert {name: source[name] for name in kept} == kept
    assert bool(source["tags"]) == ("Tagging" in attributes)
    assert copied == source


@needs(Can.SERVER_SIDE)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_an_attribute_arrives(pair: Pair, way: str, attributes: dict[str, object]) -> None:
    assert_arrives(pair, way, attributes)


@needs(Can.SERVER_SIDE, Can.WHOLE)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attributes", DELICATE.values(), ids=DELICATE)
def test_a_delicate_attribute_arrives(pair: Pair, way: str, attributes: dict[str, object]) -> None:
    assert_arrives(pair, way, attributes)


@needs(Can.SERVER_SIDE, Can.LOCK)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("lock", LOCKS.values(), ids=LOCKS)
def test_a_lock_arrives(server: Server, make: Make, way: str, lock: dict[str, object]) -> None:
    if can_lock(server, way):
        assert_arrives(pair_for(server, make, way, lock=True), way, lock)


@needs(Can.SERVER_SIDE, Can.WHOLE)
@pytest.mark.parametrize("way", WAYS)
def test_all_of_them_arrive_together(server: Server, make: Make, way: str) -> None:
    lock = can_lock(server, way)
    pair = pair_for(server, make, way, lock=lock)
    groups = (ATTRIBUTES, DELICATE, LOCKS if lock else {})
    together = dict(item for group in groups for some in group.values() for item in some.items())
    pair.copy(put(pair, way, **together))
    source, copied = shown(pair.source, KEY), shown(pair.destination, "out/a key")
    assert together.keys() - {"Tagging"} <= source.keys()
    assert copied == source


@needs(Can.SERVER_SIDE, Can.WHOLE)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({"tags": "ignore"}, {"tags": [], "TagCount": None}),
        ({"storage_class": "ONEZONE_IA"}, {"StorageClass": "ONEZONE_IA"}),
        ({"storage_class": "STANDARD"}, {"StorageClass": None}),
        ({"sse": "aws:kms"}, {"ServerSideEncryption": "aws:kms"}),
        (
            {"sse": "aws:kms:dsse", "sse_kms_key_id": "arn:aws:kms:us-east-1:123456789012:key/0a1b"},
            {
                "ServerSideEncryption": "aws:kms:dsse",
                "SSEKMSKeyId": "arn:aws:kms:us-east-1:123456789012:key/0a1b",
            },
        ),
        (
            {"object_lock": "ignore"},
            {"ObjectLockMode": None, "ObjectLockRetainUntilDate": None, "ObjectLockLegalHoldStatus": None},
        ),
    ],
    ids=lambda value: "-".join(map(str, value)),
)
def test_an_option_changes_what_it_names_alone(
    server: Server, make: Make, way: str, options: dict[str, Any], changed: dict[str, Any]
) -> None:
    lock = can_lock(server, way)
    pair = pair_for(server, make, way, lock=lock, **options)
    given = {"Tagging": "a=b", "StorageClass": "STANDARD_IA", "CacheControl": "no-store"}
    pair.copy(put(pair, way, **given, **(LOCKS["hold"] if lock else {})))
    source, copied = shown(pair.source, KEY), shown(pair.destination, "out/a key")
    if "sse" in options:
        # The ETag is no digest then, and the key may be the account's own.
        changed = changed | {name: copied.get(name) for name in ("ETag", "SSEKMSKeyId")} | changed
    expected = {name: value for name, value in (source | changed).items() if value is not None}
    assert copied == expected


@needs(Can.SERVER_SIDE, Can.ACL)
@pytest.mark.parametrize("way", WAYS)
def test_a_canned_acl_is_given(server: Server, make: Make, way: str) -> None:
    pair = pair_for(server, make, way, acl="public-read")
    pair.destination.s3.put_bucket_ownership_controls(
        Bucket=pair.destination.bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    pair.copy(put(pair, way))
    grants = pair.destination.s3.get_object_acl(Bucket=pair.destination.bucket, Key="out/a key")["Grants"]
    assert "READ" in {grant["Permission"] for grant in grants if grant["Grantee"]["Type"] == "Group"}
