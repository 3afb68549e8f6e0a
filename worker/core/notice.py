"""A Spot interruption notice, and how long it leaves for a drain.

| the notice says | seconds for the drain |
|---|---|
| stop, terminate, or an action that nobody knows yet | until its time, less a reserve |
| hibernate | `AT_ONCE`: hibernation begins with the notice |
| a time that cannot be (past, or further off than any notice is given) | `UNSURE` |
| no time, or none that can be read | `UNSURE` |

Source: EC2 User Guide, "Spot Instance interruption notices": two minutes' warning, as
`{"action": "terminate", "time": "2017-09-18T08:22:00Z"}`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec

RESERVE = 10.0
"""Seconds between the end of a drain and the interruption, for the logs to be sent."""

AT_ONCE = 5.0
UNSURE = 100.0
_LONGEST_WARNING = 180.0


class Notice(msgspec.Struct, frozen=True):
    """What the metadata service says: the action, and its time as it is written."""

    action: str
    time: str


def read(text: str) -> Notice:
    """The notice in an answer of the metadata service; what cannot be read is a notice all the same."""
    try:
        fields = json.loads(text)
    except ValueError:
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
        return UNSURE
    left = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    if not 0 < left <= _LONGEST_WARNING:
        return UNSURE
    return max(AT_ONCE, left - RESERVE)
