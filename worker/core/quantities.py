"""Sizes and ages as a person writes them: `64KiB`, `5G`, `30d`."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)(?:iB|B)?", re.IGNORECASE)
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_size(text: str) -> int:
    """Bytes. A unit is a power of 1,024, whether written `K`, `KB` or `KiB`, as the AWS CLI takes it.

    Raises:
        ValueError: it is no size.
    """
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no size: write bytes, or a number and a unit, such as 64KiB or 5G")
    return int(float(found[1]) * 1024.0 ** " KMGTP".index(found[2].upper() or " "))


def parse_age(text: str) -> float:
    """Seconds.

    Raises:
        ValueError: it is no age.
    """
    found = _AGE.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no age: write a number and one of s m h d w, such as 12h or 30d")
    return float(found[1]) * _SECONDS[found[2]]
