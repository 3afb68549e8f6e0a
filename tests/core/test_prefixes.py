"""Prefix totals, held against a count that keeps everything."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from tests.core import properly
from worker.core.prefixes import DEPTHS, KEPT, Prefix, Prefixes


def counted(objects: dict[str, int], prefix: str = "") -> Prefixes:
    """The prefixes of objects."""
    found, folder, is_deepest, number, size = Prefixes(prefix), "", False, 0, 0
    for key in sorted(objects):
        if not (key.startswith(folder) and (is_deepest or "/" not in key[len(folder) :])):
            folder, is_deepest = found.enter(key, number, size)
            number = size = 0
        number, size = number + 1, size + objects[key]
    found.close(number, size)
    return found


def expected(objects: dict[str, int], prefix: str, depth: int) -> list[Prefix]:
    """All prefixes of a depth, the largest first."""
    totals: dict[str, list[int]] = defaultdict(list)
    for key, size in objects.items():
        folders = key[len(prefix) :].split("/")[:-1][:depth]
        totals[prefix + "".join(f"{folder}/" for folder in folders)].append(size)
    return sorted((Prefix(sum(of), len(of), name) for name, of in totals.items()), reverse=True)


def lines(found: Prefixes) -> list[str]:
    """The largest, a line each."""
    return [f"{one.prefix} {one.objects} {one.bytes}" for one in found.largest]


@properly
@given(
    st.dictionaries(st.text("ab/\x00\U0010ffff", max_size=8), st.integers(0, 9), max_size=KEPT),
    st.sampled_from(["", "a", "a/", "a/b/"]),
)
def test_each_depth_counts_every_object_once(names: dict[str, int], prefix: str) -> None:
    objects = {prefix + name: size for name, size in names.items()}
    found = counted(objects, prefix)
    for depth in range(1, DEPTHS + 1):
        every = expected(objects, prefix, depth)
        assert found.distinct[depth - 1] == len(every)
        assert found.at(depth) == every


def test_the_largest_are_kept_and_no_more() -> None:
    objects = {f"{number:03}/x": number for number in range(100)}
    found = counted(objects)
    assert lines(found) == [f"{number:03}/ 1 {number}" for number in range(99, 99 - KEPT, -1)]
    assert found.distinct[0] == 100
    assert all(len(found.at(depth)) <= KEPT for depth in range(1, DEPTHS + 1))


def test_the_depth_told_is_the_first_with_a_few_prefixes() -> None:
    assert counted({f"data/v1/{number}/x": 1 for number in range(4)}).depth == 3
    assert counted({f"data/{number}/y/x": 1 for number in range(4)}).depth == 2
    assert counted({f"{number}/{place}/z/x": 1 for number in range(4) for place in "ab"}).depth == 1
    assert counted({f"{number}/{place}/z/x": 1 for number in range(3) for place in "ab"}).depth == 2


def test_with_few_prefixes_anywhere_the_depth_that_has_most_is_told() -> None:
    assert counted({"data/1/x": 1, "data/2/x": 1}).depth == 2
    assert counted({"data/x": 1, "data/y": 1}).depth == 1
    assert counted({"flat": 1}).depth == counted({}).depth == 1


def test_keys_without_a_slash_are_the_listings_own() -> None:
    assert lines(counted({"in/a": 1, "in/b": 2}, "in/")) == ["in/ 2 3"]


def test_nothing_has_no_prefixes() -> None:
    found = counted({})
    assert (found.distinct, found.largest) == ([0] * DEPTHS, [])
