"""Workers as real processes on a queue that holds anything: what cannot succeed goes aside, the rest arrives.

Set FLEETCOPY_TEST_SEED to repeat a run.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, Self
from uuid import uuid4

import msgspec
import pytest

from tests.cloud import Cloud, metadata
from tests.conftest import Command
from tests.processes import alive, children
from tests.transfers import Trial, wait_for
from worker.core.message import CopyTask, decode, encode
from worker.core.model import Endpoint, ObjectRef, Transfer

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261122"))
EMPTY = ("--until-empty", "--empty-seconds", "1")


class Worker:
    """A running `fleetcopy work`, its log read line by line as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log so far; every line of it is JSON, but for the command's last word."""
        return [json.loads(line) for line in list(self.lines) if not line.startswith("fleetcopy: ")]

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """Log lines of one event, those with these fields."""
        return [line for line in self.log if line["event"] == name and fields.items() <= line.items()]

    def ended(self, seconds: float = 60) -> int:
        """The exit code, once there is one, and the whole log with it."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def counted(self, what: str) -> int:
        """A total that the worker processes reported at their end."""
        return sum(line.get(what, 0) for line in self.events("stopped"))


def ends_of(trial: Trial) -> Transfer:
    return Transfer(
        Endpoint(bucket=trial.source, prefix="in/"), Endpoint(bucket=trial.destination, prefix="out/")
    )


def run(trial: Trial, *options: str) -> Worker:
    """Work until the queue is empty; the ended worker."""
    with Worker(trial.start(*EMPTY, *options)) as worker:
        worker.ended()
    return worker


def started(trial: Trial, *options: str) -> Worker:
    return Worker(trial.start(*options))


def fill(cloud: Cloud, objects: int, sizes: Iterable[int] = (100,)) -> Trial:
    return Trial.fill(cloud, Random(SEED), objects, sizes)


def etags(trial: Trial, bucket: str) -> dict[str, str]:
    """ETags by key without its prefix; these buckets' are digests."""
    pages = trial.cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    rows = [row for page in pages for row in page.get("Contents", [])]
    return {row["Key"].partition("/")[2]: row["ETag"] for row in rows}


def proven(trial: Trial, objects: int) -> None:
    """The queue is empty, and both sides are equal."""
    assert trial.messages() == {"visible": 0, "in_flight": 0, "delayed": 0}
    source = etags(trial, trial.source)
    assert len(source) == objects
    assert etags(trial, trial.destination) == source


def letters(trial: Trial) -> list[tuple[str, dict[str, str]]]:
    """Body and attributes of every dead letter."""
    sqs, found = trial.cloud.client("sqs"), []
    url = trial.queue.dead_letter_url
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in messages:
            attributes = message.get("MessageAttributes", {})
            texts = {name: value["StringValue"] for name, value in attributes.items()}
            found.append((message["Body"], texts))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def send(trial: Trial, *bodies: str) -> None:
    for body in bodies:
        trial.cloud.client("sqs").send_message(QueueUrl=trial.queue.url, MessageBody=body)


def row_of(trial: Trial, key: str) -> ObjectRef:
    head = trial.cloud.client("s3").head_object(Bucket=trial.source, Key=key)
    when = int(head["LastModified"].timestamp())
    return ObjectRef(key, head["ContentLength"], head["ETag"].strip('"'), when, destination_etag="")


def task_of(trial: Trial, keys: Iterable[str], attempt: int = 0) -> str:
    """A message for objects of the source."""
    return encode(CopyTask(ends_of(trial).id, tuple(row_of(trial, key) for key in keys), attempt))


def tasks_of(trial: Trial, objects: int) -> list[str]:
    """Messages for all objects, ten in each, as `submit` would send them."""
    keys = [f"in/{number:05}" for number in range(objects)]
    return [task_of(trial, keys[first : first + 10]) for first in range(0, objects, 10)]


def received_often(trial: Trial, times: int) -> None:
    """Receive the queue's messages, and let them go again."""
    sqs = trial.cloud.client("sqs")
    for _ in range(times):
        messages = sqs.receive_message(QueueUrl=trial.queue.url, MaxNumberOfMessages=10, VisibilityTimeout=0)[
            "Messages"
        ]
        assert messages


