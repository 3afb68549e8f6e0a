"""Submitting a transfer: list both sides, plan, pack, and send tasks until SQS has them all."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from random import Random

from worker.core.compare import Criterion
from worker.core.filters import EVERYTHING, Filters, Sieve
from worker.core.listing import paired
from worker.core.message import Task
from worker.core.model import ObjectRef, Transfer
from worker.core.pack import pack
from worker.core.plan import Action, Step, plan
from worker.core.tasks import Sender
from worker.flow.send import send_tasks

AT_ONCE = 100
"""Steps that are counted together, which is cheaper than one by one."""

Progress = Callable[[int], object]


def submit(
    transfer: Transfer,
    queue: Sender | None,
    *,
    source: Iterable[ObjectRef],
    destination: Iterable[ObjectRef],
    digests: bool,
    random: Random,
    filters: Filters = EVERYTHING,
    by: Criterion = Criterion.ETAG,
    counts: Counter[str] | None = None,
    on_progress: Progress = lambda _objects: None,
    on_step: Callable[[Step], object] = lambda _step: None,
    on_sent: Callable[[str], object] = lambda _key: None,
) -> Counter[str]:
    """Send a task for whatever the destination lacks.

    Args:
        transfer: what is copied where.
        queue: where the tasks go; None to send nothing.
        source: listing of the source, in key order.
        destination: listing of the destination, in key order.
        digests: whether both buckets' plain ETags are MD5 digests.
        random: for the order of tasks and the jitter of pauses.
        filters: which of the source's objects this is about.
        by: what makes two objects equal.
        counts: filled as it goes, for whoever watches from another thread.
        on_progress: told the number of source objects seen, now and then.
        on_step: told each step that is neither a copy nor equal.
        on_sent: told a source key, once all tasks for the objects up to it are sent.

    Returns:
        Objects by action, and the `bytes` and `tasks` that were sent.

    Raises:
        ListingError: a listing is out of order.
        FleetcopyError: a bucket or the queue refuses; what was sent stays sent, and a rerun sends the rest.
    """
    counts = Counter() if counts is None else counts
    taken = Sieve(filters, transfer).pairs(paired(transfer, source, destination))

    def to_copy() -> Iterator[ObjectRef]:
        steps = plan(transfer, taken, digests=digests, by=by)
        while some := list(itertools.islice(steps, AT_ONCE)):
            counts.update(step.action for step in some)
            on_progress(len(some))
            refs = [step.ref for step in some if step.action is Action.COPY]
            counts["bytes"] += sum(ref.size for ref in refs)
            for step in some if len(refs) < len(some) else ():
                if step.action not in {Action.COPY, Action.EQUAL}:
                    on_step(step)
            yield from refs

    def sent(tasks: int, last: Task) -> None:
        counts["tasks"] += tasks
        on_sent(last.objects[-1].key)

    tasks = pack(transfer.id, to_copy())
    if queue is None:
        counts["tasks"] += sum(1 for _ in tasks)
    else:
        send_tasks(queue, tasks, random, sent)
    return counts
