"""Ranges of keys: where to cut one in two so that both have work, and what is left of one.

A range holds the keys after `after` up to `until`, inclusive; ranges that meet (the one's `until` is the
next one's `after`) hold each key once, whatever the cut between them. So a cut may be any text, the key of
an object or not; a good one has as many keys on either side. It is guessed from the characters that keys
have been seen to hold, nothing else: not from slashes, dates or digits.
"""

from __future__ import annotations

import math
import os.path
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import pairwise

import msgspec

from worker.core.model import LONGEST_KEY

_DIGITS = 16
"""Characters of a key, after what a range's ends have in common, that count for where it stands."""

_MOST_CHARACTERS = 512
_PLACES = 64
_PRINTABLE = " "
_LAST = "\U0010ffff"
_SURROGATES = range(0xD800, 0xE000)
"""Code points that no text in UTF-8 holds."""


class KeyRange(msgspec.Struct, frozen=True):
    """The keys after `after` up to `until`, inclusive; None: up to the last there is."""

    after: str = ""
    until: str | None = None

    def __contains__(self, key: str) -> bool:
        return self.after < key and (self.until is None or key <= self.until)

    def cut(self, key: str) -> tuple[KeyRange, KeyRange]:
        """The range up to `key`, which lies within, and the rest."""
        assert key in self
        return KeyRange(self.after, key), KeyRange(key, self.until)


