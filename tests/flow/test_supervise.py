"""One drain of several words: a supervisor with a real worker process, and an object that will not end."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cloud import Cloud
from tests.contract import adopt
from tests.flow.test_systemd import Listener
from tests.processes import children
from tests.test_work import ends_of, fill
from tests.transfers import Trial, wait_for
from worker.aws import session
from worker.core import notice as notices
from worker.core.errors import ConfigurationError
from worker.core.notice import Notice
from worker.core.options import Options
from worker.core.tasks import Depth
from worker.flow import log
from worker.flow.child import ChildSettings
from worker.flow.supervise import Supervisor
from worker.flow.systemd import Systemd

HIBERNATE = Notice("hibernate", "")
SHORT, LONG = 4.0, 60.0
"""Seconds; the short is longer than a poll, which a drain has to await."""


class Running:
    """A supervisor that runs on a thread, and its log."""

    def __init__(self, supervisor: Supervisor, lines: io.StringIO) -> None:
        self.supervisor = supervisor
        self.result: bool | BaseException | None = None
        self._lines = lines
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.result = self.supervisor.run()
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            self.result = error

    def start(self) -> None:
        """Run it."""
        self._thread.start()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log lines of one event."""
        lines = [
            json.loads(line) for line in self._lines.getvalue().splitlines(keepends=True) if "\n" in line
        ]
        return [line for line in lines if line["event"] == name]

    def ended(self, seconds: float) -> bool | BaseException | None:
        """What `run` returned or raised, within so many seconds."""
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        return self.result


@pytest.fixture
def trial(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trial]:
    """One object, whose write takes twenty seconds; and a short `AT_ONCE`."""
    adopt(monkeypatch, cloud.environment())
    monkeypatch.setenv("PYTHONPATH", cloud.environment()["PYTHONPATH"])
    monkeypatch.setattr(notices, "AT_ONCE", SHORT)
    trial = fill(cloud, 1)
    trial.submit()
    cloud.clear_journal()
    cloud.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=20)
    yield trial
    cloud.clear_faults()
    session._session.cache_clear()  # noqa: SLF001


@pytest.fixture
def settings(cloud: Cloud, trial: Trial) -> ChildSettings:
    return ChildSettings(
        transfer=msgspec.structs.replace(
            ends_of(trial),
            source=msgspec.structs.replace(ends_of(trial).source, endpoint_url=cloud.url),
            destination=msgspec.structs.replace(ends_of(trial).destination, endpoint_url=cloud.url),
            options=Options(strategy="stream"),
        ),
        queue_url=trial.queue.url,
        streams=4,
        visibility=120,
        drain=SHORT,
        give_up=900,
        log_level="info",
    )


def supervisor(settings: ChildSettings, processes: int, address: str | None) -> Supervisor:
    return Supervisor(
        settings,
        processes=processes,
        drain_seconds=LONG,
        until_empty=None,
        depth=lambda: Depth(0, 0, 0),
        systemd=Systemd(address, None),
    )


@pytest.fixture
def running(settings: ChildSettings) -> Iterator[Running]:
    """One with one worker process, and no systemd."""
    lines = io.StringIO()
    log.to_stream(lines, "info")
    yield Running(supervisor(settings, 1, None), lines)
    log.to_stream(sys.stderr, "info")


def until(seconds: float) -> Notice:
    at = datetime.now(UTC) + timedelta(seconds=seconds + notices.RESERVE)
    return Notice("terminate", at.isoformat())


Word = Callable[[Supervisor], None]
WORDS: dict[str, Word] = {
    "notice of two minutes": lambda supervisor: supervisor.notice(until(LONG)),
    "notice that leaves nothing": lambda supervisor: supervisor.notice(until(1)),
    "hibernation": lambda supervisor: supervisor.notice(HIBERNATE),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("notice of two minutes", "hibernation"),
        ("notice that leaves nothing", "notice of two minutes"),
    ],
)
def test_of_two_notices_the_shorter_time_wins(
    trial: Trial, running: Running, first: str, second: str
) -> None:
    running.start()
    wait_for(lambda: trial.messages()["in_flight"] == 1, 20, "the task in hand")
    WORDS[first](running.supervisor)
    wait_for(lambda: len(running.events("draining")) == 1, 5, "the drain")
    began = time.monotonic()
    WORDS[second](running.supervisor)
    assert running.ended(15) is True
    assert time.monotonic() - began < SHORT + 4
    assert len(running.events("interruption notice")) == 2
    assert trial.messages() == {"visible": 1, "in_flight": 0, "delayed": 0}


@pytest.mark.slow
def test_a_notice_counts_from_when_it_came(trial: Trial, running: Running) -> None:
    """One that comes while the worker is being started: the time until it is heeded is part of its time."""
    running.supervisor.notice(until(8))
    time.sleep(3)
    running.start()
    assert running.ended(15) is True
    (draining,) = running.events("draining")
    assert 3 < draining["seconds"] < 5.5
    assert trial.messages()["in_flight"] == 0


@pytest.mark.slow
def test_systemd_hears_of_readiness_once_all_worker_processes_are_ready(
    settings: ChildSettings, tmp_path: Path
) -> None:
    listener, lines = Listener(str(tmp_path / "notify")), io.StringIO()
    log.to_stream(lines, "info")
    before = set(children(os.getpid()))
    running = Running(supervisor(settings, 2, listener.address), lines)
    running.start()
    wait_for(lambda: len(set(children(os.getpid())) - before) == 2, 5, "two worker processes")
    late = (set(children(os.getpid())) - before).pop()
    os.kill(late, signal.SIGSTOP)
    wait_for(lambda: bool(running.events("ready")), 20, "the other at work")
    assert listener.rest() == []
    os.kill(late, signal.SIGCONT)
    assert listener.hear() == ["READY=1", "STATUS=at work"]
    running.supervisor.notice(HIBERNATE)
    assert running.ended(15) is True
    assert listener.hear() == ["STOPPING=1", f"STATUS=draining, for {SHORT:.0f} s at most"]
    log.to_stream(sys.stderr, "info")
    listener.close()


def test_a_worker_process_that_gives_up_is_a_configuration_error(
    cloud: Cloud, trial: Trial, running: Running
) -> None:
    cloud.client("sqs").delete_queue(QueueUrl=trial.queue.url)
    running.start()
    assert isinstance(running.ended(20), ConfigurationError)
