"""When a peer counts as stalled: it moved too few bytes in a stretch of time, in silence or in drips.

The rule bounds every wait: an exchange of n bytes is over after n / (`least` / `seconds`) + 2 x `seconds`.
"""

from __future__ import annotations


class Pace:
    """One exchange's.

    Args:
        seconds: length of a stretch.
        least: bytes that each stretch must move.
        now: monotonic seconds.
    """

    def __init__(self, seconds: float, least: int, now: float) -> None:
        self._seconds = seconds
        self._least = least
        self._moved = 0
        self._until = now + seconds

    def stalled(self, moved: int, now: float) -> bool:
        """Count bytes that have just moved; whether the stretch that ends with them was too slow."""
        self._moved += moved
        if now < self._until:
            return False
        slow = self._moved < self._least
        self._moved = 0
        self._until = now + self._seconds
        return slow
