"""What listings cannot prove, resolved by asking further; on a reader in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from random import Random

import pytest

from tests.core import ONE_MD5, OTHER_MD5, ref
from worker.core.compare import Seen
from worker.core.errors import (
    ConfigurationError,
    FleetcopyError,
    ObjectArchivedError,
    ObjectDeniedError,
    ServiceUnavailableError,
    Side,
)
from worker.core.model import ObjectRef
from worker.core.verdict import Finding, Match
from worker.flow.deep import deepened

PARTS = f"{ONE_MD5}-2"


class Pair:
    """Two objects as S3 tells them, their bytes, and what goes wrong with them, once each."""

    def __init__(
        self,
        source: Seen | None,
        destination: Seen | None,
        bytes_: tuple[str, str] = ("same", "same"),
        faults: Iterable[FleetcopyError] = (),
    ) -> None:
        self.seen = source, destination
        self.bytes = dict(zip(("source", "destination"), bytes_, strict=True))
        self.faults = list(faults)


class Reader:
    """Implements `flow.deep.Reader`."""

    def __init__(self, pairs: dict[str, Pair]) -> None:
        self.pairs = pairs
        self.calls: list[str] = []

    def look(self, one: ObjectRef) -> tuple[Seen | None, Seen | None]:
        """See `Reader.look`."""
        self.calls.append(f"look {one.key}")
        return self.pairs[one.key].seen

    def crc64nvme(self, side: Side, one: ObjectRef, etag: str) -> str:
        """See `Reader.crc64nvme`."""
        pair = self.pairs[one.key]
        self.calls.append(f"read {side} {one.key} {etag}")
        if pair.faults:
            raise pair.faults.pop(0)
        return pair.bytes[side]


def resolved(*pairs: Pair) -> tuple[list[str], list[str]]:
    """What so many unproven pairs are found to be, a line each; and what was asked."""
    reader = Reader({f"in/{number:03}": pair for number, pair in enumerate(pairs)})
    unproven = [Finding(Match.UNPROVEN, key, "as listed", ref(key), ref(key)) for key in reader.pairs]
    found = list(deepened(unproven, reader, 2, Random(1)))
    assert [finding.key for finding in found] == list(reader.pairs)
    return [f"{finding.match}: {finding.why}" for finding in found], reader.calls


PLAIN, KMS = Seen(1, ONE_MD5), Seen(1, OTHER_MD5, digest=False)


def crc(seen: Seen, value: str) -> Seen:
    return Seen(seen.size, seen.etag, seen.digest, {"CRC64NVME": value})


@pytest.mark.parametrize(
    ("pair", "line", "reads"),
    [
        (Pair(crc(PLAIN, "same"), crc(KMS, "same")), "equal: ", []),
        (
            Pair(crc(PLAIN, "one"), crc(KMS, "other")),
            "different: other bytes, by ETag or stored checksum",
            [],
        ),
        (Pair(Seen(1, PARTS), Seen(2, PARTS)), "different: other bytes, by ETag or stored checksum", []),
        (Pair(PLAIN, PLAIN), "equal: ", []),
        (Pair(PLAIN, KMS), "equal: ", ["source", "destination"]),
        (Pair(PLAIN, crc(KMS, "same")), "equal: ", ["source"]),
        (Pair(crc(PLAIN, "same"), KMS), "equal: ", ["destination"]),
        (Pair(PLAIN, crc(KMS, "altered")), "different: other bytes, by reading", ["source"]),
        (
            Pair(PLAIN, KMS, ("same", "other")),
            "different: other bytes, by reading",
            ["source", "destination"],
        ),
        (Pair(None, KMS), "different: gone from the source since it was listed", []),
        (Pair(PLAIN, None), "different: gone from the destination since it was listed", []),
        (
            Pair(PLAIN, KMS, faults=[ObjectArchivedError("in Glacier")]),
            "unproven: as listed; archived, and so cannot be read",
            ["source"],
        ),
        (
            Pair(PLAIN, KMS, faults=[ObjectDeniedError("source", "read: AccessDenied")]),
            "unproven: as listed; read: AccessDenied",
            ["source"],
        ),
    ],
)
def test_a_pair_is_resolved(pair: Pair, line: str, reads: list[str]) -> None:
    etags = {"source": ONE_MD5, "destination": OTHER_MD5}
    lines, calls = resolved(pair)
    assert lines == [line]
    assert calls == ["look in/000", *(f"read {side} in/000 {etags[side]}" for side in reads)]


@pytest.mark.parametrize(
    ("pair", "line", "looks"),
    [
        (Pair(Seen(1, ONE_MD5, digest=False), Seen(1, OTHER_MD5, digest=False)), "equal: ", 1),
        (Pair(Seen(1, ONE_MD5), Seen(1, OTHER_MD5)), "different: as listed", 1),
        (Pair(Seen(2, ONE_MD5), Seen(1, OTHER_MD5)), "different: as listed", 0),
    ],
    ids=["KMS", "digests", "sizes"],
)
def test_a_pair_whose_etags_look_like_digests_is_looked_at(pair: Pair, line: str, looks: int) -> None:
    source, destination = pair.seen
    assert source
    assert destination
    reader = Reader({"in/a": pair})
    listed = Finding(
        Match.DIFFERENT,
        "in/a",
        "as listed",
        ref("in/a", size=source.size, etag=source.etag),
        ref("in/a", size=destination.size, etag=destination.etag),
    )
    [found] = deepened([listed], reader, 2, Random(1))
    assert f"{found.match}: {found.why}" == line
    assert reader.calls.count("look in/a") == looks


def test_a_service_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    lines, _ = resolved(Pair(PLAIN, KMS, faults=[ServiceUnavailableError("503")] * 3))
    assert lines == ["equal: "]
    assert len(pauses) == 3


@pytest.mark.parametrize(
    "faults", [[ServiceUnavailableError("503")] * 4, [ConfigurationError("no credentials")]]
)
def test_an_endpoint_that_does_not_answer_ends_it(
    faults: list[FleetcopyError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    with pytest.raises(type(faults[0]), match=str(faults[0])):
        resolved(Pair(PLAIN, KMS, faults=faults))


def test_findings_keep_their_order_and_few_are_held() -> None:
    """The first pair is slow: what comes after it is held, up to a bound, and comes in order."""
    release, pulled = threading.Event(), 0

    class Slow(Reader):
        def look(self, one: ObjectRef) -> tuple[Seen | None, Seen | None]:
            if one.key == "in/0000":
                assert release.wait(10)
            return PLAIN, PLAIN

    def listed() -> Iterable[Finding]:
        nonlocal pulled
        for number in range(1_000):
            pulled += 1
            if pulled == 17:  # two threads, eight ahead of each
                release.set()
            key = f"in/{number:04}"
            yield Finding(Match.EQUAL if number % 2 else Match.UNPROVEN, key, "", ref(key), ref(key))

    keys: list[str] = []
    for finding in deepened(listed(), Slow({}), 2, Random(1)):
        assert pulled <= len(keys) + 17 + 1
        assert finding.match is Match.EQUAL
        keys.append(finding.key)
    assert keys == [f"in/{number:04}" for number in range(1_000)]
