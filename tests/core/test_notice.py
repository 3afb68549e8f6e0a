"""A notice is read whatever it says, and leaves the time that its table gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.core.notice import AT_ONCE, UNSURE, Notice, read, seconds_for_drain

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
    ],
)
def test_whatever_stands_there_is_a_notice(text: str, notice: Notice) -> None:
    assert read(text) == notice


@pytest.mark.parametrize(
    ("notice", "seconds"),
    [
        (Notice("terminate", after(120)), 110),
        (Notice("stop", after(120)), 110),
        (Notice("vanish", after(120)), 110),
        (Notice("terminate", after(60)), 50),
        (Notice("terminate", after(12)), AT_ONCE),
        (Notice("terminate", after(1)), AT_ONCE),
        (Notice("hibernate", after(120)), AT_ONCE),
        (Notice("hibernate", ""), AT_ONCE),
        (Notice("terminate", after(0)), UNSURE),
        (Notice("terminate", after(-3600)), UNSURE),
        (Notice("terminate", after(181)), UNSURE),
        (Notice("terminate", after(1e8)), UNSURE),
        (Notice("terminate", ""), UNSURE),
        (Notice("terminate", "soon"), UNSURE),
        (Notice("terminate", "2026-11-22T12:02:00"), 110),
        (Notice("terminate", "2026-11-22T13:02:00+01:00"), 110),
    ],
)
def test_a_notice_leaves_so_much_time(notice: Notice, seconds: float) -> None:
    assert seconds_for_drain(notice, NOW.timestamp()) == seconds
