"""What a plan amounts to, step by step."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import ONE_MD5, OTHER_MD5, properly, ref
from worker.core.compare import Comparison
from worker.core.model import LARGEST_PUT, ObjectRef
from worker.core.parts import FAN_OUT_ABOVE
from worker.core.plan import Action, Step
from worker.core.tally import MOVED, Fate, Parts, Tally

GIB = 1024**3
MIB = 1024**2


def tallied(*steps: Step, prefix: str = "") -> tuple[Tally, list[str]]:
    """The tally of steps, and the keys of what goes to the packer."""
    tally = Tally(prefix)
    return tally, [one.key for one in tally.through(steps)]


def fates(tally: Tally) -> dict[str, dict[str, int]]:
    """Objects by fate and storage class."""
    return {fate: tally.objects(fate) for fate in Fate if tally.objects(fate)}


def of_class(key: str, storage_class: str, size: int = 1, etag: str = ONE_MD5) -> ObjectRef:
    return ObjectRef(key, size, etag, 0, storage_class)


@pytest.mark.parametrize(
    ("step", "fate", "is_packed"),
    [
        (Step(Action.COPY, ref("a")), "copy", True),
        (Step(Action.COPY, ref("a"), Comparison.DIFFERENT), "replace", True),
        (Step(Action.COPY, ref("a"), Comparison.UNPROVEN), "unproven", True),
        (Step(Action.COPY, of_class("a", "STANDARD_IA")), "copy", True),
        (Step(Action.COPY, of_class("a", "GLACIER_IR")), "copy", True),
        (Step(Action.COPY, of_class("a", "GLACIER")), "archived", True),
        (Step(Action.COPY, of_class("a", "DEEP_ARCHIVE"), Comparison.DIFFERENT), "archived", True),
        (Step(Action.COPY, of_class("a", "GLACIER", 9 * GIB, f"{ONE_MD5}-9")), "archived", True),
        (Step(Action.COPY, ref("a", 2 * GIB, f"{ONE_MD5}-9")), "copy", True),
        (Step(Action.EQUAL, ref("a"), Comparison.EQUAL), "equal", False),
        (Step(Action.EQUAL, of_class("a", "GLACIER"), Comparison.EQUAL), "equal", False),
        (Step(Action.UNNAMEABLE, ref("a")), "unnameable", False),
        (Step(Action.TOO_LARGE, ref("a")), "too large", False),
    ],
)
def test_every_step_has_a_fate(step: Step, fate: str, *, is_packed: bool) -> None:
    tally, packed = tallied(step)
    assert fates(tally) == {fate: {step.ref.storage_class: 1}}
    assert tally.bytes(*Fate) == {step.ref.storage_class: step.ref.size}
    assert packed == (["a"] if is_packed else [])
    assert (tally.prefixes.distinct[0] == 1) is (fate in MOVED)


@pytest.mark.parametrize(
    ("size", "etag", "kind", "parts"),
    [
        (1, ONE_MD5, "whole", Parts()),
        (LARGEST_PUT, ONE_MD5, "whole", Parts()),
        (LARGEST_PUT + 1, ONE_MD5, "many", Parts(1, 81, 14)),
        (8 * MIB, f"{ONE_MD5}-2", "one", Parts(1, 2)),
        (FAN_OUT_ABOVE, f"{ONE_MD5}-16", "one", Parts(1, 16)),
        (FAN_OUT_ABOVE + 1, f"{ONE_MD5}-17", "many", Parts(1, 17, 9)),
        (FAN_OUT_ABOVE + 1, "no-etag-of-s3", "many", Parts(1, 17, 9)),
        (7, "no-etag-of-s3", "whole", Parts()),
        (0, f"{ONE_MD5}-1", "one", Parts(1, 1)),
    ],
)
def test_an_object_moves_whole_or_in_parts(size: int, etag: str, kind: str, parts: Parts) -> None:
    tally, _ = tallied(Step(Action.COPY, ref("a", size, etag)))
    assert tally.in_one == ({"STANDARD": parts} if kind == "one" else {})
    assert tally.fanned_out == ({"STANDARD": parts} if kind == "many" else {})


def test_sizes_are_kept_by_power_of_two() -> None:
    sizes = [0, 1, 2, 3, 4, 1_023, 1_024, 2**63]
    tally, _ = tallied(*(Step(Action.COPY, ref(f"{size:030}", size)) for size in sizes))
    found = tally.fates[Fate.COPY]["STANDARD"]
    assert {length: number for length, number in enumerate(found.objects) if number} == {
        0: 1,
        1: 1,
        2: 2,
        3: 1,
        10: 1,
        11: 1,
        64: 1,
    }
    assert found.bytes[2] == 5
    assert tally.empty() == {"STANDARD": 1}


def test_archived_and_equal_objects_are_not_among_the_empty() -> None:
    archived = Step(Action.COPY, of_class("a", "GLACIER", 0))
    tally, _ = tallied(archived, Step(Action.EQUAL, ref("b", 0), Comparison.EQUAL))
    assert not any(tally.empty().values())


NAMES = st.text("ab/", max_size=6)
STEPS = st.dictionaries(
    NAMES,
    st.tuples(
        st.sampled_from(Action),
        st.sampled_from([None, *Comparison]),
        st.sampled_from([0, 1, 5_000, 2 * GIB]),
        st.sampled_from([ONE_MD5, f"{OTHER_MD5}-3"]),
        st.sampled_from(["STANDARD", "GLACIER", "STANDARD_IA"]),
    ),
    max_size=12,
)


def steps_of(drawn: dict[str, tuple[Action, Comparison | None, int, str, str]]) -> Iterable[Step]:
    for key in sorted(drawn):
        action, comparison, size, etag, storage_class = drawn[key]
        yield Step(action, ObjectRef(key, size, etag, 0, storage_class), comparison)


@properly
@given(STEPS)
def test_nothing_is_lost_or_counted_twice(
    drawn: dict[str, tuple[Action, Comparison | None, int, str, str]],
) -> None:
    steps = list(steps_of(drawn))
    tally, packed = tallied(*steps)
    assert sum(tally.objects(*Fate).values()) == len(steps)
    assert sum(tally.bytes(*Fate).values()) == sum(step.ref.size for step in steps)
    assert packed == [step.ref.key for step in steps if step.action is Action.COPY]
    for depth in (1, 2, 3):
        moved = tally.bytes(*MOVED)
        assert sum(one.bytes for one in tally.prefixes.at(depth)) == sum(moved.values())
