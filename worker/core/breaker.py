"""The breaker: what a worker does while an endpoint, not a task, is out of order.

| state | worker |
|---|---|
| closed | receives and copies |
| open | receives nothing, gives its tasks back; probes when `probe_at` has come |
| half open (a probe succeeded) | receives; the first copy closes it, a fault opens it for twice as long |

A fault that comes when it has been half open for the longest pause is another fault, and starts afresh.
"""

from __future__ import annotations

import enum


class BreakerState(enum.StrEnum):
    """See the table above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Breaker:
    """Times are seconds of one monotonic clock."""

    def __init__(self, first: float = 5.0, longest: float = 300.0) -> None:
        self.state = BreakerState.CLOSED
        self.probe_at = 0.0
        self.pause = 0.0
        self._first = first
        self._longest = longest
        self._failing_since: float | None = None
        self._half_open_at = 0.0

    def trip(self, now: float) -> None:
        """An endpoint's fault was met, by a copy or by a probe."""
        if self.state is BreakerState.OPEN and now < self.probe_at:
            return  # copies that were under way when it opened
        if self.state is BreakerState.HALF_OPEN and now - self._half_open_at >= self._longest:
            self._forget()  # nothing was wrong for long: this is another fault
        self.pause = min(self._longest, self.pause * 2 or self._first)
        self.probe_at = now + self.pause
        self.state = BreakerState.OPEN
        if self._failing_since is None:
            self._failing_since = now

    def probed(self, now: float) -> None:
        """A probe succeeded."""
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN
            self._half_open_at = now

    def failing_for(self, now: float) -> float:
        """While open: seconds since the first of the faults between which nothing was copied; else 0."""
        if self.state is not BreakerState.OPEN or self._failing_since is None:
            return 0.0
        return now - self._failing_since

    def copied(self) -> None:
        """An object was copied."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.CLOSED
            self._forget()

    def _forget(self) -> None:
        self.pause = 0.0
        self._failing_since = None
