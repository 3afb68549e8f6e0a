"""A notice is read whatever it says, and leaves the time that its table gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.core.notice import AT_ONCE, LONGEST, Notice, read, seconds_for_drain

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def after(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        (
            '{"action": "terminate", "time": "2026-11-22T12:02:00Z"}',
            Notice("terminate", "2026-11-22T12:02:00Z"),
        ),
        ('{"action": "stop", "time": "x", "more": 1}', Notice("stop", "x")),
        ('{"action": "vanish"}', Notice("vanish", "")),
        ('{"action": null, "time": 5}', Notice("None", "5")),
        ("{}", Notice("unknown", "")),
        ("", Notice("unknown", "")),
        ("terminate", Notice("unknown", "")),
        ("[1]", Notice("unknown", "")),
        ('{"action": "terminate", ', Notice("unknown", "")),
        ("[" * 16_384, Notice("unknown", "")),
        ("null", Notice("unknown", "")),
        ("\ufffd", Notice("unknown", "")),
    ],
)
def test_whatever_stands_there_is_a_notice(text: str, notice: Notice) -> None:
    assert read(text) == notice


@pytest.mark.parametrize(
    ("notice", "seconds"),
    [
        (Notice("terminate", after(120)), 100),
        (Notice("stop", after(120)), 100),
        (Notice("vanish", after(120)), 100),
        (Notice("terminate", after(119)), 99),
        (Notice("terminate", after(60)), 40),
        (Notice("terminate", after(24)), AT_ONCE),
        (Notice("terminate", after(1)), AT_ONCE),
        (Notice("hibernate", after(120)), AT_ONCE),
        (Notice("hibernate", ""), AT_ONCE),
        (Notice("terminate", after(0)), LONGEST),
        (Notice("terminate", after(-3600)), LONGEST),
        (Notice("terminate", after(181)), LONGEST),
        (Notice("terminate", after(1e8)), LONGEST),
        (Notice("terminate", after(130)), LONGEST),
        (Notice("terminate", "0001-01-01T00:00:00+23:59"), LONGEST),
        (Notice("terminate", "9999-12-31T23:59:59-23:59"), LONGEST),
        (Notice("terminate", ""), LONGEST),
        (Notice("terminate", "soon"), LONGEST),
        (Notice("terminate", "2026-11-22T12:02:00"), 100),
        (Notice("terminate", "2026-11-22T13:02:00+01:00"), 100),
    ],
)
def test_a_notice_leaves_so_much_time(notice: Notice, seconds: float) -> None:
    assert seconds_for_drain(notice, NOW.timestamp()) == seconds
