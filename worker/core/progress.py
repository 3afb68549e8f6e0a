"""How far a transfer on one machine is, how fast, and how long it will take: numbers only, no screen.

| of the objects listed | counted by |
|---|---|
| equal, too large, unnameable | the plan |
| copied, skipped, gone, archived | the worker processes |
| failed | the dead letters |
| none of these yet | waiting or under way |
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

import msgspec

from worker.core.model import Kind
from worker.core.pack import DEFAULT_LIMITS
from worker.core.plan import Action

DONE = (Kind.COPIED, Kind.SKIPPED, Kind.GONE, Kind.ARCHIVED)
"""Outcomes after which an object is no worker's any more."""

_WINDOW_SECONDS = 15.0


class Tally(msgspec.Struct, frozen=True):
    """What became of objects.

    Attributes:
        counts: objects by outcome and by proof, and `bytes` moved.
        size: bytes of the objects that are done, moved or not.
    """

    counts: dict[str, int] = {}
    size: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(Counter(self.counts) + Counter(other.counts), self.size + other.size)

    @property
    def done(self) -> int:
        """Objects that are done."""
        return sum(self.counts.get(kind, 0) for kind in DONE)


class Report(msgspec.Struct, frozen=True):
    """A worker process's word: `settled` tasks are over; those `in_hand` are done again if it dies."""

    settled: Tally = Tally()
    in_hand: Tally = Tally()


class Progress(msgspec.Struct, frozen=True):
    """A moment of a transfer.

    Attributes:
        planned: objects by `core.plan.Action`, and the `bytes` to copy, as far as listed.
        listed_all: whether that is all there is.
        tally: what the worker processes did.
        failed: objects that they gave up.
        stopping: whether a person asked to stop.
    """

    planned: Mapping[str, int]
    listed_all: bool
    tally: Tally
    failed: int
    stopping: bool = False

    @property
    def listed(self) -> int:
        """Source objects that the plan has seen."""
        return sum(self.planned.get(action, 0) for action in Action)

    @property
    def to_copy(self) -> int:
        """Those of them that are to be copied."""
        return self.planned.get(Action.COPY, 0)

    @property
    def done(self) -> int:
        """Objects that no worker has to touch any more."""
        return self.tally.done + self.failed

    @property
    def work(self) -> float:
        """Seconds of work that are planned, by the packer's estimate of objects and bytes."""
        return _work(self.to_copy, self.planned.get("bytes", 0))

    @property
    def work_done(self) -> float:
        """Seconds of that work that are done."""
        return min(self.work, _work(self.done, self.tally.size))


def _work(objects: int, size: int) -> float:
    return objects * DEFAULT_LIMITS.object_seconds + size / DEFAULT_LIMITS.bytes_per_second


class Pace(msgspec.Struct, frozen=True):
    """Objects and bytes a second, and seconds left; None while that cannot be known."""

    objects: float = 0.0
    bytes: float = 0.0
    seconds_left: float | None = None


class Meter:
    """Measures the pace over the last quarter of a minute. Times are seconds of any one monotonic clock."""

    def __init__(self) -> None:
        self._moments: deque[tuple[float, Progress]] = deque()

    def pace(self, progress: Progress, now: float) -> Pace:
        """The pace, once this moment is added to those measured."""
        if not progress.work_done:
            self._moments.clear()  # the start of the worker processes says nothing about their pace
        self._moments.append((now, progress))
        while now - self._moments[0][0] > _WINDOW_SECONDS:
            self._moments.popleft()
        began, first = self._moments[0]
        if now <= began:
            return Pace()
        elapsed = now - began
        speed = max(0.0, progress.work_done - first.work_done) / elapsed
        left = progress.work - progress.work_done
        return Pace(
            objects=max(0, progress.done - first.done) / elapsed,
            bytes=max(0, _moved(progress) - _moved(first)) / elapsed,
            seconds_left=left / speed if speed and progress.listed_all else None,
        )


def _moved(progress: Progress) -> int:
    return progress.tally.counts.get("bytes", 0)
