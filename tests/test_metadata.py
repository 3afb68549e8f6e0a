"""The metadata client and the watch against a real server: every answer has its row; and a worker drains."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from tests.cloud import Cloud, metadata
from tests.cloud.metadata import ACTION, REBALANCE
from tests.transfers import Trial, wait_for
from worker.aws.metadata import Metadata
from worker.core.errors import ConfigurationError, FleetcopyError, ServiceUnavailableError
from worker.core.notice import Notice
from worker.flow import log
from worker.flow.watch import Watch

TERMINATE = '{"action": "terminate", "time": "2026-11-22T12:02:00Z"}'
STOP = '{"action": "stop", "time": "2026-11-22T12:01:00Z"}'


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def server() -> Iterator[metadata.Metadata]:
    with metadata.Metadata() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(server: metadata.Metadata, clock: Clock) -> Metadata:
    return Metadata(server.url, clock)


def test_what_is_there_and_what_is_not(server: metadata.Metadata, client: Metadata) -> None:
    assert client.get(ACTION) is None
    server.values[ACTION] = TERMINATE
    assert client.get(ACTION) == TERMINATE


def test_no_request_goes_without_a_token(server: metadata.Metadata, client: Metadata) -> None:
    client.get(ACTION)
    client.get(ACTION)
    assert server.requests == ["PUT /latest/api/token", *[f"GET /latest/{ACTION}"] * 2]


def test_a_token_is_renewed_at_half_its_life(
    server: metadata.Metadata, client: Metadata, clock: Clock
) -> None:
    client.get(ACTION)
    clock.now += 10_799
    client.get(ACTION)
    assert server.requests.count("PUT /latest/api/token") == 1
    clock.now += 1
    client.get(ACTION)
    assert server.requests.count("PUT /latest/api/token") == 2


def test_an_expired_token_is_replaced_once(server: metadata.Metadata, client: Metadata) -> None:
    client.get(ACTION)
    server.forget_tokens()
    assert client.get(ACTION) is None
    assert server.requests.count("PUT /latest/api/token") == 2


def test_401_for_ever_is_an_error_not_a_loop(server: metadata.Metadata, client: Metadata) -> None:
    client.get(ACTION)
    server.faults.extend([401] * 2)
    with pytest.raises(ServiceUnavailableError, match="401"):
        client.get(ACTION)
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ServiceUnavailableError),
        (401, ServiceUnavailableError),
        (403, ConfigurationError),
        (429, ServiceUnavailableError),
        (500, ServiceUnavailableError),
        (503, ServiceUnavailableError),
        (302, ServiceUnavailableError),
        (0, ServiceUnavailableError),
    ],
)
@pytest.mark.parametrize("of", ["token", "value"])
def test_refusals(
    server: metadata.Metadata, client: Metadata, of: str, status: int, kind: type[FleetcopyError]
) -> None:
    (server.token_faults if of == "token" else server.faults).append(status)
    with pytest.raises(kind):
        client.get(ACTION)
    assert client.get(ACTION) is None


@contextmanager
def raw(answers: Callable[[bytes], Iterator[bytes]]) -> Iterator[str]:
    """The URL of a server that sends what `answers` yields for a request, piece by piece."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while request := connection.recv(65_536):
                for piece in answers(request):
                    connection.sendall(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def head(length: int | None) -> bytes:
    field = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % field


def dripping(request: bytes) -> Iterator[bytes]:
    """An answer that comes byte by byte, none of them late."""
    if b"api/token" in request:
        yield head(5) + b"token"
        return
    yield head(150)
    for _ in range(150):
        yield b"x"
        time.sleep(0.1)


def endless(request: bytes) -> Iterator[bytes]:
    """An answer that is larger than anything the service has to say."""
    if b"api/token" in request:
        yield head(5) + b"token"
        return
    yield head(None)
    for _ in range(4096):
        yield b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    yield b"0\r\n\r\n"


def cut(request: bytes) -> Iterator[bytes]:
    """An answer that ends before its end."""
    yield head(5) + b"token" if b"api/token" in request else head(1000) + b"{"


@pytest.mark.parametrize(
    ("answers", "clock"),
    [(dripping, time.monotonic), (endless, lambda: 0.0), (cut, time.monotonic)],
    ids=["dripping", "endless", "cut"],
)
def test_an_answer_without_end_is_given_up(
    answers: Callable[[bytes], Iterator[bytes]], clock: Callable[[], float]
) -> None:
    began = time.monotonic()
    with raw(answers) as url, pytest.raises(ServiceUnavailableError):
        Metadata(url, clock).get(ACTION)
    assert time.monotonic() - began < 10


def test_a_redirection_is_not_followed(server: metadata.Metadata) -> None:
    def elsewhere(_request: bytes) -> Iterator[bytes]:
        place = f"{server.url}/latest/api/token".encode()
        yield b"HTTP/1.1 307 Elsewhere\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % place

    with raw(elsewhere) as url, pytest.raises(ServiceUnavailableError, match="307"):
        Metadata(url, time.monotonic).get(ACTION)
    assert server.requests == []


@pytest.mark.parametrize("token", ["", "a\nb", "t\u00f6ken", "\u20ac", "x" * 20_000])
def test_a_token_that_is_none_is_asked_for_again(
    server: metadata.Metadata, client: Metadata, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(server, "answer", lambda *_: (200, token))
        with pytest.raises(ServiceUnavailableError):
            client.get(ACTION)
    server.values[ACTION] = STOP
    assert client.get(ACTION) == STOP


def test_nobody_takes_the_connection(clock: Clock) -> None:
    """Packets that vanish: a full backlog answers no new connection."""
    with socket.socket() as full, ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        began = time.monotonic()
        with pytest.raises(ServiceUnavailableError, match="timed out"):
            Metadata(f"http://127.0.0.1:{full.getsockname()[1]}", clock).get(ACTION)
        assert time.monotonic() - began < 5


def test_nobody_there(clock: Clock) -> None:
    with metadata.Metadata() as gone:
        url = gone.url
    with pytest.raises(ServiceUnavailableError):
        Metadata(url, clock).get(ACTION)


def test_proxies_are_not_asked(
    server: metadata.Metadata, client: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.values[ACTION] = STOP
    assert client.get(ACTION) == STOP


# --- the watch


@pytest.fixture
def heard() -> list[Notice]:
    return []


@pytest.fixture
def watch(client: Metadata, heard: list[Notice]) -> Watch:
    return Watch(client, heard.append)


def test_each_new_notice_is_told_once(server: metadata.Metadata, watch: Watch, heard: list[Notice]) -> None:
    watch.look()
    for text in (TERMINATE, TERMINATE, STOP, "", ""):
        server.values[ACTION] = text
        watch.look()
    told = [notice.action for notice in heard]
    assert told == ["terminate", "stop", "unknown"]


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (TERMINATE, "terminate"),
        (STOP, "stop"),
        ('{"action": "hibernate"}', "hibernate"),
        ('{"action": "vanish"}', "vanish"),
        ('{"action": "terminate", "time": ', "unknown"),
        ("<html>", "unknown"),
        ("", "unknown"),
    ],
)
def test_whatever_stands_there_is_told(
    server: metadata.Metadata, watch: Watch, heard: list[Notice], text: str, action: str
) -> None:
    server.values[ACTION] = text
    watch.look()
    assert [notice.action for notice in heard] == [action]


def test_a_notice_with_another_time_is_another(
    server: metadata.Metadata, watch: Watch, heard: list[Notice]
) -> None:
    for text in (TERMINATE, TERMINATE.replace("12:02", "12:01")):
        server.values[ACTION] = text
        watch.look()
    assert [notice.time for notice in heard] == ["2026-11-22T12:02:00Z", "2026-11-22T12:01:00Z"]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged."""
    written = io.StringIO()
    log.to_stream(written, "info")
    yield written
    log.to_stream(sys.stderr, "info")


def test_a_rebalance_recommendation_is_logged_once_and_is_no_notice(
    server: metadata.Metadata, watch: Watch, heard: list[Notice], lines: io.StringIO
) -> None:
    server.values[REBALANCE] = '{"noticeTime": "2026-11-22T12:00:00Z"}'
    watch.look()
    watch.look()
    assert heard == []
    assert lines.getvalue().count('"event":"rebalance recommended"') == 1
    assert "2026-11-22T12:00:00Z" in lines.getvalue()


def test_a_notice_needs_no_answer_about_rebalancing(
    server: metadata.Metadata, watch: Watch, heard: list[Notice], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = server.answer

    def half(method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        return (500, "") if path.endswith(REBALANCE) else answer(method, path, headers)

    monkeypatch.setattr(server, "answer", half)
    server.values[ACTION] = TERMINATE
    watch.look()
    assert len(heard) == 1
    assert watch.pause() == 10


def test_a_failure_that_lasts_is_logged_once(
    server: metadata.Metadata, watch: Watch, lines: io.StringIO
) -> None:
    server.token_faults.extend([503] * 3)
    for _ in range(3):
        watch.look()
    assert lines.getvalue().count('"event":"metadata"') == 1


def test_the_watch_outlives_what_nobody_foresaw(
    server: metadata.Metadata, client: Metadata, lines: io.StringIO
) -> None:
    def stumble(_notice: Notice) -> None:
        raise RuntimeError("unforeseen")

    watch = Watch(client, stumble)
    server.values[ACTION] = TERMINATE
    watch.look()
    assert "unforeseen" in lines.getvalue()
    assert watch.pause() == 10


def test_the_first_look_is_at_once(server: metadata.Metadata, watch: Watch, heard: list[Notice]) -> None:
    server.values[ACTION] = TERMINATE
    watch.start()
    wait_for(lambda: len(heard) == 1, 3, "the notice")


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_after_a_failure_the_watch_goes_on_less_often(
    server: metadata.Metadata, watch: Watch, heard: list[Notice], status: int
) -> None:
    pauses = [watch.pause()]
    server.token_faults.extend([status] * 6)
    for _ in range(6):
        watch.look()
        pauses.append(watch.pause())
    assert pauses == [5, 10, 20, 20, 20, 20, 20]
    server.values[ACTION] = STOP
    watch.look()
    assert watch.pause() == 5
    assert len(heard) == 1


# --- a worker


def notice(seconds: float) -> str:
    at = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"action": "terminate", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")})


def test_a_worker_with_a_notice_drains_and_hands_over(cloud: Cloud, server: metadata.Metadata) -> None:
    trial = Trial.fill(cloud, Random(5), 150)
    cloud.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=1.5)
    trial.submit()
    cloud.clear_journal()
    trial.command.environment |= {
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url,
    }
    worker = trial.start("--spot-notices", "on", "--visibility-seconds", "120")
    try:
        trial.await_writes(20)
        server.values[ACTION] = notice(30)
        began = time.monotonic()
        _, err = worker.communicate(timeout=30)
    finally:
        cloud.clear_faults()
        worker.kill()
        worker.wait()
    assert worker.returncode == 0, err
    assert time.monotonic() - began < 20
    assert '"event":"interruption notice"' in err
    finished = trial.written()
    assert 0 < len(finished) < 150
    assert trial.messages()["in_flight"] == 0
    second = trial.start("--until-empty", "--empty-seconds", "1")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert not set(trial.written()[len(finished) :]) & set(finished)
    assert trial.verify() == "verdict: equal 150, different 0, missing 0, extra 0, unproven 0"


def test_a_notice_before_the_work_has_begun_is_heeded(cloud: Cloud, server: metadata.Metadata) -> None:
    trial = Trial.fill(cloud, Random(6), 3)
    trial.command.environment |= {
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url,
    }
    server.values[ACTION] = notice(20)
    worker = trial.start("--spot-notices", "on")
    try:
        _, err = worker.communicate(timeout=30)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0, err


def test_without_the_setting_nobody_asks(cloud: Cloud, server: metadata.Metadata) -> None:
    trial = Trial.fill(cloud, Random(7), 1)
    trial.submit()
    trial.command.environment |= {
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url,
    }
    worker = trial.start("--until-empty", "--empty-seconds", "1")
    worker.communicate(timeout=30)
    assert worker.returncode == 0
    assert server.requests == []
    wait_for(lambda: sum(trial.messages().values()) == 0, 5, "the queue empty")
