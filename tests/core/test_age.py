"""Ages, read and shown."""

from __future__ import annotations

import pytest

from worker.core.age import parse_age, show_age
from worker.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800)]
)
def test_an_age_is_a_number_of_one_unit(text: str, seconds: int) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7 d", "7D", "1w", "1d12h", "\u0663d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no age: write 90s"):
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