# --- messages that are no tasks

Change = Callable[[dict[str, Any]], None]

NOT_TASKS: list[tuple[str, str, Change | str]] = [
    ("NotJSON", "text", "copy everything, please"),
    ("NotJSON", "cut-short", '{"v":1,"kind":"copy"'),
    ("NotJSON", "array", "[1,2,3]"),
    ("NotJSON", "number", "1"),
    ("UnknownVersion", "newer", lambda task: task.update(v=2)),
    ("UnknownVersion", "text-version", lambda task: task.update(v="1")),
    ("UnknownVersion", "no-version", lambda task: task.pop("v")),
    ("UnknownKind", "other-kind", lambda task: task.update(kind="move")),
    ("UnknownKind", "no-kind", lambda task: task.pop("kind")),
    ("UnknownTransfer", "other-transfer", lambda task: task.update(transfer="0" * 16)),
    ("UnknownTransfer", "no-transfer", lambda task: task.pop("transfer")),
    ("ForeignKey", "other-prefix", lambda task: task.update(common_prefix="secret/")),
    ("ForeignKey", "whole-bucket", lambda task: task.update(common_prefix="")),
    ("Malformed", "no-objects", lambda task: task.update(objects=[])),
    ("Malformed", "not-a-row", lambda task: task.update(objects=["a"])),
    ("Malformed", "short-row", lambda task: task.update(objects=[["a", 1]])),
    ("Malformed", "text-size", lambda task: task["objects"][0].__setitem__(1, "big")),
    ("Malformed", "negative-size", lambda task: task["objects"][0].__setitem__(1, -1)),
    ("Malformed", "negative-attempt", lambda task: task.update(attempt=-1)),
    ("Malformed", "text-attempt", lambda task: task.update(attempt="0")),
    ("Malformed", "no-attempt", lambda task: task.pop("attempt")),
]


def test_what_is_no_task_goes_to_the_dead_letter_queue_and_the_rest_is_copied(cloud: Cloud) -> None:
    trial = fill(cloud, 40)
    good = json.loads(task_of(trial, ["in/00000", "in/00001"]))
    sent: dict[str, str] = {}
    for reason, _, change in NOT_TASKS:
        if isinstance(change, str):
            body = change
        else:
            task = json.loads(json.dumps(good))
            change(task)
            body = json.dumps(task)
        sent[body] = reason
    assert len(sent) == len(NOT_TASKS)
    bodies = list(sent)
    send(trial, *bodies[::2])
    trial.submit()
    send(trial, *bodies[1::2])

    worker = run(trial)

    assert worker.ended() == 1
    proven(trial, 40)
    dead = letters(trial)
    assert {body: attributes["Reason"] for body, attributes in dead} == sent
    assert len(dead) == len(NOT_TASKS)
    for _, attributes in dead:
        assert attributes.keys() == {"Reason", "Detail", "Transfer"}
        assert attributes["Transfer"] == ends_of(trial).id
        assert attributes["Detail"].startswith(("the message", "key "))
    assert len(worker.events("rejected")) == len(NOT_TASKS)
    assert worker.counted("dead_letters") == len(NOT_TASKS)


@pytest.mark.slow
def test_unknown_fields_of_a_newer_release_are_no_matter(cloud: Cloud) -> None:
    trial = fill(cloud, 1)
    task = json.loads(task_of(trial, ["in/00000"]))
    task["priority"] = "high"
    task["objects"][0].append({"acl": "private"})
    send(trial, json.dumps(task))
    assert run(trial).ended() == 0
    proven(trial, 1)
    assert trial.dead_letters() == 0


# --- objects that fail


