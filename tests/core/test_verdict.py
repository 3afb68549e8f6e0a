"""The verdict: what each pair is found to be, the tally, and the last line."""

from __future__ import annotations

import pytest

from tests.core import ONE_MD5, OTHER_MD5, ref
from worker.core.model import ObjectRef
from worker.core.verdict import Finding, Match, Verdict, findings

PARTS = f"{ONE_MD5}-2"


@pytest.mark.parametrize(
    ("source", "destination", "line"),
    [
        (ref("s"), ref("d"), "equal s: "),
        (ref("s", etag=PARTS), ref("d", etag=PARTS), "equal s: "),
        (ref("s", 1), ref("d", 2), "different s: 1 bytes at the source, 2 at the destination"),
        (
            ref("s"),
            ref("d", etag=OTHER_MD5),
            f"different s: same size, ETag {ONE_MD5} at the source, {OTHER_MD5} at the destination",
        ),
        (ref("s"), None, "missing s: not at the destination"),
        (
            ObjectRef("s", 1, "e", 0, "GLACIER"),
            None,
            "missing s: not at the destination; in GLACIER: restore it first",
        ),
        (ObjectRef("s", 1, "e", 0, "GLACIER_IR"), None, "missing s: not at the destination"),
        (None, ref("d"), "extra d: not at the source"),
        (
            ref("s"),
            ref("d", etag=PARTS),
            f"unproven s: same size, ETag {ONE_MD5} at the source, {PARTS} at the destination",
        ),
    ],
)
def test_a_pair_is_found_to_be(source: ObjectRef | None, destination: ObjectRef | None, line: str) -> None:
    [finding] = findings([(source, destination)], digests=True)
    assert f"{finding.match} {finding.key}: {finding.why}" == line


def test_without_digests_etags_that_differ_prove_nothing() -> None:
    [finding] = findings([(ref("a"), ref("a", etag=OTHER_MD5))], digests=False)
    assert finding.match is Match.UNPROVEN


def verdict(*matches: Match) -> Verdict:
    tally = Verdict()
    for match in matches:
        tally.add(Finding(match, "k"))
    return tally


@pytest.mark.parametrize(
    ("matches", "line"),
    [
        ((), "verdict: equal 0, different 0, missing 0, extra 0, unproven 0"),
        (tuple(Match), "verdict: equal 1, different 1, missing 1, extra 1, unproven 1"),
        (
            (Match.EQUAL,) * 12_345 + (Match.UNPROVEN,) * 2,
            "verdict: equal 12345, different 0, missing 0, extra 0, unproven 2",
        ),
    ],
)
def test_the_last_line_is_this_text(matches: tuple[Match, ...], line: str) -> None:
    assert str(verdict(*matches)) == line


@pytest.mark.parametrize(
    ("matches", "proven"),
    [
        ((), True),
        ((Match.EQUAL,), True),
        ((Match.EQUAL, Match.DIFFERENT), False),
        ((Match.EQUAL, Match.MISSING), False),
        ((Match.EQUAL, Match.EXTRA), False),
        ((Match.EQUAL, Match.UNPROVEN), False),
        ((Match.UNPROVEN,), False),
    ],
)
def test_only_equal_pairs_prove_a_transfer(matches: tuple[Match, ...], *, proven: bool) -> None:
    assert verdict(*matches).proven is proven
