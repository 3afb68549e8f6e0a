"""`fleetcopy copy` as a user runs it: a whole transfer on one machine, whatever happens to it.

Set FLEETCOPY_TEST_SEED to repeat a run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from random import Random
from uuid import uuid4

import pytest

from tests.cloud import Cloud
from tests.conftest import Command
from tests.processes import alive, children
from tests.test_keys import ODD_PREFIX, OTHER_PREFIX
from tests.test_keys import fill as fill_with_odd_keys
from tests.transfers import Trial, wait_for

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261122"))


def filled(cloud: Cloud, objects: int, size: int = 100) -> Trial:
    print(f"seed {SEED}")
    trial = Trial.fill(cloud, Random(SEED), objects, [size])
    cloud.clear_journal()
    return trial


def copied(trial: Trial, *options: str) -> subprocess.CompletedProcess[str]:
    return trial.command("copy", *trial.ends, *options)


def all_there(trial: Trial, objects: int) -> None:
    assert trial.verify() == f"verdict: equal {objects}, different 0, missing 0, extra 0, unproven 0"


def test_a_whole_transfer(cloud: Cloud) -> None:
    trial = filled(cloud, 300)
    done = copied(trial, "--processes", "2")
    assert (done.returncode, done.stderr) == (0, "")
    listed, moved = done.stdout.splitlines()
    assert listed == "listed 300 objects: 300 copied, 0 equal, 0 failed"
    assert moved.startswith("moved 30,000 bytes in ")
    assert moved.endswith("; proofs: 300 md5")
    counts = cloud.counts()
    assert (counts["s3:GetObject"], counts["s3:PutObject"]) == (300, 300)
    at_start = {"s3:ListObjectsV2", "s3:GetObjectTagging", "s3:GetBucketEncryption"}
    assert set(counts) == {"s3:GetObject", "s3:PutObject", *at_start}
    all_there(trial, 300)


def test_s3_copies_by_itself_where_it_can(cloud: Cloud) -> None:
    trial = filled(cloud, 300)
    done = trial.command("copy", *trial.ends, "--processes", "2", FLEETCOPY_STRATEGY="")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("; proofs: 300 server-side\n")
    counts = cloud.counts()
    assert 300 < counts["s3:CopyObject"] <= 304, "each process finds out whether conditions are heeded"
    assert counts["s3:GetBucketWebsite"] <= 2
    assert not {"s3:GetObject", "s3:PutObject", "s3:HeadObject"} & set(counts)
    all_there(trial, 300)


def test_tags_that_may_not_be_read_are_not_lost_unnoticed(strict: Cloud) -> None:
    trial = filled(strict, 3)
    s3 = strict.client("s3")
    s3.put_object_tagging(
        Bucket=trial.source, Key="in/00001", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}
    )
    deny = {"Effect": "Deny", "Action": "s3:GetObjectTagging", "Resource": "*"}
    user = strict.user(f"user-{uuid4().hex}", {"Statement": [EVERYTHING_IS_ALLOWED, deny]})
    trial.command = Command(strict.environment(user))
    done = copied(trial)
    assert (done.returncode, done.stdout) == (3, "")
    assert "--tags ignore" in done.stderr
    assert trial.written() == []
    assert copied(trial, "--tags", "ignore").returncode == 0
    all_there(trial, 3)
    found = s3.get_object_tagging(Bucket=trial.destination, Key="out/00001")["TagSet"]
    assert found == []


def test_a_rerun_copies_only_what_differs(cloud: Cloud) -> None:
    trial = filled(cloud, 40)
    assert copied(trial).returncode == 0
    s3 = cloud.client("s3")
    s3.delete_object(Bucket=trial.destination, Key="out/00007")
    s3.put_object(Bucket=trial.source, Key="in/00011", Body=b"changed")
    cloud.clear_journal()
    done = copied(trial)
    assert done.returncode == 0
    assert "listed 40 objects: 2 copied, 38 equal, 0 failed" in done.stdout
    assert sorted(trial.written()) == ["out/00007", "out/00011"]
    all_there(trial, 40)


def test_nothing_to_copy(cloud: Cloud) -> None:
    trial = filled(cloud, 0)
    done = copied(trial)
    assert done.returncode == 0
    assert done.stderr.startswith(f"note: no object of s3://{trial.source}/in/ was found")
    assert "listed 0 objects: 0 copied, 0 equal, 0 failed" in done.stdout


def test_archived_objects_are_named(cloud: Cloud) -> None:
    trial = filled(cloud, 1)
    trial.cloud.client("s3").put_object(Bucket=trial.source, Key="in/cold", Body=b"x", StorageClass="GLACIER")
    done = copied(trial, "--strategy", "stream")
    assert done.returncode == 1
    assert "1 archived" in done.stdout
    assert "in/cold" in done.stderr
    assert "ObjectArchived" in done.stderr


def test_odd_keys_arrive(cloud: Cloud, fleetcopy: Command) -> None:
    source, destination = cloud.bucket(f"source-{uuid4().hex}"), cloud.bucket(f"destination-{uuid4().hex}")
    bodies = fill_with_odd_keys(cloud, source, ODD_PREFIX)
    ends = [f"s3://{source}/{ODD_PREFIX}", f"s3://{destination}/{OTHER_PREFIX}"]
    done = fleetcopy("copy", *ends)
    assert (done.returncode, done.stderr) == (0, "")
    s3 = cloud.client("s3")
    for key, body in bodies.items():
        there = s3.get_object(Bucket=destination, Key=OTHER_PREFIX + key)["Body"].read()
        assert there == body, ascii(key)
    assert fleetcopy("verify", *ends).stdout.startswith(
        f"verdict: equal {len(bodies)}, different 0, missing 0"
    )


def test_the_tasks_of_a_killed_worker_process_are_done_by_others(faulty: Cloud) -> None:
    trial = filled(faulty, 400)
    faulty.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=0.05)
    copy = trial.command.start("copy", *trial.ends, "--processes", "2")
    try:
        trial.await_writes(100)
        os.kill(children(copy.pid)[0], signal.SIGKILL)
        trial.await_writes(150)
        faulty.clear_faults()
        out, err = copy.communicate(timeout=60)
    finally:
        copy.kill()
        copy.wait()
    assert copy.returncode == 0, err
    assert "worker process died" in err
    assert "listed 400 objects: " in out
    assert ", 0 failed" in out
    written = trial.written()
    assert len(written) == len(set(written)), "written again"
    all_there(trial, 400)


@pytest.mark.slow
def test_all_worker_processes_killed_at_random_moments(faulty: Cloud) -> None:
    """Each is replaced, twice; nothing is lost."""
    random, trial = Random(SEED), filled(faulty, 300)
    faulty.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=0.03)
    copy = trial.command.start("copy", *trial.ends, "--processes", "2")
    try:
        for moment in sorted(random.sample(range(20, 250), 2)):
            trial.await_writes(moment)
            for child in children(copy.pid):
                os.kill(child, signal.SIGKILL)
        out, err = copy.communicate(timeout=60)
    finally:
        copy.kill()
        copy.wait()
    assert copy.returncode == 0, err
    assert ", 0 failed" in out
    all_there(trial, 300)


def test_ctrl_c_drains_and_a_rerun_finishes(faulty: Cloud) -> None:
    trial = filled(faulty, 400)
    faulty.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=0.05)
    copy = trial.command.start("copy", *trial.ends, "--processes", "2")
    try:
        trial.await_writes(50)
        copy.send_signal(signal.SIGINT)
        out, err = copy.communicate(timeout=12)
    finally:
        copy.kill()
        copy.wait()
    faulty.clear_faults()
    first = trial.written()
    assert copy.returncode == 130
    assert f"{len(first)} copied" in out, "each object under way was finished and counted"
    assert "the same command copies the rest" in err
    assert "Traceback" not in err
    assert 50 <= len(first) < 400
    done = copied(trial)
    assert done.returncode == 0
    assert f"{400 - len(first)} copied, {len(first)} equal" in done.stdout
    all_there(trial, 400)


def test_a_second_ctrl_c_ends_at_once(faulty: Cloud) -> None:
    trial = filled(faulty, 4)
    faulty.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=20)
    copy = trial.command.start("copy", *trial.ends, "--processes", "2")
    try:
        wait_for(lambda: len(children(copy.pid)) == 2, 20, "two worker processes")
        workers = children(copy.pid)
        wait_for(lambda: faulty.counts().get("s3:GetObject", 0) > 0, 20, "an object under way")
        copy.send_signal(signal.SIGINT)
        assert copy.stderr
        while "Ctrl-C again" not in copy.stderr.readline():
            pass
        copy.send_signal(signal.SIGINT)
        out, err = copy.communicate(timeout=5)
    finally:
        copy.kill()
        copy.wait()
    assert (copy.returncode, out) == (130, "")
    assert "Traceback" not in err
    wait_for(lambda: not any(map(alive, workers)), 5, "no worker process left")


def test_worker_processes_end_with_their_supervisor(faulty: Cloud) -> None:
    trial = filled(faulty, 4)
    faulty.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=20)
    copy = trial.command.start("copy", *trial.ends, "--processes", "2")
    try:
        wait_for(lambda: faulty.counts().get("s3:GetObject", 0) > 0, 20, "an object under way")
        workers = children(copy.pid)
    finally:
        copy.kill()
        copy.wait()
    assert workers
    wait_for(lambda: not any(map(alive, workers)), 5, "no worker process left")


def test_objects_that_fail_are_named_and_the_rest_arrives(faulty: Cloud) -> None:
    trial = filled(faulty, 30)
    for key in ("out/00003", "out/00008"):
        faulty.fault("s3:PutObject", "error", key=key, times=None, status=400, code="InvalidRequest")
    done = copied(trial)
    assert done.returncode == 1
    assert "listed 30 objects: 28 copied, 0 equal, 2 failed" in done.stdout
    named = sorted(line for line in done.stderr.splitlines() if line.startswith("failed  "))
    assert [line.split()[1] for line in named] == ["in/00003", "in/00008"]
    assert all("ObjectRefused: " in line and "InvalidRequest" in line for line in named)


def test_many_failures_are_counted_and_the_first_named(faulty: Cloud) -> None:
    trial = filled(faulty, 50)
    faulty.fault(
        "s3:PutObject", "error", bucket=trial.destination, times=None, status=400, code="InvalidRequest"
    )
    done = copied(trial, "--log-level", "error")
    assert done.returncode == 1
    assert "50 failed" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "failed  and 30 more"


def test_what_has_no_name_at_the_destination_is_told(cloud: Cloud) -> None:
    trial = filled(cloud, 2)
    cloud.client("s3").put_object(Bucket=trial.source, Key="in/", Body=b"its destination key would be empty")
    regions = ["--source-region", "us-east-1", "--destination-region", "eu-west-1"]
    done = trial.command("copy", *regions, f"s3://{trial.source}/in/", f"s3://{trial.destination}")
    assert done.returncode == 1
    assert done.stdout.startswith("listed 3 objects: 2 copied, 0 equal, 0 failed, 1 unnameable\n")
    assert done.stderr.startswith("unnameable  in/  (")


@pytest.mark.slow
def test_a_storm_of_503_is_sat_out(faulty: Cloud) -> None:
    trial = filled(faulty, 60)
    faulty.fault("s3:PutObject", "error", bucket=trial.destination, times=40, probability=0.5, seed=SEED)
    done = copied(trial)
    assert done.returncode == 0, done.stderr
    assert "60 copied" in done.stdout
    all_there(trial, 60)


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_bucket_that_is_missing(cloud: Cloud, side: str) -> None:
    trial = filled(cloud, 1)
    setattr(trial, side, f"missing-{uuid4().hex}")
    done = copied(trial)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"fleetcopy: list {side} s3://missing-")
    assert "NoSuchBucket" in done.stderr


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_side_that_may_not_be_listed(strict: Cloud, side: str) -> None:
    trial = filled(strict, 1)
    buckets = {"source": trial.source, "destination": trial.destination}
    arns = [f"arn:aws:s3:::{name}{end}" for who, name in buckets.items() if who != side for end in ("", "/*")]
    keys = strict.user(
        f"user-{uuid4().hex}", {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": arns}]}
    )
    trial.command = Command(strict.environment(keys))
    done = copied(trial)
    assert done.returncode == 3, done.stderr
    assert f"list {side} s3://" in done.stderr
    assert "AccessDenied" in done.stderr


EVERYTHING_IS_ALLOWED = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def denied(strict: Cloud, trial: Trial, *keys: str) -> Command:
    """The command, for a user who may not write these keys of the destination."""
    arns = [f"arn:aws:s3:::{trial.destination}/{key}" for key in keys]
    deny = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": arns}
    user = strict.user(f"user-{uuid4().hex}", {"Statement": [EVERYTHING_IS_ALLOWED, deny]})
    return Command(strict.environment(user))


@pytest.mark.slow
def test_a_few_objects_that_may_not_be_written_are_named(strict: Cloud) -> None:
    trial = filled(strict, 30)
    trial.command = denied(strict, trial, "out/00003", "out/00008")
    done = copied(trial)
    assert done.returncode == 1, done.stderr
    assert "listed 30 objects: 28 copied, 0 equal, 2 failed" in done.stdout
    named = sorted(line for line in done.stderr.splitlines() if line.startswith("failed  "))
    assert [line.split()[1] for line in named] == ["in/00003", "in/00008"]
    assert all("ObjectDenied: write destination" in line and "AccessDenied" in line for line in named)
    assert len(trial.written()) == 28


IMPATIENT = (
    "from worker import __main__; from worker.commands import copy; copy._GIVE_UP_SECONDS = 1.0; "
    "__main__.main()"
)


@pytest.mark.slow
def test_a_destination_that_takes_no_write_is_a_matter_of_permission(strict: Cloud) -> None:
    """No object is blamed where a worker process meets many of them; here after a second, else a minute."""
    trial = filled(strict, 25)
    command = denied(strict, trial, "*")
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, "copy", *trial.ends, "--processes", "1"],
        env=command.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "AccessDenied" in done.stderr
    assert "So far every object is denied" in done.stderr
    assert "failed  " not in done.stderr
    assert "Traceback" not in done.stderr
    assert trial.written() == []


PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>disorder</Name><Prefix></Prefix>
<KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>
<Contents><Key>b</Key><LastModified>2026-11-22T16:27:01.000Z</LastModified><ETag>"e"</ETag><Size>1</Size></Contents>
<Contents><Key>a</Key><LastModified>2026-11-22T16:27:01.000Z</LastModified><ETag>"e"</ETag><Size>1</Size></Contents>
</ListBucketResult>"""


