"""What systemd hears: on a real datagram socket, by path or abstract, and nothing where nobody listens."""

from __future__ import annotations

import contextlib
import io
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cloud import Cloud
from tests.conftest import Command
from tests.test_work import Worker, fill
from tests.transfers import wait_for
from worker.flow import log
from worker.flow.systemd import Systemd


class Listener:
    """systemd's end of `NOTIFY_SOCKET`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def hear(self, seconds: float = 20) -> list[str]:
        """The lines of the next datagram."""
        self._socket.settimeout(seconds)
        return self._socket.recv(4096).decode().split("\n")

    def rest(self) -> list[str]:
        """The lines of all datagrams that have come."""
        self._socket.setblocking(False)
        lines: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines += self._socket.recv(4096).decode().split("\n")
        return lines

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@fleetcopy-{uuid4().hex}"
    listening = Listener(address)
    yield listening
    listening.close()


def test_what_is_said(listener: Listener) -> None:
    systemd = Systemd(listener.address, 30.0)
    systemd.status("starting")
    systemd.ready()
    systemd.alive()
    systemd.stopping(99.7)
    assert listener.hear() == ["STATUS=starting"]
    assert listener.hear() == ["READY=1", "STATUS=at work"]
    assert listener.hear() == ["WATCHDOG=1"]
    assert listener.hear() == ["STOPPING=1", "STATUS=draining, for 100 s at most"]


def test_a_sign_of_life_is_due_at_half_of_the_watchdogs_time() -> None:
    assert Systemd("@somewhere", 30.0).beat == 15
    assert Systemd("@somewhere", None).beat == float("inf")
    assert Systemd(None, 30.0).beat == float("inf")


def test_without_systemd_nothing_is_said() -> None:
    Systemd(None, None).ready()


def test_a_service_manager_that_is_gone_is_a_matter_for_the_log(tmp_path: Path) -> None:
    lines = io.StringIO()
    log.to_stream(lines, "info")
    Systemd(str(tmp_path / "gone"), None).ready()
    assert '"event":"systemd"' in lines.getvalue()


def test_one_that_does_not_read_holds_nobody_up(listener: Listener) -> None:
    systemd = Systemd(listener.address, None)
    lines = io.StringIO()
    log.to_stream(lines, "info")
    while not lines.getvalue():  # its buffer is full once a datagram is refused
        systemd.alive()
    assert "timed out" in lines.getvalue()


# --- a worker


def test_a_worker_is_ready_once_its_processes_are_and_gives_signs_of_life(
    cloud: Cloud, tmp_path: Path
) -> None:
    listener = Listener(str(tmp_path / "notify"))
    trial = fill(cloud, 1)
    trial.command = Command(
        cloud.environment() | {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "400000"}
    )
    with Worker(trial.start("--processes", "2")) as worker:
        heard: list[str] = []
        while "READY=1" not in heard:
            heard += listener.hear()
        assert len(worker.events("ready")) <= 2
        wait_for(lambda: len(worker.events("ready")) == 2, 5, "both worker processes at work")
        assert set(heard) == {"STATUS=starting", "WATCHDOG=1", "READY=1", "STATUS=at work"}
        for _ in range(3):
            assert listener.hear(5) == ["WATCHDOG=1"]
        worker.process.terminate()
        assert worker.ended() == 0
    heard = listener.rest()
    assert heard.count("STOPPING=1") == 1
    assert "STATUS=draining, for 10 s at most" in heard
    listener.close()


@pytest.mark.slow
def test_a_worker_that_is_stuck_gives_no_sign(cloud: Cloud, tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))
    trial = fill(cloud, 1)
    trial.command = Command(
        cloud.environment() | {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "400000"}
    )
    with Worker(trial.start()) as worker:
        while "READY=1" not in listener.hear():
            pass
        worker.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: listener.rest() == [], 5, "what was under way")
        with pytest.raises(TimeoutError):
            listener.hear(2)
    listener.close()


def test_a_worker_that_reaches_no_endpoint_is_not_ready(cloud: Cloud, tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))
    trial = fill(cloud, 1)
    trial.destination = f"no-such-{uuid4().hex}"
    trial.command = Command(cloud.environment() | {"NOTIFY_SOCKET": listener.address})
    with Worker(trial.start()) as worker:
        assert worker.ended() == 3
    assert listener.rest() == ["STATUS=starting"]
    listener.close()


@pytest.mark.slow
def test_another_process_s_watchdog_is_not_ours(cloud: Cloud, tmp_path: Path) -> None:
    listener = Listener(str(tmp_path / "notify"))
    trial = fill(cloud, 1)
    trial.command = Command(
        cloud.environment()
        | {"NOTIFY_SOCKET": listener.address, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    )
    with Worker(trial.start()) as worker:
        while "READY=1" not in listener.hear():
            pass
        worker.process.terminate()
        assert worker.ended() == 0
    assert "WATCHDOG=1" not in listener.rest()
    listener.close()
