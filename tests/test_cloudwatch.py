"""Logs to CloudWatch: what arrives, what is counted as lost, and how long closing takes at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.cloud import Cloud
from worker.aws import logs
from worker.aws.logs import CloudWatchHandler
from worker.core.errors import ConfigurationError

CLOSE_SECONDS = 2


@pytest.fixture
def group(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A log group, and the environment in which boto3 finds it."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    name = f"/fleetcopy/{uuid4().hex}"
    cloud.client("logs").create_log_group(logGroupName=name)
    yield name
    cloud.clear_faults()


def write(handler: CloudWatchHandler, *lines: str) -> None:
    for line in lines:
        handler.handle(logging.LogRecord("fleetcopy", logging.INFO, "", 0, line, None, None))


def arrived(cloud: Cloud, group: str, stream: str) -> list[str]:
    events = cloud.client("logs").get_log_events(logGroupName=group, logStreamName=stream)["events"]
    return [event["message"] for event in events]


def open_handler(group: str, stream: str = "machine/boot") -> CloudWatchHandler:
    handler = CloudWatchHandler(group, stream, close_seconds=CLOSE_SECONDS)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


@pytest.mark.parametrize("stream", ["machine/boot", "{odd}/{0}", "a b/%s"])
def test_lines_arrive_as_they_are(cloud: Cloud, group: str, stream: str) -> None:
    handler = open_handler(group, stream)
    write(handler, '{"event":"one"}', "100 % {braces} %s")
    handler.close()
    assert arrived(cloud, group, stream) == ['{"event":"one"}', "100 % {braces} %s"]
    assert handler.lost == 0


def test_two_workers_of_a_machine_share_its_stream(cloud: Cloud, group: str) -> None:
    handlers = [open_handler(group), open_handler(group)]
    for number, handler in enumerate(handlers):
        write(handler, f"line {number}")
        handler.close()
    assert sorted(arrived(cloud, group, "machine/boot")) == ["line 0", "line 1"]


def test_throttling_is_waited_out(cloud: Cloud, group: str) -> None:
    cloud.fault("logs:PutLogEvents", "error", times=2, status=400, code="ThrottlingException")
    handler = CloudWatchHandler(group, "machine/boot", close_seconds=20)
    write(handler, "line")
    handler.close()
    assert handler.lost == 0


def test_what_is_refused_is_counted(cloud: Cloud, group: str) -> None:
    cloud.fault("logs:PutLogEvents", "error", times=None, status=400, code="AccessDeniedException")
    handler = open_handler(group)
    write(handler, "one", "two", "three")
    handler.close()
    assert handler.lost == 3


def test_a_service_that_hangs_does_not_hold_up_the_end(cloud: Cloud, group: str) -> None:
    cloud.fault("logs:PutLogEvents", "delay", times=1, seconds=6)
    handler = open_handler(group)
    write(handler, "one", "two")
    began = time.monotonic()
    handler.close()
    assert CLOSE_SECONDS <= time.monotonic() - began < CLOSE_SECONDS + 3
    assert handler.lost == 2


def test_what_waits_is_bounded(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_WAITING", 10)
    handler = open_handler(group)
    # The sending thread takes lines at once; a full queue is one that it does not empty.
    write(handler, "first")
    (waiting,) = handler.queues.values()
    monkeypatch.setattr(waiting, "qsize", lambda: 10)
    write(handler, "second")
    monkeypatch.undo()
    handler.close()
    assert handler.lost == 1


def test_a_missing_group_is_a_clear_error(group: str) -> None:
    with pytest.raises(ConfigurationError, match="no-such-group"):
        open_handler(f"{group}/no-such-group")
