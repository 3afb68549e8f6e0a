"""The metadata client and the watch against a real server: every answer has its row; and a worker drains."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from tests.cloud import Cloud, metadata
from tests.cloud.metadata import ACTION, REBALANCE
from tests.transfers import Trial, wait_for
from worker.aws.metadata import Metadata
from worker.core.errors import ConfigurationError, FleetcopyError, ServiceUnavailableError
from worker.core.notice import Notice
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


def test_a_rebalance_recommendation_is_no_notice(
    server: metadata.Metadata, watch: Watch, heard: list[Notice]
) -> None:
    server.values[REBALANCE] = '{"noticeTime": "2026-11-22T12:00:00Z"}'
    watch.look()
    assert heard == []


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
