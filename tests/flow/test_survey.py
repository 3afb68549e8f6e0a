"""A survey says of each object what the destination shows, as far as its one listing reaches."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import ONE_MD5, OTHER_MD5, keys, properly, ref, transfer
from tests.flow import Shelf
from worker.core.model import ObjectRef
from worker.flow import survey as module
from worker.flow.survey import survey

TRANSFER = transfer("in/", "out/")


def surveyed(shelf: Shelf, *refs: ObjectRef) -> list[str]:
    """What a survey says, a line an object."""
    proven, rest = survey(shelf, TRANSFER, refs)
    return [f"proven {one.key}" for one in proven] + [
        f"rest {one.key} seen={one.destination_etag!r}" for one in rest
    ]


@pytest.mark.parametrize(
    ("there", "line"),
    [
        (None, "rest in/k seen=''"),
        (ref("out/k", 5), "proven in/k"),
        (ref("out/k", 6), f"rest in/k seen='{ONE_MD5}'"),
        (ref("out/k", 5, OTHER_MD5), f"rest in/k seen='{OTHER_MD5}'"),
        (ref("out/k", 5, f"{ONE_MD5}-2"), f"rest in/k seen='{ONE_MD5}-2'"),
        (ref("out/kk", 5), "rest in/k seen=''"),
        (ref("out/", 5), "rest in/k seen=''"),
        (ref("in/k", 5), "rest in/k seen=''"),
    ],
)
def test_only_the_same_size_and_etag_prove_an_object(there: ObjectRef | None, line: str) -> None:
    assert surveyed(Shelf([there] if there else []), ref("in/k", 5)) == [line]


def test_a_look_replaces_what_an_earlier_one_saw() -> None:
    assert surveyed(Shelf(), ref("in/k", seen="before")) == ["rest in/k seen=''"]


def test_objects_in_any_order_are_all_answered() -> None:
    shelf = Shelf([ref("out/b"), ref("out/d", 9)])
    assert surveyed(shelf, ref("in/d"), ref("in/a"), ref("in/c"), ref("in/b")) == [
        "proven in/b",
        f"rest in/d seen='{ONE_MD5}'",
        "rest in/a seen=''",
        "rest in/c seen=''",
    ]


def test_a_survey_reads_no_further_than_the_packs_last_key() -> None:
    shelf = Shelf(ref(f"out/{number:04}") for number in range(5_000))
    survey(shelf, TRANSFER, [ref(f"in/{number:04}") for number in range(1_000, 1_010)])
    # Its ten keys, one behind them, and none or ten before the first, whose last digit is cut.
    assert shelf.read <= 21


def test_a_survey_of_a_wide_range_reads_a_bounded_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LISTED", 100)
    shelf = Shelf(ref(f"out/{number:04}") for number in range(5_000))
    lines = surveyed(shelf, ref("in/0000", seen="x"), ref("in/0099", 2, seen="x"), ref("in/4999", seen="x"))
    assert lines == ["proven in/0000", f"rest in/0099 seen='{ONE_MD5}'", "rest in/4999 seen='x'"]
    assert shelf.read <= 100


LISTED = st.dictionaries(
    keys(), st.tuples(st.integers(0, 1), st.sampled_from([ONE_MD5, OTHER_MD5])), max_size=12
)


@properly
@given(LISTED, LISTED.filter(bool), st.integers(1, 6), st.sampled_from(["", "in/", "i"]))
def test_a_survey_agrees_with_a_look_at_each_object(
    there: dict[str, tuple[int, str]], pack: dict[str, tuple[int, str]], most: int, prefix: str
) -> None:
    moved = transfer(prefix, "out/")
    shelf = Shelf(ref("out/" + name, size, etag) for name, (size, etag) in there.items())
    refs = [ref(prefix + name, size, etag, seen="before") for name, (size, etag) in pack.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_LISTED", most)
        proven, rest = survey(shelf, moved, refs)
    assert sorted(one.key for one in proven + rest) == sorted(one.key for one in refs)
    for one in proven:
        name = one.key.removeprefix(prefix)
        assert there[name] == pack[name]
    for one in rest:
        name = one.key.removeprefix(prefix)
        original = ref(one.key, *pack[name], seen="before")
        looked = msgspec.structs.replace(original, destination_etag=there[name][1] if name in there else "")
        assert one in (original, looked)
        assert name not in there or there[name] != pack[name] or one == original
    if len(there) < most:
        assert all(one.destination_etag != "before" for one in rest)


def test_neighbours_before_the_packs_first_key_are_not_read() -> None:
    shelf = Shelf([*(ref(f"out/a{number:05}") for number in range(12_000)), ref("out/x"), ref("out/y")])
    assert surveyed(shelf, ref("in/x"), ref("in/y")) == ["proven in/x", "proven in/y"]
