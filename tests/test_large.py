"""Large objects for real: worker processes that are killed, messages that come twice, a source that changes.

Set FLEETCOPY_TEST_SEED to repeat a run, FLEETCOPY_TEST_ROUNDS for more or fewer rounds, and
FLEETCOPY_TEST_MIB for a larger object.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from tests.cloud import Cloud
from tests.processes import children, end_tree
from tests.transfers import Trial, wait_for
from worker.core.message import LargeTask, encode
from worker.core.model import Endpoint, ObjectRef, Transfer
from worker.core.parts import FAN_OUT_ABOVE, MIB, count

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261125"))
ROUNDS = int(os.environ.get("FLEETCOPY_TEST_ROUNDS", "20"))
SIZE = int(os.environ.get("FLEETCOPY_TEST_MIB", "512")) * MIB
PART = 16 * MIB
PARTS = count(SIZE, PART)
PATIENCE = 150 + SIZE // (16 * MIB)
"""Seconds for anything in a round."""

OPTIONS = ("--strategy", "stream", "--streams", "4", "--visibility-seconds", "4", "--drain-seconds", "5")


class Versions:
    """The versions of one large object, made once and copied into each round's source within S3."""

    def __init__(self, cloud: Cloud, size: int = SIZE, part: int = PART) -> None:
        self.cloud, self.size, self.part = cloud, size, part
        self._s3 = cloud.client("s3")
        self._bucket = cloud.bucket(f"origin-{uuid4().hex}")
        for seed in (1, 2):
            self._s3.put_object(Bucket=self._bucket, Key=str(seed), Body=Random(seed).randbytes(part))

    def put(self, bucket: str, key: str, first: int) -> ObjectRef:
        """Give the object a version of parts, each one of two, that starts with a part of its own."""
        bits = (first, *Random(first).choices((1, 2), k=count(self.size, self.part) - 1))
        upload = self._s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        rows = []
        for number, bit in enumerate(bits, 1):
            copied = self._s3.upload_part_copy(
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                CopySource={"Bucket": self._bucket, "Key": str(bit)},
            )
            rows.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
        done = self._s3.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": rows}
        )
        return ObjectRef(key, self.size, done["ETag"].strip('"'), 0, destination_etag="")


def own(trial: Trial, ref: ObjectRef) -> None:
    """Queue the task to own an object, which by its size a listing would not make one."""
    transfer = Transfer(
        Endpoint(bucket=trial.source, prefix="in/"), Endpoint(bucket=trial.destination, prefix="out/")
    )
    trial.cloud.client("sqs").send_message(
        QueueUrl=trial.queue.url, MessageBody=encode(LargeTask(transfer.id, ref))
    )


def uploads(trial: Trial) -> list[Any]:
    """Unfinished uploads of the destination."""
    found: list[Any] = (
        trial.cloud.client("s3", "eu-west-1")
        .list_multipart_uploads(Bucket=trial.destination)
        .get("Uploads", [])
    )
    return found


def rows(trial: Trial, operation: str) -> list[dict[str, Any]]:
    """The successful requests of a kind to the destination."""
    return [
        row
        for row in trial.cloud.journal()
        if row["operation"] == f"s3:{operation}"
        and row["bucket"] == trial.destination
        and row["status"] == 200
    ]


