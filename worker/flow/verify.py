"""Verifying a transfer: both listings merged in order, each pair judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from worker.core.listing import in_order, join
from worker.core.model import ObjectRef, Transfer
from worker.core.verdict import Finding, Match, Verdict, findings


def verify(
    transfer: Transfer,
    *,
    source: Iterable[ObjectRef],
    destination: Iterable[ObjectRef],
    digests: bool,
    on_finding: Callable[[Finding], object],
    on_progress: Callable[[int], object] = lambda _objects: None,
) -> Verdict:
    """Compare the two sides, in constant memory.

    Args:
        transfer: what was copied where.
        source: listing of the source, in key order.
        destination: listing of the destination, in key order.
        digests: whether both buckets' plain ETags are MD5 digests.
        on_finding: told each pair that is not equal.
        on_progress: told the number of pairs compared, now and then.

    Raises:
        ListingError: a listing is out of order.
        FleetcopyError: a bucket refuses.
    """
    verdict = Verdict()
    pairs = join(
        in_order(source, transfer.source.prefix, transfer.source.uri),
        in_order(destination, transfer.destination.prefix, transfer.destination.uri),
    )
    for finding in findings(pairs, digests=digests):
        verdict.add(finding)
        on_progress(1)
        if finding.match is not Match.EQUAL:
            on_finding(finding)
    return verdict
