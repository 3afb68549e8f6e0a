"""The guard: no test process, nor any Python process that it starts, speaks to anything but loopback.

An audit hook refuses connections and look-ups that would leave the machine or reach its instance-metadata
address, and appends a line to the file named by FLEETCOPY_TEST_GUARD_LOG, which a test session then finds
empty or fails. `sitecustomize` beside this file installs it wherever this folder is on PYTHONPATH.
"""

from __future__ import annotations

import ipaddress
import os
import sys

LOG = "FLEETCOPY_TEST_GUARD_LOG"
NAMES = ("localhost", "")
_installed = False


class RefusedError(PermissionError):
    """A connection or look-up that the guard refused; an OSError, as any failed connection is."""


def install() -> None:
    """Guard this process from now on; an audit hook cannot be taken back."""
    global _installed  # noqa: PLW0603 - once in a process
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if isinstance(address, tuple) and not allowed(address[0]):
            _refuse(f"{address[0]}:{address[1]}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not allowed(arguments[0]):
        _refuse(str(arguments[0]))


def allowed(host: object) -> bool:
    """Return whether a host, name or address, is this machine's loopback."""
    if host is None:
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if text in NAMES:
        return True
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse(address: str) -> None:
    path = os.environ.get(LOG)
    if path:
        line = f"{os.getpid()} {address} {' '.join(sys.argv) if hasattr(sys, 'argv') else '?'!r}\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(descriptor)
    raise RefusedError(f"the guard of the tests refuses to reach {address}")
