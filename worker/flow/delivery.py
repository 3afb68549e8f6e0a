"""One received message, from its receipt until it is settled. Owned by one thread, `flow.consume`'s."""

from __future__ import annotations

import threading
from collections import Counter

from worker.core.message import Task
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome
from worker.core.progress import DONE, Tally
from worker.core.settle import Send, Settlement
from worker.core.tasks import Entry, Message, Sender

_OVER = (*DONE, Kind.HANDED_ON)


class Delivery:
    """The message, its task, what became of the task's objects so far, and how it is to be settled.

    Attributes:
        withdrawn: set to begin no more of its objects.
        cancel: set to stop those under way.
        results: object and outcome, one for each that is finished.
        sends: messages that a step has led to.
        settlement: what to send before the message is deleted, once that is known.
        outbox: batches of it that are not taken yet, each with the queue that is to take it.
        lost: whether SQS has ended the lease, so that the task may be another worker's.
        retry_at: when to try to settle again, after SQS failed.
    """

    def __init__(self, message: Message, task: Task | None, received: float) -> None:
        self.message = message
        self.task = task
        self.received = received
        self.withdrawn = threading.Event()
        self.cancel = threading.Event()
        self.results: list[tuple[ObjectRef, Outcome]] = []
        self.sends: tuple[Send, ...] = ()
        self.settlement: Settlement | None = None
        self.outbox: list[tuple[Sender, list[Entry]]] = []
        self.lost = False
        self.retry_at = received
        self._left = {ref.key: ref for ref in task.objects} if task else {}

    @property
    def unfinished(self) -> int:
        """How many objects have no outcome yet."""
        return len(self._left)

    @property
    def finished(self) -> bool:
        """Whether each object has an outcome."""
        return not self._left

    @property
    def done(self) -> bool:
        """Whether no object is left for another delivery."""
        return self.finished and all(outcome.kind in _OVER for _, outcome in self.results)

    def finish(self, ref: ObjectRef, outcome: Outcome) -> None:
        """Record what became of an object; the first word counts."""
        known = self._left.pop(ref.key, None)
        if known is not None:
            self.results.append((ref, outcome))

    def abandon(self) -> None:
        """Take objects that are still under way for untouched: their threads hang."""
        for ref in list(self._left.values()):
            self.finish(ref, UNTOUCHED)

    def tally(self) -> Tally:
        """What became of the objects that have an outcome."""
        outcomes = [outcome for _, outcome in self.results]
        counts = Counter(str(outcome.kind) for outcome in outcomes)
        counts += Counter(str(outcome.proof) for outcome in outcomes if outcome.proof)
        counts["bytes"] = sum(outcome.bytes for outcome in outcomes)
        size = sum(ref.size for ref, outcome in self.results if outcome.kind in DONE)
        return Tally(counts, size)
