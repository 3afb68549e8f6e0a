"""The truth table of `core.settle`, row by row; and no object is ever lost or doubled."""

from __future__ import annotations

import json
import re
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import keys, objects, properly, ref, several, transfer
from worker.core.errors import (
    FleetcopyError,
    InterruptedTransferError,
    MessageError,
    ObjectDeniedError,
    ObjectRefusedError,
    ServiceUnavailableError,
)
from worker.core.message import CopyTask, LargeTask, ListTask, PartTask, Stage, Task, Upload, decode
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome, Proof
from worker.core.settle import Send, Settlement, reject, settle, split

TRANSFER = transfer()
AGAIN = ServiceUnavailableError("S3 answers 503")
NEVER = ObjectRefusedError("S3 refuses it")
# What SQS takes in a body or an attribute (SQS API Reference, SendMessage).
SQS_TEXT = re.compile("[\x09\x0a\x0d\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


def failed(error: FleetcopyError | None) -> Outcome:
    return Outcome(Kind.FAILED, error=error)


COPIED = Outcome(Kind.COPIED, 1, Proof.MD5)


def lines(settlement: Settlement) -> list[str]:
    """A settlement as readable lines, delays left out."""
    sends = [("send", send.body, "") for send in settlement.sends]
    dead = [("dead", letter.body, letter.attributes["Reason"]) for letter in settlement.dead_letters]
    result = []
    for word, body, reason in sends + dead:
        task = decode(body, TRANSFER)
        names = ",".join(one.key for one in task.objects)
        result.append(f"{word} {names} attempt={task.attempt} {reason}".rstrip())
    return result


def settled(attempt: int, *outcomes: tuple[str, Outcome]) -> list[str]:
    results = [(ref(key), outcome) for key, outcome in outcomes]
    task = CopyTask(TRANSFER.id, tuple(one for one, _ in results), attempt)
    return lines(settle(task, results, Random(1)))


@pytest.mark.parametrize(
    ("attempt", "outcome", "expected"),
    [
        # copied, skipped, gone, archived: done
        (0, COPIED, []),
        (0, Outcome(Kind.SKIPPED), []),
        (0, Outcome(Kind.GONE), []),
        (0, Outcome(Kind.ARCHIVED), []),
        # untouched: a new task, attempt unchanged
        (0, UNTOUCHED, ["send k attempt=0"]),
        (4, UNTOUCHED, ["send k attempt=4"]),
        (99, UNTOUCHED, ["send k attempt=99"]),
        (3, Outcome(Kind.UNTOUCHED, error=AGAIN), ["send k attempt=3"]),
        # failed, retryable, attempts left: a new task, attempt + 1
        (0, failed(AGAIN), ["send k attempt=1"]),
        (3, failed(AGAIN), ["send k attempt=4"]),
        (0, failed(InterruptedTransferError("cancelled")), ["send k attempt=1"]),
        # failed otherwise: the dead-letter queue
        (4, failed(AGAIN), ["dead k attempt=0 ServiceUnavailable"]),
        (99, failed(AGAIN), ["dead k attempt=0 ServiceUnavailable"]),
        (0, failed(NEVER), ["dead k attempt=0 ObjectRefused"]),
        (3, failed(NEVER), ["dead k attempt=0 ObjectRefused"]),
        (0, failed(ObjectDeniedError("source", "403")), ["dead k attempt=0 ObjectDenied"]),
        (0, failed(None), ["dead k attempt=0 Unknown"]),
    ],
)
def test_an_object_goes_where_the_table_says(attempt: int, outcome: Outcome, expected: list[str]) -> None:
    assert settled(attempt, ("k", outcome)) == expected


def test_a_mixed_delivery_leaves_two_messages_and_its_dead_each_alone() -> None:
    assert settled(
        1,
        ("a", UNTOUCHED),
        ("b", failed(NEVER)),
        ("c", COPIED),
        ("d", failed(AGAIN)),
        ("e", UNTOUCHED),
        ("f", failed(NEVER)),
        ("g", failed(AGAIN)),
    ) == [
        "send a,e attempt=1",
        "send d,g attempt=2",
        "dead b attempt=0 ObjectRefused",
        "dead f attempt=0 ObjectRefused",
    ]


@pytest.mark.parametrize(("attempt", "least", "most"), [(0, 2, 5), (1, 10, 20), (2, 40, 80), (3, 160, 320)])
def test_failed_objects_are_delayed_longer_each_time(attempt: int, least: int, most: int) -> None:
    task = CopyTask(TRANSFER.id, (ref("k"),), attempt)
    delays = {settle(task, [(ref("k"), failed(AGAIN))], Random(seed)).sends[0].delay for seed in range(200)}
    assert min(delays) >= least
    assert max(delays) <= most
    assert len(delays) > 2


def test_only_untouched_objects_are_held_back_while_an_endpoint_is_out_of_order() -> None:
    task = CopyTask(TRANSFER.id, (ref("a"), ref("b")))
    results = [(ref("a"), UNTOUCHED), (ref("b"), failed(AGAIN))]
    assert settle(task, results, Random(1)).sends[0].delay == 0
    untouched, again = settle(task, results, Random(1), hold_back=300).sends
    assert untouched.delay == 300
    assert again.delay <= 5


def test_what_was_seen_at_the_destination_is_handed_on() -> None:
    task = CopyTask(TRANSFER.id, (ref("a"), ref("b")))
    results = [(ref("a", seen="e"), UNTOUCHED), (ref("b", seen=""), failed(AGAIN))]
    sends = settle(task, results, Random(1)).sends
    seen = [decode(send.body, TRANSFER).objects[0].destination_etag for send in sends]
    assert seen == ["e", ""]


def test_a_dead_letter_says_why() -> None:
    task = CopyTask(TRANSFER.id, (ref("a/k"),), 2)
    [letter] = settle(task, [(ref("a/k"), failed(NEVER))], Random(1)).dead_letters
    assert letter.attributes == {
        "Reason": "ObjectRefused",
        "Detail": "S3 refuses it",
        "Key": "a/k",
        "Transfer": TRANSFER.id,
    }


OUTCOMES = st.sampled_from(
    [*(Outcome(kind) for kind in Kind if kind is not Kind.FAILED), failed(AGAIN), failed(NEVER), failed(None)]
)


@properly
@given(
    st.lists(st.tuples(objects(), OUTCOMES), min_size=1, max_size=8, unique_by=lambda pair: pair[0].key),
    st.integers(0, 6),
)
def test_each_object_is_in_exactly_one_place(results: list[tuple[ObjectRef, Outcome]], attempt: int) -> None:
    task = CopyTask(TRANSFER.id, tuple(one for one, _ in results), attempt)
    settlement = settle(task, results, Random(1))
    bodies = [send.body for send in settlement.sends] + [letter.body for letter in settlement.dead_letters]
    handed_on = [one for body in bodies for one in decode(body, TRANSFER).objects]
    done = [one for one, outcome in results if outcome.kind not in (Kind.UNTOUCHED, Kind.FAILED)]
    assert sorted(handed_on + done, key=lambda one: one.key) == sorted(task.objects, key=lambda one: one.key)
    assert len(settlement.sends) <= 2
    assert all(0 <= send.delay <= 900 for send in settlement.sends)


@properly
@given(keys(), st.text(max_size=200))
def test_sqs_takes_the_attributes_of_any_dead_letter(key: str, detail: str) -> None:
    one = ref(key or "k")
    results = [(one, failed(ObjectRefusedError(detail)))]
    settlement = settle(CopyTask(TRANSFER.id, (one,)), results, Random(1))
    for letter in (*settlement.dead_letters, *reject("x", MessageError("NotJSON", detail), "t").dead_letters):
        assert "Reason" in letter.attributes
        for value in letter.attributes.values():
            assert SQS_TEXT.fullmatch(value)
            assert value.isascii()


@pytest.mark.parametrize(
    "key", ["\x00", "\n\r\t", "\x1f\x7f\x80", "\ufffe\uffff", "\U0001f600", "\u2028", '"\\']
)
def test_the_key_of_a_dead_letter_can_be_read_back(key: str) -> None:
    [letter] = settle(CopyTask(TRANSFER.id, (ref(key),)), [(ref(key), failed(NEVER))], Random(1)).dead_letters
    assert json.loads(f'"{letter.attributes["Key"]}"') == key


def test_a_dead_letter_stays_within_what_sqs_takes() -> None:
    one = ref("\x01" * 1_024)
    endless = failed(ObjectRefusedError("\x01" * 1_000_000))
    [letter] = settle(CopyTask(TRANSFER.id, (one,)), [(one, endless)], Random(1)).dead_letters
    assert len(letter.body) + sum(map(len, letter.attributes.values())) < 60_000


@properly
@given(several(9, least=2), st.integers(0, 9))
def test_a_split_task_is_two_nonempty_halves(refs: list[ObjectRef], attempt: int) -> None:
    settlement = split(CopyTask(TRANSFER.id, tuple(refs), attempt))
    one, two = (decode(send.body, TRANSFER) for send in settlement.sends)
    assert [*one.objects, *two.objects] == refs
    assert abs(len(one.objects) - len(two.objects)) <= 1
    assert one.attempt == two.attempt == attempt
    assert settlement.dead_letters == ()
    assert all(send.delay == 0 for send in settlement.sends)


def test_repeated_splitting_ends_with_each_object_alone() -> None:
    tasks, rounds = [CopyTask(TRANSFER.id, tuple(ref(f"{number:03}") for number in range(1_000)))], 0
    while any(len(task.objects) > 1 for task in tasks):
        halves = [
            decode(send.body, TRANSFER)
            for task in tasks
            for send in (split(task).sends if len(task.objects) > 1 else ())
        ]
        tasks = [half for half in halves if isinstance(half, CopyTask)]
        rounds += 1
    assert rounds == 10


def test_a_message_that_is_no_task_goes_to_the_dead_letters_as_it_came() -> None:
    settlement = reject("{ not json", MessageError("NotJSON", "no"), TRANSFER.id)
    [letter] = settlement.dead_letters
    assert letter.body == "{ not json"
    assert letter.attributes == {"Reason": "NotJSON", "Detail": "no", "Transfer": TRANSFER.id}
    assert settlement.sends == ()


# Steps: tasks of other kinds.

UPLOAD = Upload("u1", 100)
LARGE = LargeTask(TRANSFER.id, ref("k"), 3, Stage.UPLOAD, UPLOAD, late=7)
PART = PartTask(TRANSFER.id, ref("k"), UPLOAD, 1, 3, attempt=3)
LIST = ListTask(TRANSFER.id, "a", "z", attempt=3)
STEPS = pytest.mark.parametrize("task", [LARGE, PART, LIST], ids=["large", "part", "list"])
LED_TO = (Send("one"), Send("two", 5))


def step(task: Task, outcome: Outcome, *, hold_back: int = 0) -> Settlement:
    return settle(task, [(task.objects[0], outcome)], Random(1), sends=LED_TO, hold_back=hold_back)


@STEPS
@pytest.mark.parametrize("outcome", [Outcome(Kind.HANDED_ON), COPIED, Outcome(Kind.GONE)])
def test_a_step_that_is_over_leaves_what_it_led_to(task: Task, outcome: Outcome) -> None:
    assert step(task, outcome) == Settlement(LED_TO)


@STEPS
def test_an_untouched_step_is_the_same_task_again(task: Task) -> None:
    *led_to, again = step(task, UNTOUCHED, hold_back=30).sends
    assert (tuple(led_to), again.delay) == (LED_TO, 30)
    assert decode(again.body, TRANSFER) == task


@STEPS
def test_a_failed_step_is_the_same_task_again_with_an_attempt_more(task: Task) -> None:
    *led_to, again = step(task, failed(AGAIN)).sends
    assert tuple(led_to) == LED_TO
    assert again.delay >= 160
    assert decode(again.body, TRANSFER) == msgspec.structs.replace(task, attempt=4)


def test_a_large_object_that_has_failed_for_good_is_a_dead_letter_that_begins_anew() -> None:
    settlement = step(LARGE, failed(NEVER))
    assert settlement.sends == LED_TO
    [letter] = settlement.dead_letters
    assert decode(letter.body, TRANSFER) == LargeTask(TRANSFER.id, ref("k"))
    assert (letter.attributes["Reason"], letter.attributes["Key"]) == ("ObjectRefused", "k")


def test_a_listing_that_has_failed_for_good_is_a_dead_letter() -> None:
    [letter] = step(LIST, failed(NEVER)).dead_letters
    assert decode(letter.body, TRANSFER) == ListTask(TRANSFER.id, "a", "z")


def test_a_hint_that_has_failed_for_good_goes_nowhere() -> None:
    assert step(PART, failed(NEVER)) == Settlement(LED_TO)
    assert step(msgspec.structs.replace(PART, attempt=4), failed(AGAIN)) == Settlement(LED_TO)
