"""When to try again: full-jitter backoff within a delivery, and growing delays between deliveries.

Full jitter (a uniform draw below a doubling ceiling) spreads competing clients best; see the AWS
Architecture Blog, "Exponential Backoff and Jitter".
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from worker.core.errors import FleetcopyError, InterruptedTransferError
from worker.core.transferrer import Cancellation

_T = TypeVar("_T")

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


def again(act: Callable[[], _T], cancel: Cancellation, random: Random) -> _T:
    """Do something, a few times where it fails in a way that may pass.

    Raises:
        FleetcopyError: of the last time.
        InterruptedTransferError: cancelled.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return act()
        except InterruptedTransferError:
            raise
        except FleetcopyError as error:
            if not error.retryable or error.blames_endpoint or tries == TRIES:
                raise
            if cancel.wait(pause(tries, random)):
                raise InterruptedTransferError("cancelled between tries") from error
