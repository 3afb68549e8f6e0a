"""The verdict: source against destination, from two listings, object by object."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from worker.core.compare import Comparison, compare_refs
from worker.core.model import ARCHIVES, ObjectRef


class Match(enum.StrEnum):
    """What a pair of source and destination object is found to be, in the order of the last line."""

    EQUAL = "equal"
    DIFFERENT = "different"
    MISSING = "missing"
    EXTRA = "extra"
    UNPROVEN = "unproven"


_MATCH = {
    Comparison.EQUAL: Match.EQUAL,
    Comparison.DIFFERENT: Match.DIFFERENT,
    Comparison.UNPROVEN: Match.UNPROVEN,
}


class Finding(msgspec.Struct, frozen=True):
    """One pair. `key` is the source's, or the destination's where that is extra; `why` is for a person."""

    match: Match
    key: str
    why: str = ""
    source: ObjectRef | None = None
    destination: ObjectRef | None = None


def findings(
    pairs: Iterable[tuple[ObjectRef | None, ObjectRef | None]], *, digests: bool
) -> Iterator[Finding]:
    """What each pair of the joined listings is found to be, equal ones included, in key order."""
    for source, destination in pairs:
        if source is None:
            assert destination is not None
            yield Finding(Match.EXTRA, destination.key, "not at the source", None, destination)
        elif destination is None:
            yield Finding(Match.MISSING, source.key, _why_missing(source), source)
        else:
            match = _MATCH[compare_refs(source, destination, digests=digests)]
            why = "" if match is Match.EQUAL else _why(source, destination)
            yield Finding(match, source.key, why, source, destination)


def resolved(finding: Finding, comparison: Comparison, why: str) -> Finding:
    """A finding, once more is known of its pair."""
    return msgspec.structs.replace(finding, match=_MATCH[comparison], why=why)


def _why_missing(source: ObjectRef) -> str:
    archived = f"; in {source.storage_class}: restore it first" if source.storage_class in ARCHIVES else ""
    return f"not at the destination{archived}"


def _why(source: ObjectRef, destination: ObjectRef) -> str:
    if source.size != destination.size:
        return f"{source.size} bytes at the source, {destination.size} at the destination"
    return f"same size, ETag {source.etag} at the source, {destination.etag} at the destination"


class Verdict:
    """The tally of findings, and of the tasks that were sent for them."""

    def __init__(self) -> None:
        self.counts: Counter[Match] = Counter()
        self.tasks = 0

    def add(self, finding: Finding) -> None:
        """Count one finding."""
        self.counts[finding.match] += 1

    @property
    def proven(self) -> bool:
        """Whether all pairs are equal; an unproven pair is not."""
        return self.counts.total() == self.counts[Match.EQUAL]

    def __str__(self) -> str:
        return "verdict: " + ", ".join(f"{match} {self.counts[match]}" for match in Match)