@pytest.mark.slow
def test_the_fifth_failing_attempt_is_the_last(faulty: Cloud) -> None:
    trial = fill(faulty, 12)
    faulty.fault("s3:PutObject", "error", bucket=trial.destination, key="out/00003", times=None)
    send(trial, task_of(trial, [f"in/{number:05}" for number in range(12)], attempt=4))
    worker = run(trial)
    assert worker.ended() == 1
    ((body, attributes),) = letters(trial)
    assert attributes.keys() == {"Reason", "Detail", "Key", "Transfer"}
    assert (attributes["Reason"], attributes["Key"]) == ("ServiceUnavailable", "in/00003")
    assert "SlowDown" in attributes["Detail"]
    task = decode(body, ends_of(trial))
    assert ([ref.key for ref in task.objects], task.attempt) == (["in/00003"], 0)
    assert len(trial.written()) == 11


@pytest.mark.slow
def test_an_attempt_before_the_last_is_tried_again(faulty: Cloud) -> None:
    trial = fill(faulty, 12)
    faulty.fault("s3:PutObject", "error", bucket=trial.destination, key="out/00003", times=4)
    trial.submit()
    worker = run(trial)
    assert worker.ended() == 0
    assert [line["reason"] for line in worker.events("object")] == ["ServiceUnavailable"]
    assert sorted(line["attempt"] for line in worker.events("task")) == [0, 1]
    proven(trial, 12)
    assert trial.dead_letters() == 0


