"""What AWS documents of multipart uploads, on the servers that compare checksums; the client is boto3."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloud import checksums
from tests.contract import MIB, SEED, Place, needs, new_place
from tests.servers import Can, Server

PART = 5 * MIB
BODIES = [Random(SEED + at).randbytes(size) for at, size in enumerate((PART, PART, 1000))]
WHOLE = b"".join(BODIES)
KEY = "a key"
CRC = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}


def refusal(call: Callable[..., object], **arguments: object) -> tuple[int, str]:
    """Status and code of a refused call."""
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


class Upload:
    """A multipart upload to a key of a bucket."""

    def __init__(self, place: Place, key: str = KEY, **create: object) -> None:
        self.s3, self.place = place.s3, place
        self.algorithm = str(create.get("ChecksumAlgorithm", ""))
        self.here: dict[str, Any] = {"Bucket": place.bucket, "Key": key}
        self.created = self.s3.create_multipart_upload(**self.here, **create)
        self.id = {"UploadId": self.created["UploadId"]}
        self.parts: list[dict[str, Any]] = []

    def checksum(self, body: bytes) -> dict[str, str]:
        """A part's checksum as boto3 takes it."""
        return (
            {f"Checksum{self.algorithm}": checksums.encoded(self.algorithm, body)} if self.algorithm else {}
        )

    def put(self, number: int, body: bytes, **more: object) -> dict[str, Any]:
        """Upload a part; the answer."""
        said = self.checksum(body)
        answer: dict[str, Any] = self.s3.upload_part(
            **self.here, **self.id, PartNumber=number, Body=body, **said, **more
        )
        self.parts.append({"PartNumber": number, "ETag": answer["ETag"], **said})
        return answer

    def put_all(self) -> None:
        """Upload all parts."""
        for number, body in enumerate(BODIES, 1):
            self.put(number, body)

    def complete(self, parts: object = None, **more: object) -> dict[str, Any]:
        """Complete it, of all its parts or of those given."""
        answer: dict[str, Any] = self.s3.complete_multipart_upload(
            **self.here, **self.id, MultipartUpload={"Parts": self.parts if parts is None else parts}, **more
        )
        return answer

    def listed(self, **more: object) -> list[int]:
        """Numbers of the parts that a page of ListParts has."""
        answer = self.s3.list_parts(**self.here, **self.id, **more)
        return [part["PartNumber"] for part in answer.get("Parts", [])]


def etag_of(bodies: list[bytes]) -> str:
    """The ETag of a multipart object."""
    digests = b"".join(hashlib.md5(body, usedforsecurity=False).digest() for body in bodies)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(bodies)}"'


@pytest.fixture
def place(server: Server) -> Place:
    """A new bucket."""
    return new_place(server)


@needs(Can.CHECKSUMS)
def test_parts_become_one_object(place: Place) -> None:
    upload = Upload(place)
    upload.put_all()
    assert place.keys() == []
    assert upload.complete()["ETag"] == etag_of(BODIES)
    answer = place.s3.get_object(**upload.here)
    assert (answer["Body"].read(), answer["ETag"]) == (WHOLE, etag_of(BODIES))
    assert refusal(place.s3.list_parts, **upload.here, **upload.id) == (404, "NoSuchUpload")
    assert place.s3.list_multipart_uploads(Bucket=place.bucket).get("Uploads", []) == []


