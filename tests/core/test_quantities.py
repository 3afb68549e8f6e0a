"""Sizes and ages, read and shown."""

from __future__ import annotations

import pytest

from worker.core.errors import UsageError
from worker.core.quantities import parse_age, parse_size, show_age


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("17", 17),
        ("1K", 1_024),
        ("64KiB", 65_536),
        ("64kb", 65_536),
        ("1.5M", 1_572_864),
        ("5G", 5 * 1024**3),
        ("2TiB", 2 * 1024**4),
        ("1P", 1024**5),
        ("8B", 8),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1 K", "1X", "1e3", "1.", "½"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is no size: write"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("5m", 300), ("12h", 43_200), ("1.5d", 129_600), ("2w", 1_209_600)],
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "d", "-1d", "1y", "1 d", "7D", "1d12h", "\u0663d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(UsageError, match="is no age: write"):
        parse_age(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3_599, "59m"),
        (86_399, "23h"),
        (90_000_000, "1041d"),
    ],
)
def test_an_age_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    assert show_age(seconds) == text
