"""Sizes, money, durations and keys as a person reads them."""

from __future__ import annotations

import unicodedata
from decimal import Decimal

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def number(count: float) -> str:
    """A number that may be a small one, without digits that say nothing."""
    return f"{count:,.0f}" if count >= 100 else f"{count:.3g}"  # noqa: PLR2004


def binary(count: float) -> str:
    """Bytes as a person reads them: in powers of 1,024, and three digits."""
    power = 0
    while count >= 999.5 and power < len(_UNITS) - 1:  # noqa: PLR2004 - 1,000 would be four digits
        count /= 1024
        power += 1
    return f"{number(count)} {_UNITS[power]}"


def dollars(amount: Decimal) -> str:
    """US dollars to the cent."""
    if 0 < amount < Decimal("0.01"):
        return "<$0.01"
    return f"${amount:,.2f}"


def duration(hours: float) -> str:
    """A duration in the units that a person would choose."""
    if hours < 1:
        return f"{max(1, round(hours * 60))} min"
    if hours < 48:  # noqa: PLR2004
        return f"{hours:.1f} hours"
    return f"{hours / 24:,.1f} days"


def counted(count: int, what: str) -> str:
    """So many of something that takes an s."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def columns(text: str) -> int:
    """Columns that a text takes where all letters are as wide, as on a terminal."""
    return sum(_columns_of(letter) for letter in text)


def _columns_of(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def size_class(least: int, below: int) -> str:
    """The name of a class of sizes."""
    if below == 1:
        return "empty"
    return f"under {binary(below)}" if least == 1 else f"{binary(least)} to {binary(below)}"


def printable(text: str) -> str:
    """A text as it is where that is safe on a terminal, else quoted and escaped."""
    return text if text.isprintable() and text == text.strip() else repr(text)
