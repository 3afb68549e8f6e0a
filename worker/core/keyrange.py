"""Ranges of keys: where to cut one in two so that both have work, and what is left of one.

A range holds the keys after `after` up to `until`, inclusive; ranges that meet (the one's `until` is the
next one's `after`) hold each key once, whatever the cut between them. So a cut may be any text, the key of
an object or not; a good one has as many keys on either side. It is guessed from the characters that keys
have been seen to hold, nothing else: not from slashes, dates or digits.
"""

from __future__ import annotations

import os.path
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import pairwise, takewhile

import msgspec

from worker.core.model import LONGEST_KEY

_DIGITS = 16
"""Characters of a key, after what a range's ends have in common, that count for where it stands."""

_MOST_CHARACTERS = 512
_FIRST_PRINTABLE = " "
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
    """The characters that keys have been seen to hold, in order: the digits of keys read as fractions.

    Beyond a few hundred characters some stand for their neighbours too.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._characters: list[str] = []

    def learn(self, keys: Iterable[str]) -> None:
        """Take in the characters of some keys."""
        found = set().union(*keys)
        if found <= self._seen:
            return
        self._seen |= found
        # Control characters are legal in keys, and a trial to the XML of look-alikes.
        printable = sorted(character for character in self._seen if character >= _FIRST_PRINTABLE)
        self._characters = printable[:: 1 + len(printable) // _MOST_CHARACTERS]

    def between(self, low: str, high: str | None, prefix: str = "") -> str | None:
        """A text half-way after `low` and before `high`, or None where there is none to be told.

        Args:
            low: where the unknown begins.
            high: its end; None for the last key that starts with `prefix`.
            prefix: what both start with.
        """
        shared = _shared(low, high, prefix)
        digits = self._digits((self._number(low, shared) + self._top(high, shared)) // 2)
        texts = [shared + "".join(digits[: count + 1]) for count in range(len(digits))]
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

    def _number(self, key: str, shared: str) -> int:
        """Where a key stands among those that start with `shared`, as a whole number of so many digits."""
        number, base = 0, len(self._characters) + 1
        digits = key[len(shared) : len(shared) + _DIGITS] if key.startswith(shared) else ""
        for character in digits.ljust(_DIGITS, "\0"):
            number = number * base + bisect_right(self._characters, character)
        return number

    def _top(self, high: str | None, shared: str) -> int:
        return (len(self._characters) + 1) ** _DIGITS if high is None else self._number(high, shared)

    def _digits(self, number: int) -> list[str]:
        """The characters of such a number, up to where its text ends."""
        base, digits = len(self._characters) + 1, []
        for _ in range(_DIGITS):
            number, digit = divmod(number, base)
            digits.append(digit)
        text = takewhile(bool, reversed(digits))
        return [self._characters[digit - 1] for digit in text]


def beyond(low: str, high: str | None, prefix: str = "") -> str | None:
    """A text behind all keys that start as `low` does, half as far as it can be told; None for none.

    Where all keys that are left have much in common, as those of one deep folder do, cuts at the middle would
    have to find that out bit by bit. `low`, `high` and `prefix` as in `Alphabet.between`.
    """
    shared = len(_shared(low, high, prefix))
    found = low[: shared + (len(low) - shared + 1) // 2] + _LAST
    return found if low < found and (high is None or found < high) and _fits(found) else None


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
    middle = _farther(low, fewest, -(-step * 3 // 8))
    return keys.cut(middle) if step > 1 and middle and middle in keys else (keys,)


def _farther(low: str, place: int, step: int) -> str | None:
    """The shortest text that starts as `low` does and has a character `step` further on at `place`."""
    number = (ord(low[place]) if place < len(low) else 0) + step
    if number in _SURROGATES:
        number = _SURROGATES.stop
    text = low[:place] + chr(number) if number <= ord(_LAST) else ""
    return text if text and _fits(text) else None
