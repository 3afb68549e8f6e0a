"""When to try again: full-jitter backoff within a delivery, and growing delays between deliveries.

Full jitter (a uniform draw below a doubling ceiling) spreads competing clients best; see the AWS
Architecture Blog, "Exponential Backoff and Jitter".
"""

from __future__ import annotations

from random import Random

TRIES = 4
"""Tries of one object within one delivery."""

PATIENCE = 120.0
"""Seconds after the first try of an object within which another may begin in the same delivery."""

ATTEMPTS = 5
"""Deliveries of a task that may fail before its objects go to the dead-letter queue."""

_LONGEST_DELAY = 900
"""Seconds; the most that SQS takes as `DelaySeconds`."""


def pause(tries: int, random: Random, *, base: float = 0.2, cap: float = 10.0) -> float:
    """Seconds to wait after the `tries`-th failed try (1, 2, ...) of the same step."""
    return random.uniform(0, min(cap, base * 2**tries))


def delay(attempt: int, random: Random, *, base: float = 5.0) -> int:
    """`DelaySeconds` of a task handed over after its `attempt`-th failed delivery (1, 2, ...)."""
    return round(random.uniform(0.5, 1.0) * min(_LONGEST_DELAY, base * 4.0 ** (attempt - 1)))
