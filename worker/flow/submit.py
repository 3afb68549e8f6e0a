"""Submitting a transfer: list both sides, plan, pack, and send tasks until SQS has them all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from random import Random

from worker.core.listing import in_order, join
from worker.core.message import Task, encode
from worker.core.model import ObjectRef, Transfer
from worker.core.pack import pack, shuffle
from worker.core.plan import Action, Step, plan
from worker.core.tasks import Entry, Sender
from worker.flow.outbox import batches, send_batch

WINDOW = 100
"""Tasks held to be shuffled; at most six MiB of messages."""

_SEND_TRIES = 8

Progress = Callable[[int], object]


def submit(
    transfer: Transfer,
    queue: Sender,
    *,
    source: Iterable[ObjectRef],
    destination: Iterable[ObjectRef],
    digests: bool,
    random: Random,
    counts: Counter[str] | None = None,
    on_progress: Progress = lambda _objects: None,
    on_step: Callable[[Step], object] = lambda _step: None,
) -> Counter[str]:
    """Send a task for whatever the destination lacks.

    Args:
        transfer: what is copied where.
        queue: where the tasks go.
        source: listing of the source, in key order.
        destination: listing of the destination, in key order.
        digests: whether both buckets' plain ETags are MD5 digests.
        random: for the order of tasks and the jitter of pauses.
        counts: filled as it goes, for whoever watches from another thread.
        on_progress: told the number of source objects seen, now and then.
        on_step: told each step that is neither a copy nor equal.

    Returns:
        Objects by action, and the `bytes` and `tasks` that were sent.

    Raises:
        ListingError: a listing is out of order.
        FleetcopyError: a bucket or the queue refuses; what was sent stays sent, and a rerun sends the rest.
    """
    counts = Counter() if counts is None else counts

    def to_copy() -> Iterator[ObjectRef]:
        pairs = join(
            in_order(source, transfer.source.prefix, transfer.source.uri),
            in_order(destination, transfer.destination.prefix, transfer.destination.uri),
        )
        for step in plan(transfer, pairs, digests=digests):
            counts[step.action] += 1
            on_progress(1)
            if step.action is Action.COPY:
                counts["bytes"] += step.ref.size
                yield step.ref
            elif step.action is not Action.EQUAL:
                on_step(step)

    tasks = shuffle(pack(transfer.id, to_copy()), WINDOW, random)
    for batch in batches(_entries(tasks)):
        counts["tasks"] += len(batch)
        send_batch(queue, batch, random, time.sleep, tries=_SEND_TRIES)
    return counts


def _entries(tasks: Iterable[Task]) -> Iterator[Entry]:
    return (Entry(encode(task)) for task in tasks)