class Disorder(BaseHTTPRequestHandler):
    """Lists every bucket out of order, as some S3 look-alikes do."""

    def do_GET(self) -> None:
        """Answer a listing; there is nothing else."""
        body = PAGE.encode()
        self.send_response(200 if "list-type=2" in self.path else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def test_a_listing_out_of_order_ends_it(cloud: Cloud) -> None:
    trial = filled(cloud, 0)
    with HTTPServer(("127.0.0.1", 0), Disorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = trial.command(
            "copy", "s3://disorder", f"s3://{trial.destination}/out/", "--source-endpoint-url", url
        )
        server.shutdown()
    assert (done.returncode, done.stdout) == (2, "")
    assert "key 'a' stands after 'b', out of order" in done.stderr


def test_the_log_is_text_and_shows_tasks_at_info(cloud: Cloud) -> None:
    trial = filled(cloud, 3)
    done = copied(trial, "--log-level", "info", "--processes", "1")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert any(line.startswith("info: ready, streams 16") for line in lines)
    assert any(line.startswith("info: task, task in/00000, attempt 0") for line in lines)


def test_a_queue_is_not_asked_for(cloud: Cloud) -> None:
    done = copied(filled(cloud, 1), "--queue", "https://queue.example/tasks")
    assert done.returncode == 2
    assert "--queue" in done.stderr
