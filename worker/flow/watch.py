"""The watch for a Spot interruption: asks the metadata service every few seconds, for as long as it runs.

Whatever the service answers, the watch goes on and the worker works: without a notice, the end of the
instance is still safe, since leases lapse.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from worker.aws.metadata import REBALANCE, SPOT_ACTION, Metadata
from worker.core.errors import FleetcopyError
from worker.core.notice import Notice, read
from worker.flow import log

_EVERY_SECONDS = 5.0
_SELDOMEST_SECONDS = 20.0
"""Between two asks after errors: a notice is given two minutes ahead."""


class Watch:
    """One watch.

    Args:
        metadata: whom to ask.
        on_notice: told each notice that differs from the one before.
        every: seconds between two asks.
    """

    def __init__(
        self, metadata: Metadata, on_notice: Callable[[Notice], object], every: float = _EVERY_SECONDS
    ) -> None:
        self._metadata = metadata
        self._on_notice = on_notice
        self._every = every
        self._last: Notice | None = None
        self._rebalance: str | None = None
        self._failures = 0

    def start(self) -> None:
        """Watch from now on, on a daemon thread."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(self.pause())

    def pause(self) -> float:
        """Seconds until the next ask: longer after each failure, within bounds."""
        return min(max(_SELDOMEST_SECONDS, self._every), self._every * 2.0**self._failures)

    def look(self) -> None:
        """Ask once, and tell what is new."""
        try:
            self._mind_action(self._metadata.get(SPOT_ACTION))
            self._mind_rebalance(self._metadata.get(REBALANCE))
        except FleetcopyError as error:
            self._failures = min(self._failures + 1, 8)
            say = log.warning if self._failures == 1 else log.debug
            say("metadata", why=str(error), pause=self.pause())
        except Exception:  # noqa: BLE001 - the watch must outlive whatever it meets
            self._failures = min(self._failures + 1, 8)
            log.error("bug")
        else:
            self._failures = 0

    def _mind_action(self, text: str | None) -> None:
        notice = None if text is None else read(text)
        if notice is not None and notice != self._last:
            self._on_notice(notice)
        self._last = notice

    def _mind_rebalance(self, text: str | None) -> None:
        """Advice that the instance may be interrupted: to drain on it would be to drain for ever."""
        if text is not None and text != self._rebalance:
            log.info("rebalance recommended", notice=text)
        self._rebalance = text
