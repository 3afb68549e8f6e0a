"""The embedded AWS on large objects, copies and attributes: what only it is asked, and its faults.

What AWS documents and LocalStack does too is in `tests.contract.test_multipart` and `test_copies`.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.cloud import EVERYTHING, Cloud, Keys, checksums
from tests.contract.test_multipart import refusal
from tests.servers import embedded

MIB = 1024**2
KEY = "k"


@pytest.fixture
def unhurt(cloud: Cloud) -> Iterator[Cloud]:
    """The embedded AWS, left without faults and with its own settings."""
    yield cloud
    cloud.clear_faults()
    cloud.min_part_bytes(5 * MIB)
    cloud.default_checksums(on=False)


def begun(s3: Any, bucket: str, key: str = KEY, **create: object) -> dict[str, Any]:  # noqa: ANN401 - boto3's
    """Begin an upload; the arguments that name it."""
    here = {"Bucket": bucket, "Key": key}
    return here | {"UploadId": s3.create_multipart_upload(**here, **create)["UploadId"]}


def put(s3: Any, upload: dict[str, Any], number: int, body: bytes, **more: object) -> dict[str, Any]:  # noqa: ANN401
    """Upload a part; what a completion says of it."""
    answer = s3.upload_part(**upload, PartNumber=number, Body=body, **more)
    return {"PartNumber": number, "ETag": answer["ETag"]}


def finish(s3: Any, upload: dict[str, Any], *parts: dict[str, Any], **more: object) -> dict[str, Any]:  # noqa: ANN401
    """Complete an upload."""
    answer: dict[str, Any] = s3.complete_multipart_upload(
        **upload, MultipartUpload={"Parts": list(parts)}, **more
    )
    return answer


# --- multipart


def test_small_parts_where_a_test_says_so(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    upload = begun(s3, bucket)
    parts = [put(s3, upload, number, b"x" * number) for number in (1, 2, 3)]
    assert refusal(finish, s3=s3, upload=upload) == (400, "MalformedXML")
    with pytest.raises(ClientError, match="EntityTooSmall"):
        finish(s3, upload, *parts)
    unhurt.min_part_bytes(1)
    finish(s3, upload, *parts)
    assert s3.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"x" * 6


def test_a_repeated_completion_has_the_same_answer_while_its_object_is_there(
    unhurt: Cloud, bucket: str
) -> None:
    s3 = unhurt.client("s3")
    upload = begun(s3, bucket)
    part = put(s3, upload, 1, b"x")
    unhurt.fault("s3:CompleteMultipartUpload", "lose")
    with pytest.raises(BotoCoreError):
        finish(s3, upload, part, IfNoneMatch="*")
    assert finish(s3, upload, part, IfNoneMatch="*")["ETag"] == s3.head_object(Bucket=bucket, Key=KEY)["ETag"]
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"newer")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        finish(s3, upload, part)


def test_a_write_between_beginning_and_completion_is_a_conflict(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    upload = begun(s3, bucket)
    part = put(s3, upload, 1, b"x")
    etag = s3.put_object(Bucket=bucket, Key=KEY, Body=b"meanwhile")["ETag"]
    with pytest.raises(ClientError, match="ConditionalRequestConflict"):
        finish(s3, upload, part, IfMatch=etag)
    assert refusal(s3.list_parts, **upload) == (404, "NoSuchUpload")
    assert s3.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"meanwhile"


def test_a_default_checksum_of_a_multipart_object_is_of_its_bytes(unhurt: Cloud, bucket: str) -> None:
    unhurt.min_part_bytes(1)
    s3 = unhurt.client("s3")
    for on in (False, True):
        unhurt.default_checksums(on=on)
        upload = begun(s3, bucket)
        finish(s3, upload, put(s3, upload, 1, b"abc"), put(s3, upload, 2, b"de"))
        head = s3.head_object(Bucket=bucket, Key=KEY, ChecksumMode="ENABLED")
        right = checksums.encoded("CRC64NVME", b"abcde")
        assert (head.get("ChecksumCRC64NVME"), head.get("ChecksumType")) == (
            (right, "FULL_OBJECT") if on else (None, None)
        )


def test_under_kms_no_etag_is_a_digest(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    upload = begun(s3, bucket, ServerSideEncryption="aws:kms")
    part = put(s3, upload, 1, b"x")
    assert part["ETag"] != f'"{hashlib.md5(b"x", usedforsecurity=False).hexdigest()}"'
    finish(s3, upload, part)
    head = s3.head_object(Bucket=bucket, Key=KEY)
    assert (head["ServerSideEncryption"], head["ETag"][-3:]) == ("aws:kms", '-1"')
    assert head["SSEKMSKeyId"].startswith("arn:aws:kms:")


def test_keys_are_listed_as_url_encoding_spells_them(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    begun(s3, bucket, "a +é")
    answer = s3.list_multipart_uploads(Bucket=bucket, EncodingType="url", Prefix="a ")
    assert ([row["Key"] for row in answer["Uploads"]], answer["Prefix"]) == (["a+%2B%C3%A9"], "a+")


def test_a_part_may_outlive_its_upload(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    upload = begun(s3, bucket)
    put(s3, upload, 1, b"first")
    unhurt.fault("s3:UploadPart", "outlive", part=2)
    other = unhurt.client("s3")
    landed: list[dict[str, Any]] = []
    late = threading.Thread(target=lambda: landed.append(put(other, upload, 2, b"late")))
    late.start()
    s3.abort_multipart_upload(**upload)
    late.join()
    assert landed
    assert [part["PartNumber"] for part in s3.list_parts(**upload)["Parts"]] == [2]
    assert [row["UploadId"] for row in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [
        upload["UploadId"]
    ]
    s3.abort_multipart_upload(**upload)
    assert refusal(s3.list_parts, **upload) == (404, "NoSuchUpload")


# --- faults and journal


def test_faults_are_aimed_at_parts(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    upload = begun(s3, bucket, ChecksumAlgorithm="CRC64NVME")
    said = {number: {"ChecksumCRC64NVME": checksums.encoded("CRC64NVME", b"body")} for number in (1, 2, 3)}
    unhurt.clear_journal()
    unhurt.fault("s3:UploadPart", "error", part=2)
    unhurt.fault("s3:UploadPart", "reset", part=3)
    put(s3, upload, 1, b"body", **said[1])
    arguments = {"Body": b"body", **said[2], **upload}
    assert refusal(s3.upload_part, PartNumber=2, **arguments) == (503, "SlowDown")
    with pytest.raises(BotoCoreError):
        s3.upload_part(PartNumber=3, **arguments)
    rows = [(row["operation"], row["part"], row["status"]) for row in unhurt.journal()]
    assert rows == [("s3:UploadPart", 1, 200), ("s3:UploadPart", 2, 503), ("s3:UploadPart", 3, 0)]


def test_a_byte_that_flips_on_its_way_is_noticed_where_a_digest_is_sent(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    upload = begun(s3, bucket)
    md5 = base64.b64encode(hashlib.md5(b"abc", usedforsecurity=False).digest()).decode()
    for target in (f"/{bucket}/{KEY}?partNumber=1&uploadId={upload['UploadId']}", f"/{bucket}/{KEY}"):
        unhurt.fault("s3:UploadPart" if "?" in target else "s3:PutObject", "flip")
        answers = []
        for _ in range(2):
            # Not by boto3, which over plain HTTP signs the body as well.
            connection = http.client.HTTPConnection(unhurt.url.removeprefix("http://"))
            connection.request("PUT", target, b"abc", {"Content-MD5": md5})
            answer = connection.getresponse()
            answers.append((answer.status, b"BadDigest" in answer.read()))
            connection.close()
        assert answers == [(400, True), (200, False)]


@pytest.mark.parametrize("action", ["truncate", "flip"])
def test_a_part_that_is_read_is_spoilt(unhurt: Cloud, bucket: str, action: str) -> None:
    s3 = unhurt.client("s3")
    unhurt.min_part_bytes(1)
    upload = begun(s3, bucket)
    finish(s3, upload, put(s3, upload, 1, b"x" * MIB), put(s3, upload, 2, b"y" * MIB))
    unhurt.fault("s3:GetObject", action, part=2)
    assert s3.get_object(Bucket=bucket, Key=KEY, PartNumber=1)["Body"].read() == b"x" * MIB
    body = s3.get_object(Bucket=bucket, Key=KEY, PartNumber=2)["Body"]
    if action == "truncate":
        with pytest.raises(BotoCoreError):
            body.read()
    else:
        assert sum(one != ord("y") for one in body.read()) == 1


def test_a_copy_may_fail_behind_its_200(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"x")
    unhurt.fault("s3:CopyObject", "error", status=200, code="InternalError")
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": KEY}}
    with pytest.raises(ClientError, match="InternalError"):
        s3.copy_object(**copy)
    assert refusal(s3.head_object, Bucket=bucket, Key="copy")[0] == 404
    s3.copy_object(**copy)


def test_the_journal_names_what_is_done_to_uploads(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    s3.put_object(Bucket=bucket, Key="source", Body=b"x")
    unhurt.clear_journal()
    upload = begun(s3, bucket)
    source = {"Bucket": bucket, "Key": "source"}
    s3.upload_part_copy(**upload, PartNumber=4, CopySource=source)
    s3.list_parts(**upload)
    s3.list_multipart_uploads(Bucket=bucket)
    s3.abort_multipart_upload(**upload)
    s3.copy_object(Bucket=bucket, Key=KEY, CopySource=source)
    assert [(row["operation"].removeprefix("s3:"), row["part"]) for row in unhurt.journal()] == [
        ("CreateMultipartUpload", None),
        ("UploadPartCopy", 4),
        ("ListParts", None),
        ("ListMultipartUploads", None),
        ("AbortMultipartUpload", None),
        ("CopyObject", None),
    ]


# --- copies


def test_no_copy_above_five_gib_and_no_memory_for_parts_that_are_copies(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    s3.put_object(Bucket=bucket, Key="source", Body=b"x" * 128 * MIB)
    upload = begun(s3, bucket)
    source = {"Bucket": bucket, "Key": "source"}
    parts = []
    for number in range(1, 42):
        done = s3.upload_part_copy(**upload, PartNumber=number, CopySource=source)["CopyPartResult"]
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    finish(s3, upload, *parts)
    assert s3.head_object(Bucket=bucket, Key=KEY)["ContentLength"] == 41 * 128 * MIB
    end = s3.get_object(Bucket=bucket, Key=KEY, Range="bytes=5502926846-")
    assert end["Body"].read() == b"xx"
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": KEY}}
    assert refusal(s3.copy_object, **copy) == (400, "InvalidRequest")


def test_what_is_deleted_takes_no_memory(unhurt: Cloud, bucket: str) -> None:
    s3 = unhurt.client("s3")
    upload = begun(s3, bucket)
    finish(s3, upload, *(put(s3, upload, number, bytes([number]) * 32 * MIB) for number in (1, 2, 3, 4)))
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": KEY})
    full = memory(unhurt)
    for key in (KEY, "copy"):
        s3.delete_object(Bucket=bucket, Key=key)
    aborted = begun(s3, bucket)
    put(s3, aborted, 1, b"x" * 32 * MIB)
    s3.abort_multipart_upload(**aborted)
    assert memory(unhurt) < full - 64 * MIB


def memory(cloud: Cloud) -> int:
    """Resident bytes of the server."""
    rows = Path(f"/proc/{cloud.pid}/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmRSS:")).split()[1]) * 1024


def user(strict: Cloud, *denied: tuple[str, str]) -> Keys:
    """A user who may do everything but this to that."""
    denials = [{"Effect": "Deny", "Action": action, "Resource": resource} for action, resource in denied]
    return strict.user(f"user-{uuid4().hex}", {"Statement": [*EVERYTHING["Statement"], *denials]})


@pytest.mark.parametrize(
    "action",
    ["s3:GetObject", "s3:GetObjectTagging", "s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectAcl"],
)
def test_one_identity_needs_both_sides_of_a_copy(strict: Cloud, action: str) -> None:
    bucket = strict.bucket(f"bucket-{uuid4().hex}")
    strict.client("s3").put_object(Bucket=bucket, Key="in/k", Body=b"x", Tagging="a=b")
    side = "in" if ":Get" in action else "out"
    keys = user(strict, (action, f"arn:aws:s3:::{bucket}/{side}/*"))
    copy = {"Bucket": bucket, "Key": "out/k", "CopySource": {"Bucket": bucket, "Key": "in/k"}}
    copy["ACL"] = "bucket-owner-full-control"
    assert refusal(strict.client("s3", keys=keys).copy_object, **copy) == (403, "AccessDenied")
    strict.client("s3", keys=user(strict)).copy_object(**copy)


def test_one_identity_needs_both_sides_of_a_copied_part(strict: Cloud) -> None:
    bucket = strict.bucket(f"bucket-{uuid4().hex}")
    s3 = strict.client("s3")
    s3.put_object(Bucket=bucket, Key="in/k", Body=b"x")
    upload = begun(s3, bucket, "out/k")
    copy = {**upload, "PartNumber": 1, "CopySource": {"Bucket": bucket, "Key": "in/k"}}
    for action, side in (("s3:GetObject", "in"), ("s3:PutObject", "out")):
        keys = user(strict, (action, f"arn:aws:s3:::{bucket}/{side}/*"))
        assert refusal(strict.client("s3", keys=keys).upload_part_copy, **copy) == (403, "AccessDenied")
    s3.upload_part_copy(**copy)


def test_what_is_missing_is_denied_to_those_who_may_not_list(strict: Cloud) -> None:
    bucket = strict.bucket(f"bucket-{uuid4().hex}")
    keys = user(strict, ("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    call: Callable[..., object] = strict.client("s3", keys=keys).get_object
    assert refusal(call, Bucket=bucket, Key="none") == (403, "AccessDenied")
    assert refusal(strict.client("s3").get_object, Bucket=bucket, Key="none") == (404, "NoSuchKey")


# --- attributes


@pytest.fixture
def locking(cloud: Cloud) -> str:
    """A bucket with object lock."""
    name = f"bucket-{uuid4().hex}"
    cloud.client("s3").create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


WAYS = ["whole", "multipart", "copy"]


def write(s3: Any, way: str, bucket: str, attributes: dict[str, Any]) -> None:  # noqa: ANN401 - a boto3 client
    """Write an object with attributes."""
    at = {"Bucket": bucket, "Key": KEY}
    if way == "whole":
        s3.put_object(**at, Body=b"x", **attributes)
    elif way == "multipart":
        upload = begun(s3, bucket, **attributes, ChecksumAlgorithm="CRC32")
        checksum = {"ChecksumCRC32": checksums.encoded("CRC32", b"x")}
        finish(s3, upload, put(s3, upload, 1, b"x", **checksum) | checksum)
    else:
        s3.put_object(Bucket=bucket, Key="source", Body=b"x")
        replaced = {"MetadataDirective": "REPLACE", "TaggingDirective": "REPLACE"}
        s3.copy_object(**at, **attributes, **replaced, CopySource={"Bucket": bucket, "Key": "source"})


@pytest.mark.parametrize("way", WAYS)
def test_attributes_are_the_same_whichever_way(cloud: Cloud, locking: str, way: str) -> None:
    s3 = cloud.client("s3")
    until = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
    shown = {
        "ContentType": "text/x",
        "CacheControl": "no-cache",
        "ContentDisposition": "inline",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"a_b": "1"},
        "WebsiteRedirectLocation": "/x",
        "StorageClass": "GLACIER_IR",
        "ServerSideEncryption": "aws:kms:dsse",
        "SSEKMSKeyId": "arn:aws:kms:us-east-1:123456789012:key/of-mine",
        "ObjectLockMode": "GOVERNANCE",
        "ObjectLockRetainUntilDate": until,
        "ObjectLockLegalHoldStatus": "ON",
    }
    acl = {"ACL": "bucket-owner-full-control"}
    write(s3, way, locking, {**shown, **acl, "Tagging": "a=1&b=2", "Expires": until})
    head = s3.head_object(Bucket=locking, Key=KEY)
    assert {name: head[name] for name in shown} == shown
    assert head["ExpiresString"] == "Fri, 02 Jan 2099 03:04:05 GMT"
    tags = s3.get_object_tagging(Bucket=locking, Key=KEY)["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"StorageClass": "PAPER"}, "InvalidStorageClass"),
        ({"ServerSideEncryption": "rot13"}, "InvalidArgument"),
        ({"ServerSideEncryption": "AES256", "SSEKMSKeyId": "k"}, "InvalidArgument"),
        ({"ObjectLockLegalHoldStatus": "ON"}, "InvalidRequest"),
        (
            {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime(2099, 1, 1, tzinfo=UTC)},
            "InvalidRequest",
        ),
        ({"ACL": "public-read"}, "AccessControlListNotSupported"),
        ({"Tagging": "&".join(f"k{at}=v" for at in range(11))}, "BadRequest"),
    ],
)
def test_attributes_that_are_refused(
    cloud: Cloud, bucket: str, way: str, said: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError) as raised:
        write(cloud.client("s3"), way, bucket, said)
    assert raised.value.response["Error"]["Code"] == code
    assert refusal(cloud.client("s3").head_object, Bucket=bucket, Key=KEY)[0] == 404


def test_an_overwritten_object_leaves_nothing_behind(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"x", Tagging="a=b", Metadata={"a": "b"})
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"x")
    head = s3.head_object(Bucket=bucket, Key=KEY)
    assert head["Metadata"] == {}
    assert "TagCount" not in head
    assert "StorageClass" not in head


def test_a_bucket_of_its_objects_owners_takes_acls(cloud: Cloud) -> None:
    s3, name = cloud.client("s3"), f"bucket-{uuid4().hex}"
    s3.create_bucket(Bucket=name, ObjectOwnership="ObjectWriter")
    s3.put_object(Bucket=name, Key=KEY, Body=b"x", ACL="public-read")
    grants = s3.get_object_acl(Bucket=name, Key=KEY)["Grants"]
    assert "READ" in [grant["Permission"] for grant in grants]


def test_a_locked_object_comes_with_a_digest(cloud: Cloud, locking: str) -> None:
    s3 = cloud.client("s3")
    bare = bare_client(cloud)
    later: dict[str, Any] = {
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(days=1),
    }
    here = {"Bucket": locking, "Key": KEY}
    assert refusal(bare.put_object, **here, Body=b"x", **later) == (400, "InvalidRequest")
    upload = begun(bare, locking, **later)
    assert refusal(bare.upload_part, **upload, PartNumber=1, Body=b"x") == (400, "InvalidRequest")
    past = later | {"ObjectLockRetainUntilDate": datetime.now(UTC) - timedelta(days=1)}
    assert refusal(s3.put_object, **here, Body=b"x", **past) == (400, "InvalidArgument")
    half = {"ObjectLockMode": "COMPLIANCE"}
    assert refusal(s3.put_object, **here, Body=b"x", **half) == (400, "InvalidArgument")
    assert "ETag" in s3.put_object(**here, Body=b"x", **later)


def test_a_bucket_may_lock_by_default(cloud: Cloud, locking: str) -> None:
    s3 = cloud.client("s3")
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=configuration)
    assert refusal(bare_client(cloud).put_object, Bucket=locking, Key="other", Body=b"x") == (
        400,
        "InvalidRequest",
    )
    s3.put_object(Bucket=locking, Key="other", Body=b"x")
    assert s3.head_object(Bucket=locking, Key="other")["ObjectLockMode"] == "GOVERNANCE"


def bare_client(cloud: Cloud) -> Any:  # noqa: ANN401 - a boto3 client
    """A client that sends no digest."""
    return embedded(cloud).client()


def test_what_only_some_may_see(strict: Cloud) -> None:
    s3, bucket = strict.client("s3"), f"bucket-{uuid4().hex}"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime(2099, 1, 1, tzinfo=UTC)}
    here = {"Bucket": bucket, "Key": KEY}
    s3.put_object(**here, Body=b"x", Tagging="a=b", **lock, ObjectLockLegalHoldStatus="ON")
    private = {
        "s3:GetObjectTagging": {"TagCount"},
        "s3:GetObjectRetention": set(lock),
        "s3:GetObjectLegalHold": {"ObjectLockLegalHoldStatus"},
    }
    everything = set(s3.get_object(**here))
    for action, names in private.items():
        other = strict.client("s3", keys=user(strict, (action, "*")))
        assert everything - set(other.get_object(**here)) == names


def test_who_requests_pays(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"x")
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
    here = {"Bucket": bucket, "Key": KEY}
    other = cloud.bucket(f"bucket-{uuid4().hex}")
    copy = {"Bucket": other, "Key": KEY, "CopySource": here}
    calls: list[tuple[Callable[..., object], dict[str, Any]]] = [
        (s3.get_object, here),
        (s3.head_object, here),
        (s3.put_object, here | {"Body": b"y"}),
        (s3.get_object_tagging, here),
        (s3.list_objects_v2, {"Bucket": bucket}),
        (s3.create_multipart_upload, here),
        (s3.copy_object, copy),
    ]
    for call, arguments in calls:
        assert refusal(call, **arguments)[0] == 403
        call(**arguments, RequestPayer="requester")


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_a_restored_object_is_read_and_copied(cloud: Cloud, bucket: str, storage_class: str) -> None:
    s3 = cloud.client("s3")
    here = {"Bucket": bucket, "Key": KEY}
    s3.put_object(**here, Body=b"x", StorageClass=storage_class)
    assert "Restore" not in s3.head_object(**here)
    s3.restore_object(**here, RestoreRequest={"Days": 1})
    head = s3.head_object(**here)
    assert head["StorageClass"] == storage_class
    assert 'ongoing-request="false"' in head["Restore"]
    assert s3.get_object(**here)["Body"].read() == b"x"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=here)
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="copy")