@needs(Can.CHECKSUMS)
def test_parts_are_listed_in_pages(place: Place) -> None:
    upload = Upload(place, **CRC)
    for number in (7, 2, 30):
        upload.put(number, b"x" * number)
    page = place.s3.list_parts(**upload.here, **upload.id, MaxParts=2)
    rows = [(part["PartNumber"], part["Size"], part["ChecksumCRC64NVME"]) for part in page["Parts"]]
    assert rows == [(at, at, checksums.encoded("CRC64NVME", b"x" * at)) for at in (2, 7)]
    assert page["Parts"][0]["ETag"] == f'"{hashlib.md5(b"xx", usedforsecurity=False).hexdigest()}"'
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 7)
    assert (page["ChecksumAlgorithm"], page["ChecksumType"]) == ("CRC64NVME", "FULL_OBJECT")
    assert upload.listed(PartNumberMarker=7) == [30]
    assert upload.listed(PartNumberMarker=30) == []
    upload.put(7, b"again")
    assert upload.listed() == [2, 7, 30]


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_the_checksum_of_the_whole_is_that_of_its_bytes(place: Place, algorithm: str) -> None:
    upload = Upload(place, ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
    upload.put_all()
    name, right = f"Checksum{algorithm}", checksums.encoded(algorithm, WHOLE)
    wrong = {name: checksums.encoded(algorithm, b"other"), "ChecksumType": "FULL_OBJECT"}
    assert refusal(upload.complete, **wrong) == (400, "BadDigest")
    assert place.keys() == []
    done = upload.complete(**{name: right}, ChecksumType="FULL_OBJECT", MpuObjectSize=len(WHOLE))
    assert (done[name], done["ChecksumType"]) == (right, "FULL_OBJECT")
    head = place.s3.head_object(**upload.here, ChecksumMode="ENABLED")
    assert (head[name], head["ChecksumType"]) == (right, "FULL_OBJECT")


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_a_composite_checksum_is_of_the_parts_checksums(place: Place, algorithm: str) -> None:
    upload = Upload(place, ChecksumAlgorithm=algorithm)
    assert upload.created["ChecksumType"] == "COMPOSITE"
    upload.put_all()
    bare = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in upload.parts]
    assert refusal(upload.complete, parts=bare) == (400, "InvalidRequest")
    upload.complete()
    digests = b"".join(checksums.digest(algorithm, body) for body in BODIES)
    head = place.s3.head_object(**upload.here, ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == f"{checksums.encoded(algorithm, digests)}-3"
    assert head["ChecksumType"] == "COMPOSITE"
    second = place.s3.head_object(**upload.here, ChecksumMode="ENABLED", PartNumber=2)
    assert second[f"Checksum{algorithm}"] == checksums.encoded(algorithm, BODIES[1])


@needs(Can.CHECKSUMS)
def test_a_wrong_digest_of_a_part_is_refused(place: Place) -> None:
    upload = Upload(place, **CRC)
    arguments = {**upload.here, **upload.id, "PartNumber": 1, "Body": b"x"}
    md5 = base64.b64encode(hashlib.md5(b"y", usedforsecurity=False).digest()).decode()
    right, wrong = upload.checksum(b"x"), upload.checksum(b"y")
    assert refusal(place.s3.upload_part, **arguments, **wrong) == (400, "BadDigest")
    assert refusal(place.s3.upload_part, **arguments, **right, ContentMD5=md5) == (400, "BadDigest")
    assert refusal(place.s3.upload_part, **arguments) == (400, "InvalidRequest")
    assert upload.listed() == []


@needs(Can.CHECKSUMS)
def test_a_completion_names_its_parts_rightly(place: Place) -> None:
    upload = Upload(place, **CRC)
    upload.put_all()
    first, second, third = upload.parts
    other = {**second, "ETag": first["ETag"]}
    stranger = {**second, "ChecksumCRC64NVME": first["ChecksumCRC64NVME"]}
    assert refusal(upload.complete, parts=[first, other, third]) == (400, "InvalidPart")
    assert refusal(upload.complete, parts=[first, stranger, third]) == (400, "InvalidPart")
    assert refusal(upload.complete, parts=[first, {**third, "PartNumber": 9}]) == (400, "InvalidPart")
    assert refusal(upload.complete, parts=[second, first]) == (400, "InvalidPartOrder")
    assert refusal(upload.complete, MpuObjectSize=5) == (400, "InvalidRequest")
    assert refusal(upload.complete, ChecksumType="COMPOSITE") == (400, "InvalidRequest")
    assert place.keys() == []
    upload.complete(parts=[first, third])
    assert place.s3.head_object(**upload.here)["ContentLength"] == PART + 1000


@needs(Can.CHECKSUMS)
def test_only_the_last_part_may_be_small(place: Place) -> None:
    upload = Upload(place)
    upload.put(1, b"x" * (PART - 1))
    upload.put(2, b"x")
    assert refusal(upload.complete) == (400, "EntityTooSmall")
    upload.parts.clear()
    upload.put(1, b"x" * PART)
    upload.put(2, b"x")
    upload.complete()


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize(
    "asked",
    [
        {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"},
        {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"},
        {"ChecksumType": "FULL_OBJECT"},
        {"ChecksumAlgorithm": "MD4"},
    ],
)
def test_what_no_upload_can_be(place: Place, asked: dict[str, str]) -> None:
    assert refusal(place.s3.create_multipart_upload, Bucket=place.bucket, Key=KEY, **asked) == (
        400,
        "InvalidRequest",
    )


@needs(Can.CHECKSUMS, Can.REPLACE)
def test_a_completion_has_its_condition(place: Place) -> None:
    absent = Upload(place)
    absent.put(1, b"first")
    assert refusal(absent.complete, IfMatch='"x"') == (404, "NoSuchKey")
    etag = absent.complete(IfNoneMatch="*")["ETag"]
    later = Upload(place)
    later.put(1, b"second")
    assert refusal(later.complete, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refusal(later.complete, IfMatch='"x"') == (412, "PreconditionFailed")
    later.complete(IfMatch=etag)
    assert place.s3.get_object(**later.here)["Body"].read() == b"second"


@needs(Can.CHECKSUMS)
def test_an_aborted_upload_is_gone(place: Place) -> None:
    upload = Upload(place)
    upload.put(1, b"x")
    here = {**upload.here, **upload.id}
    other = {**here, "Key": "another"}
    assert refusal(place.s3.abort_multipart_upload, **other) == (404, "NoSuchUpload")
    assert place.s3.abort_multipart_upload(**here)["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call in (place.s3.list_parts, place.s3.abort_multipart_upload):
        assert refusal(call, **here) == (404, "NoSuchUpload")
    assert refusal(place.s3.upload_part, **here, PartNumber=1, Body=b"x") == (404, "NoSuchUpload")
    assert refusal(upload.complete) == (404, "NoSuchUpload")


@needs(Can.CHECKSUMS)
def test_uploads_are_listed_in_pages(place: Place) -> None:
    made = [
        (key, place.s3.create_multipart_upload(Bucket=place.bucket, Key=key, **CRC)["UploadId"])
        for key in ("a/b", "a", "a", "a b", "b")
    ]
    order = [made[1], made[2], made[3], made[0], made[4]]
    pages = place.s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=place.bucket, PaginationConfig={"PageSize": 2}
    )
    rows = [row for page in pages for row in page.get("Uploads", [])]
    assert [(row["Key"], row["UploadId"]) for row in rows] == order
    assert {(row["ChecksumAlgorithm"], row["ChecksumType"]) for row in rows} == {("CRC64NVME", "FULL_OBJECT")}
    assert all(row["Initiated"].year > 2020 for row in rows)
    longer = place.s3.list_multipart_uploads(Bucket=place.bucket, Prefix="a")["Uploads"]
    assert [row["Key"] for row in longer] == ["a", "a", "a b", "a/b"]
    after = place.s3.list_multipart_uploads(Bucket=place.bucket, KeyMarker="a")["Uploads"]
    assert [row["Key"] for row in after] == ["a b", "a/b", "b"]
    grouped = place.s3.list_multipart_uploads(Bucket=place.bucket, Delimiter="/")
    assert [row["Prefix"] for row in grouped["CommonPrefixes"]] == ["a/"]


@needs(Can.CHECKSUMS)
def test_parts_are_read_by_their_numbers(place: Place) -> None:
    upload = Upload(place)
    upload.put_all()
    etag = upload.complete()["ETag"]
    first = place.s3.head_object(**upload.here, PartNumber=1)
    assert (first["ContentLength"], first["PartsCount"], first["ETag"]) == (PART, 3, etag)
    last = place.s3.get_object(**upload.here, PartNumber=3)
    assert (last["Body"].read(), last["PartsCount"]) == (BODIES[2], 3)
    assert last["ContentRange"] == f"bytes {2 * PART}-{2 * PART + 999}/{len(WHOLE)}"
    assert last["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert refusal(place.s3.get_object, **upload.here, PartNumber=4) == (416, "InvalidPartNumber")
    place.s3.put_object(Bucket=place.bucket, Key=KEY, Body=b"abc")
    single = place.s3.get_object(**upload.here, PartNumber=1)
    assert (single["Body"].read(), single["ContentRange"]) == (b"abc", "bytes 0-2/3")
    assert "PartsCount" not in single
    assert refusal(place.s3.get_object, **upload.here, PartNumber=2) == (416, "InvalidPartNumber")


@needs(Can.CHECKSUMS)
def test_a_range_may_meet_several_parts(place: Place) -> None:
    upload = Upload(place)
    upload.put_all()
    upload.complete()
    for first, last in ((0, 0), (PART - 1, PART), (10, 2 * PART + 10), (2 * PART, len(WHOLE) - 1)):
        answer = place.s3.get_object(**upload.here, Range=f"bytes={first}-{last}")
        assert answer["Body"].read() == WHOLE[first : last + 1]
