"""Ages as people write them: `90s`, `30m`, `12h`, `7d`."""

from __future__ import annotations

import re

from worker.core.errors import UsageError

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_AGE = re.compile(r"([0-9]{1,9})([dhms])")


def parse_age(text: str) -> int:
    """Seconds of an age.

    Raises:
        UsageError: it is none.
    """
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no age: write 90s, 30m, 12h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def show_age(seconds: float) -> str:
    """An age in the largest unit of which it has one; of less than a second, `0s`."""
    whole = max(0, int(seconds))
    unit = next((unit for unit, length in _SECONDS.items() if whole >= length), "s")
    return f"{whole // _SECONDS[unit]}{unit}"