def denying(strict: Cloud, trial: Trial, *statements: dict[str, object]) -> None:
    """Let the trial's commands run as a user who may do all but this."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    keys = strict.user(f"user-{uuid4().hex}", {"Statement": [everything, *statements]})
    trial.command = Command(strict.environment(keys))


@pytest.mark.parametrize(
    ("action", "denied"),
    [
        ("s3:GetObject", "{source}/in/00007"),
        pytest.param("s3:PutObject", "{destination}/out/00007", marks=pytest.mark.slow),
    ],
)
def test_one_denied_object_among_many_goes_aside_at_once(strict: Cloud, action: str, denied: str) -> None:
    trial = fill(strict, 60)
    resource = denied.format(source=trial.source, destination=trial.destination)
    denying(strict, trial, {"Effect": "Deny", "Action": action, "Resource": f"arn:aws:s3:::{resource}"})
    trial.submit()
    strict.clear_journal()
    worker = run(trial)
    assert worker.ended() == 1
    ((body, attributes),) = letters(trial)
    assert attributes.keys() == {"Reason", "Detail", "Key", "Transfer"}
    assert (attributes["Reason"], attributes["Key"]) == ("ObjectDenied", "in/00007")
    assert "AccessDenied" in attributes["Detail"]
    assert [ref.key for ref in decode(body, ends_of(trial)).objects] == ["in/00007"]
    assert not worker.events("endpoint out of order")
    assert len(trial.written()) == 59
    tried = [row for row in strict.journal() if row["operation"] == action and row["key"][-5:] == "00007"]
    assert len(tried) == 1
    assert etags(trial, trial.source).items() > etags(trial, trial.destination).items()


@pytest.mark.slow
def test_a_denied_object_alone_in_the_queue_goes_aside(strict: Cloud) -> None:
    trial = fill(strict, 3)
    denying(
        strict,
        trial,
        {"Effect": "Deny", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{trial.source}/*"},
    )
    trial.submit()
    assert run(trial).ended() == 1
    assert sorted(attributes["Key"] for _, attributes in letters(trial)) == [
        "in/00000", "in/00001", "in/00002"
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject"])
def test_when_all_is_denied_the_endpoint_is_blamed_and_nothing_is_lost(strict: Cloud, action: str) -> None:
    trial = fill(strict, 50)
    allowed = trial.command
    denying(strict, trial, {"Effect": "Deny", "Action": action, "Resource": "*"})
    trial.submit()
    with started(trial) as worker:
        wait_for(lambda: bool(worker.events("endpoint out of order")), 30, "the endpoint blamed")
        wait_for(lambda: bool(worker.events("probe")), 30, "a probe")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.ended(30) == 0
    assert "denied" in worker.events("endpoint out of order")[0]["why"]
    assert trial.dead_letters() == 0
    counts = trial.messages()
    assert counts["in_flight"] == 0
    assert counts["visible"] + counts["delayed"] > 0
    assert trial.written() == []
    trial.command = allowed
    assert run(trial).ended() == 0
    proven(trial, 50)


# --- sources and destinations that change after the plan


def test_what_changes_after_the_plan(cloud: Cloud) -> None:
    """Gone is an outcome; overwritten arrives as it is now; an equal object is left alone."""
    trial = fill(cloud, 8)
    s3 = cloud.client("s3")
    s3.put_object(Bucket=trial.source, Key="in/archived", Body=b"cold", StorageClass="GLACIER")
    trial.submit()
    s3.delete_object(Bucket=trial.source, Key="in/00001")
    s3.put_object(Bucket=trial.source, Key="in/00002", Body=b"another version", ContentType="text/new")
    equal = s3.get_object(Bucket=trial.source, Key="in/00003")["Body"].read()
    s3.put_object(Bucket=trial.destination, Key="out/00003", Body=equal, Metadata={"by": "another"})
    s3.put_object(Bucket=trial.destination, Key="out/00004", Body=b"neither")
    cloud.clear_journal()

    worker = run(trial)

    assert worker.ended() == 0
    counts = {what: worker.counted(what) for what in ("copied", "gone", "skipped", "archived", "failed")}
    assert counts == {"copied": 6, "gone": 1, "skipped": 1, "archived": 1, "failed": 0}
    overwritten = s3.get_object(Bucket=trial.destination, Key="out/00002")
    assert (overwritten["Body"].read(), overwritten["ContentType"]) == (b"another version", "text/new")
    assert s3.head_object(Bucket=trial.destination, Key="out/00003")["Metadata"] == {"by": "another"}
    assert "out/00003" not in trial.written()
    assert trial.dead_letters() == 0
    s3.delete_object(Bucket=trial.source, Key="in/archived")
    proven(trial, 7)


@pytest.mark.slow
@pytest.mark.parametrize("seen", ["", "0" * 32], ids=["absent-before", "older-before"])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_bucket_that_vanishes_loses_no_task(faulty: Cloud, side: str, seen: str) -> None:
    """Also where the plan saw older objects at the destination, so that each copy begins with a look."""
    trial = fill(faulty, 5)
    rows = [msgspec.structs.replace(row_of(trial, f"in/{n:05}"), destination_etag=seen) for n in range(5)]
    bucket = trial.source if side == "source" else trial.destination
    with started(trial) as worker:
        wait_for(lambda: bool(worker.events("ready")), 20, "a worker that found both buckets")
        for operation in ("HeadObject", "GetObject", "PutObject", "ListObjectsV2"):
            faulty.fault(
                f"s3:{operation}", "error", bucket=bucket, times=None, status=404, code="NoSuchBucket"
            )
        send(trial, encode(CopyTask(ends_of(trial).id, tuple(rows))))
        wait_for(
            lambda: bool(worker.events("endpoint out of order") or worker.events("task")), 30, "a verdict"
        )
        worker.process.send_signal(signal.SIGTERM)
        assert worker.ended(30) == 0
        assert worker.events("endpoint out of order")
    faulty.clear_faults()
    assert trial.dead_letters() == 0
    assert sum(trial.messages().values()) == 1
    assert run(trial).ended() == 0
    proven(trial, 5)


# --- SQS that fails; the first answer botocore tries again, the second reaches us.

answers = pytest.mark.parametrize(
    ("status", "code"),
    [(503, "ServiceUnavailable"), pytest.param(400, "InvalidAddress", marks=pytest.mark.slow)],
)


@pytest.mark.slow
def test_a_hand_over_whose_entries_fail_loses_nothing(faulty: Cloud) -> None:
    """A task that comes for the fourth time is handed over as two halves."""
    trial = fill(faulty, 10)
    send(trial, *tasks_of(trial, 10))
    received_often(trial, 3)
    faulty.fault("sqs:SendMessageBatch", "fail_entries", times=3)
    faulty.clear_journal()
    worker = run(trial)
    assert worker.ended() == 0
    assert faulty.counts()["sqs:SendMessageBatch"] >= 4
    assert len(worker.events("task", received=4)) == 1
    assert worker.counted("copied") == 10
    proven(trial, 10)
    assert trial.dead_letters() == 0


@pytest.mark.slow
@answers
def test_a_hand_over_that_fails_as_a_whole_loses_nothing(faulty: Cloud, status: int, code: str) -> None:
    trial = fill(faulty, 10)
    send(trial, *tasks_of(trial, 10))
    received_often(trial, 3)
    faulty.fault("sqs:SendMessageBatch", "error", times=2, status=status, code=code)
    assert run(trial).ended() == 0
    proven(trial, 10)
    assert trial.dead_letters() == 0


@answers
def test_a_delete_that_fails_twice_is_tried_again(faulty: Cloud, status: int, code: str) -> None:
    trial = fill(faulty, 10)
    send(trial, *tasks_of(trial, 10))
    faulty.fault("sqs:DeleteMessage", "error", times=2, status=status, code=code)
    faulty.clear_journal()
    worker = run(trial)
    assert worker.ended() == 0
    assert faulty.counts()["sqs:DeleteMessage"] == 3
    assert len(worker.events("task")) == 1
    assert len(trial.written()) == 10
    proven(trial, 10)
    assert trial.dead_letters() == 0


@pytest.mark.slow
@answers
def test_a_receive_that_fails_is_tried_again(faulty: Cloud, status: int, code: str) -> None:
    trial = fill(faulty, 10)
    send(trial, *tasks_of(trial, 10))
    faulty.fault("sqs:ReceiveMessage", "error", times=3, status=status, code=code)
    assert run(trial).ended() == 0
    proven(trial, 10)
    assert trial.dead_letters() == 0


@pytest.mark.slow
def test_a_heartbeat_that_fails_costs_at_most_a_second_delivery(faulty: Cloud) -> None:
    trial = fill(faulty, 3, sizes=[1000])
    trial.submit()
    faulty.fault("sqs:ChangeMessageVisibilityBatch", "error", times=2, status=400, code="InvalidAddress")
    faulty.fault("s3:PutObject", "delay", bucket=trial.destination, times=3, seconds=3)
    worker = run(trial)
    assert worker.ended() == 0
    assert worker.events("heartbeat failed")
    proven(trial, 3)
    assert trial.dead_letters() == 0


@pytest.mark.slow
def test_every_message_delivered_twice_changes_nothing(faulty: Cloud) -> None:
    trial = fill(faulty, 80, sizes=[0, 10, 50_000])
    send(trial, *tasks_of(trial, 80))
    faulty.fault("sqs:ReceiveMessage", "duplicate", times=None, probability=0.5, seed=SEED)
    print(f"seed {SEED}")
    with Worker(trial.start(*EMPTY)) as one, Worker(trial.start(*EMPTY)) as two:
        assert (one.ended(), two.ended()) == (0, 0)
    proven(trial, 80)
    assert trial.dead_letters() == 0
    assert len(set(trial.written())) == 80


# --- processes that die


def slowly(cloud: Cloud, trial: Trial, seconds: float = 1.0) -> None:
    """Let the destination take its time, so that there is something to interrupt."""
    cloud.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=seconds)


@pytest.mark.slow
def test_a_worker_process_that_is_killed_is_replaced(faulty: Cloud) -> None:
    trial = fill(faulty, 20)
    slowly(faulty, trial)
    send(trial, *tasks_of(trial, 20))
    with Worker(trial.start(*EMPTY)) as worker:
        wait_for(lambda: trial.messages()["in_flight"] > 0, 20, "a task in flight")
        (victim,) = children(worker.process.pid)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: bool(worker.events("worker process died", pid=victim)), 10, "the death noticed")
        faulty.clear_faults()
        assert worker.ended() == 0
    assert len(worker.events("ready")) == 2
    proven(trial, 20)
    assert trial.dead_letters() == 0


@pytest.mark.slow
def test_a_supervisor_that_is_killed_leaves_no_process(faulty: Cloud) -> None:
    trial = fill(faulty, 20)
    slowly(faulty, trial)
    send(trial, *tasks_of(trial, 20))
    with Worker(trial.start("--processes", "2", "--drain-seconds", "10")) as worker:
        wait_for(lambda: trial.messages()["in_flight"] > 0, 20, "a task in flight")
        orphans = children(worker.process.pid)
        assert len(orphans) == 2
        worker.process.kill()
        worker.process.wait()
        wait_for(lambda: not any(map(alive, orphans)), 12, "the worker processes ended")
    assert trial.messages()["in_flight"] == 0
    faulty.clear_faults()
    written = trial.written()
    assert run(trial).ended() == 0
    assert sorted(trial.written()) == sorted(set(trial.written()))
    assert set(written) <= set(trial.written())
    proven(trial, 20)


@pytest.mark.slow
def test_worker_processes_that_die_at_once_end_the_worker(cloud: Cloud) -> None:
    trial = fill(cloud, 1)
    killed: set[int] = set()

    def kill_the_next() -> bool:
        for child in set(children(worker.process.pid)) - killed:
            os.kill(child, signal.SIGKILL)
            killed.add(child)
        return worker.process.poll() is not None

    with started(trial) as worker:
        wait_for(lambda: bool(worker.events("ready")), 20, "a worker process")
        wait_for(kill_the_next, 40, "an end of restarts")
        assert worker.ended() == 4
    assert len(killed) == 6
    assert "crashes in a minute" in worker.lines[-1]


# --- settings and logs


@pytest.mark.slow
def test_the_environment_says_all_that_options_say(cloud: Cloud) -> None:
    trial = fill(cloud, 8)
    environment = {
        "FLEETCOPY_QUEUE_URL": trial.queue.url,
        "FLEETCOPY_STREAMS": "3",
        "FLEETCOPY_PROCESSES": "2",
        "FLEETCOPY_VISIBILITY_SECONDS": "3",
        "FLEETCOPY_DRAIN_SECONDS": "9",
        "FLEETCOPY_EMPTY_SECONDS": "1",
        "FLEETCOPY_LOG_LEVEL": "debug",
        "FLEETCOPY_SOURCE": f"s3://{trial.source}/in/",
        "FLEETCOPY_SOURCE_REGION": "us-east-1",
        "FLEETCOPY_SOURCE_CREDENTIALS": "default",
        "FLEETCOPY_DESTINATION": f"s3://{trial.destination}/out/",
        "FLEETCOPY_DESTINATION_REGION": "eu-west-1",
        "FLEETCOPY_DESTINATION_CREDENTIALS": "default",
    }
    done = trial.command("submit", **environment)
    assert done.returncode == 0, done.stderr
    with Worker(trial.command.start("work", "--until-empty", **environment)) as worker:
        assert worker.ended() == 0
    assert [line["streams"] for line in worker.events("ready")] == [3, 3]
    assert {line["seconds"] for line in worker.events("draining")} == {9.0}
    assert {line["seconds"] for line in worker.events("queue empty")} == {1}
    assert len(worker.events("object", level="debug", outcome="copied", proof="md5")) == 8
    proven(trial, 8)
    assert trial.command("verify", **environment).returncode == 0


@pytest.mark.slow
def test_an_option_outranks_the_environment(cloud: Cloud) -> None:
    trial = fill(cloud, 1)
    trial.command = Command(cloud.environment() | {"FLEETCOPY_STREAMS": "3"})
    worker = run(trial, "--streams", "5")
    assert [line["streams"] for line in worker.events("ready")] == [5]


@pytest.mark.slow
def test_the_log_names_what_happened_and_no_secret(cloud: Cloud) -> None:
    trial = fill(cloud, 4)
    trial.submit()
    worker = run(trial, "--log-level", "debug")
    assert worker.ended() == 0
    for line in worker.log:
        assert {"ts", "level", "event"} <= line.keys()
    (task,) = worker.events("task")
    assert (task["copied"], task["md5"], task["bytes"], task["attempt"]) == (4, 4, 400, 0)
    assert task["transfer"] == ends_of(trial).id
    assert cloud.keys.secret_access_key not in "".join(worker.lines).replace(cloud.url, "")


@pytest.mark.slow
def test_warnings_alone_when_asked(cloud: Cloud) -> None:
    trial = fill(cloud, 4)
    trial.submit()
    send(trial, "not a task")
    worker = run(trial, "--log-level", "warning")
    assert worker.ended() == 1
    assert [line["event"] for line in worker.log] == ["rejected"]


def test_the_log_goes_to_cloudwatch_as_well(cloud: Cloud) -> None:
    trial = fill(cloud, 6)
    trial.submit()
    logs, group = cloud.client("logs"), f"/fleetcopy/{uuid4().hex}"
    logs.create_log_group(logGroupName=group)
    worker = run(trial, "--log-group", group)
    assert worker.ended() == 0
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    sent = logs.get_log_events(
        logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, limit=10_000
    )["events"]
    assert [json.loads(event["message"]) for event in sent] == worker.log
    assert {"ready", "task", "stopped"} <= {line["event"] for line in worker.log}
    assert "/" in stream["logStreamName"]


STREAMS = {
    "an-instance": ("i-0123456789abcdef0", [], "i-0123456789abcdef0"),
    "no-id": (None, [], socket.gethostname()),
    "an-id-that-is-none": ("not: a *name*", [], socket.gethostname()),
    "metadata-out-of-order": ("i-0123456789abcdef0", [503], socket.gethostname()),
    "metadata-that-hangs": ("i-0123456789abcdef0", [0], socket.gethostname()),
}


@pytest.mark.parametrize(
    "case",
    ["an-instance", "metadata-that-hangs"]
    + [
        pytest.param(case, marks=pytest.mark.slow)
        for case in ("no-id", "an-id-that-is-none", "metadata-out-of-order")
    ],
)
def test_the_log_stream_is_the_instance_s_and_its_boot_s(cloud: Cloud, case: str) -> None:
    instance, faults, name = STREAMS[case]
    trial = fill(cloud, 1)
    logs, group = cloud.client("logs"), f"/fleetcopy/{uuid4().hex}"
    logs.create_log_group(logGroupName=group)
    with metadata.Metadata() as server:
        if instance:
            server.values["meta-data/instance-id"] = instance
        server.faults.extend(faults)
        environment = {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url,
        }
        trial.command = Command(cloud.environment() | environment)
        with Worker(trial.start("--spot-notices", "on", "--log-group", group)) as worker:
            wait_for(lambda: bool(worker.events("ready")), 20, "a worker process")
            worker.process.terminate()
            assert worker.ended() == 0
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["logStreamName"] == f"{name}/{boot}"


def test_cloudwatch_hears_why_a_worker_ended(cloud: Cloud) -> None:
    trial = fill(cloud, 1)
    trial.destination = f"no-such-{uuid4().hex}"
    logs, group = cloud.client("logs"), f"/fleetcopy/{uuid4().hex}"
    logs.create_log_group(logGroupName=group)
    with Worker(trial.start("--log-group", group)) as worker:
        assert worker.ended() == 3
    (event,) = logs.filter_log_events(logGroupName=group)["events"]
    line = json.loads(event["message"])
    assert (line["event"], line["reason"]) == ("ended by a fault", "Configuration")
    assert trial.destination in line["why"]


def test_a_missing_log_group_is_said_at_once(cloud: Cloud) -> None:
    trial = fill(cloud, 1)
    trial.submit()
    done = trial.command("work", *trial.ends, "--queue", trial.queue.url, "--log-group", "/no/such")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("fleetcopy: ")]
    assert "/no/such" in line
    assert "ResourceNotFoundException" in line
    assert "Check its name" in line
    assert trial.messages() == {"visible": 1, "in_flight": 0, "delayed": 0}


@pytest.mark.slow
def test_cloudwatch_out_of_order_stops_no_copy(faulty: Cloud) -> None:
    trial = fill(faulty, 6)
    trial.submit()
    logs, group = faulty.client("logs"), f"/fleetcopy/{uuid4().hex}"
    logs.create_log_group(logGroupName=group)
    faulty.fault("logs:PutLogEvents", "error", times=None, status=503, code="ServiceUnavailableException")
    worker = run(trial, "--log-group", group)
    assert worker.ended() == 0
    proven(trial, 6)
