"""Ranges of keys: any cut loses and repeats none; good cuts find the middle of any kind of keys."""

from __future__ import annotations

from bisect import bisect_right
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core import keys, properly
from worker.core.keyrange import Alphabet, KeyRange, beyond, divide

LONG = "k" * 1021
LAST = "\U0010ffff" * 256


def alphabet(*texts: str) -> Alphabet:
    made = Alphabet()
    made.learn(texts)
    return made


@properly
@given(st.lists(keys().filter(bool), min_size=1, max_size=20), keys())
def test_cuts_leave_each_key_in_exactly_one_range(cuts: list[str], key: str) -> None:
    ranges = [KeyRange()]
    for cut in cuts:
        at = next((at for at, found in enumerate(ranges) if cut in found), None)
        if at is not None:
            ranges[at : at + 1] = ranges[at].cut(cut)
    assert [one.until for one in ranges[:-1]] == [two.after for two in ranges[1:]]
    assert ranges[-1].until is None
    for one in [*cuts, key]:
        assert sum(one in found for found in ranges) == (1 if one else 0)


@pytest.mark.parametrize(
    ("key", "held"),
    [
        ("a", False),
        ("a\x00", True),
        ("a\ud7ff", True),
        ("a\ue000", True),
        ("a\U0010ffff", True),
        ("b", True),
        ("b\x00", False),
        ("k" * 1024, False),
    ],
)
def test_a_range_holds_its_end_and_not_its_start(key: str, held: bool) -> None:  # noqa: FBT001
    assert (key in KeyRange("a", "b")) is held


def test_an_open_range_holds_the_last_key_there_can_be() -> None:
    assert LAST in KeyRange("a")


@properly
@given(st.lists(keys(), max_size=6), keys(), st.none() | keys())
def test_a_cut_lies_within(known: list[str], low: str, high: str | None) -> None:
    middle = alphabet(*known, low).between(low, high)
    for cut in (middle, beyond(low, low, high)):
        if cut is not None:
            assert cut in KeyRange(low, high)
            assert cut != high
            assert len(cut.encode()) <= 1024


@properly
@given(keys(), keys(), keys())
def test_a_cut_of_a_prefix_lies_within_it(prefix: str, start: str, more: str) -> None:
    low = prefix + start
    middle = alphabet(low, more).between(low, None, prefix)
    for cut in (middle, beyond(low, low, None, prefix)):
        assert cut is None or (cut.startswith(prefix) and cut > low)


@pytest.mark.parametrize(
    ("known", "low", "high", "middle"),
    [
        ("0123456789", "0", "9", "44"),
        ("0123456789", "17", "18", "174"),
        ("0123456789", "1999", "2", "1999"),
        ("0123456789", "0", None, "5"),
        ("ab", "a", "a", None),
        ("ab", "a", "aa", None),
        ("", "", None, None),
        ("\x01\x02", "\x01", None, None),
        ("abc", LONG + "a", LONG + "c", LONG + "b"),
        ("\u3042\u3044\u3046", LONG + "\u3042", None, "\u3044"),
    ],
)
def test_cuts(known: str, low: str, high: str | None, middle: str | None) -> None:
    found = alphabet(known).between(low, high)
    assert (found and found[: len(middle or found)]) == middle


def test_keys_too_long_to_be_cut_are_not() -> None:
    assert beyond("k" * 1024, "k" * 1024, None, "k" * 1023) is None
    assert alphabet("\u3042").between("k" * 1023, "k" * 1023 + "\u3042\u3042") is None


@properly
@given(keys(), keys(), keys())
@example("", "\x1f", "\x1e0")
def test_the_share_of_a_range_is_a_number(low: str, key: str, more: str) -> None:
    ends = sorted({low, key, more})
    if len(ends) == 3:
        assert alphabet(*ends).share(KeyRange(ends[0], ends[2]), ends[1]) >= 0
        assert alphabet(*ends).share(KeyRange(ends[0]), ends[1]) >= 0


def test_the_share_falls_as_the_walk_goes_on() -> None:
    known = alphabet("0123456789")
    shares = [known.share(KeyRange("1", "3"), key) for key in ("11", "15", "2", "25", "29")]
    assert shares == sorted(shares, reverse=True)
    assert shares[2] == pytest.approx(1, rel=0.2)


