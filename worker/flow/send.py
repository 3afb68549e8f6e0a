"""Sending a stream of tasks: block by block, the batches of each side by side, in an order of chance.

A block is taken whole by the queue before the next is begun, so that at any moment all tasks of the blocks
before are sent, and who is killed has at most one block to send again. The order within a block spreads load:
key order hammers one partition of S3 at a time, and S3 serves about 3,500 writes a second of each (S3 User
Guide, "Best practices design patterns").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

from worker.core.message import Task, encode
from worker.core.tasks import Entry, Sender
from worker.flow.outbox import batches, send_batch

BLOCK = 100
"""Tasks of a block; at most six MiB of messages."""

_BATCHES_AT_ONCE = 8
_TRIES = 8


def send_tasks(
    queue: Sender,
    tasks: Iterable[Task],
    random: Random,
    on_sent: Callable[[int, Task], object] = lambda _tasks, _last: None,
) -> None:
    """Send all of the tasks.

    Args:
        queue: where to; safe to use from several threads.
        tasks: in key order.
        random: for the order within a block and the jitter of pauses.
        on_sent: told of each block, once the queue has it: how many tasks, and the last in key order.

    Raises:
        FleetcopyError: the queue refuses; what was sent stays sent.
    """

    def send(batch: list[Entry]) -> None:
        send_batch(queue, batch, random, time.sleep, tries=_TRIES)

    pool = ThreadPoolExecutor(_BATCHES_AT_ONCE, thread_name_prefix="send")
    try:
        for entries, last in _blocks(tasks):
            random.shuffle(entries)
            for _ in pool.map(send, batches(entries)):
                pass
            on_sent(len(entries), last)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _blocks(tasks: Iterable[Task]) -> Iterator[tuple[list[Entry], Task]]:
    """The tasks' messages by blocks, and the last task of each: the others' objects are held no longer."""
    entries: list[Entry] = []
    for task in tasks:
        entries.append(Entry(encode(task)))
        if len(entries) == BLOCK:
            yield entries, task
            entries = []
    if entries:
        yield entries, task
