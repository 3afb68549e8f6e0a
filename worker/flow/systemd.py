"""What the supervisor tells systemd (sd_notify(3)): that it is ready, alive, draining; nothing without it.

A service manager that does not listen is a matter for the log, never for the work.
"""

from __future__ import annotations

import socket

from worker.flow import log

_SEND_SECONDS = 1.0


class Systemd:
    """The service manager that started this process, or none.

    Args:
        address: its socket, as in `NOTIFY_SOCKET`; `@` begins an abstract one. None: there is none.
        watchdog: seconds after which it takes silence for death; None: never.
    """

    def __init__(self, address: str | None, watchdog: float | None) -> None:
        self.beat = float("inf") if address is None or watchdog is None else watchdog / 2
        """Seconds between two signs of life."""
        self._address = address

    def status(self, text: str) -> None:
        """What is going on, for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def ready(self) -> None:
        """The work has begun."""
        self._tell("READY=1\nSTATUS=at work")

    def alive(self) -> None:
        """A sign of life; the next is due after `beat` seconds."""
        self._tell("WATCHDOG=1")

    def stopping(self, seconds: float) -> None:
        """The drain has begun."""
        self._tell(f"STOPPING=1\nSTATUS=draining, for {seconds:.0f} s at most")

    def _tell(self, what: str) -> None:
        if self._address is None:
            return
        name = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.settimeout(_SEND_SECONDS)
                sending.sendto(what.encode(), name)
        except OSError as error:
            log.warning("systemd", why=str(error), said=what)
