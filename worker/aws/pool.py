"""Connections to one host, kept between exchanges: made to its addresses in turn, and not kept for ever.

A connection is tried to one address after another; nothing else is tried twice. The name is resolved anew
every so often, and connections end at an age, so that load follows what the name says now.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from worker.aws.http import (
    TICK,
    BrokenError,
    Buffers,
    ClosedError,
    Connection,
    Limits,
    Plain,
    SilentError,
    Tls,
    Watch,
    prepare,
)

_FRESH = 1.0
_ADDRESSES = 3

Address = tuple[socket.AddressFamily, tuple[str | int | bytes, ...]]
"""Family, and what `connect` takes."""


class Origin(msgspec.Struct, frozen=True):
    """Where connections go to. `netloc` is the Host header's."""

    scheme: str
    host: str
    port: int
    netloc: str


class UnreachableError(Exception):
    """No connection could be made to any address."""


class UntrustedError(Exception):
    """The host's certificate is not to be trusted."""


class Addresses:
    """A host's addresses, handed out in turn; those that fail are left out until they are resolved again."""

    def __init__(self, origin: Origin, seconds: float, clock: Callable[[], float]) -> None:
        self._origin = origin
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: deque[Address] = deque()
        self._until = float("-inf")

    def some(self) -> list[Address]:
        """A few addresses to try, in this order.

        Raises:
            UnreachableError: the name does not resolve.
        """
        with self._lock:
            if self._clock() >= self._until or not self._known:
                self._known = deque(self._resolve())
                self._until = self._clock() + self._seconds
            self._known.rotate(-1)
            return list(self._known)[:_ADDRESSES]

    def failed(self, address: Address) -> None:
        """Leave an address out for a while."""
        with self._lock, contextlib.suppress(ValueError):
            self._known.remove(address)

    def _resolve(self) -> list[Address]:
        try:
            found = socket.getaddrinfo(self._origin.host, self._origin.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UnreachableError(f"{self._origin.host}: {error}") from error
        return [(family, place) for family, _, _, _, place in found]


class Pool:
    """Connections to one origin; safe to use from many threads.

    Args:
        origin: where to.
        context: whom to trust, for `https`.
        limits: see there.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        origin: Origin,
        context: ssl.SSLContext,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.origin = origin
        self._context = context
        self._limits = limits
        self._clock = clock
        self._addresses = Addresses(origin, limits.resolve, clock)
        # The last one in is the first one out, so that those not needed grow old.
        self._idle: deque[Connection] = deque()

    def take(self, buffers: Buffers, watch: Watch, *, new: bool = False) -> Connection:
        """A connection at the beginning of an exchange, a kept one unless `new`.

        Raises:
            UnreachableError, UntrustedError, CancelledError: there is none.
        """
        connection = None if new else self._kept()
        if connection is None:
            connection = self._connect(buffers, watch)
        connection.begin(buffers)
        return connection

    def give(self, connection: Connection) -> None:
        """Take a connection back at the end of its exchange; one that is not to be used again is closed."""
        now = self._clock()
        if connection.reusable and now - connection.born < self._limits.age:
            connection.reused = True
            connection.idle_since = now
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the kept connections."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _kept(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            idle = self._clock() - connection.idle_since
            if idle < self._limits.idle and (idle < _FRESH or not connection.dead):
                return connection
            connection.close()

    def _connect(self, buffers: Buffers, watch: Watch) -> Connection:
        failures = []
        for address in self._addresses.some():
            until = self._clock() + self._limits.connect
            try:
                sock = _reach(address, watch, until)
            except (OSError, SilentError) as error:
                self._addresses.failed(address)
                failures.append(f"{address[1][0]!s}: {error or 'no answer'}")
                continue
            try:
                return Connection(sock, self._channel(sock, buffers, watch, until), self._clock())
            except BaseException:
                self._addresses.failed(address)
                sock.close()
                raise
        raise UnreachableError("; ".join(failures))

    def _channel(self, sock: socket.socket, buffers: Buffers, watch: Watch, until: float) -> Plain | Tls:
        if self.origin.scheme == "http":
            return Plain(sock)
        tls = Tls(sock, self._context, self.origin.host)
        tls.cipher = buffers.cipher
        try:
            tls.handshake(watch, until)
        except ssl.SSLCertVerificationError as error:
            raise UntrustedError(error.verify_message) from error
        except OSError as error:
            raise ClosedError(f"in the TLS handshake: {error}") from error
        except SilentError as error:
            raise BrokenError("no end of the TLS handshake") from error
        return tls


def _reach(address: Address, watch: Watch, until: float) -> socket.socket:
    """Connect, in ticks; the socket blocks for a tick at most.

    Raises:
        OSError, SilentError: nobody is there.
    """
    family, place = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _connect(sock, place, watch, until)
        prepare(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(sock: socket.socket, place: tuple[str | int | bytes, ...], watch: Watch, until: float) -> None:
    sock.setblocking(False)
    code = sock.connect_ex(place)
    if code == errno.EINPROGRESS:
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        while not poll.poll(TICK * 1000):
            watch.wait(until)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
