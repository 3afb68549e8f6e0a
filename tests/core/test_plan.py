"""Plans, as readable lines."""

from __future__ import annotations

import itertools

import pytest

from tests.core import ONE_MD5, OTHER_MD5, ref, transfer
from worker.core.compare import Criterion
from worker.core.model import ObjectRef, Transfer
from worker.core.parts import LARGEST_OBJECT
from worker.core.plan import plan

PARTS = f"{ONE_MD5}-2"
NOWHERE = None


def lines(
    *pairs: tuple[ObjectRef | None, ObjectRef | None], of: Transfer | None = None, digests: bool = True
) -> list[str]:
    """The plan of joined listings, a line a step."""
    return [
        f"{step.action} {step.ref.key} seen={step.ref.destination_etag!r}"
        for step in plan(of or transfer(), pairs, digests=digests)
    ]


def test_nothing_plans_nothing() -> None:
    assert lines() == []


def test_what_the_destination_lacks_is_copied_on_condition_that_it_is_absent() -> None:
    assert lines((ref("a/b"), NOWHERE)) == ["copy a/b seen=''"]


def test_equal_objects_are_left_alone() -> None:
    assert lines((ref("a"), ref("a"))) == [f"equal a seen='{ONE_MD5}'"]


def test_what_differs_is_copied_on_condition_of_the_etag_that_was_seen() -> None:
    assert lines(
        (ref("etag"), ref("etag", etag=OTHER_MD5)),
        (ref("size", 1), ref("size", 2)),
    ) == [f"copy etag seen='{OTHER_MD5}'", f"copy size seen='{ONE_MD5}'"]


def test_what_cannot_be_proven_equal_is_copied_for_the_worker_to_look() -> None:
    assert lines((ref("a"), ref("a", etag=PARTS))) == [f"copy a seen='{PARTS}'"]
    assert lines((ref("a"), ref("a", etag=OTHER_MD5)), digests=False) == [f"copy a seen='{OTHER_MD5}'"]


def test_what_only_the_destination_has_is_left_alone() -> None:
    assert lines((None, ref("extra")), (ref("mine"), NOWHERE)) == ["copy mine seen=''"]


@pytest.mark.parametrize(
    ("size", "line"), [(LARGEST_OBJECT, "copy a seen=''"), (LARGEST_OBJECT + 1, "too large a seen=''")]
)
def test_an_object_above_what_s3_takes_is_reported(size: int, line: str) -> None:
    assert lines((ref("a", size), NOWHERE)) == [line]


def test_a_large_object_that_is_equal_is_equal() -> None:
    large = ref("a", LARGEST_OBJECT + 1)
    assert lines((large, large)) == [f"equal a seen='{ONE_MD5}'"]


@pytest.mark.parametrize(
    ("destination", "key", "action"),
    [
        ("", "a/", "unnameable"),
        ("x", "a/", "copy"),
        ("", "a/" + "k" * 1_024, "copy"),
        ("x", "a/" + "k" * 1_023, "copy"),
        ("x", "a/" + "k" * 1_024, "unnameable"),
        ("", "a/" + "\u00e9" * 512, "copy"),
        ("x", "a/" + "\u00e9" * 512, "unnameable"),
        ("\U0001f600", "a/" + "k" * 1_021, "unnameable"),
    ],
)
def test_a_key_that_the_destination_cannot_hold_is_reported(destination: str, key: str, action: str) -> None:
    [line] = lines((ref(key), NOWHERE), of=transfer("a/", destination))
    assert line == f"{action} {key} seen=''"


def test_an_unnameable_object_is_so_whatever_its_size() -> None:
    [line] = lines((ref("a/", LARGEST_OBJECT + 1), NOWHERE), of=transfer("a/"))
    assert line == "unnameable a/ seen=''"


def test_a_step_keeps_all_that_the_listing_said() -> None:
    listed = ObjectRef("a", 7, ONE_MD5, 99, "GLACIER", "v1")
    [step] = plan(transfer(), [(listed, None)], digests=True)
    assert step.ref == ObjectRef("a", 7, ONE_MD5, 99, "GLACIER", "v1", "")


def test_a_plan_is_made_as_it_is_taken() -> None:
    taken = itertools.count()
    steps = plan(transfer(), ((ref(f"{number:09}"), None) for number in taken), digests=True)
    list(itertools.islice(steps, 10))
    assert next(taken) == 10


def test_a_step_says_how_the_destination_compares() -> None:
    pairs = [
        (ref("absent"), NOWHERE),
        (ref("different"), ref("different", etag=OTHER_MD5)),
        (ref("equal"), ref("equal")),
        (ref("unproven"), ref("unproven", etag=PARTS)),
    ]
    steps = plan(transfer(), pairs, digests=True)
    assert [f"{step.ref.key} {step.comparison}" for step in steps] == [
        *("absent None", "different different", "equal equal", "unproven unproven"),
    ]


def test_equal_is_what_the_criterion_takes_for_equal() -> None:
    pairs = [(ref("a"), ref("a", etag=OTHER_MD5))]
    assert [step.action for step in plan(transfer(), pairs, digests=True, by=Criterion.SIZE)] == ["equal"]
