"""The messages of a transfer on one machine: none is lost, none held by two, delays and deaths respected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import properly
from worker.core.backlog import Backlog
from worker.core.tasks import Depth, Entry, Message


def filled(*bodies: str) -> Backlog:
    backlog = Backlog()
    for body in bodies:
        backlog.put(Entry(body), 0.0)
    return backlog


def taken(backlog: Backlog, holder: int, now: float = 0.0) -> str | None:
    message = backlog.take(holder, now)
    return f"{message.body}#{message.receive_count}" if message else None


def test_first_come_first_served() -> None:
    backlog = filled("a", "b")
    assert [taken(backlog, 1), taken(backlog, 2), taken(backlog, 1)] == ["a#1", "b#1", None]
    assert backlog.depth == Depth(0, 2, 0)


def test_what_is_deleted_is_gone() -> None:
    backlog = filled("a")
    message = backlog.take(1, 0.0)
    assert message is not None
    backlog.delete(message.receipt)
    assert backlog.depth.total == 0
    assert backlog.release(1) == 0


def test_a_delayed_message_comes_when_its_time_has() -> None:
    backlog = Backlog()
    backlog.put(Entry("later", delay=9), 100.0)
    backlog.put(Entry("sooner", delay=5), 100.0)
    assert backlog.depth == Depth(0, 0, 2)
    assert [taken(backlog, 1, now) for now in (104.9, 105.0, 108.9, 109.0)] == [
        None,
        "sooner#1",
        None,
        "later#1",
    ]


def test_a_dead_holders_messages_come_first_in_their_old_order_and_count_their_receipts() -> None:
    backlog = filled("a", "b", "c", "d")
    assert [taken(backlog, holder) for holder in (1, 2, 1)] == ["a#1", "b#1", "c#1"]
    assert backlog.release(1) == 2
    assert [taken(backlog, 2) for _ in range(4)] == ["a#2", "c#2", "d#1", None]


def test_a_receipt_is_no_good_once_its_holder_is_dead() -> None:
    backlog = filled("a")
    old = backlog.take(1, 0.0)
    backlog.release(1)
    new = backlog.take(2, 0.0)
    assert old is not None
    assert new is not None
    assert old.receipt != new.receipt
    with pytest.raises(KeyError):
        backlog.delete(old.receipt)
    assert backlog.depth.in_flight == 1


STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "take", "delete", "release", "wait"]), st.integers(0, 3)), max_size=60
)


@properly
@given(STEPS)
def test_each_message_waits_or_is_held_by_one_until_it_is_deleted(steps: list[tuple[str, int]]) -> None:
    backlog, now, number = Backlog(), 0.0, 0
    free: set[str] = set()
    held: dict[int, list[Message]] = {holder: [] for holder in range(4)}
    for step, which in steps:
        match step:
            case "put":
                number += 1
                free.add(str(number))
                backlog.put(Entry(str(number), delay=which), now)
            case "take":
                if message := backlog.take(which, now):
                    free.remove(message.body)
                    held[which].append(message)
            case "delete":
                if held[which]:
                    backlog.delete(held[which].pop().receipt)
            case "release":
                assert backlog.release(which) == len(held[which])
                free |= {message.body for message in held[which]}
                held[which] = []
            case _:
                now += which
        assert backlog.depth.in_flight == sum(map(len, held.values()))
        assert backlog.depth.visible + backlog.depth.delayed == len(free)
    rest = [backlog.take(9, now + 99) for _ in free]
    assert {message.body for message in rest if message} == free
