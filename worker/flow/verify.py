"""Verifying a transfer: both listings merged in order, each pair judged, and what is lacking sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random

from worker.core.filters import EVERYTHING, Filters, Sieve
from worker.core.listing import paired
from worker.core.message import Task
from worker.core.model import ObjectRef, Transfer
from worker.core.pack import pack
from worker.core.plan import Action, plan
from worker.core.tasks import Sender
from worker.core.verdict import Finding, Match, Verdict, findings
from worker.flow.send import send_tasks

Deepen = Callable[[Iterator[Finding]], Iterator[Finding]]

_LACKING = frozenset({Match.MISSING, Match.DIFFERENT})


def verify(
    transfer: Transfer,
    *,
    source: Iterable[ObjectRef],
    destination: Iterable[ObjectRef],
    digests: bool,
    on_finding: Callable[[Finding], object],
    on_progress: Callable[[int], object] = lambda _objects: None,
    filters: Filters = EVERYTHING,
    deepen: Deepen = iter,
    queue: Sender | None = None,
    random: Random,
) -> Verdict:
    """Compare the two sides, in constant memory.

    Args:
        transfer: what was copied where.
        source: listing of the source, in key order.
        destination: listing of the destination, in key order.
        digests: whether both buckets' plain ETags are MD5 digests.
        on_finding: told each pair that is not equal, in key order.
        on_progress: told the number of pairs compared, now and then.
        filters: which of the source's objects this is about.
        deepen: resolves what listings cannot prove; see `flow.deep`.
        queue: where to send a task for what is missing or different; None to send nothing.
        random: for the order of those tasks and the jitter of pauses.

    Raises:
        ListingError: a listing is out of order.
        FleetcopyError: a bucket or the queue refuses.
    """
    verdict = Verdict()
    pairs = Sieve(filters, transfer).pairs(paired(transfer, source, destination))

    def lacking() -> Iterator[tuple[ObjectRef | None, ObjectRef | None]]:
        for finding in deepen(findings(pairs, digests=digests)):
            verdict.add(finding)
            on_progress(1)
            if finding.match is not Match.EQUAL:
                on_finding(finding)
            if finding.match in _LACKING:
                yield finding.source, finding.destination

    steps = plan(transfer, lacking(), digests=digests)
    refs = (step.ref for step in steps if step.action is Action.COPY)
    if queue is None:
        for _ in refs:
            pass
    else:

        def count(tasks: int, _last: Task) -> None:
            verdict.tasks += tasks

        send_tasks(queue, pack(transfer.id, refs), random, count)
    return verdict
