"""The servers of the contract, one at a time, and two buckets of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from tests.cloud import Cloud
from tests.contract import Make, Pair, adopt, new_place
from tests.servers import ABILITIES, EMBEDDED, Server, embedded, missing, running
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import trust
from worker.core.model import ObjectRef, Transfer
from worker.core.transferrer import Transferrer


def transferrer(transfer: Transfer, server: Server) -> Transferrer:
    """The implementation under test; the one place that makes it."""
    trusted = None if server.certificate is None else str(server.certificate)
    return WireTransferrer(transfer, streams=16, context=trust(trusted))


@pytest.fixture(scope="session")
def make() -> Make:
    """Makes the implementation under test."""
    return transferrer


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each server that can do what it needs."""
    if "server" not in metafunc.fixturenames:
        return
    needed = getattr(metafunc.function, "needs", ())
    able = [name for name, abilities in ABILITIES.items() if abilities.issuperset(needed)]
    servers = [pytest.param(name, marks=[] if name == EMBEDDED else on_real(name)) for name in able]
    metafunc.parametrize("server", servers, indirect=True, scope="session")


def on_real(name: str) -> list[pytest.MarkDecorator]:
    """The marks of what needs a real server, of which a run has one: all of it is one process's."""
    return [pytest.mark.slow, pytest.mark.xdist_group(name)]


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, cloud: Cloud) -> Iterator[Server]:
    """A server. One that is not installed is skipped, which a run in CI does not allow."""
    if request.param == EMBEDDED:
        yield embedded(cloud)
        return
    if reason := missing(request.param):
        pytest.skip(reason)
    with running(request.param) as real:
        yield real


@pytest.fixture(scope="session")
def shared_pair(server: Server, make: Make) -> Pair:
    """Two buckets for all tests that leave the buckets' settings alone."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        adopt(monkeypatch, server.environment())
        pair = Pair(new_place(server), new_place(server), make)
        pair.transferrer.look(ObjectRef("in/none", 0, "", 0))
        # Clients keep the environment of their first call, which must not be that of some test.
        wire = cast("WireTransferrer", pair.transferrer)
        for side in (wire.source, wire.destination):
            side.client.head_bucket(Bucket=side.endpoint.bucket)
    return pair


@pytest.fixture
def pair(shared_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two empty buckets."""
    adopt(monkeypatch, shared_pair.source.server.environment())
    yield shared_pair
    shared_pair.source.empty()
    shared_pair.destination.empty()


@pytest.fixture
def own_pair(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Two buckets whose settings a test may change."""
    adopt(monkeypatch, server.environment())
    return Pair(new_place(server), new_place(server), make)
