"""A Spot interruption notice, and how long it leaves for a drain.

| the notice says | seconds for the drain |
|---|---|
| stop, terminate, or an action that nobody knows yet | until its time, less a reserve, `LONGEST` at most |
| hibernate | `AT_ONCE`: hibernation begins with the notice |
| a time that is past, or none that can be read: the clock or the notice is wrong | `LONGEST` |

Source: EC2 User Guide, "Spot Instance interruption notices": two minutes' warning, as
`{"action": "terminate", "time": "2017-09-18T08:22:00Z"}`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec

RESERVE = 20.0
"""Seconds between the end of a drain and the interruption: for stragglers, logs and a clean power-off."""

AT_ONCE = 5.0
LONGEST = 100.0
"""Two minutes less the reserve, whatever a clock that is slow makes of the notice's time."""


class Notice(msgspec.Struct, frozen=True):
    """What the metadata service says: the action, and its time as it is written."""

    action: str
    time: str


def read(text: str) -> Notice:
    """The notice in an answer of the metadata service; what cannot be read is a notice all the same."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return Notice("unknown", "")
    if not isinstance(fields, dict):
        return Notice("unknown", "")
    return Notice(str(fields.get("action", "unknown")), str(fields.get("time", "")))


def seconds_for_drain(notice: Notice, now: float) -> float:
    """How long a drain may take, by the table above.

    Args:
        notice: as read.
        now: wall-clock seconds since the epoch.
    """
    if notice.action == "hibernate":
        return AT_ONCE
    try:
        at = datetime.fromisoformat(notice.time)
    except ValueError:
        return LONGEST
    left = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    return min(LONGEST, max(AT_ONCE, left - RESERVE)) if left > 0 else LONGEST
