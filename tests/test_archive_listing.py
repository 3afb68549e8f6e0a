"""The listing of a real archive, 101,215 objects in 486 saved files, through submit, the queue and a copy.

The files are not part of the project: where they are absent these tests skip, and CI does not let them.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from tests.cloud import Cloud, Queues
from tests.conftest import Command
from tests.transfers import wait_for
from worker.core.message import Task, decode
from worker.core.model import Endpoint, Transfer
from worker.flow.send import BLOCK

LISTING = Path(__file__).resolve().parents[2] / "shared" / "data" / "nexrad-listing"
SEED = 1991
OBJECTS = 101_215
SLICE = "1991/06/05/"

pytestmark = pytest.mark.skipif(not LISTING.is_dir(), reason=f"no {LISTING}")


def rows() -> list[dict[str, Any]]:
    """The listing, read independently of the product."""
    files = sorted(LISTING.glob("*.json.gz"))
    return [row for file in files for row in json.loads(gzip.decompress(file.read_bytes()))["Contents"]]


def drain(cloud: Cloud, queue: Queues, transfer: Transfer) -> list[Task]:
    """Receive, decode and delete all that the queue holds."""
    sqs = cloud.client("sqs")
    tasks: list[Task] = []
    while messages := sqs.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10).get("Messages"):
        tasks += [decode(message["Body"], transfer) for message in messages]
        sqs.delete_message_batch(
            QueueUrl=queue.url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                for number, message in enumerate(messages)
            ],
        )
    return tasks


def test_every_real_key_comes_out_of_the_queue_as_it_was_listed(
    cloud: Cloud, fleetcopy: Command, bucket: str, queue: Queues
) -> None:
    ends = ["s3://noaa-nexrad-level2", f"s3://{bucket}/copy/"]
    done = fleetcopy("submit", *ends, "--queue", queue.url, "--from", str(LISTING))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"listed {OBJECTS:,} objects: {OBJECTS:,} copy, 0 equal, 0 too large, 0 unnameable\n"
    )
    transfer = Transfer(Endpoint(bucket="noaa-nexrad-level2"), Endpoint(bucket=bucket, prefix="copy/"))
    refs = [ref for task in drain(cloud, queue, transfer) for ref in task.objects]
    found = {ref.key: (ref.size, ref.etag, ref.storage_class, ref.destination_etag) for ref in refs}
    listed = {row["Key"]: (row["Size"], row["ETag"][1:-1], row["StorageClass"], "") for row in rows()}
    assert len(refs) == len(listed) == OBJECTS
    assert found == listed


@pytest.mark.slow
def test_its_submission_is_killed_half_way_and_goes_on(
    cloud: Cloud, fleetcopy: Command, bucket: str, queue: Queues, tmp_path: Path
) -> None:
    words = ["submit", "s3://noaa-nexrad-level2", f"s3://{bucket}/copy/", "--from", str(LISTING)]
    words += ["--queue", queue.url, "--checkpoint", str(tmp_path / "how-far")]
    cloud.clear_journal()
    cloud.fault("sqs:SendMessageBatch", "delay", times=None, seconds=0.1)
    killed = fleetcopy.start(*words)
    wait_for(
        lambda: cloud.counts().get("sqs:SendMessageBatch", 0) > 1.5 * BLOCK / 10, 60, "half of the tasks"
    )
    killed.kill()
    killed.communicate()
    cloud.clear_faults()
    transfer = Transfer(Endpoint(bucket="noaa-nexrad-level2"), Endpoint(bucket=bucket, prefix="copy/"))
    first = drain(cloud, queue, transfer)
    done = fleetcopy(*words)
    assert done.returncode == 0, done.stderr
    second = {ref.key for task in drain(cloud, queue, transfer) for ref in task.objects}
    again = sum(task.objects[0].key in second for task in first)
    print(f"killed with {len(first)} tasks sent, of which {again} were sent again")
    assert 0 < again <= BLOCK
    sent = second | {ref.key for task in first for ref in task.objects}
    assert sent == {row["Key"] for row in rows()}


def test_a_slice_of_the_archive_is_copied_and_verified(
    cloud: Cloud, fleetcopy: Command, queue: Queues
) -> None:
    """Bytes are made up, so that every ETag has changed since the listing: each is copied as it is now."""
    source = cloud.bucket(f"archive-{uuid4().hex}", "us-east-1")
    destination = cloud.bucket(f"copy-{uuid4().hex}", "eu-west-1")
    s3, random = cloud.client("s3"), Random(SEED)
    listed = [row for row in rows() if row["Key"].startswith(SLICE)]
    for row in listed:
        s3.put_object(Bucket=source, Key=row["Key"], Body=random.randbytes(row["Size"]))
    ends = [f"s3://{source}/{SLICE}", f"s3://{destination}/copy/", "--source-region", "us-east-1"]
    ends += ["--destination-region", "eu-west-1"]
    done = fleetcopy("submit", *ends, "--queue", queue.url, "--from", str(LISTING))
    assert done.returncode == 0, done.stderr
    done = fleetcopy("work", *ends, "--queue", queue.url, "--until-empty", "--empty-seconds", "1")
    assert done.returncode == 0, done.stderr
    done = fleetcopy("verify", *ends)
    assert done.returncode == 0, done.stdout
    counts = f"equal {len(listed)}, different 0, missing 0, extra 0, unproven 0"
    assert done.stdout == f"verdict: {counts}\n"
    assert len(listed) > 50
