"""Every key that S3 takes arrives: listed, queued, copied, verified, byte by byte the same key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cloud import Cloud, Queues
from tests.conftest import Command
from tests.keys import KEYS, LONGEST, fitted
from worker.core.message import CopyTask, decode, encode
from worker.core.model import Endpoint, ObjectRef, Transfer

ODD_PREFIX = "in put+%2F/ "
OTHER_PREFIX = "out//\u00e9&+%20"
MOST_RECEIVED = 10


def body_of(key: str) -> bytes:
    """Bytes that belong to this key and to no other."""
    return hashlib.sha512(key.encode()).digest() + key.encode()


def fill(cloud: Cloud, bucket: str, prefix: str) -> dict[str, bytes]:
    """Put an object for every key; what was put, without the prefix."""
    s3 = cloud.client("s3")
    put = {fitted(key, prefix): body_of(fitted(key, prefix)) for key in KEYS.values()}
    assert len(put) == len(KEYS)
    for key, body in put.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    return {key[len(prefix) :]: body for key, body in put.items()}


def listed(cloud: Cloud, bucket: str) -> list[str]:
    pages = cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [row["Key"] for page in pages for row in page.get("Contents", [])]


def drained(cloud: Cloud, queue: Queues, transfer: Transfer) -> list[ObjectRef]:
    """The objects of all messages of a queue, which is empty then."""
    sqs = cloud.client("sqs")
    refs: list[ObjectRef] = []
    while messages := sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=MOST_RECEIVED).get(
        "Messages"
    ):
        for message in messages:
            refs += decode(message["Body"], transfer).objects
            sqs.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
    return refs


def test_the_table_is_large_and_its_keys_are_s3s() -> None:
    assert len(KEYS) >= 70
    assert len(set(KEYS.values())) == len(KEYS)
    sizes = {name: len(key.encode()) for name, key in KEYS.items()}
    assert all(0 < size <= LONGEST for size in sizes.values())
    assert [size for name, size in sizes.items() if name.startswith("longest")] == [LONGEST] * 7


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("prefix", [ODD_PREFIX, OTHER_PREFIX])
def test_fitting_fills_what_s3_allows(key: str, prefix: str) -> None:
    whole = fitted(key, prefix)
    assert whole.startswith(prefix)
    assert whole == prefix + key or len(whole.encode()) == LONGEST


@pytest.mark.parametrize(
    ("before", "after"),
    # Equal lengths in bytes: the longest keys are the longest on both sides.
    [(ODD_PREFIX, OTHER_PREFIX), pytest.param("", "", marks=pytest.mark.slow)],
    ids=["odd-to-other", "whole-buckets"],
)
def test_all_keys_arrive(cloud: Cloud, fleetcopy: Command, before: str, after: str) -> None:
    assert len(before.encode()) == len(after.encode())
    source, destination = cloud.bucket(f"source-{uuid4().hex}"), cloud.bucket(f"destination-{uuid4().hex}")
    queue = cloud.queue(f"tasks-{uuid4().hex}")
    bodies = fill(cloud, source, before)
    ends = [f"s3://{source}/{before}", f"s3://{destination}/{after}"]
    queued = ["--queue", queue.url]

    done = fleetcopy("submit", *ends, *queued)
    assert done.returncode == 0, done.stderr
    assert f"listed {len(KEYS)} objects: {len(KEYS)} copy" in done.stdout
    options = ["--until-empty", "--empty-seconds", "1", "--processes", "1"]
    done = fleetcopy("work", *ends, *queued, *options)
    assert done.returncode == 0, done.stderr

    assert listed(cloud, destination) == sorted(after + key for key in bodies)
    s3 = cloud.client("s3")
    for key, body in bodies.items():
        assert s3.get_object(Bucket=destination, Key=after + key)["Body"].read() == body, ascii(key)

    done = fleetcopy("verify", *ends)
    assert done.stdout == f"verdict: equal {len(KEYS)}, different 0, missing 0, extra 0, unproven 0\n"
    assert done.returncode == 0
    done = fleetcopy("submit", *ends, *queued)
    assert done.returncode == 0
    assert f"{len(KEYS)} equal" in done.stdout
    assert "sent 0 tasks" in done.stdout
    dead = cloud.client("sqs").receive_message(QueueUrl=queue.dead_letter_url)
    assert "Messages" not in dead


def test_verify_names_every_missing_key_on_a_line_of_its_own(cloud: Cloud, fleetcopy: Command) -> None:
    source, destination = cloud.bucket(f"source-{uuid4().hex}"), cloud.bucket(f"destination-{uuid4().hex}")
    fill(cloud, source, "")
    done = fleetcopy("verify", f"s3://{source}", f"s3://{destination}")
    assert done.returncode == 1
    # As a terminal sees it: no key may end a line or move the cursor.
    *lines, verdict = done.stdout.split("\n")[:-1]
    assert len(lines) == len(KEYS)
    assert all(line.startswith("missing") and line.isprintable() for line in lines)
    assert verdict == f"verdict: equal 0, different 0, missing {len(KEYS)}, extra 0, unproven 0"


@pytest.fixture(scope="module")
def shared_queue(cloud: Cloud) -> Queues:
    """One queue for all keys."""
    return cloud.queue(f"tasks-{uuid4().hex}")


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_survives_a_message(cloud: Cloud, shared_queue: Queues, key: str) -> None:
    transfer = Transfer(Endpoint(bucket="source-bucket"), Endpoint(bucket="destination-bucket"))
    task = CopyTask(transfer.id, (ObjectRef(key, 3, "e" * 32, 1_446_069_400, destination_etag=""),), 2)
    sqs, body = cloud.client("sqs"), encode(task)
    assert body.isascii()
    sqs.send_message(QueueUrl=shared_queue.url, MessageBody=body)
    (message,) = sqs.receive_message(QueueUrl=shared_queue.url)["Messages"]
    sqs.delete_message(QueueUrl=shared_queue.url, ReceiptHandle=message["ReceiptHandle"])
    assert message["Body"] == body
    assert decode(message["Body"], transfer) == task


@pytest.mark.parametrize("ascii_only", [True, False], ids=["ascii", "utf-8"])
def test_saved_listings_name_all_keys(
    cloud: Cloud, fleetcopy: Command, queue: Queues, tmp_path: Path, *, ascii_only: bool
) -> None:
    source, destination = f"source-{uuid4().hex}", cloud.bucket(f"destination-{uuid4().hex}")
    cloud.bucket(source)
    rows = [
        {
            "Key": fitted(key, ODD_PREFIX),
            "LastModified": "2026-11-22T16:27:01+00:00",
            "ETag": f'"{hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()}"',
            "Size": len(key),
            "StorageClass": "STANDARD",
        }
        for key in KEYS.values()
    ]
    saved = tmp_path / "listing.json"
    document = {"Contents": rows, "RequestCharged": None, "Prefix": ODD_PREFIX}
    saved.write_text(json.dumps(document, ensure_ascii=ascii_only, indent=4) + "\n", encoding="utf-8")

    ends = [f"s3://{source}/{ODD_PREFIX}", f"s3://{destination}/{OTHER_PREFIX}"]
    done = fleetcopy("submit", *ends, "--queue", queue.url, "--from", str(saved))
    assert done.returncode == 0, done.stderr
    transfer = Transfer(
        Endpoint(bucket=source, prefix=ODD_PREFIX), Endpoint(bucket=destination, prefix=OTHER_PREFIX)
    )
    refs = drained(cloud, queue, transfer)
    assert sorted(ref.key for ref in refs) == sorted(str(row["Key"]) for row in rows)
    by_key = {row["Key"]: row for row in rows}
    for ref in refs:
        row = by_key[ref.key]
        assert (ref.size, f'"{ref.etag}"', ref.destination_etag) == (row["Size"], row["ETag"], "")
