"""How the streams' events reach their owner."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import cast

import pytest

from tests.core import ref, transfer
from worker.core.errors import ObjectRefusedError
from worker.core.message import LargeTask, ListTask, Task
from worker.core.model import UNTOUCHED, Kind, Outcome
from worker.core.settle import Send, Step
from worker.core.tasks import Message, TaskQueue
from worker.core.transferrer import Cancellation, Transferrer
from worker.flow.delivery import Delivery
from worker.flow.steps import Steps
from worker.flow.streams import Drain, Event, Finished, Streams
from worker.flow.survey import Listable


def idle(steps: Steps | None = None) -> Streams:
    """Streams that are not started: their events are the test's."""
    return Streams(
        transfer=transfer(),
        tasks=cast("TaskQueue", None),
        transferrer=cast("Transferrer", None),
        steps=steps or Steps({}),
        destination=cast("Listable", None),
        probe=lambda: None,
        count=1,
        visibility=120,
        random=Random(0),
    )


def test_what_has_happened_is_handed_over_together_and_in_order() -> None:
    streams = idle()
    for second in range(3):
        streams.events.put(Drain(second))
    assert list(streams.gather(0)) == [Drain(0), Drain(1), Drain(2)]
    assert list(streams.gather(0)) == []


def test_an_event_is_waited_for() -> None:
    streams = idle()
    threading.Timer(0.05, streams.events.put, [Drain(1)]).start()
    assert list(streams.gather(30)) == [Drain(1)]


def test_what_happens_in_the_moment_after_the_first_comes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = idle()
    monkeypatch.setattr(time, "sleep", lambda _seconds: streams.events.put(Drain(1)))
    streams.events.put(Drain(0))
    assert list(streams.gather(0)) == [Drain(0), Drain(1)]


def test_what_happens_while_events_are_handled_is_for_the_next_time() -> None:
    streams = idle()
    streams.events.put(Drain(0))
    streams.events.put(Drain(0))
    handled = 0
    for event in streams.gather(0):
        handled += 1
        if handled == 2:
            streams.events.put(event)
    assert handled == 2
    assert list(streams.gather(0)) == [Drain(0)]


LARGE = LargeTask(transfer().id, ref("k"))


def outcome(steps: Steps, task: Task, *, withdrawn: bool = False) -> Finished:
    """How a step ends on a stream."""
    streams = idle(steps)
    delivery = Delivery(Message("body", "receipt", 1), task, 0.0)
    if withdrawn:
        delivery.withdrawn.set()
    streams.perform(delivery, task)
    streams.stop()
    streams.start()
    event: Event = streams.events.get(timeout=30)
    assert isinstance(event, Finished)
    assert event.delivery is delivery
    return event


def test_a_step_is_carried_out_by_its_kinds_carrier_and_says_what_it_led_to() -> None:
    seen: list[object] = []

    def own(task: LargeTask, cancel: Cancellation) -> Step:
        seen.extend([task, cancel])
        return Step(Outcome(Kind.HANDED_ON), (Send("next", 5),))

    event = outcome(Steps({LargeTask: own}), LARGE)
    assert seen == [LARGE, event.delivery.cancel]
    assert (event.ref, event.outcome.kind, event.sends) == (ref("k"), Kind.HANDED_ON, (Send("next", 5),))


def broken(_task: LargeTask, _cancel: Cancellation) -> Step:
    """A carrier with a fault."""
    raise ZeroDivisionError


def test_a_step_of_a_delivery_that_is_withdrawn_is_not_begun() -> None:
    event = outcome(Steps({LargeTask: broken}), LARGE, withdrawn=True)
    assert (event.outcome, event.sends) == (UNTOUCHED, ())


def test_what_a_step_raises_is_its_outcome() -> None:
    refused = ObjectRefusedError("400")

    def own(_task: LargeTask, _cancel: Cancellation) -> Step:
        raise refused

    assert outcome(Steps({LargeTask: own}), LARGE).outcome == Outcome(Kind.FAILED, error=refused)
    event = outcome(Steps({LargeTask: broken}), LARGE)
    assert event.outcome.error
    assert event.outcome.error.reason == "Unexpected"


def test_a_kind_that_nobody_carries_out_has_failed_for_good() -> None:
    event = outcome(Steps({}), ListTask(transfer().id))
    assert event.outcome.error
    assert (event.outcome.error.reason, event.outcome.error.retryable) == ("UnknownKind", False)
