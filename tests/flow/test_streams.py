"""How the streams' events reach their owner."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import cast

import pytest

from tests.core import transfer
from worker.core.tasks import TaskQueue
from worker.core.transferrer import Transferrer
from worker.flow.streams import Drain, Streams
from worker.flow.survey import Listable


def idle() -> Streams:
    """Streams that are not started: their events are the test's."""
    return Streams(
        transfer=transfer(),
        tasks=cast("TaskQueue", None),
        transferrer=cast("Transferrer", None),
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
