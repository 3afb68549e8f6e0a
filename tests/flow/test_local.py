"""A transfer on one machine, its supervisor played: who ends it, and what is made of that."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest

from worker.core.errors import ConfigurationError, ListingError
from worker.core.progress import Report, Tally
from worker.core.tasks import Entry
from worker.flow.local import LocalTransfer
from worker.flow.local_queue import Hub, LocalQueue
from worker.flow.supervise import Supervisor


class Played:
    """Stands for `flow.supervise.Supervisor`: works off what the hub holds until it is told to stop."""

    def __init__(self, hub: Hub, *, ends: Exception | None = None, works: bool = True) -> None:
        self.told_to_stop = False
        self.stop = threading.Event()
        self.reports = 0
        self._line = hub.connect()
        self._ends = ends
        self._works = works

    def done(self) -> None:
        """See `Supervisor.done`."""
        self.stop.set()

    def run(self) -> bool:
        """See `Supervisor.run`."""
        tasks = LocalQueue(self._line)
        while self._works and not self.stop.is_set():
            if message := tasks.receive(wait=0, visibility=120):
                tasks.delete(message.receipt)
        for copied in range(self.reports):
            tasks.report(Report(Tally({"copied": copied + 1})))
        self._line.shutdown(2)
        if self._ends:
            raise self._ends
        return True


def local(hub: Hub, played: Played, plan: Callable[[Counter[str]], object]) -> LocalTransfer:
    return LocalTransfer(hub, cast("Supervisor", played), plan)


def test_it_ends_when_all_is_planned_and_done() -> None:
    hub = Hub()

    def plan(counts: Counter[str]) -> None:
        counts["copy"] += 2
        hub.send([Entry("a"), Entry("b")])

    transfer = local(hub, Played(hub), plan)
    transfer.run()
    assert transfer.complete
    assert transfer.progress().planned == {"copy": 2}
    assert transfer.progress().listed_all
    assert hub.depth().total == 0


def test_the_last_word_of_a_worker_process_counts() -> None:
    """Though it is gone by the time that it is read: here, much stands before it."""
    hub = Hub()
    played = Played(hub)
    played.reports = 5_000
    transfer = local(hub, played, lambda _counts: None)
    transfer.run()
    assert transfer.progress().done == 5_000


@pytest.mark.parametrize("fault", [ListingError("out of order"), ZeroDivisionError("a bug")])
def test_a_plan_that_fails_ends_it_and_is_raised(fault: Exception) -> None:
    hub = Hub()

    def plan(_counts: Counter[str]) -> None:
        raise fault

    transfer = local(hub, Played(hub), plan)
    with pytest.raises(type(fault), match=str(fault)):
        transfer.run()
    assert not transfer.complete
    assert not transfer.progress().listed_all


def test_a_signal_ends_it_incomplete_and_the_plan_with_it() -> None:
    hub, ended = Hub(), queue.SimpleQueue[str]()

    def plan(_counts: Counter[str]) -> None:
        try:
            while True:
                hub.send([Entry("a")])
        finally:
            ended.put("plan")

    transfer = local(hub, Played(hub, works=False), plan)
    transfer.run()
    assert ended.get(timeout=10) == "plan"
    assert not transfer.complete


def test_what_ends_the_supervisor_is_raised() -> None:
    hub = Hub()
    played = Played(hub, ends=ConfigurationError("gave up"), works=False)
    transfer = local(hub, played, lambda _counts: hub.send([Entry("a")]))
    with pytest.raises(ConfigurationError, match="gave up"):
        transfer.run()
    assert not transfer.complete
