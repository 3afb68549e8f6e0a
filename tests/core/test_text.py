"""Sizes, money, durations and keys as a person reads them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from worker.core.text import binary, dollars, duration, printable, size_class


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "0.977 KiB"),
        (1_024, "1 KiB"),
        (1_536, "1.5 KiB"),
        (123_456, "121 KiB"),
        (1_048_000, "0.999 MiB"),
        (5 * 1024**4, "5 TiB"),
        (2**63, "8,192 PiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert binary(count) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.0000004", "<$0.01"),
        ("0.00999", "<$0.01"),
        ("0.01", "$0.01"),
        ("0.5", "$0.50"),
        ("1234567.891", "$1,234,567.89"),
    ],
)
def test_money(amount: str, text: str) -> None:
    assert dollars(Decimal(amount)) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0, "1 min"),
        (0.5, "30 min"),
        (0.9999, "60 min"),
        (1, "1.0 hours"),
        (47.9, "47.9 hours"),
        (48, "2.0 days"),
        (24_000, "1,000.0 days"),
    ],
)
def test_durations(hours: float, text: str) -> None:
    assert duration(hours) == text


@pytest.mark.parametrize(
    ("least", "below", "text"),
    [(0, 1, "empty"), (1, 1_024, "under 1 KiB"), (1_024, 4_096, "1 KiB to 4 KiB")],
)
def test_classes_of_sizes(least: int, below: int, text: str) -> None:
    assert size_class(least, below) == text


@pytest.mark.parametrize(
    ("key", "text"),
    [("a/b c", "a/b c"), ("", ""), (" a", "' a'"), ("a\n", r"'a\n'"), ("\x1b[2J", r"'\x1b[2J'"), ("ü", "ü")],
)
def test_keys(key: str, text: str) -> None:
    assert printable(key) == text