def shapes() -> dict[str, list[str]]:
    random = Random(6)
    return {
        "flat": [f"data/{number:09}" for number in range(20_000)],
        "dates": [
            f"{year}/{month:02}/{day:02}/{station}/{number:03}"
            for year in range(2001, 2009)
            for month in range(1, 13)
            for day in range(1, 29)
            for station in ("KABR", "KTLX")
            for number in range(4)
        ],
        "hashes": sorted(f"{random.getrandbits(128):032x}" for _ in range(20_000)),
        "unicode": sorted(
            "".join(random.choices("\u65e5\u672c\u8a9e\u0436\u0451\u00e9 \U0001f600", k=9))
            for _ in range(20_000)
        ),
        "one deep folder": [f"logs/2026/11/25/host-17/{number:09}" for number in range(20_000)],
    }


@pytest.mark.parametrize("shape", shapes())
def test_any_kind_of_keys_is_halved_in_a_few_cuts(shape: str) -> None:
    """From a thousand keys at the front, cuts of both kinds by turns come to one with work on both sides."""
    listed = shapes()[shape]
    known = alphabet(*listed[:1000:50])
    first, low, high, cuts, right = listed[0], listed[999], None, 0, 0
    while not 0.05 < right / len(listed) < 0.95:
        cuts += 1
        cut = beyond(first, low, high) if cuts % 2 == 0 else None
        cut = cut or known.between(low, high)
        assert cut is not None
        at = bisect_right(listed, cut)
        right = bisect_right(listed, high or LAST) - at
        if right:
            first, low = listed[at], listed[min(at + 999, len(listed) - 1)]
            known.learn(listed[at : at + 1000 : 50])
        else:
            high = cut
    print(shape, cuts)
    assert cuts <= 20


def divided(low: str, until: str | None, held: list[str]) -> tuple[tuple[KeyRange, ...], int]:
    """What `divide` makes of a range of a listing that holds `held`, and how often it looked."""
    looks = 0

    def next_key(after: str) -> str | None:
        nonlocal looks
        looks += 1
        at = bisect_right(held, after)
        return held[at] if at < len(held) else None

    return divide(KeyRange(low, until), "", next_key), looks


@properly
@given(st.lists(keys().filter(bool), min_size=1, max_size=30, unique=True), st.none() | keys())
def test_a_divided_range_keeps_its_keys_and_gives_each_part_some(held: list[str], end: str | None) -> None:
    held.sort()
    low = held[0]
    until = None if end is None or end <= low else end
    rest = [key for key in held if key in KeyRange(low, until)]
    parts, _ = divided(low, until, held)
    assert [sum(key in part for part in parts) for key in rest] == [1] * len(rest)
    assert all(part.after < (part.until or LAST) for part in parts)
    assert parts[0].after == low
    if len(parts) > 1:
        assert parts[0].until == parts[1].after
        assert any(key in parts[1] for key in rest)
    assert not any(key in part for part in parts for key in held if key not in rest)


@pytest.mark.parametrize(
    ("held", "low", "middle"),
    [
        ([f"{number:06}" for number in range(1_000)], "000009", "0006"),
        ([f"a/b/c/{number:06}" for number in range(1_000)], "a/b/c/000099", "a/b/c/0006"),
        ([f"2024/{month:02}/x" for month in range(1, 13)], "2024/01/x", "2024/1"),
        (sorted(f"{Random(number).getrandbits(32):08x}" for number in range(500)), "00", "H"),
        (["a", "b"], "a", None),
        (["a"], "a", None),
    ],
)
def test_a_range_is_divided_where_its_keys_are(held: list[str], low: str, middle: str | None) -> None:
    parts, looks = divided(low, None, held)
    assert looks <= 14
    if middle is None:
        assert all(key in parts[0] or key <= low or len(parts) > 1 for key in held)
    else:
        assert parts[1].after == middle
        assert parts[1].until is not None  # what is known to hold nothing is left out
        share = sum(key in parts[1] for key in held) / sum(key > low for key in held)
        assert 0.2 < share < 0.9
