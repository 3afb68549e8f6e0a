"""Sizes and ages as a person writes them: `64KiB`, `5G`, `30d`."""

from __future__ import annotations

import re

from worker.core.errors import UsageError

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([KMGTP]?)(?:iB|B)?", re.IGNORECASE)
_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([wdhms])")
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


def parse_size(text: str) -> int:
    """Bytes. A unit is a power of 1,024, whether written `K`, `KB` or `KiB`, as the AWS CLI takes it.

    Raises:
        UsageError: it is no size.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no size: write bytes, or a number and a unit, such as 64KiB or 5G")
    return int(float(found[1]) * 1024.0 ** " KMGTP".index(found[2].upper() or " "))


def parse_age(text: str) -> float:
    """Seconds of an age.

    Raises:
        UsageError: it is none.
    """
    found = _AGE.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no age: write a number and one of s m h d w, such as 12h or 30d")
    return float(found[1]) * _SECONDS[found[2]]


def show_age(seconds: float) -> str:
    """An age in the largest unit up to days of which it has one; of less than a second, `0s`."""
    whole = max(0, int(seconds))
    unit = next((unit for unit in "dhm" if whole >= _SECONDS[unit]), "s")
    return f"{whole // _SECONDS[unit]}{unit}"
