"""Both ends of the queue of a transfer on one machine, over real lines, within one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from random import Random

import pytest

from tests.core import ref, transfer
from tests.transfers import wait_for
from worker.core.errors import ServiceUnavailableError
from worker.core.message import decode
from worker.core.model import LARGEST_PUT, ObjectRef
from worker.core.progress import Report, Tally
from worker.core.tasks import BATCH_ENTRIES, Depth, Entry
from worker.flow import send, submit
from worker.flow.local_queue import MOST_FAILURES, MOST_WAITING, ClosedError, Failure, Hub, LocalQueue

TRANSFER = transfer("in/", "out/")


def received(queue: LocalQueue) -> str | None:
    message = queue.receive(wait=2, visibility=120)
    return message.body if message else None


class Worker:
    """A worker process's end, which can die."""

    def __init__(self, hub: Hub) -> None:
        self._line = hub.connect()
        self.queue = LocalQueue(self._line)

    def dies(self) -> None:
        """End the line, as the end of a process does."""
        self._line.shutdown(2)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub whose clock stands still."""
    made = Hub(clock=lambda: 100.0)
    yield made
    made.close()


def test_a_task_passes_through_unchanged(hub: Hub) -> None:
    queue = LocalQueue(hub.connect())
    body = '{"v":1,"key":"\\u00e9\\n\\\\"}' + "x" * 60_000
    assert hub.send([Entry(body), Entry("second")]) == []
    message = queue.receive(wait=2, visibility=120)
    assert message is not None
    assert (message.body, message.receive_count) == (body, 1)
    assert received(queue) == "second"
    assert received(queue) is None


def test_what_a_process_sends_before_it_deletes_is_taken_before(hub: Hub) -> None:
    """So that the queue never looks empty while a task is handed over."""
    queue = LocalQueue(hub.connect())
    hub.send([Entry("whole")])
    message = queue.receive(wait=2, visibility=120)
    assert message is not None
    assert queue.send([Entry("rest"), Entry("again", delay=5)]) == []
    queue.delete(message.receipt)
    assert received(queue) == "rest"
    assert received(queue) is None
    assert hub.depth() == Depth(0, 1, 1)


def test_leases_are_never_lost_while_a_process_lives(hub: Hub) -> None:
    queue = LocalQueue(hub.connect())
    hub.send([Entry("a")])
    message = queue.receive(wait=2, visibility=1)
    assert message is not None
    assert queue.extend([message.receipt], 1) == []


def test_the_tasks_of_a_process_that_dies_are_anothers_at_once(hub: Hub) -> None:
    one, other = Worker(hub), Worker(hub)
    hub.send([Entry("a"), Entry("b")])
    assert received(one.queue) == "a"
    one.dies()
    wait_for(lambda: hub.depth().in_flight == 0, 10, "the lease ended")
    again = other.queue.receive(wait=2, visibility=120)
    assert again is not None
    assert (again.body, again.receive_count) == ("a", 2)


def test_a_process_that_dies_in_the_middle_of_a_word_said_nothing(hub: Hub) -> None:
    line = hub.connect()
    hub.send([Entry("a")])
    LocalQueue(line).receive(wait=2, visibility=120)
    line.sendall(b'{"type":"send","entries":[{"body":"b"}]}')
    line.shutdown(2)
    hub.hear_out()
    assert hub.depth() == Depth(1, 0, 0)


def test_a_tally_counts_a_dead_process_by_what_it_settled(hub: Hub) -> None:
    one, other = Worker(hub), Worker(hub)
    one.queue.report(Report(Tally({"copied": 1}, 1), Tally({"copied": 9}, 9)))
    one.queue.report(Report(Tally({"copied": 5}, 50), Tally({"copied": 2}, 20)))
    other.queue.report(Report(Tally({"copied": 100}, 1_000)))
    assert received(one.queue) is None  # an answer: all before it is heard
    assert received(other.queue) is None
    assert hub.tally() == Tally({"copied": 107}, 1_070)
    one.dies()
    wait_for(lambda: hub.tally() == Tally({"copied": 105}, 1_050), 10, "what was in hand is not counted")


def test_failed_objects_are_counted_and_the_first_remembered(hub: Hub) -> None:
    dead_letters = LocalQueue(hub.connect()).dead_letters()
    letter = {"Key": "in/\\u00e9\\n", "Reason": "ObjectRefused", "Detail": "say \\"}
    assert dead_letters.send([Entry("body", attributes=letter)]) == []
    for _ in range(MOST_FAILURES // BATCH_ENTRIES + 1):
        dead_letters.send([Entry("body", attributes={"Reason": "NotJSON"})] * BATCH_ENTRIES)
    wait_for(lambda: hub.failed == MOST_FAILURES + BATCH_ENTRIES + 1, 10, "all failures heard")
    assert len(hub.failures) == MOST_FAILURES
    assert hub.failures[0] == Failure("in/\u00e9\n", "ObjectRefused", "say \\")
    assert hub.failures[1] == Failure("", "NotJSON", "")


def test_to_join_is_to_wait_for_the_last_delete(hub: Hub) -> None:
    queue = LocalQueue(hub.connect())
    hub.send([Entry("a")])
    joined = threading.Event()

    def join() -> None:
        hub.join()
        joined.set()

    threading.Thread(target=join, daemon=True).start()
    message = queue.receive(wait=2, visibility=120)
    assert message is not None
    assert not joined.is_set()
    queue.delete(message.receipt)
    assert joined.wait(10)


def test_a_closed_hub_lets_nobody_wait(hub: Hub) -> None:
    hub.send([Entry("a")] * MOST_WAITING)
    seen: list[str] = []

    def wait(what: str) -> None:
        try:
            hub.join() if what == "join" else hub.send([Entry("b")])
        except ClosedError:
            seen.append(what)

    threads = [threading.Thread(target=wait, args=(what,)) for what in ("join", "send")]
    for thread in threads:
        thread.start()
    hub.close()
    for thread in threads:
        thread.join(10)
    assert sorted(seen) == ["join", "send"]


def test_a_process_can_give_back_what_it_holds_though_the_queue_is_full(hub: Hub) -> None:
    queue = LocalQueue(hub.connect())
    hub.send([Entry("a")] * MOST_WAITING)
    queue.send([Entry("b")] * BATCH_ENTRIES)
    assert received(queue) == "a"
    assert hub.depth().visible == MOST_WAITING - 1 + BATCH_ENTRIES


def test_without_a_supervisor_a_process_learns_so(hub: Hub) -> None:
    worker = Worker(hub)
    worker.dies()
    with pytest.raises(ServiceUnavailableError, match="supervisor is gone"):
        worker.queue.receive(wait=2, visibility=120)
    with pytest.raises(ServiceUnavailableError, match="supervisor is gone"):
        worker.queue.delete("1")


def test_the_plan_is_held_back_while_workers_are_slow(hub: Hub) -> None:
    """However many objects are listed, so many more than were taken are in memory at most."""
    # Waiting, held for the next block, counted together; and one, given out and not yet counted as taken.
    objects, ahead = 2_000, MOST_WAITING + send.BLOCK + submit.AT_ONCE + 1
    queue, taken, read = LocalQueue(hub.connect()), 0, 0
    faults: list[BaseException] = []

    def listing() -> Iterator[ObjectRef]:
        nonlocal read
        for number in range(objects):
            read += 1
            assert read <= taken + ahead, "the plan ran ahead"
            yield ref(f"in/{number:06}", LARGEST_PUT)  # too large to share a task

    def plan() -> None:
        try:
            submit.submit(TRANSFER, hub, source=listing(), destination=[], digests=True, random=Random(1))
        except BaseException as error:  # noqa: BLE001 - shown by the test's thread
            faults.append(error)

    planner = threading.Thread(target=plan)
    planner.start()
    wait_for(lambda: bool(faults) or hub.depth().visible == MOST_WAITING, 30, "the queue full")
    keys: set[str] = set()
    while not faults and len(keys) < objects:
        message = queue.receive(wait=2, visibility=120)
        if message:
            taken += 1
            keys |= {one.key for one in decode(message.body, TRANSFER).objects}
            queue.delete(message.receipt)
    planner.join(30)
    assert not faults
    assert read == objects
