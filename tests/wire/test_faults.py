"""Faults at every stage of both legs, by a seed: never wrong bytes at the end, never an endless wait."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from tests import tls
from tests.wire import SEED, SHORT, between, bring, copy, listed
from tests.wire.peer import Peer, Stored
from tests.wire.proxy import Fault, Proxy, Way
from worker.aws import session
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import trust
from worker.core.model import Kind, Outcome, Proof

KEY = "a key"
SIZES = {"small": 30_000, "large": 400_000}
LONGEST = 3 * (2 * SHORT.stretch + SHORT.connect) + 6
"""Seconds: every try that meets the fault, its patience twice, the pauses between tries, a busy machine."""


@dataclass
class Line:
    """Two servers, a proxy before each, and the transferrer at their end."""

    source: Peer
    destination: Peer
    proxies: dict[str, Proxy]
    transferrer: WireTransferrer
    encrypted: bool

    def begin(self, side: str, fault: Fault | None) -> None:
        """Empty the destination; break the next connection of a side."""
        self.destination.objects.clear()
        for name, proxy in self.proxies.items():
            proxy.begin(*([fault] if fault and name == side else []))

    def written(self) -> Stored | None:
        """What the destination shows."""
        return self.destination.objects.get(("destination", KEY))


@pytest.fixture(scope="module", params=["tls", "plain"])
def line(
    request: pytest.FixtureRequest, authority: tls.Authority, server_context: ssl.SSLContext
) -> Iterator[Line]:
    """With TLS or without."""
    context = server_context if request.param == "tls" else None
    with pytest.MonkeyPatch.context() as monkeypatch:
        # The control calls look at what a refused write has met.
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.certificate))
        session._session.cache_clear()  # noqa: SLF001 - one process, many identities
        yield from lines(authority, context)
    session._session.cache_clear()  # noqa: SLF001 - one process, many identities


def lines(authority: tls.Authority, context: ssl.SSLContext | None) -> Iterator[Line]:
    """One line, while it is needed."""
    scheme, host = ("https", "localhost") if context else ("http", "127.0.0.1")
    with (
        Peer(context) as source,
        Peer(context) as destination,
        Proxy(source.port) as near,
        Proxy(destination.port) as far,
    ):
        transferrer = between(
            f"{scheme}://{host}:{near.port}",
            f"{scheme}://{host}:{far.port}",
            context=trust(str(authority.certificate)),
        )
        yield Line(
            source, destination, {"source": near, "destination": far}, transferrer, context is not None
        )


def stages(line: Line, side: str, count: int, *, upwards: bool, random: Random) -> tuple[list[int], int]:
    """Offsets into what passes when nothing goes wrong: first, last, and in between; and how much that is."""
    line.begin(side, None)
    copy(line.transferrer, listed(line.source))
    total = line.proxies[side].passed[upwards]
    # A handshake is a few bytes longer or shorter each time.
    return sorted({0, 1, total - 16, *(random.randrange(total - 16) for _ in range(count))}), total


def is_right(line: Line, outcome: Outcome, body: bytes) -> bool:
    """Whether an outcome and what the destination shows fit together, and the bytes are the source's."""
    stored = line.written()
    if stored is not None and (stored.body != body or stored.headers["x-amz-meta-name"] != "value"):
        return False
    if outcome.kind in {Kind.COPIED, Kind.SKIPPED}:
        return stored is not None
    return outcome.kind is Kind.FAILED and outcome.error is not None and KEY in str(outcome.error)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("way", [Way.RESET, Way.CLOSE, Way.FLIP])
def test_a_fault_at_any_stage_is_overcome(
    line: Line, way: Way, side: str, size: str, *, upwards: bool
) -> None:
    strike(line, way, side, size, upwards=upwards)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("way", [Way.STALL, Way.DRIP])
def test_a_stall_at_any_stage_is_overcome(
    line: Line, way: Way, side: str, size: str, *, upwards: bool
) -> None:
    strike(line, way, side, size, upwards=upwards)


def strike(line: Line, way: Way, side: str, size: str, *, upwards: bool) -> None:
    """Copy one object under the fault at each stage."""
    random = Random(f"{SEED} {way} {upwards} {side} {size}")
    print(f"seed {SEED}")
    body = random.randbytes(SIZES[size])
    line.source.objects.clear()
    line.source.put(body, KEY, x_amz_meta_name="value")
    count = 1 if way in {Way.STALL, Way.DRIP} else 6
    offsets, total = stages(line, side, count, upwards=upwards, random=random)
    for at in offsets:
        if way is Way.FLIP and not line.encrypted:
            # Over plain HTTP nothing protects a head.
            if upwards is not (side == "destination"):
                continue
            at = max(at, total - len(body))  # noqa: PLW2901
        fault = Fault(upwards, at, way)
        line.begin(side, fault)
        began = time.monotonic()
        outcome = bring(line.transferrer, listed(line.source))
        assert time.monotonic() - began < LONGEST, fault
        assert line.proxies[side].struck, fault
        assert is_right(line, outcome, body), (fault, outcome)
        assert outcome.kind is not Kind.FAILED or way is Way.FLIP, (fault, outcome)


def test_the_proof_of_the_last_row_is_kept_over_a_broken_line(line: Line) -> None:
    """No digest at the source: the trailer's is of what passed here, TLS guards the rest."""
    if not line.encrypted:
        return
    random = Random(SEED)
    line.source.objects.clear()
    line.source.put(random.randbytes(200_000), KEY, etag="0" * 32 + "-2", x_amz_meta_name="value")
    line.transferrer._writer.capabilities.trailers = True  # noqa: SLF001 - as AWS's own endpoint
    body = line.source.objects["source", KEY].body
    offsets, _ = stages(line, "destination", 6, upwards=True, random=random)
    for at in offsets:
        line.begin("destination", Fault(True, at, Way.FLIP))
        outcome = bring(line.transferrer, listed(line.source))
        assert is_right(line, outcome, body)
        assert outcome.proof in {None, Proof.TRANSPORT}
    line.transferrer._writer.capabilities.trailers = False  # noqa: SLF001
