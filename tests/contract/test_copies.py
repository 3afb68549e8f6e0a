"""What AWS documents of CopyObject and UploadPartCopy; the client is boto3."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.cloud import checksums
from tests.contract import Place, needs, new_place
from tests.contract.test_multipart import BODIES, CRC, PART, WHOLE, Upload, etag_of, refusal
from tests.servers import Can, Server

KEPT = {"ContentType": "text/x", "CacheControl": "no-cache", "Metadata": {"a": "1"}}
OTHER = '"' + "0" * 32 + '"'


@pytest.fixture
def place(server: Server) -> Place:
    """A new bucket with an object, `a +b`, that has attributes."""
    place = new_place(server)
    put = {"Bucket": place.bucket, "Key": "a +b", "Body": b"abc", "Tagging": "t=1"}
    place.s3.put_object(**put, **KEPT, StorageClass="STANDARD_IA", WebsiteRedirectLocation="/x")
    return place


def copy_of(place: Place, key: str = "a +b") -> dict[str, Any]:
    """The arguments of a copy to `copy`."""
    return {"Bucket": place.bucket, "Key": "copy", "CopySource": {"Bucket": place.bucket, "Key": key}}


@needs(Can.CHECKSUMS)
def test_a_copy_has_the_metadata_and_tags_of_its_source_and_no_more(place: Place) -> None:
    done = place.s3.copy_object(**copy_of(place))
    head = place.s3.head_object(Bucket=place.bucket, Key="copy")
    assert {name: head[name] for name in KEPT} == KEPT
    assert head["ETag"] == done["CopyObjectResult"]["ETag"]
    assert not {"StorageClass", "WebsiteRedirectLocation"} & set(head)
    tags = place.s3.get_object_tagging(Bucket=place.bucket, Key="copy")["TagSet"]
    assert tags == [{"Key": "t", "Value": "1"}]


@needs(Can.CHECKSUMS)
def test_a_copy_may_have_others(place: Place) -> None:
    said = {"ContentType": "text/y", "Metadata": {"b": "2"}, "StorageClass": "GLACIER"}
    directives = {"MetadataDirective": "REPLACE", "TaggingDirective": "REPLACE", "Tagging": "u=2"}
    place.s3.copy_object(**copy_of(place), **said, **directives, WebsiteRedirectLocation="/y")
    head = place.s3.head_object(Bucket=place.bucket, Key="copy")
    assert {name: head[name] for name in said} == said
    assert head["WebsiteRedirectLocation"] == "/y"
    assert "CacheControl" not in head
    tags = place.s3.get_object_tagging(Bucket=place.bucket, Key="copy")["TagSet"]
    assert tags == [{"Key": "u", "Value": "2"}]


@needs(Can.CHECKSUMS, Can.REPLACE)
def test_a_copy_has_conditions_on_both_sides(place: Place) -> None:
    etag = place.s3.head_object(Bucket=place.bucket, Key="a +b")["ETag"]
    copy = copy_of(place)
    assert refusal(place.s3.copy_object, **copy, CopySourceIfMatch=OTHER) == (412, "PreconditionFailed")
    assert refusal(place.s3.copy_object, **copy, IfMatch=etag) == (404, "NoSuchKey")
    place.s3.copy_object(**copy, CopySourceIfMatch=etag, IfNoneMatch="*")
    assert refusal(place.s3.copy_object, **copy, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refusal(place.s3.copy_object, **copy, IfMatch=OTHER) == (412, "PreconditionFailed")
    place.s3.copy_object(**copy, IfMatch=etag)


@needs(Can.CHECKSUMS)
def test_a_refused_condition_is_named(place: Place) -> None:
    conditions = [
        ("CopySourceIfMatch", OTHER, "x-amz-copy-source-If-Match"),
        ("IfNoneMatch", "*", "If-None-Match"),
    ]
    place.s3.put_object(Bucket=place.bucket, Key="copy", Body=b"")
    for argument, value, name in conditions:
        with pytest.raises(place.s3.exceptions.ClientError) as raised:
            place.s3.copy_object(**copy_of(place), **{argument: value})
        assert raised.value.response["Error"]["Condition"] == name


@needs(Can.CHECKSUMS)
def test_the_copy_of_a_multipart_object_is_one_whole(place: Place) -> None:
    upload = Upload(place, **CRC)
    upload.put_all()
    upload.complete()
    place.s3.copy_object(**copy_of(place, "a key"))
    head = place.s3.head_object(Bucket=place.bucket, Key="copy", ChecksumMode="ENABLED")
    assert head["ETag"] == f'"{hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()}"'
    assert head["ChecksumCRC64NVME"] == checksums.encoded("CRC64NVME", WHOLE)
    assert place.s3.get_object(Bucket=place.bucket, Key="copy")["Body"].read() == WHOLE


@needs(Can.CHECKSUMS)
def test_no_copy_of_what_is_not_there(place: Place) -> None:
    assert refusal(place.s3.copy_object, **copy_of(place, "none")) == (404, "NoSuchKey")
    elsewhere = {**copy_of(place), "CopySource": {"Bucket": "no-such-bucket-at-all", "Key": "a +b"}}
    assert refusal(place.s3.copy_object, **elsewhere) == (404, "NoSuchBucket")
    itself = {**copy_of(place), "Key": "a +b"}
    assert refusal(place.s3.copy_object, **itself) == (400, "InvalidRequest")


@needs(Can.CHECKSUMS, Can.ARCHIVE)
def test_no_copy_of_what_is_archived(place: Place) -> None:
    place.s3.put_object(Bucket=place.bucket, Key="cold", Body=b"x", StorageClass="DEEP_ARCHIVE")
    assert refusal(place.s3.copy_object, **copy_of(place, "cold")) == (403, "InvalidObjectState")


@needs(Can.CHECKSUMS)
def test_a_version_is_copied_by_its_id(place: Place) -> None:
    enabled = {"Status": "Enabled"}
    place.s3.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration=enabled)
    first = place.s3.put_object(Bucket=place.bucket, Key="v", Body=b"first")["VersionId"]
    place.s3.put_object(Bucket=place.bucket, Key="v", Body=b"second")
    copy = copy_of(place, "v")
    copy["CopySource"]["VersionId"] = first
    assert place.s3.copy_object(**copy)["CopySourceVersionId"] == first
    assert place.s3.get_object(Bucket=place.bucket, Key="copy")["Body"].read() == b"first"


def part_copy(place: Place, upload: Upload, number: int, **more: object) -> dict[str, Any]:
    """Arguments of an UploadPartCopy from `a key` to `upload`."""
    source = {"Bucket": place.bucket, "Key": "a key"}
    return {**upload.here, **upload.id, "PartNumber": number, "CopySource": source, **more}


@needs(Can.CHECKSUMS)
def test_parts_are_copied_in_ranges(place: Place) -> None:
    source = Upload(place)
    source.put_all()
    etag = source.complete()["ETag"]
    upload = Upload(place, "copy", **CRC)
    first = 0
    for number, body in enumerate(BODIES, 1):
        said = {"CopySourceRange": f"bytes={first}-{first + len(body) - 1}", "CopySourceIfMatch": etag}
        result = place.s3.upload_part_copy(**part_copy(place, upload, number, **said))["CopyPartResult"]
        assert result["ChecksumCRC64NVME"] == checksums.encoded("CRC64NVME", body)
        upload.parts.append({"PartNumber": number, "ETag": result["ETag"]} | upload.checksum(body))
        first += len(body)
    assert upload.complete()["ETag"] == etag == etag_of(BODIES)
    assert place.s3.get_object(Bucket=place.bucket, Key="copy")["Body"].read() == WHOLE


@needs(Can.CHECKSUMS)
def test_a_part_of_something_else_is_not_copied(place: Place) -> None:
    source = Upload(place)
    source.put_all()
    source.complete()
    upload = Upload(place)
    call = place.s3.upload_part_copy
    fenced = part_copy(place, upload, 1, CopySourceIfMatch=OTHER)
    assert refusal(call, **fenced) == (412, "PreconditionFailed")
    beyond = part_copy(place, upload, 1, CopySourceRange=f"bytes=0-{len(WHOLE)}")
    assert refusal(call, **beyond) == (400, "InvalidArgument")
    after = part_copy(place, upload, 1, CopySourceRange=f"bytes={len(WHOLE)}-{len(WHOLE)}")
    assert refusal(call, **after) == (400, "InvalidRequest")
    open_ended = part_copy(place, upload, 1, CopySourceRange=f"bytes={PART}-")
    assert refusal(call, **open_ended) == (400, "InvalidArgument")
    unknown = part_copy(place, upload, 1, UploadId="none")
    assert refusal(call, **unknown) == (404, "NoSuchUpload")
    assert upload.listed() == []