class Alphabet:
    """The characters that keys have been seen to hold: the digits of keys read as fractions.

    A place in the keys that has held a digit may hold any that has been seen anywhere, and so for letters. Of
    more than a few hundred characters, some stand for their neighbours too.
    """

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}
        self._kinds: list[set[str]] = []
        self._digits: dict[int, list[str]] = {}

    def learn(self, keys: Iterable[str]) -> None:
        """Take in the characters of some keys, each of which has any."""
        for key in keys:
            self._kinds += [set() for _ in key[len(self._kinds) : _PLACES]]
            for place, character in enumerate(key[:_PLACES]):
                kind = _kind(character)
                seen = self._seen.setdefault(kind, set())
                if character not in seen or kind not in self._kinds[place]:
                    seen.add(character)
                    self._kinds[place].add(kind)
                    self._digits.clear()

    def between(self, low: str, high: str | None, prefix: str = "") -> str | None:
        """A text half-way after `low` and before `high`, or None where there is none to be told.

        Args:
            low: where the unknown begins.
            high: its end; None for the last key that starts with `prefix`.
            prefix: what both start with.
        """
        shared = _shared(low, high, prefix)
        half = self._text((self._number(low, shared) + self._top(high, shared)) // 2, len(shared))
        texts = [shared + half[: count + 1] for count in range(len(half))]
        # As short as it may be, for it names no object; and one more, or it would stand off the middle.
        middle = next((longer for text, longer in pairwise([*texts, *texts[-1:]]) if text > low), low)
        return middle if low < middle and (high is None or middle < high) and _fits(middle) else None

    def share(self, ends: KeyRange, key: str, prefix: str = "") -> float:
        """How much of a range lies after `key`, as a ratio to what lies before it."""
        shared = _shared(ends.after, ends.until, prefix)
        at = self._number(key, shared)
        # Control characters count for nothing, so that a key may seem to stand behind the end.
        left = max(0, self._top(ends.until, shared) - at)
        return left / max(1, at - self._number(ends.after, shared))

    def _at(self, place: int) -> list[str]:
        """The characters to expect at a place, in order; control characters are left to chance."""
        if place not in self._digits:
            kinds = self._kinds[place] if place < len(self._kinds) else self._seen
            found = sorted(set[str]().union(*(self._seen[kind] for kind in kinds if kind >= _PRINTABLE)))
            self._digits[place] = found[:: 1 + len(found) // _MOST_CHARACTERS]
        return self._digits[place]

    def _number(self, key: str, shared: str) -> int:
        """Where a key stands among those that start with `shared`, as a whole number of so many digits."""
        number, start = 0, len(shared)
        digits = key[start : start + _DIGITS] if key.startswith(shared) else ""
        behind = False
        for place, character in enumerate(digits.ljust(_DIGITS, "\0"), start):
            known = self._at(place)
            digit = len(known) if behind else bisect_right(known, character)
            number = number * (len(known) + 1) + digit
            # What is not known stands behind all keys with the character before it.
            behind = behind or (digit > 0 and known[digit - 1] != character)
        return number

    def _top(self, high: str | None, shared: str) -> int:
        if high is not None:
            return self._number(high, shared)
        start = len(shared)
        return math.prod(len(self._at(place)) + 1 for place in range(start, start + _DIGITS))

    def _text(self, number: int, start: int) -> str:
        """The characters of such a number, up to where its text ends."""
        text: list[str] = []
        for place in reversed(range(start, start + _DIGITS)):
            known = self._at(place)
            number, digit = divmod(number, len(known) + 1)
            if digit:
                text.append(known[digit - 1])
            else:
                text.clear()
        return "".join(reversed(text))


def _kind(character: str) -> str:
    """What stands for a character and its like."""
    if not character.isascii():
        return "\x7f"
    return (
        "0"
        if character.isdigit()
        else "A"
        if character.isupper()
        else "a"
        if character.islower()
        else character
    )


def beyond(first: str, low: str, high: str | None, prefix: str = "") -> str | None:
    """A text behind all keys that share half of what `first` and `low` share more than the range's ends do.

    None where that is nothing. Where keys have much in common, as those of one deep folder do, cuts at the
    middle would have to find that out bit by bit. `first` is a key seen before `low`; else as in
    `Alphabet.between`.
    """
    shared, common = len(_shared(low, high, prefix)), len(_shared(first, low, prefix))
    found = low[: shared + (common - shared + 1) // 2] + _LAST
    fits = common > shared and low < found and (high is None or found < high) and _fits(found)
    return found if fits else None


def _fits(key: str) -> bool:
    return len(key.encode()) <= LONGEST_KEY


def _shared(low: str, high: str | None, prefix: str) -> str:
    return prefix if high is None else os.path.commonprefix([low, high])  # noqa: RUF071


def divide(keys: KeyRange, prefix: str, next_key: Callable[[str], str | None]) -> tuple[KeyRange, ...]:
    """A range in two that both seem to hold keys, or in one, without what is known to hold none.

    Two searches, some ten looks in all: for the first place where keys differ that come after the range's
    beginning, then for how far apart the characters there are, a step twice as wide each time.

    Args:
        keys: it begins with a key of an object.
        prefix: of all keys.
        next_key: the first key after a text, whatever range it is in.
    """

    def holds_more(after: str) -> bool:
        found = next_key(after)
        return found is not None and (keys.until is None or found <= keys.until)

    low, fewest, most = keys.after, len(_shared(keys.after, keys.until, prefix)), len(keys.after)
    # Behind all keys that start as `low` does there are the more keys, the longer that start is.
    while fewest < most:
        middle = (fewest + most) // 2
        behind = low[: middle + 1] + _LAST
        if behind in keys and _fits(behind) and not holds_more(behind):
            keys, fewest = KeyRange(low, behind), middle + 1
        else:
            most = middle
    step = 1
    while (text := _farther(low, fewest, step)) is not None and text in keys:
        if not holds_more(text):
            keys = KeyRange(low, text)
            break
        step *= 2
    # There are keys half that step away, and none a step away: the middle is about so far.
    where = _farther(low, fewest, -(-step * 3 // 8))
    return keys.cut(where) if step > 1 and where and where in keys else (keys,)


def _farther(low: str, place: int, step: int) -> str | None:
    """The shortest text that starts as `low` does and has a character `step` further on at `place`."""
    number = (ord(low[place]) if place < len(low) else 0) + step
    if number in _SURROGATES:
        number = _SURROGATES.stop
    text = low[:place] + chr(number) if number <= ord(_LAST) else ""
    return text if text and _fits(text) else None
