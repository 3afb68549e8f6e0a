"""The breaker: what a worker does while an endpoint, not a task, is out of order.

| state | worker |
|---|---|
| closed | receives and copies |
| open | receives nothing, gives its tasks back; probes when `probe_at` has come |
| half open (a probe succeeded) | receives; the first copy closes it, a fault opens it for twice as long |
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
        self.opened_at: float | None = None
        """Since when no object has been copied, while not closed."""
        self._first = first
        self._longest = longest

    def trip(self, now: float) -> None:
        """An endpoint's fault was met, by a copy or by a probe."""
        if self.state is BreakerState.OPEN and now < self.probe_at:
            return  # copies that were under way when it opened
        self.pause = min(self._longest, self.pause * 2 or self._first)
        self.probe_at = now + self.pause
        self.state = BreakerState.OPEN
        if self.opened_at is None:
            self.opened_at = now

    def probed(self) -> None:
        """A probe succeeded."""
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN

    def copied(self) -> None:
        """An object was copied."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.CLOSED
            self.pause = 0.0
            self.opened_at = None
