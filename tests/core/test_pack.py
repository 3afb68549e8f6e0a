"""Packing: every object once and in order, every limit kept, little held; and the shuffle."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from random import Random

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.core import ONE_MD5, objects, properly, ref, transfer
from worker.core.message import CopyTask, LargeTask, Task, encode
from worker.core.model import LARGEST_PUT, ObjectRef
from worker.core.pack import DEFAULT_LIMITS, MESSAGE_BYTES, Limits, pack, shuffle
from worker.core.parts import FAN_OUT_ABOVE, is_large

ID = transfer().id
GIB = 1024**3
NONE = Limits(
    objects=10**9, bytes=10**18, seconds=1e12, message_bytes=10**12, object_seconds=0, first_objects=10**9
)
"""Limits that nothing meets."""


def message_bytes(refs: Sequence[ObjectRef]) -> int:
    """The longest message that these objects can have, at whatever attempt."""
    return len(encode(CopyTask(ID, tuple(refs), 9_999)).encode())


def fits(refs: Sequence[ObjectRef], limits: Limits, *, spare: int = 0) -> bool:
    """Whether a task of these objects keeps each limit; an object alone always does."""
    size = sum(one.size for one in refs)
    return len(refs) == 1 or (
        len(refs) <= limits.objects
        and size <= limits.bytes
        and len(refs) * limits.object_seconds + size / limits.bytes_per_second <= limits.seconds
        and message_bytes(refs) + spare <= limits.message_bytes
    )


def sizes(refs: Sequence[ObjectRef], limits: Limits) -> list[int]:
    """How many objects each task holds."""
    return [len(task.objects) for task in pack(ID, refs, limits)]


def endless(size: int = 1) -> Iterator[ObjectRef]:
    return (ref(f"{number:09}", size) for number in itertools.count())


def under(prefix: str, refs: list[ObjectRef]) -> list[ObjectRef]:
    """The objects with their keys under a prefix, which a message writes once."""
    return [msgspec.structs.replace(one, key=prefix + one.key) for one in refs]


PREFIXES = st.sampled_from(["", "a/" * 30, "\U0001f600\x01" * 10])
REFS = st.builds(under, PREFIXES, st.lists(objects(), max_size=30))
LIMITS = st.builds(
    Limits,
    objects=st.integers(1, 8),
    bytes=st.integers(0, 2**62),
    seconds=st.floats(0, 100),
    message_bytes=st.integers(0, 1_500),
    first_objects=st.just(10),
)


def packs(refs: list[ObjectRef], limits: Limits) -> list[Task]:
    """The tasks of the objects, which are none for many workers."""
    assume(not any(map(is_large, refs)))
    return list(pack(ID, refs, limits))


@properly
@given(REFS, LIMITS)
def test_each_object_is_packed_once_in_order_and_within_the_limits(
    refs: list[ObjectRef], limits: Limits
) -> None:
    tasks = packs(refs, limits)
    assert [one for task in tasks for one in task.objects] == refs
    assert all(task.transfer == ID and task.attempt == 0 for task in tasks)
    assert all(fits(task.objects, limits) for task in tasks)


@properly
@given(REFS, LIMITS)
def test_a_task_ends_only_where_the_next_object_would_break_a_limit(
    refs: list[ObjectRef], limits: Limits
) -> None:
    # A byte is to spare: the estimate of a message counts a comma behind the last row.
    for task, following in itertools.pairwise(packs(refs, limits)):
        assert not fits([*task.objects, following.objects[0]], limits, spare=1)


@pytest.mark.parametrize(
    ("limits", "size", "expected"),
    [
        pytest.param(Limits(objects=3, first_objects=9), 0, [3, 3, 1], id="objects"),
        pytest.param(Limits(bytes=20, first_objects=9), 10, [2, 2, 2, 1], id="bytes"),
        pytest.param(Limits(seconds=3, object_seconds=1, first_objects=9), 0, [3, 3, 1], id="seconds"),
        pytest.param(
            Limits(seconds=4, object_seconds=1, bytes_per_second=10, first_objects=9),
            10,
            [2, 2, 2, 1],
            id="seconds of objects and of bytes together",
        ),
        pytest.param(Limits(bytes=5, first_objects=9), 10, [1] * 7, id="each object above the limit"),
        pytest.param(Limits(message_bytes=1, first_objects=9), 0, [1] * 7, id="each message above the limit"),
        pytest.param(Limits(first_objects=9), 0, [7], id="none met"),
        pytest.param(Limits(first_objects=2), 0, [2, 2, 2, 1], id="slow start"),
    ],
)
def test_a_limit_is_filled_and_not_exceeded(limits: Limits, size: int, expected: list[int]) -> None:
    assert sizes([ref(f"{number}", size) for number in range(7)], limits) == expected


def test_an_object_above_the_limits_goes_alone() -> None:
    refs = [ref("a", 1), ref("b", 2 * GIB), ref("c", 0), ref("d", 1)]
    assert sizes(refs, DEFAULT_LIMITS) == [1, 1, 2]


@pytest.mark.parametrize("letter", ["k", "\x01", "\u00e9", "\U0001f600", '"', "\\"])
def test_messages_of_long_keys_fill_their_bytes_and_no_more(letter: str) -> None:
    keys = [f"{number:04}" + letter * 200 for number in range(300)]
    fill_their_bytes(keys)


@pytest.mark.parametrize("letter", ["k", "\x01", "\u00e9", "\U0001f600", '"', "\\"])
def test_messages_of_keys_under_one_prefix_fill_their_bytes_and_no_more(letter: str) -> None:
    fill_their_bytes([letter * 50 + f"{number:04}" for number in range(1_500)])


def fill_their_bytes(keys: list[str]) -> None:
    tasks = list(pack(ID, [ref(key) for key in keys], Limits(first_objects=1_000, seconds=60)))
    lengths = [message_bytes(task.objects) for task in tasks]
    assert max(lengths) <= MESSAGE_BYTES
    row = max(message_bytes([ref(key)]) for key in keys)
    assert min(lengths[:-1]) > MESSAGE_BYTES - row


def test_the_longest_keys_of_any_kind_fit_a_message_of_sqs() -> None:
    # 1,024 control characters are the key with the longest escape.
    [task] = pack(ID, [ref("\x01" * 1_024)])
    assert message_bytes(task.objects) <= MESSAGE_BYTES


def test_the_defaults_are_designs() -> None:
    assert (DEFAULT_LIMITS.message_bytes, DEFAULT_LIMITS.objects) == (61_440, 1_000)
    assert (DEFAULT_LIMITS.bytes, DEFAULT_LIMITS.seconds) == (GIB, 30.0)


def test_a_few_hundred_objects_spread_over_many_tasks() -> None:
    assert sizes([ref(f"{number:03}") for number in range(300)], DEFAULT_LIMITS) == [16] * 18 + [12]


def test_tasks_grow_to_a_thirty_second_of_what_is_packed_until_the_limit() -> None:
    limits = Limits(message_bytes=NONE.message_bytes, seconds=NONE.seconds)
    packed = 0
    for task in itertools.islice(pack(ID, endless(), limits), 200):
        assert len(task.objects) == min(1_000, max(16, packed // 32))
        packed += len(task.objects)
    assert packed > 40_000


def test_a_task_is_made_before_the_next_but_one_is_read() -> None:
    taken = 0

    def refs() -> Iterator[ObjectRef]:
        nonlocal taken
        for one in endless():
            taken += 1
            yield one

    yielded = 0
    for task in itertools.islice(pack(ID, refs()), 50):
        yielded += len(task.objects)
        assert taken == yielded + 1


def test_no_objects_make_no_task() -> None:
    assert list(pack(ID, [])) == []


@properly
@given(st.lists(st.integers()), st.integers(1, 20), st.integers())
def test_a_shuffle_is_a_permutation_that_its_seed_decides(items: list[int], window: int, seed: int) -> None:
    shuffled = list(shuffle(items, window, Random(seed)))
    assert sorted(shuffled) == sorted(items)
    assert shuffled == list(shuffle(items, window, Random(seed)))


@properly
@given(st.integers(0, 60), st.integers(1, 20), st.integers())
def test_a_shuffle_looks_no_further_ahead_than_its_window(count: int, window: int, seed: int) -> None:
    for place, item in enumerate(shuffle(range(count), window, Random(seed))):
        assert item < place + window


def test_a_shuffle_holds_its_window_and_no_more() -> None:
    taken = itertools.count()
    for place, _ in enumerate(itertools.islice(shuffle(taken, 10, Random(1)), 1_000)):
        assert next(taken) <= 11 + 2 * place  # each look takes one as well


def test_a_shuffle_mixes() -> None:
    shuffled = list(shuffle(range(1_000), 100, Random(1)))
    neighbours = sum(abs(one - two) == 1 for one, two in itertools.pairwise(shuffled))
    assert neighbours < 100
    assert list(shuffle(range(1_000), 100, Random(2))) != shuffled


def test_what_many_workers_are_to_copy_is_a_task_of_its_own_kind() -> None:
    parts = f"{ONE_MD5}-200"
    refs = [
        ref("a"),
        ref("b", FAN_OUT_ABOVE, parts),
        ref("c", FAN_OUT_ABOVE + 1, parts),
        ref("d", FAN_OUT_ABOVE + 1),
        ref("e", LARGEST_PUT),
        ref("f", LARGEST_PUT + 1),
        ref("g", FAN_OUT_ABOVE + 1, "opaque"),
        ref("h"),
    ]
    tasks = list(pack(ID, refs, Limits(bytes=1 << 60, seconds=1 << 60)))
    assert [f"{type(task).__name__} {','.join(one.key for one in task.objects)}" for task in tasks] == [
        "LargeTask c",
        "LargeTask f",
        "LargeTask g",
        "CopyTask a,b,d,e,h",
    ]
    assert tasks[0] == LargeTask(ID, refs[2])
