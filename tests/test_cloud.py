"""The embedded AWS keeps its own promises: what AWS refuses it refuses, and faults are those asked for."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody

from tests.cloud import ROOT, Cloud, Keys, Queues, checksums
from tests.cloud.journal import classify
from tests.cloud.objects import byte_range
from tests.cloud.web import Request
from tests.guard import LOG, allowed

KEYS = [
    "\x01", "\x1f", "\x7f", "\u0085", "\ufffd", "\ufffe", "\uffff", "+", " ", "  leading", "trailing  ",
    "%", "%2F", "%00", "//", "a//b", "/leading", "a/../b", "a/./b", ".", "..", "../x", "./x", "a/..", "x/",
    "&<>\"'", "?", "#", "a?b=c", ";", "\\", "a\nb", "a\tb", "a\rb", "\u00e9" * 512, "\U0001d54f" * 256,
    "e\u0301", "\u00e9", "~", "*", "a+b c", "=", "@:,$!()", "\ud7ff", "\ue000", "\U0001f600",
]  # fmt: skip


def refusal(call: Callable[..., object], **arguments: object) -> tuple[int, str]:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    answer = raised.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- the server and its journal


@pytest.mark.parametrize(
    ("method", "target", "headers", "operation", "bucket", "key"),
    [
        ("GET", "/", {}, "s3:ListBuckets", None, None),
        ("GET", "/b?list-type=2&prefix=x", {}, "s3:ListObjectsV2", "b", None),
        ("GET", "/b/?uploads", {}, "s3:ListMultipartUploads", "b", None),
        ("GET", "/b?encryption", {}, "s3:GetBucketEncryption", "b", None),
        ("GET", "/b", {}, "s3:ListObjects", "b", None),
        ("HEAD", "/b", {}, "s3:HeadBucket", "b", None),
        ("PUT", "/b", {}, "s3:CreateBucket", "b", None),
        ("POST", "/b?delete", {}, "s3:DeleteObjects", "b", None),
        ("GET", "/b/a%20%2B+%252F//..", {}, "s3:GetObject", "b", "a ++%2F//.."),
        ("GET", "/b/k?tagging", {}, "s3:GetObjectTagging", "b", "k"),
        ("GET", "/b/k?uploadId=u", {}, "s3:ListParts", "b", "k"),
        ("HEAD", "/b/k?partNumber=1", {}, "s3:HeadObject", "b", "k"),
        ("PUT", "/b/k?x-id=PutObject", {}, "s3:PutObject", "b", "k"),
        ("PUT", "/b/k", {"x-amz-copy-source": "b/j"}, "s3:CopyObject", "b", "k"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", {}, "s3:UploadPart", "b", "k"),
        ("PUT", "/b/k?uploadId=u", {"x-amz-copy-source": "b/j"}, "s3:UploadPartCopy", "b", "k"),
        ("POST", "/b/k?uploads", {}, "s3:CreateMultipartUpload", "b", "k"),
        ("POST", "/b/k?uploadId=u", {}, "s3:CompleteMultipartUpload", "b", "k"),
        ("DELETE", "/b/k?uploadId=u", {}, "s3:AbortMultipartUpload", "b", "k"),
        ("DELETE", "/b/k", {}, "s3:DeleteObject", "b", "k"),
        ("POST", "/", {"x-amz-target": "AmazonSQS.ReceiveMessage"}, "sqs:ReceiveMessage", None, None),
        (
            "POST",
            "/",
            {
                "x-amz-target": "Logs_20140328.PutLogEvents",
                "authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/logs/x, Signature=0",
            },
            "logs:PutLogEvents",
            None,
            None,
        ),
    ],
)
def test_requests_are_classified(  # noqa: PLR0917 - the columns of the table
    method: str, target: str, headers: dict[str, str], operation: str, bucket: str | None, key: str | None
) -> None:
    call = classify(Request(method, target, headers, {}))
    assert (call.operation, call.bucket, call.key) == (operation, bucket, key)


def test_the_journal_counts_and_names_what_was_asked(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    cloud.clear_journal()
    s3.put_object(Bucket=bucket, Key="a b", Body=b"four")
    s3.get_object(Bucket=bucket, Key="a b")
    assert cloud.counts() == {"s3:PutObject": 1, "s3:GetObject": 1}
    put, got = cloud.journal()
    assert (put["bucket"], put["key"], put["status"]) == (bucket, "a b", 200)
    assert got["bytes_out"] == 4
    assert got["sequence"] > put["sequence"]


def test_connections_are_kept_and_answers_do_not_stall(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    taken = []
    for _ in range(50):
        began = time.perf_counter()
        answer = s3.get_object(Bucket=bucket, Key="k")
        answer["Body"].read()
        taken.append(time.perf_counter() - began)
        assert answer["ResponseMetadata"]["HTTPHeaders"].get("connection") != "close"
    assert sorted(taken)[25] < 0.030


def test_the_server_ends_with_its_standard_input() -> None:
    with Cloud() as cloud:
        pid = cloud.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_by_hand_it_prints_the_environment_and_ends_quietly(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cloud"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(number)
        assert process.stderr is not None
        rest, errors = process.stdout.read(), process.stderr.read()
    assert first.startswith(b"export AWS_ENDPOINT_URL=http://127.0.0.1:")
    assert b"export AWS_EC2_METADATA_DISABLED=true\n" in rest
    assert (process.returncode, errors) == (0, b"")


def test_buckets_stand_in_their_regions(cloud: Cloud) -> None:
    name = cloud.bucket(f"far-{uuid4().hex}", "eu-west-1")
    assert cloud.client("s3").head_bucket(Bucket=name)["BucketRegion"] == "eu-west-1"


# --- S3: digests, conditions, encryption


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_checksums_are_compared_kept_and_told(cloud: Cloud, bucket: str, algorithm: str) -> None:
    s3, name = cloud.client("s3"), f"Checksum{algorithm}"
    wrong = {name: checksums.encoded(algorithm, b"other")}
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"x", **wrong) == (400, "BadDigest")
    right = checksums.encoded(algorithm, b"x")
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"x", **{name: right})[name] == right
    for read in (s3.get_object, s3.head_object):
        answer = read(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (answer[name], answer["ChecksumType"]) == (right, "FULL_OBJECT")


def test_checksum_values() -> None:
    check = {"CRC32": "cbf43926", "CRC32C": "e3069283", "CRC64NVME": "ae8b14860a799888"}
    for algorithm, value in check.items():
        assert checksums.digest(algorithm, b"123456789").hex() == value
        parts = [(checksums.encoded(algorithm, piece), len(piece)) for piece in (b"1234", b"", b"56789")]
        assert checksums.combined(algorithm, parts) == in_base64(bytes.fromhex(value))


def test_a_wrong_md5_is_refused(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    wrong = in_base64(hashlib.md5(b"other", usedforsecurity=False).digest())
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5=wrong) == (400, "BadDigest")
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5="x")[1] == "InvalidDigest"
    assert refusal(s3.head_object, Bucket=bucket, Key="k")[0] == 404


def test_a_trailing_checksum_is_read(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    right = checksums.encoded("CRC32", b"abc")
    for value, status in ((right, b"200"), (checksums.encoded("CRC32", b"x"), b"400")):
        body = f"2\r\nab\r\n1\r\nc\r\n0\r\nx-amz-checksum-crc32:{value}\r\n\r\n".encode()
        head = (
            f"PUT /{bucket}/k HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\ncontent-encoding: aws-chunked\r\n"
            "x-amz-trailer: x-amz-checksum-crc32\r\nx-amz-decoded-content-length: 3\r\n\r\n"
        )
        assert raw(cloud, head.encode() + body).split(b" ")[1] == status
    answer = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (answer["Body"].read(), answer["ChecksumCRC32"]) == (b"abc", right)
    assert "ContentEncoding" not in answer


def raw(cloud: Cloud, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", int(cloud.url.rpartition(":")[2]))) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(65_536)


def test_a_body_that_ends_early_stores_nothing(cloud: Cloud, bucket: str) -> None:
    head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    assert raw(cloud, head.encode() + b"abc") == b""
    assert cloud.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("length", [0, 1])
def test_whoever_asks_whether_to_go_on_is_told_to(cloud: Cloud, bucket: str, length: int) -> None:
    head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    assert raw(cloud, head.encode() + b"x" * length).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_default_checksum_is_kept_only_where_switched_on(cloud: Cloud, bucket: str) -> None:
    head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".encode()
    s3 = cloud.client("s3")
    raw(cloud, head)
    assert "ChecksumType" not in s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    cloud.default_checksums(on=True)
    try:
        raw(cloud, head)
    finally:
        cloud.default_checksums(on=False)
    answer = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert answer["ChecksumCRC64NVME"] == checksums.encoded("CRC64NVME", b"x")


def test_conditions_of_reads_and_writes(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    here: dict[str, Any] = {"Bucket": bucket, "Key": "k"}
    assert refusal(s3.put_object, **here, Body=b"", IfMatch='"x"') == (404, "NoSuchKey")
    etag = s3.put_object(**here, Body=b"1", IfNoneMatch="*")["ETag"]
    assert refusal(s3.put_object, **here, Body=b"2", IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refusal(s3.put_object, **here, Body=b"2", IfMatch='"x"') == (412, "PreconditionFailed")
    assert refusal(s3.get_object, **here, IfMatch='"x"') == (412, "PreconditionFailed")
    assert refusal(s3.head_object, **here, IfMatch='"x"')[0] == 412
    assert refusal(s3.get_object, **here, IfNoneMatch=etag)[0] == 304
    assert s3.get_object(**here, IfMatch=etag)["Body"].read() == b"1"
    s3.put_object(**here, Body=b"2", IfMatch=etag)


def test_of_many_conditional_writers_one_wins(cloud: Cloud, bucket: str) -> None:
    clients, start, won = [cloud.client("s3") for _ in range(8)], threading.Barrier(8), []

    def write(s3: Any) -> None:  # noqa: ANN401 - a boto3 client
        start.wait()
        try:
            s3.put_object(Bucket=bucket, Key="k", Body=b"x", IfNoneMatch="*")
            won.append(s3)
        except ClientError:
            pass

    threads = [threading.Thread(target=write, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_encryption_decides_the_etag(cloud: Cloud, bucket: str) -> None:
    s3, md5 = cloud.client("s3"), hashlib.md5(b"x", usedforsecurity=False).hexdigest()
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"] == f'"{md5}"'
    kms = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    assert kms["ETag"] not in (f'"{md5}"', "")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    answer = s3.head_object(Bucket=bucket, Key="k")
    assert answer["ServerSideEncryption"] == "aws:kms"
    assert len(answer["ETag"]) == 34
    assert answer["ETag"] != f'"{md5}"'


def test_attributes_come_back(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    kept = {
        "ContentType": "text/x",
        "CacheControl": "no-cache",
        "ContentDisposition": "inline",
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"a_b": "1", "c-d": "2"},
        "WebsiteRedirectLocation": "/x",
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=%20", StorageClass="STANDARD_IA", **kept)
    answer = s3.get_object(Bucket=bucket, Key="k")
    assert {name: answer[name] for name in kept} == kept
    assert (answer["TagCount"], answer["StorageClass"]) == (2, "STANDARD_IA")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"][1] == {"Key": "b", "Value": " "}


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_cannot_be_read(cloud: Cloud, bucket: str, storage_class: str) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass=storage_class)
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == (403, "InvalidObjectState")
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == storage_class


# --- S3: names, ranges, parts


def test_every_key_survives_and_is_listed_in_order(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        s3.head_object(Bucket=bucket, Key=key)
    wanted = sorted(KEYS, key=str.encode)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
    assert [row["Key"] for page in pages for row in page["Contents"]] == wanted
    for at, key in enumerate(wanted):
        rest = s3.list_objects_v2(Bucket=bucket, StartAfter=key).get("Contents", [])
        assert [row["Key"] for row in rest] == wanted[at + 1 :]
    for prefix in (" ", "+", "%", "a/", "\ufffe", "\u00e9"):
        rows = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
        assert [row["Key"] for row in rows] == [key for key in wanted if key.startswith(prefix)]


def test_a_listing_is_spelt_as_s3_spells_it(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=bucket, Key="a +/~*é", Body=b"")
    row = s3.list_objects_v2(Bucket=bucket, EncodingType="url")["Contents"][0]
    assert row["Key"] == "a+%2B/%7E*%C3%A9"
    assert refusal(s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"") == (400, "KeyTooLongError")


def test_a_delimiter_groups_and_pages(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    for key in ("a", "b/1", "b/2", "c/1", "d"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    seen = []
    for page in s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}
    ):
        seen += [row["Key"] for row in page.get("Contents", [])]
        seen += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
    assert seen == ["a", "b/", "c/", "d"]


@pytest.mark.parametrize(
    ("header", "size", "bounds"),
    [
        ("bytes=0-0", 5, (0, 0)),
        ("bytes=2-", 5, (2, 4)),
        ("bytes=3-99", 5, (3, 4)),
        ("bytes=-2", 5, (3, 4)),
        ("bytes=-9", 5, (0, 4)),
        ("bytes=5-", 5, (1, 0)),
        ("bytes=0-", 0, (1, 0)),
        ("bytes=4-2", 5, None),
        ("bytes=0-1,3-4", 5, None),
        ("bytes=-", 5, None),
    ],
)
def test_ranges(header: str, size: int, bounds: tuple[int, int] | None) -> None:
    assert byte_range(header, size) == bounds


def test_parts_are_read_one_by_one(cloud: Cloud, bucket: str) -> None:
    s3 = cloud.client("s3")
    here: dict[str, Any] = {"Bucket": bucket, "Key": "k"}
    assert refusal(s3.upload_part, **here, UploadId="x", PartNumber=1, Body=b"") == (404, "NoSuchUpload")
    upload = {**here, "UploadId": s3.create_multipart_upload(**here)["UploadId"]}
    bodies = (b"1" * (5 << 20), b"2" * 10)
    parts = [
        {"PartNumber": at, "ETag": s3.upload_part(**upload, PartNumber=at, Body=body)["ETag"]}
        for at, body in enumerate(bodies, 1)
    ]
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    first, second = s3.head_object(**here, PartNumber=1), s3.get_object(**here, PartNumber=2)
    assert (first["ContentLength"], first["PartsCount"], first["ETag"]) == (5 << 20, 2, done["ETag"])
    assert (second["Body"].read(), second["ContentRange"]) == (bodies[1], "bytes 5242880-5242889/5242890")
    assert s3.head_object(**here)["ContentLength"] == (5 << 20) + 10
    assert refusal(s3.get_object, **here, PartNumber=3) == (416, "InvalidPartNumber")


# --- SQS


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x0b", "\ufffe", "\uffff"])
def test_sqs_refuses_what_is_not_xml(cloud: Cloud, queue: Queues, character: str) -> None:
    sqs = cloud.client("sqs")
    send = {"QueueUrl": queue.url, "MessageBody": character}
    assert refusal(sqs.send_message, **send) == (400, "InvalidMessageContents")
    entries = [
        {"Id": "good", "MessageBody": "\t\n\r\ud7ff\U0001f600"},
        {"Id": "bad", "MessageBody": character},
    ]
    answer = sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [row["Id"] for row in answer["Successful"]] == ["good"]
    assert [row["Code"] for row in answer["Failed"]] == ["InvalidMessageContents"]


def test_sqs_limits(cloud: Cloud, queue: Queues) -> None:
    sqs = cloud.client("sqs")

    def batch(*bodies: str) -> tuple[int, str]:
        entries = [{"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies)]
        return refusal(sqs.send_message_batch, QueueUrl=queue.url, Entries=entries)

    assert batch(*["x"] * 11)[1].endswith("TooManyEntriesInBatchRequest")
    assert batch("x" * 600_000, "y" * 600_000)[1].endswith("BatchRequestTooLong")
    sqs.send_message(QueueUrl=queue.url, MessageBody="x" * (1 << 20))
    two_bytes_each = {"QueueUrl": queue.url, "MessageBody": "é" * 600_000}
    assert refusal(sqs.send_message, **two_bytes_each) == (400, "InvalidParameterValue")


def test_a_long_poll_wakes_at_once(cloud: Cloud, queue: Queues) -> None:
    waiting, sqs, received = cloud.client("sqs"), cloud.client("sqs"), []

    def poll() -> None:
        answer = waiting.receive_message(QueueUrl=queue.url, WaitTimeSeconds=5, AttributeNames=["All"])
        received.append((time.monotonic(), answer["Messages"][0]))

    def waits_for(action: Callable[[], object]) -> float:
        thread = threading.Thread(target=poll)
        thread.start()
        time.sleep(0.2)
        began = time.monotonic()
        action()
        thread.join()
        return received[-1][0] - began

    assert waits_for(lambda: sqs.send_message(QueueUrl=queue.url, MessageBody="x")) < 0.2
    handle = {"QueueUrl": queue.url, "ReceiptHandle": received[-1][1]["ReceiptHandle"]}
    assert waits_for(lambda: sqs.change_message_visibility(**handle, VisibilityTimeout=0)) < 0.2
    assert received[-1][1]["Attributes"]["ApproximateReceiveCount"] == "2"


def test_counts_leases_and_delays(cloud: Cloud, queue: Queues) -> None:
    sqs = cloud.client("sqs")
    sqs.send_message(QueueUrl=queue.url, MessageBody="now")
    sqs.send_message(QueueUrl=queue.url, MessageBody="later", DelaySeconds=1)
    began = time.monotonic()
    assert depths(sqs, queue.url) == (1, 0, 1)
    handle = sqs.receive_message(QueueUrl=queue.url)["Messages"][0]["ReceiptHandle"]
    assert depths(sqs, queue.url) == (0, 1, 1)
    assert sqs.receive_message(QueueUrl=queue.url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "later"
    assert 0.8 < time.monotonic() - began < 1.5
    sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=handle)
    assert depths(sqs, queue.url) == (0, 1, 0)


def test_a_lease_that_has_lapsed_leaves_others_of_its_batch_alone(cloud: Cloud, queue: Queues) -> None:
    sqs = cloud.client("sqs")
    for body in "ab":
        sqs.send_message(QueueUrl=queue.url, MessageBody=body)
    gone, held = (sqs.receive_message(QueueUrl=queue.url)["Messages"][0]["ReceiptHandle"] for _ in "ab")
    sqs.change_message_visibility(QueueUrl=queue.url, ReceiptHandle=gone, VisibilityTimeout=0)
    handles = {"lapsed": gone, "held": held, "unknown": "x"}
    entries = [{"Id": name, "ReceiptHandle": one, "VisibilityTimeout": 9} for name, one in handles.items()]
    answer = sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["held"]
    failed = {one["Id"]: one["Code"] for one in answer["Failed"]}
    assert failed == {"lapsed": "InvalidParameterValue", "unknown": "ReceiptHandleIsInvalid"}


def depths(sqs: Any, url: str) -> tuple[int, int, int]:  # noqa: ANN401 - a boto3 client
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    start = "ApproximateNumberOfMessages"
    return int(found[start]), int(found[f"{start}NotVisible"]), int(found[f"{start}Delayed"])


def test_a_message_received_too_often_goes_to_the_dead_letter_queue(cloud: Cloud, queue: Queues) -> None:
    sqs = cloud.client("sqs")
    found = sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
    assert '"maxReceiveCount": 50' in found["RedrivePolicy"]
    assert found["MessageRetentionPeriod"] == "1209600"
    sqs.send_message(QueueUrl=queue.url, MessageBody="x")
    for _ in range(50):
        assert sqs.receive_message(QueueUrl=queue.url, VisibilityTimeout=0)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue.url)
    assert sqs.receive_message(QueueUrl=queue.dead_letter_url)["Messages"][0]["Body"] == "x"


def test_no_message_is_lost_or_given_twice_under_threads(cloud: Cloud, queue: Queues) -> None:
    bodies: list[str] = []

    def send(at: int) -> None:
        sqs = cloud.client("sqs")
        for batch in range(5):
            entries = [{"Id": str(n), "MessageBody": f"{at}-{batch}-{n}"} for n in range(10)]
            sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)

    def receive() -> None:
        sqs = cloud.client("sqs")
        while rows := sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
            "Messages"
        ):
            for row in rows:
                bodies.append(row["Body"])
                sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=row["ReceiptHandle"])

    threads = [threading.Thread(target=send, args=(at,)) for at in range(4)]
    threads += [threading.Thread(target=receive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bodies) == len(set(bodies)) == 200
    assert depths(cloud.client("sqs"), queue.url) == (0, 0, 0)


# --- faults


@pytest.fixture
def faulty(cloud: Cloud) -> Iterator[Cloud]:
    yield cloud
    cloud.clear_faults()


def body_of(answer: dict[str, StreamingBody]) -> bytes:
    return answer["Body"].read()


def test_faults_of_reading(faulty: Cloud, bucket: str) -> None:
    s3 = faulty.client("s3")
    here = {"Bucket": bucket, "Key": "k"}
    # Written without a checksum: boto3 would find the flipped byte by itself.
    raw(faulty, f"PUT /{bucket}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789".encode())
    faulty.fault("s3:GetObject", "error", bucket=bucket, key="other")
    faulty.fault("s3:GetObject", "error", bucket=bucket, key="k", times=2, status=503, code="SlowDown")
    assert refusal(s3.get_object, **here) == (503, "SlowDown")
    assert refusal(s3.get_object, **here) == (503, "SlowDown")
    assert body_of(s3.get_object(**here)) == b"0123456789"
    faulty.fault("s3:GetObject", "flip")
    assert body_of(s3.get_object(**here)) == b"0123446789"
    faulty.fault("s3:GetObject", "truncate")
    with pytest.raises(BotoCoreError):
        body_of(s3.get_object(**here))
    faulty.fault("s3:GetObject", "reset")
    with pytest.raises(BotoCoreError):
        s3.get_object(**here)
    faulty.fault("s3:GetObject", "delay", seconds=0.3)
    began = time.monotonic()
    s3.get_object(**here)
    assert time.monotonic() - began >= 0.3


def test_a_lost_answer_is_to_a_request_that_was_done(faulty: Cloud, bucket: str) -> None:
    s3 = faulty.client("s3")
    faulty.fault("s3:PutObject", "lose")
    with pytest.raises(BotoCoreError):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"x"


def test_a_probable_fault_strikes_the_same_again(faulty: Cloud, bucket: str) -> None:
    s3 = faulty.client("s3")
    runs: list[list[bool]] = []
    for _ in range(2):
        faulty.clear_faults()
        faulty.fault("s3:HeadBucket", "error", times=None, probability=0.5, seed=7)
        runs.append([])
        for _ in range(20):
            try:
                s3.head_bucket(Bucket=bucket)
                runs[-1].append(True)
            except ClientError:
                runs[-1].append(False)
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 2


def test_faults_of_queues(faulty: Cloud, queue: Queues) -> None:
    sqs = faulty.client("sqs")
    faulty.fault("sqs:SendMessageBatch", "fail_entries")
    entries = [{"Id": name, "MessageBody": name} for name in ("one", "two")]
    answer = sqs.send_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [row["Id"] for row in answer["Failed"]] == ["one"]
    assert [row["Id"] for row in answer["Successful"]] == ["two"]
    faulty.fault("sqs:ReceiveMessage", "duplicate")
    twice = [sqs.receive_message(QueueUrl=queue.url)["Messages"][0]["Body"] for _ in range(2)]
    assert twice == ["two", "two"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue.url)
    faulty.fault("sqs:DeleteMessage", "error", status=500, code="InternalError")
    assert refusal(sqs.delete_message, QueueUrl=queue.url, ReceiptHandle="x") == (500, "InternalError")


# --- users


def test_with_auth_a_user_may_do_what_the_policy_says() -> None:
    with Cloud(auth=True) as cloud:
        mine, other, queue = cloud.bucket("mine"), cloud.bucket("other"), cloud.queue("tasks")
        allow = {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": "arn:aws:s3:::mine/*",
        }
        send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "arn:aws:sqs:*:*:tasks"}
        keys = cloud.user("worker", {"Statement": [allow, send]})
        s3, sqs = cloud.client("s3", keys=keys), cloud.client("sqs", keys=keys)
        s3.put_object(Bucket=mine, Key="a/ü b+", Body=b"x")
        assert body_of(s3.get_object(Bucket=mine, Key="a/ü b+")) == b"x"
        sqs.send_message(QueueUrl=queue.url, MessageBody="x")
        assert refusal(s3.put_object, Bucket=other, Key="k", Body=b"") == (403, "AccessDenied")
        assert refusal(s3.list_objects_v2, Bucket=mine) == (403, "AccessDenied")
        assert refusal(s3.head_object, Bucket=other, Key="k")[0] == 403
        assert refusal(sqs.receive_message, QueueUrl=queue.url) == (403, "AccessDenied")
        stranger = cloud.client("s3", keys=Keys())
        assert refusal(stranger.get_object, Bucket=mine, Key="k") == (403, "InvalidAccessKeyId")
        forged = cloud.client("s3", keys=Keys(keys.access_key_id, "forged"))
        assert refusal(forged.get_object, Bucket=mine, Key="k") == (403, "SignatureDoesNotMatch")


# --- the guard


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        (None, True),
        (b"localhost", True),
        ("169.254.169.254", False),
        ("192.0.2.1", False),
        ("s3.amazonaws.com", False),
        ("fd00:ec2::254", False),
    ],
)
def test_the_guard_allows_only_loopback(host: object, answer: bool) -> None:  # noqa: FBT001
    assert allowed(host) is answer


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('192.0.2.1', 80), 1)",
        "socket.socket().connect(('192.0.2.1', 80))",
        "socket.getaddrinfo('fleetcopy.invalid', 80)",
        "socket.gethostbyname('fleetcopy.invalid')",
    ],
)
def test_the_guard_stops_a_subprocess_and_says_so(cloud: Cloud, tmp_path: Path, attempt: str) -> None:
    log = tmp_path / "guard.log"
    done = subprocess.run(
        [sys.executable, "-c", f"import socket; {attempt}"],
        env=cloud.environment() | {LOG: str(log)},
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )
    assert b"RefusedError" in done.stderr
    line = log.read_text().split()
    assert line[0].isdigit()
    assert line[1].startswith(("192.0.2.1", "fleetcopy.invalid"))


def test_a_guarded_subprocess_reaches_the_cloud(cloud: Cloud, tmp_path: Path) -> None:
    log = tmp_path / "guard.log"
    code = "import boto3; print(boto3.client('sqs').list_queues()['ResponseMetadata']['HTTPStatusCode'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=cloud.environment() | {LOG: str(log)},
        capture_output=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == b"200\n"
    assert not log.exists()