def run_round(cloud: Cloud, versions: Versions, random: Random) -> str:
    """One large object, three workers, two kills, one overwriting; a line that says how it went."""
    trial = Trial.fill(cloud, random, 0)
    held = [versions.put(trial.source, "in/large", 1)]
    own(trial, held[0])
    workers = [trial.start("--until-empty", "--empty-seconds", "3", *OPTIONS) for _ in range(3)]
    moments = sorted(random.randrange(PARTS) for _ in range(3))
    acts = random.sample(["kill", "kill", "overwrite"], 3)
    victims = random.sample(workers, 2)
    try:
        for moment, act in zip(moments, acts, strict=True):
            await_parts(trial, moment, workers)
            if act == "kill":
                end_tree(victims.pop().pid)
            else:
                held.append(versions.put(trial.source, "in/large", 2))
        lost = 0
        for worker in workers:
            _, err = worker.communicate(timeout=PATIENCE)
            lost += err.count('"lease lost"')
            assert worker.returncode in {0, -signal.SIGKILL}, err
            assert '"outcome":"failed"' not in err
    finally:
        end_all(workers)
    published = cloud.client("s3", "eu-west-1").head_object(Bucket=trial.destination, Key="out/large")
    assert published["ETag"].strip('"') in {one.etag for one in held}
    assert published["ContentLength"] == SIZE
    assert uploads(trial) == []
    assert trial.dead_letters() == 0
    assert sum(trial.messages().values()) == 0
    sent, begun = len(rows(trial, "UploadPart")), len(rows(trial, "CreateMultipartUpload"))
    # Nothing twice but what the two killed workers had in hand, a hint of two parts in each of four streams,
    # and the hints whose lease a busy machine let lapse.
    assert sent <= begun * PARTS + 2 * 4 * 2 + 2 * lost
    clear(trial)
    order = ", ".join(f"{act} at {moment}" for moment, act in zip(moments, acts, strict=True))
    return f"{order}; {begun} uploads, {sent} parts of {PARTS} sent"


def await_parts(trial: Trial, number: int, workers: list[subprocess.Popen[str]]) -> None:
    """Wait until so many parts have been sent, or all is over."""

    def there() -> bool:
        over = all(worker.poll() is not None for worker in workers)
        return over or len(rows(trial, "UploadPart")) >= number

    wait_for(there, PATIENCE, f"{number} parts", pause=0.1)


def end_all(workers: list[subprocess.Popen[str]]) -> None:
    """Leave none behind."""
    for worker in workers:
        if worker.poll() is None:
            end_tree(worker.pid)
        worker.wait()


def clear(trial: Trial) -> None:
    """Let the server's memory hold no more than one round."""
    s3 = trial.cloud.client("s3")
    s3.delete_object(Bucket=trial.source, Key="in/large")
    trial.cloud.client("s3", "eu-west-1").delete_object(Bucket=trial.destination, Key="out/large")


@pytest.mark.slow
def test_kills_duplicates_and_an_overwriting_leave_one_whole_version() -> None:
    seen: Counter[str] = Counter()
    with Cloud() as cloud:
        versions = Versions(cloud)
        cloud.fault("sqs:ReceiveMessage", "twice", times=None)
        seeds = range(SEED, SEED + ROUNDS)
        # They wait more than they work; but the server holds all of them in memory.
        with ThreadPoolExecutor(4 if SIZE <= 512 * MIB else 1) as pool:
            lines = pool.map(lambda seed: run_round(cloud, versions, Random(seed)), seeds)
            for seed, line in zip(seeds, lines, strict=True):
                seen[line.split(";")[0]] += 1
                print(f"seed {seed}: {line}", flush=True)
    assert len(seen) > ROUNDS // 2, "the rounds are all alike"


def peak(pids: Iterable[int]) -> int:
    """The most memory that one of these processes has had so far, in bytes."""
    found = [0]
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    return max(found)


@pytest.mark.slow
def test_a_copy_on_one_machine_takes_a_large_object_part_by_part() -> None:
    size = FAN_OUT_ABOVE + 5 * MIB
    with Cloud() as cloud:
        versions = Versions(cloud, size)
        trial = Trial.fill(cloud, Random(SEED), 3, (10,))
        ref = versions.put(trial.source, "in/large", 1)
        cloud.clear_journal()
        copy = trial.command.start("copy", *trial.ends, "--strategy", "stream", "--processes", "2")
        most = 0
        while copy.poll() is None:
            most = max(most, peak(children(copy.pid)))
            time.sleep(0.05)
        out, err = copy.communicate()
        assert copy.returncode == 0, err
        assert "4 copied" in out
        head = cloud.client("s3", "eu-west-1").head_object(Bucket=trial.destination, Key="out/large")
        assert head["ETag"].strip('"') == ref.etag
        assert len(rows(trial, "UploadPart")) == count(size, PART)
        assert uploads(trial) == []
        assert trial.verify() == "verdict: equal 4, different 0, missing 0, extra 0, unproven 0"
    print(f"{most / MIB:.0f} MiB at most in a worker process")
    assert most < 150 * MIB
