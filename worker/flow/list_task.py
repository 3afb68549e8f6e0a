"""The fleet lists the bucket itself: a `list` task is a range of keys, and leads to tasks for what it holds.

Whoever carries one out lists its first keys at both sides, plans and packs them, and hands over the rest of
the range as two new ranges, cut where keys have been seen to be, so that one task becomes as many as
there are workers within a few rounds, whatever the keys look like. All that a task leads to is sent before
its own message is deleted; whoever is killed before that has sent nothing, or what will be sent once more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import takewhile
from random import Random
from typing import Protocol

import msgspec

from worker.core.errors import InterruptedTransferError
from worker.core.filters import Sieve
from worker.core.keyrange import KeyRange, divide
from worker.core.listing import paired
from worker.core.message import ListTask, Task, encode
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome, Transfer
from worker.core.pack import pack
from worker.core.plan import Action, plan
from worker.core.settle import Send, Step
from worker.core.transferrer import Cancellation
from worker.flow import log
from worker.flow.survey import Listable

MOST_KEYS = 20_000
"""Of the source that one task lists: some ten seconds of work, and at most two MiB of messages."""

_ALERT = 100
"""Keys after which a walk asks whether to go on."""


class Source(Listable, Protocol):
    """What is listed; `aws.s3.Bucket` is one."""

    def next_key(self, after: str) -> str | None:
        """See `aws.s3.Bucket.next_key`."""
        ...


class Lister:
    """Carries out the `list` tasks of one transfer; safe to use from many threads.

    Args:
        transfer: the one that this worker carries out.
        source, destination: its two sides.
        digests: asks whether both buckets' plain ETags are MD5 digests.
        random: for the order of tasks.
        most: keys that one task lists.
    """

    def __init__(
        self,
        transfer: Transfer,
        *,
        source: Source,
        destination: Listable,
        digests: Callable[[], bool],
        random: Random,
        most: int = MOST_KEYS,
    ) -> None:
        self._transfer = transfer
        self._source = source
        self._destination = destination
        self._digests = functools.cache(digests)
        self._random = random
        self._most = most

    def perform(self, task: ListTask, cancel: Cancellation) -> Step:
        """List the beginning of a range, and say what it leads to.

        Raises:
            ListingError: a listing is out of order.
            FleetcopyError: a bucket refuses.
        """
        walk = _Walk(self._source, KeyRange(task.start_after, task.end_at), self._most, cancel)
        try:
            tasks: list[Task] = list(pack(self._transfer.id, self._to_copy(task, walk)))
        except InterruptedTransferError:
            return Step(UNTOUCHED)
        tasks += [
            msgspec.structs.replace(task, start_after=part.after, end_at=part.until, attempt=0)
            for part in self._parts(walk)
        ]
        log.info(
            "listed",
            transfer=self._transfer.id,
            after=task.start_after,
            until=task.end_at,
            objects=walk.count,
            tasks=len(tasks),
        )
        self._random.shuffle(tasks)
        return Step(Outcome(Kind.HANDED_ON), tuple(Send(encode(one)) for one in tasks))

    def _to_copy(self, task: ListTask, walk: _Walk) -> Iterator[ObjectRef]:
        """Those of the walk's objects that the destination lacks."""
        start = self._transfer.destination_key(task.start_after) if task.start_after else ""
        joined = paired(self._transfer, walk, self._destination.list(start))
        # What the destination holds beyond the walk's last key is another task's to list.
        pairs = takewhile(lambda pair: pair[0] is not None or not walk.ended, joined)
        taken = Sieve(task.filters, self._transfer).pairs(pairs)
        for step in plan(self._transfer, taken, digests=self._digests(), by=task.by):
            if step.action is Action.COPY:
                yield step.ref
            elif step.action is not Action.EQUAL:
                log.warning("left alone", transfer=self._transfer.id, key=step.ref.key, why=step.action)

    def _parts(self, walk: _Walk) -> tuple[KeyRange, ...]:
        """What the walk has left of its range."""
        if walk.rest is None:
            return ()
        return divide(walk.rest, self._transfer.source.prefix, self._source.next_key)


class _Walk:
    """The first keys of a range, at most `most`; what it leaves of the range, once it has ended."""

    def __init__(self, source: Source, within: KeyRange, most: int, cancel: Cancellation) -> None:
        self.count = 0
        self.ended = False
        self.rest: KeyRange | None = None
        self._source = source
        self._within = within
        self._most = most
        self._cancel = cancel

    def __iter__(self) -> Iterator[ObjectRef]:
        last = self._within.after
        for ref in self._source.list(last):
            if ref.key not in self._within:
                break
            if self.count == self._most:
                self.rest = KeyRange(last, self._within.until)
                break
            if self.count % _ALERT == 0 and self._cancel.is_set():
                raise InterruptedTransferError(f"list after {self._within.after!r}: cancelled")
            self.count += 1
            last = ref.key
            yield ref
        self.ended = True
