"""The owner's table, row by row; hints that cover what is missing; delays within SQS's limits."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import properly, ref, transfer
from worker.core.large import MOST_HINTS, Move, decide, hints, lateness, next_look, parts_a_hint
from worker.core.message import MOST_PARTS, LargeTask, Stage, Upload, encode
from worker.core.model import ObjectRef
from worker.core.parts import GIB, LARGEST_OBJECT, LARGEST_PART, MIB, Part, count, part_size

SOURCE = ref("k", 1_000, "e")
ALL = MOST_PARTS


def task(*, hinted: int = ALL, arrived: int = 0, looks: int = 0, stalls: int = 0) -> LargeTask:
    """An owner of ten parts."""
    upload = Upload("u", 100, hinted=hinted, arrived=arrived, looks=looks, stalls=stalls)
    return LargeTask(transfer().id, SOURCE, stage=Stage.UPLOAD, upload=upload)


def parts(number: int) -> list[Part]:
    return [Part(at, "e", 100) for at in range(1, number + 1)]


@pytest.mark.parametrize(
    ("owner", "source", "there", "move"),
    [
        pytest.param(task(), None, parts(10), Move.ABORT, id="gone"),
        pytest.param(task(), ref("k", 1_000, "f"), parts(10), Move.ABORT, id="another version, as long"),
        pytest.param(task(), ref("k", 999, "e"), parts(10), Move.ABORT, id="another length"),
        pytest.param(task(), None, None, Move.ABORT, id="all gone"),
        pytest.param(task(), SOURCE, None, Move.START_OVER, id="no upload"),
        pytest.param(task(), SOURCE, parts(10), Move.COMPLETE, id="all there"),
        pytest.param(task(hinted=4), SOURCE, parts(10), Move.COMPLETE, id="all there before all is hinted"),
        pytest.param(task(hinted=4), SOURCE, parts(4), Move.HINT, id="not all hinted"),
        pytest.param(task(hinted=9, looks=99), SOURCE, [], Move.HINT, id="not all hinted, and nothing comes"),
        pytest.param(task(hinted=10), SOURCE, [], Move.WAIT, id="all hinted"),
        pytest.param(task(looks=3), SOURCE, [], Move.WAIT, id="patience"),
        pytest.param(task(looks=4), SOURCE, [], Move.HINT_AGAIN, id="no more patience"),
        pytest.param(task(looks=99), SOURCE, parts(1), Move.WAIT, id="a part has come"),
        pytest.param(task(looks=99, arrived=1), SOURCE, parts(1), Move.HINT_AGAIN, id="none more has come"),
        pytest.param(task(looks=7, stalls=1), SOURCE, [], Move.WAIT, id="more patience each time"),
        pytest.param(task(looks=8, stalls=1), SOURCE, [], Move.HINT_AGAIN, id="and less than that"),
        pytest.param(task(looks=4 * 2**9, stalls=9), SOURCE, [], Move.GIVE_UP, id="at last"),
        pytest.param(task(looks=4 * 2**9 - 1, stalls=9), SOURCE, [], Move.WAIT, id="not before"),
    ],
)
def test_the_owners_table(
    owner: LargeTask, source: ObjectRef | None, there: list[Part] | None, move: Move
) -> None:
    assert decide(owner, source, there) is move


def of(size: int, part: int, hinted: int = 0) -> LargeTask:
    upload = Upload("u", part, "CRC32", own=True, hinted=hinted, arrived=3, looks=2, stalls=1)
    return LargeTask(transfer().id, ref("k" * 1_024, size), 2, Stage.UPLOAD, upload, late=9)


@properly
@given(st.integers(1, LARGEST_OBJECT), st.integers(0, MOST_PARTS), st.sets(st.integers(1, MOST_PARTS)))
def test_hints_cover_what_is_missing_and_overlap_nowhere(size: int, hinted: int, there: set[int]) -> None:
    owner = of(size, part_size(size), hinted)
    assert owner.upload
    total = count(size, owner.upload.part_size)
    covered = [n for hint in hints(owner, there) for n in range(hint.first, hint.last + 1)]
    assert len(covered) == len(set(covered))
    assert set(range(hinted + 1, total + 1)) - there <= set(covered)
    assert all(hinted < number <= total for number in covered)


def ranges(owner: LargeTask, *there: int) -> list[tuple[int, int]]:
    return [(hint.first, hint.last) for hint in hints(owner, set(there))]


def test_hints_are_half_a_minutes_work_and_spread_what_there_is() -> None:
    assert ranges(of(10 * MIB, 5 * MIB)) == [(1, 1), (2, 2)]
    assert ranges(of(34 * 5 * MIB, 5 * MIB))[:2] == [(1, 3), (4, 6)]
    assert ranges(of(MOST_PARTS * 64 * MIB, 64 * MIB))[:2] == [(1, 22), (23, 44)]
    assert ranges(of(10 * LARGEST_PART, LARGEST_PART)) == [(number, number) for number in range(1, 11)]


def test_hints_for_what_is_there_are_left_out() -> None:
    assert ranges(of(34 * 5 * MIB, 5 * MIB), *range(1, 31), 34) == [(31, 33)]
    assert ranges(of(34 * 5 * MIB, 5 * MIB, hinted=33)) == [(34, 34)]
    assert ranges(of(34 * 5 * MIB, 5 * MIB, hinted=34)) == []


def test_a_hint_names_the_upload_and_nothing_of_its_owner() -> None:
    hint = next(hints(of(GIB, 64 * MIB), ()))
    assert hint.upload == Upload("u", 64 * MIB, "CRC32", own=True)
    assert hint.attempt == 0
    assert hint.ref == of(GIB, 64 * MIB).ref


def test_messages_stay_within_what_sqs_bills_as_one() -> None:
    owner = of(LARGEST_OBJECT, LARGEST_PART)
    owner = msgspec.structs.replace(owner, ref=ref("\x01" * 1_024, LARGEST_OBJECT))
    assert len(encode(owner)) < 60 * 1024
    assert all(len(encode(hint)) < 60 * 1024 for hint in hints(owner, ()))
    assert MOST_HINTS <= 1_000


@pytest.mark.parametrize(
    ("left", "looks", "seconds"),
    [
        (0, 0, 1),
        (GIB, 0, 3),
        (10 * GIB, 0, 22),
        (LARGEST_OBJECT, 0, 60),
        (0, 3, 8),
        (0, 99, 60),
        (GIB, 2, 12),
    ],
)
def test_looks_come_soon_where_little_is_missing_and_later_when_nothing_comes(
    left: int, looks: int, seconds: int
) -> None:
    assert next_look(left, looks) == seconds


@pytest.mark.parametrize(("part", "seconds"), [(1, 10), (64 * MIB, 13), (GIB, 214), (LARGEST_PART, 900)])
def test_a_part_is_late_for_as_long_as_it_may_be_under_way(part: int, seconds: int) -> None:
    assert lateness(part) == seconds


@pytest.mark.parametrize(
    ("total", "size", "a_hint"),
    [
        (3, GIB, 1),
        (48, 64 * MIB, 3),
        (1_000, 64 * MIB, 22),
        (10_000, 4 * GIB, 1),
        (1, 5 * MIB, 1),
    ],
)
def test_hints_spread_the_parts_or_are_half_a_minute_each(total: int, size: int, a_hint: int) -> None:
    assert parts_a_hint(total, size) == a_hint
