"""The threads of a worker process that do: streams that carry objects, and one that waits in ReceiveMessage.

They decide nothing and own nothing: each takes a job, does it, and sends its owner, `flow.consume`, an event.
Streams never touch the queue.
"""

from __future__ import annotations

import functools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from random import Random

import msgspec

from worker.core.errors import FleetcopyError, UnexpectedError
from worker.core.message import CopyTask, Task
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome, Transfer
from worker.core.settle import Send, Step
from worker.core.tasks import Message, TaskQueue
from worker.core.transferrer import Transferrer
from worker.flow import log
from worker.flow.copy import copy_object
from worker.flow.delivery import Delivery
from worker.flow.steps import Steps
from worker.flow.survey import Listable, survey

POLL_SECONDS = 2
"""Long-poll wait. A drain has to await the poll under way, so that it is far below SQS's 20 seconds."""

_MOMENT = 0.005
"""Seconds for which events gather, so that their owner wakes up for some of them together."""


class Received(msgspec.Struct, frozen=True):
    """The receiving thread is back: with a message, with nothing, or with an error."""

    message: Message | None = None
    error: FleetcopyError | None = None


class Surveyed(msgspec.Struct, frozen=True):
    """A redelivered task has been compared with the destination."""

    delivery: Delivery
    proven: list[ObjectRef]
    rest: list[ObjectRef]


class Finished(msgspec.Struct, frozen=True):
    """A stream is done with an object, or with a step, begun and ended at these monotonic times."""

    delivery: Delivery
    ref: ObjectRef
    outcome: Outcome
    began: float
    ended: float
    sends: tuple[Send, ...] = ()


class Probed(msgspec.Struct, frozen=True):
    """A probe of the endpoints ended, well or not."""

    error: FleetcopyError | None = None


class Drain(msgspec.Struct, frozen=True):
    """Stop within so many seconds."""

    seconds: float


Event = Received | Surveyed | Finished | Probed | Drain


class Streams:
    """Runs jobs on `count` streams and polls on one thread more; all are daemons.

    Args:
        transfer: the one that this worker carries out.
        tasks: the queue to receive from.
        transferrer: moves the objects.
        steps: carries out the tasks of other kinds.
        destination: lists what earlier deliveries finished.
        probe: asks whether both endpoints work; raises what is wrong.
        count: objects in flight at most.
        visibility: seconds of a received message's lease.
        random: for the jitter of pauses.
    """

    def __init__(
        self,
        *,
        transfer: Transfer,
        tasks: TaskQueue,
        transferrer: Transferrer,
        steps: Steps,
        destination: Listable,
        probe: Callable[[], None],
        count: int,
        visibility: int,
        random: Random,
    ) -> None:
        self.count = count
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        """What the owner waits for."""
        self._transfer = transfer
        self._tasks = tasks
        self._transferrer = transferrer
        self._steps = steps
        self._destination = destination
        self._probe = probe
        self._visibility = visibility
        self._random = random
        self._jobs: queue.SimpleQueue[Callable[[], Event] | None] = queue.SimpleQueue()
        self._polls: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def start(self) -> None:
        """Start the threads."""
        for _ in range(self.count):
            threading.Thread(target=self._run_jobs, daemon=True).start()
        threading.Thread(target=self._run_polls, daemon=True).start()

    def stop(self) -> None:
        """Let each thread end once it is done with what it does."""
        for _ in range(self.count):
            self._jobs.put(None)
        self._polls.put(False)

    def gather(self, seconds: float) -> Iterator[Event]:
        """The next event and those of the moment after it; none where none comes for so many seconds.

        Those that come while these are handled are for the next time, so that nothing keeps the owner from
        what is due.
        """
        try:
            yield self.events.get(timeout=seconds)
        except queue.Empty:
            return
        time.sleep(_MOMENT)
        for _ in range(self.events.qsize()):
            yield self.events.get_nowait()

    def poll(self) -> None:
        """Receive one message; ends in a `Received`."""
        self._polls.put(True)

    def copy(self, delivery: Delivery, refs: Iterable[ObjectRef]) -> None:
        """Copy objects; ends in a `Finished` for each."""
        for ref in refs:
            self._jobs.put(functools.partial(self._do_copy, delivery, ref))

    def perform(self, delivery: Delivery, task: Task) -> None:
        """Carry out a step; ends in a `Finished`."""
        self._jobs.put(functools.partial(self._do_step, delivery, task))

    def survey(self, delivery: Delivery, task: CopyTask) -> None:
        """Compare a redelivered task with the destination; ends in a `Surveyed`."""
        self._jobs.put(functools.partial(self._do_survey, delivery, task))

    def probe(self) -> None:
        """Ask whether both endpoints work; ends in a `Probed`."""
        self._jobs.put(self._do_probe)

    def _run_jobs(self) -> None:
        while job := self._jobs.get():
            self.events.put(job())

    def _run_polls(self) -> None:
        while self._polls.get():
            try:
                message = self._tasks.receive(wait=POLL_SECONDS, visibility=self._visibility)
            except Exception as error:  # noqa: BLE001 - a worker that cannot poll must not look idle
                self.events.put(Received(error=_ours(error)))
            else:
                self.events.put(Received(message))

    def _do_survey(self, delivery: Delivery, task: CopyTask) -> Event:
        try:
            proven, rest = survey(self._destination, self._transfer, task.objects)
        except Exception as error:  # noqa: BLE001 - a survey only saves work: without it, all is copied
            log.warning("survey", transfer=self._transfer.id, why=repr(error))
            proven, rest = [], list(task.objects)
        return Surveyed(delivery, proven, rest)

    def _do_copy(self, delivery: Delivery, ref: ObjectRef) -> Event:
        def copy() -> Step:
            return Step(copy_object(self._transferrer, ref, delivery.cancel, self._random))

        return _finish(delivery, ref, copy)

    def _do_step(self, delivery: Delivery, task: Task) -> Event:
        [unit] = task.objects
        return _finish(delivery, unit, lambda: self._steps.perform(task, delivery.cancel))

    def _do_probe(self) -> Event:
        try:
            self._probe()
        except Exception as error:  # noqa: BLE001 - nor must a probe be awaited for ever
            return Probed(_ours(error))
        return Probed()


def _finish(delivery: Delivery, ref: ObjectRef, act: Callable[[], Step]) -> Finished:
    """Act, unless the delivery has been withdrawn meanwhile."""
    began = time.monotonic()
    step = Step(UNTOUCHED)
    if not delivery.withdrawn.is_set():
        try:
            step = act()
        except Exception as error:  # noqa: BLE001 - whatever it is, the task must not hang on it
            step = Step(Outcome(Kind.FAILED, error=_ours(error)))
    return Finished(delivery, ref, step.outcome, began, time.monotonic(), step.sends)


def _ours(error: Exception) -> FleetcopyError:
    """The error, or, for one that nobody foresaw, one that says so; its traceback goes to the log."""
    if isinstance(error, FleetcopyError):
        return error
    log.error("bug")
    return UnexpectedError(repr(error))
