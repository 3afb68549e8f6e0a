"""The messages of a queue within one machine: waiting, delayed or leased.

`flow.local_queue` serves them to worker processes. A lease lasts as long as the process that holds it, which
the machine knows for certain: nothing is renewed, and the tasks of a process that dies are back at once.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque

import msgspec

from worker.core.tasks import Depth, Entry, Message


class _Item(msgspec.Struct):
    body: str
    receive_count: int = 0


class Backlog:
    """Messages, first come first served. Times are seconds of any one monotonic clock."""

    def __init__(self) -> None:
        self._waiting: deque[_Item] = deque()
        self._delayed: list[tuple[float, int, _Item]] = []
        self._leased: dict[str, tuple[int, _Item]] = {}
        self._numbers = itertools.count()

    @property
    def depth(self) -> Depth:
        """How many messages there are."""
        return Depth(len(self._waiting), len(self._leased), len(self._delayed))

    def put(self, entry: Entry, now: float) -> None:
        """Add a message, hidden for its delay."""
        item = _Item(entry.body)
        if entry.delay:
            heapq.heappush(self._delayed, (now + entry.delay, next(self._numbers), item))
        else:
            self._waiting.append(item)

    def take(self, holder: int, now: float) -> Message | None:
        """Lease a message to a holder, if one is to be had."""
        while self._delayed and self._delayed[0][0] <= now:
            self._waiting.append(heapq.heappop(self._delayed)[2])
        if not self._waiting:
            return None
        item = self._waiting.popleft()
        item.receive_count += 1
        receipt = str(next(self._numbers))
        self._leased[receipt] = holder, item
        return Message(item.body, receipt, item.receive_count)

    def delete(self, receipt: str) -> None:
        """Forget a leased message."""
        del self._leased[receipt]

    def release(self, holder: int) -> int:
        """End all leases of a holder, whose messages come first now; how many they were."""
        receipts = [receipt for receipt, (owner, _) in self._leased.items() if owner == holder]
        self._waiting.extendleft(self._leased.pop(receipt)[1] for receipt in reversed(receipts))
        return len(receipts)
