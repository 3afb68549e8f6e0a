"""One delivery's book: which objects are left, what became of the others."""

from __future__ import annotations

import pytest

from tests.core import ref, transfer
from worker.core.errors import ObjectRefusedError
from worker.core.message import CopyTask
from worker.core.model import UNTOUCHED, Kind, Outcome, Proof
from worker.core.progress import Tally
from worker.core.tasks import Message
from worker.flow.delivery import Delivery

COPIED = Outcome(Kind.COPIED, 7, Proof.MD5)
SKIPPED = Outcome(Kind.SKIPPED)
FAILED = Outcome(Kind.FAILED, error=ObjectRefusedError("400"))


def delivery(*keys: str) -> Delivery:
    return Delivery(
        Message("body", "receipt", 1), CopyTask(transfer().id, tuple(ref(key) for key in keys)), 100.0
    )


def lines(one: Delivery) -> list[str]:
    """The results, a line an object."""
    return [f"{ref.key} {outcome.kind}" for ref, outcome in one.results]


def test_a_delivery_starts_with_all_its_objects_left() -> None:
    one = delivery("a", "b")
    assert (one.unfinished, one.finished, one.done) == (2, False, False)
    assert (one.settlement, one.outbox, one.lost, one.retry_at) == (None, [], False, 100.0)
    assert not one.withdrawn.is_set()
    assert not one.cancel.is_set()


def test_a_delivery_is_finished_when_its_last_object_is() -> None:
    one = delivery("a", "b")
    one.finish(ref("b"), COPIED)
    assert (one.unfinished, one.finished) == (1, False)
    one.finish(ref("a"), SKIPPED)
    assert (one.unfinished, one.finished) == (0, True)
    assert lines(one) == ["b copied", "a skipped"]


def test_the_first_word_about_an_object_counts() -> None:
    one = delivery("a")
    one.finish(ref("a"), COPIED)
    one.finish(ref("a"), FAILED)
    assert lines(one) == ["a copied"]


def test_a_word_about_a_foreign_object_does_not_count() -> None:
    one = delivery("a")
    one.finish(ref("b"), COPIED)
    assert (lines(one), one.unfinished) == ([], 1)


def test_a_key_named_twice_is_one_object() -> None:
    one = delivery("a", "a")
    assert one.unfinished == 1
    one.finish(ref("a"), COPIED)
    assert one.finished


def test_what_was_seen_meanwhile_is_kept_with_the_result() -> None:
    one = delivery("a")
    one.finish(ref("a", seen="e"), UNTOUCHED)
    assert one.results == [(ref("a", seen="e"), UNTOUCHED)]


def test_abandoned_objects_are_untouched_and_their_late_word_is_not_heard() -> None:
    one = delivery("a", "b", "c")
    one.finish(ref("b"), COPIED)
    one.abandon()
    one.finish(ref("c"), COPIED)
    assert lines(one) == ["b copied", "a untouched", "c untouched"]
    assert one.finished


@pytest.mark.parametrize(
    ("kind", "done"),
    [
        (Kind.COPIED, True),
        (Kind.SKIPPED, True),
        (Kind.GONE, True),
        (Kind.ARCHIVED, True),
        (Kind.FAILED, False),
        (Kind.UNTOUCHED, False),
    ],
)
def test_a_delivery_is_done_when_nothing_is_left_for_another(kind: Kind, *, done: bool) -> None:
    one = delivery("a", "b")
    one.finish(ref("a"), COPIED)
    one.finish(ref("b"), Outcome(kind))
    assert one.done is done


def test_a_message_that_is_no_task_is_finished_at_once() -> None:
    one = Delivery(Message("body", "receipt", 1), None, 100.0)
    assert (one.unfinished, one.finished, one.done) == (0, True, True)


def test_objects_are_counted_by_outcome_and_by_proof() -> None:
    one = delivery("a", "b", "c", "d")
    for key, outcome in {
        "a": COPIED,
        "b": Outcome(Kind.COPIED, 1, Proof.TRANSPORT),
        "c": FAILED,
        "d": COPIED,
    }.items():
        one.finish(ref(key), outcome)
    assert one.tally() == Tally({"copied": 3, "failed": 1, "md5": 2, "transport": 1, "bytes": 15}, 3)


def test_a_step_that_is_handed_on_needs_no_other_delivery() -> None:
    one = delivery("a", "b")
    one.finish(ref("a"), Outcome(Kind.HANDED_ON))
    one.finish(ref("b"), COPIED)
    assert one.done
