"""The outbox: batches that SQS takes, and no entry forgotten."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import properly
from tests.flow import RecordingQueue
from worker.core.errors import ConfigurationError, ServiceUnavailableError
from worker.core.tasks import Entry
from worker.flow.outbox import batches, send_batch

MIB = 1024**2
AGAIN, FINAL = False, True


def entries(*bodies: str) -> list[Entry]:
    return [Entry(body) for body in bodies]


def send(queue: RecordingQueue, *bodies: str) -> list[float]:
    """Send one batch; the pauses that were made."""
    pauses: list[float] = []
    send_batch(queue, entries(*bodies), Random(1), pauses.append, tries=8)
    return pauses


@properly
@given(st.lists(st.integers(0, MIB + 5), max_size=40))
def test_each_entry_is_in_one_batch_in_order_and_within_sqs_limits(lengths: list[int]) -> None:
    whole = [Entry("x" * length) for length in lengths]
    made = list(batches(whole))
    assert [entry for batch in made for entry in batch] == whole
    for batch in made:
        assert 1 <= len(batch) <= 10
        assert len(batch) == 1 or sum(len(entry.body) for entry in batch) <= MIB


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([1] * 10, [10]),
        ([1] * 11, [10, 1]),
        ([1] * 25, [10, 10, 5]),
        ([MIB // 2, MIB // 2], [2]),
        ([MIB // 2, MIB // 2, 1], [2, 1]),
        ([1, MIB, 1], [1, 1, 1]),
        ([1, MIB + 1, 1], [1, 1, 1]),
        ([61_440] * 20, [10, 10]),
    ],
)
def test_a_batch_is_filled_and_not_exceeded(lengths: list[int], expected: list[int]) -> None:
    assert [len(batch) for batch in batches(Entry("x" * length) for length in lengths)] == expected


def test_sizes_are_counted_in_bytes_and_with_attributes() -> None:
    assert Entry("\u00e9").size == 2
    assert Entry("ab", attributes={"Key": "\u00e9"}).size == len("ab" + "Key" + "String") + 2
    heavy = [Entry("x" * (MIB // 2 - 5), attributes={"Key": "v"})] * 2
    assert [len(batch) for batch in batches(heavy)] == [1, 1]


def test_a_batch_that_is_taken_is_sent_once() -> None:
    queue = RecordingQueue()
    assert send(queue, "a", "b") == []
    assert queue.calls == [["a", "b"]]


def test_only_the_refused_entries_are_sent_again() -> None:
    queue = RecordingQueue({"b": AGAIN, "c": AGAIN}, {"c": AGAIN})
    pauses = send(queue, "a", "b", "c")
    assert queue.calls == [["a", "b", "c"], ["b", "c"], ["c"]]
    assert [entry.body for entry in queue.taken] == ["a", "b", "c"]
    assert len(pauses) == 2


def test_an_entry_sent_again_keeps_its_delay_and_attributes() -> None:
    queue = RecordingQueue({"a": AGAIN})
    entry = Entry("a", 30, {"Reason": "r"})
    send_batch(queue, [entry], Random(1), lambda _seconds: None, tries=8)
    assert queue.taken == [entry]


@pytest.mark.parametrize("refused", [{"b": FINAL}, {"a": AGAIN, "b": FINAL}, {"b": FINAL, "c": FINAL}])
def test_an_entry_refused_for_good_is_an_error_at_once(refused: dict[str, bool]) -> None:
    queue = RecordingQueue(refused)
    with pytest.raises(ConfigurationError, match=r"queue https://queue\.example/tasks refuses .*: Codeb"):
        send(queue, "a", "b", "c")
    assert len(queue.calls) == 1


def test_an_entry_refused_for_good_later_is_an_error_too() -> None:
    with pytest.raises(ConfigurationError):
        send(RecordingQueue({"a": AGAIN}, {"a": FINAL}), "a")


def test_an_entry_that_fails_at_the_last_try_is_an_error() -> None:
    queue = RecordingQueue(*[{"b": AGAIN}] * 8)
    pauses: list[float] = []
    with pytest.raises(ServiceUnavailableError, match="did not take 1 messages in 8 tries: Codeb"):
        send_batch(queue, entries("a", "b"), Random(1), pauses.append, tries=8)
    assert len(queue.calls) == 8
    assert len(pauses) == 7
    assert all(0 <= seconds <= 10 for seconds in pauses)


def test_an_entry_taken_at_the_last_try_is_taken() -> None:
    queue = RecordingQueue(*[{"b": AGAIN}] * 7)
    assert len(send(queue, "a", "b")) == 7
    assert [entry.body for entry in queue.taken] == ["a", "b"]


def test_a_request_that_fails_as_a_whole_is_the_callers() -> None:
    with pytest.raises(ServiceUnavailableError, match="no answer"):
        send(RecordingQueue(ServiceUnavailableError("no answer")), "a")
