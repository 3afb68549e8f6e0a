"""Listings merged in order: what a join says is what sets would say, and disorder is an error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import keys, properly, ref
from worker.core.errors import ListingError
from worker.core.listing import in_order, join, just_below
from worker.core.model import ObjectRef

SETS = st.sets(keys(), max_size=12)


def listing(prefix: str, names: set[str]) -> Iterator[tuple[str, ObjectRef]]:
    """Objects of these names, in S3's order, which is that of the bytes."""
    ordered = sorted(names, key=str.encode)
    return in_order([ref(prefix + name) for name in ordered], prefix, "test")


@properly
@given(SETS, SETS)
def test_join_agrees_with_sets(source: set[str], destination: set[str]) -> None:
    pairs = list(join(listing("s/", source), listing("longer/", destination)))
    # The oracle: names of both sides, each once, with the side's object where the side has it.
    expected = [
        ("s/" + name if name in source else None, "longer/" + name if name in destination else None)
        for name in sorted(source | destination, key=str.encode)
    ]
    assert [(one and one.key, two and two.key) for one, two in pairs] == expected


@properly
@given(st.lists(keys(), max_size=6))
def test_only_rising_keys_are_in_order(names: list[str]) -> None:
    rising = all(one.encode() < two.encode() for one, two in itertools.pairwise(names))
    refs = [ref(name) for name in names]
    if rising:
        assert list(in_order(refs, "", "test")) == list(zip(names, refs, strict=True))
    else:
        with pytest.raises(ListingError):
            list(in_order(refs, "", "test"))


@properly
@given(st.lists(keys()))
def test_pythons_order_of_text_is_the_order_of_utf_8_bytes(names: list[str]) -> None:
    assert sorted(names) == sorted(names, key=str.encode)


def test_astral_characters_stand_behind_the_last_of_the_basic_plane() -> None:
    last_basic, first_astral = "\uffff", "\U00010000"
    assert first_astral.encode("utf-16-be") < last_basic.encode("utf-16-be")  # where UTF-16 differs
    assert len(list(in_order([ref(last_basic), ref(first_astral)], "", "test"))) == 2
    with pytest.raises(ListingError):
        list(in_order([ref(first_astral), ref(last_basic)], "", "test"))


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["a", "a"], "key 'a' stands after 'a', out of order"),
        (["b", "a"], "key 'a' stands after 'b', out of order"),
        (["a/b", "a-b"], "key 'a-b' stands after 'a/b'"),
        (["a", "B"], "key 'B' stands after 'a'"),
        (["a", "ab", "a"], "key 'a' stands after 'ab'"),
    ],
)
def test_disorder_is_an_error_that_names_both_keys(names: list[str], complaint: str) -> None:
    with pytest.raises(ListingError, match=complaint) as caught:
        list(in_order([ref(name) for name in names], "", "s3://bucket/"))
    assert str(caught.value).startswith("s3://bucket/: ")


@pytest.mark.parametrize("key", ["b/1", "a", "A/1", "/a/1", ""])
def test_a_key_outside_the_prefix_is_an_error(key: str) -> None:
    with pytest.raises(ListingError, match="outside prefix 'a/'"):
        list(in_order([ref(key)], "a/", "test"))


def test_the_prefix_is_cut_off_once() -> None:
    assert [name for name, _ in in_order([ref("a/"), ref("a/a/x")], "a/", "test")] == ["", "a/x"]


def test_what_stands_before_the_disorder_is_yielded_first() -> None:
    stream = in_order([ref("a"), ref("b"), ref("a")], "", "test")
    assert [next(stream)[0], next(stream)[0]] == ["a", "b"]
    with pytest.raises(ListingError):
        next(stream)


def test_a_join_holds_one_object_of_each_side() -> None:
    taken = itertools.count()
    endless = ((f"{number:09}", ref(f"{number:09}")) for number in taken)
    pairs = join(endless, iter(()))
    list(itertools.islice(pairs, 100))
    assert next(taken) <= 102


@properly
@given(keys())
def test_just_below_a_key_there_is_little(key: str) -> None:
    below = just_below(key)
    assert below.encode() < key.encode() or not key
    assert not below < key[:-1]


@pytest.mark.parametrize(
    ("key", "below"),
    [("a", "`\U0010ffff"), ("x/b", "x/a\U0010ffff"), ("x\x00", "x"), ("\ue000", "\ud7ff\U0010ffff")],
)
def test_just_below(key: str, below: str) -> None:
    assert just_below(key) == below
