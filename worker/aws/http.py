"""HTTP/1.1 over one socket, with TLS or without; every wait is bounded.

Knows nothing of S3, nor where connections come from (`worker.aws.pool`): an exchange sends a head and a
body, and reads a head and a body. Memory is a thread's `Buffers` and what TLS holds of them. Nothing is tried
twice.

Waits: sockets block, with a kernel time limit of a fraction of a second (`TICK`), at the end of which the
`Watch` decides whether the exchange goes on: so that a cancellation is seen at once, a stalled peer is given
up by `core.pace`, and reading costs one system call, not the two of a Python socket with a timeout.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable

import msgspec

from worker.core.http import (
    LONGEST_HEAD,
    Framing,
    Head,
    Length,
    MalformedError,
    UntilClose,
    framing,
    parse_head,
)
from worker.core.pace import Pace
from worker.core.transferrer import Cancellation

TICK = 0.25
"""Seconds; the kernel's time limit for receiving and sending."""

_TIMEVAL = struct.pack("ll", 0, int(TICK * 1_000_000))
_NEVER = float("inf")
_CONTINUE = 100
_OK = 200


class Limits(msgspec.Struct, frozen=True):
    """How long anything may take.

    Attributes:
        connect: seconds for one address, TLS included.
        stretch: seconds in which an exchange must move `least` bytes; see `core.pace`.
        least: bytes.
        proceed: seconds to wait for `100 Continue` before the body is sent without it.
        idle: seconds after which a kept connection is taken for closed.
        age: seconds after which a connection is not kept, so that load follows the host's addresses.
        resolve: seconds for which the host's addresses are taken as known.
    """

    connect: float = 5.0
    stretch: float = 60.0
    least: int = 61_440
    proceed: float = 1.0
    idle: float = 15.0
    age: float = 300.0
    resolve: float = 30.0


class CancelledError(Exception):
    """The exchange was cancelled from this side."""


class BrokenError(Exception):
    """The connection failed, or what came over it is no answer."""


class ClosedError(BrokenError):
    """The peer closed or reset the connection."""


class SilentError(Exception):
    """No byte of an answer came within the time that was given for it."""


class Watch:
    """One exchange's patience: asked whenever bytes have moved, and in every tick of waiting.

    Attributes:
        cancellable: whether a cancellation still counts; not once the peer has all it needs.
        limits: see there.
    """

    def __init__(
        self, cancel: Cancellation, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.cancellable = True
        self.limits = limits
        self._cancel = cancel
        self._clock = clock
        self._pace = Pace(limits.stretch, limits.least, clock())

    def moved(self, count: int = 0) -> None:
        """Go on, or not.

        Raises:
            CancelledError: cancelled.
            BrokenError: stalled.
        """
        if self.cancellable and self._cancel.is_set():
            raise CancelledError
        if self._pace.stalled(count, self._clock()):
            raise BrokenError(
                f"stalled: less than {self.limits.least} bytes in {self.limits.stretch:g} seconds"
            )

    def wait(self, until: float) -> None:
        """A tick without bytes, of a wait that ends at a monotonic time.

        Raises:
            SilentError: it has ended.
        """
        self.moved()
        if self._clock() >= until:
            raise SilentError


class Buffers:
    """What one thread needs to move objects, whatever their size.

    Args:
        piece: bytes that are received and sent in one go; at least `LONGEST_HEAD`.
    """

    def __init__(self, piece: int) -> None:
        self.body = memoryview(bytearray(piece))
        """For heads and bodies that are received."""
        self.answer = memoryview(bytearray(LONGEST_HEAD))
        """For the answer to what is sent out of `body`."""
        self.cipher = memoryview(bytearray(piece + 16_384))
        """For bytes as TLS has them; no connection needs them for longer than a call."""


class ThreadBuffers:
    """Gives each thread that asks buffers of its own, the same ones each time; see `Buffers`."""

    def __init__(self, piece: int) -> None:
        self._piece = piece
        self._local = threading.local()

    def __call__(self) -> Buffers:
        """Those of the calling thread."""
        try:
            buffers: Buffers = self._local.buffers
        except AttributeError:
            buffers = self._local.buffers = Buffers(self._piece)
        return buffers


def prepare(sock: socket.socket) -> None:
    """Make a connected socket as a channel needs it."""
    sock.setblocking(True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL)


class Plain:
    """Bytes over a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive(self, view: memoryview, watch: Watch, until: float) -> int:
        """Bytes put into `view`; 0 at the end."""
        return _receive(self._sock, view, watch, until)

    def send(self, pieces: tuple[bytes | memoryview, ...], watch: Watch) -> None:
        """Send all of it."""
        _send(self._sock, pieces[0] if len(pieces) == 1 else b"".join(pieces), watch)


class Tls:
    """Bytes over TLS over a socket, in large reads and writes: `SSLSocket` makes two calls a record."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self.cipher = memoryview(b"")
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._ended = False
        self._holds_more = False

    def handshake(self, watch: Watch, until: float) -> None:
        """Agree with the peer, and check who it is."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush(watch)
                if not self._fill(watch, until):
                    raise ClosedError("closed in the TLS handshake") from None
            else:
                self._flush(watch)
                return

    def receive(self, view: memoryview, watch: Watch, until: float) -> int:
        """As `Plain.receive`; the end is TLS's word for it, or the connection's without."""
        got, room = 0, len(view)
        while got < room and not self._ended:
            if not self._incoming.pending and not self._holds_more and (got or not self._fill(watch, until)):
                break
            try:
                count: int = self._tls.read(room - got, view[got:])  # type: ignore[assignment]  # a buffer is given
            except ssl.SSLWantReadError:
                self._holds_more = False
                continue
            # After its word the peer may leave the connection open.
            self._ended = not count
            got += count
            # Only a full view can leave a rest of a record behind. `SSLObject.pending` would know as well,
            # but lets another thread have the interpreter for it.
            self._holds_more = got == room
        return got

    def send(self, pieces: tuple[bytes | memoryview, ...], watch: Watch) -> None:
        """As `Plain.send`."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data:
            self._tls.write(data)
        self._flush(watch)

    def _flush(self, watch: Watch) -> None:
        if self._outgoing.pending:
            _send(self._sock, self._outgoing.read(), watch)

    def _fill(self, watch: Watch, until: float) -> int:
        count = _receive(self._sock, self.cipher, watch, until)
        if count:
            self._incoming.write(self.cipher[:count])
        return count


def _receive(sock: socket.socket, view: memoryview, watch: Watch, until: float) -> int:
    while True:
        try:
            count = sock.recv_into(view)
        except BlockingIOError:
            watch.wait(until)
        else:
            watch.moved(count)
            return count


def _send(sock: socket.socket, data: bytes | memoryview, watch: Watch) -> None:
    view = memoryview(data)
    while view:
        try:
            count = sock.send(view)
        except BlockingIOError:
            count = 0
        watch.moved(count)
        view = view[count:]


class Connection:
    """One connection to a host: an exchange is heads and bodies sent, then a head and a body read.

    Attributes:
        reused: whether it has carried an exchange before.
        answered: whether a byte of this exchange's answer has come.
    """

    def __init__(self, sock: socket.socket, channel: Plain | Tls, now: float) -> None:
        self.reused = self.answered = False
        self.born = self.idle_since = now
        self._sock = sock
        self._channel = channel
        self._framing: Framing = Length(0)
        self._ahead = memoryview(b"")
        self._keeps_alive = False

    def begin(self, buffers: Buffers) -> None:
        """Begin an exchange, by the thread that has these buffers."""
        self.answered = self._keeps_alive = False
        self._ahead = memoryview(b"")
        if isinstance(self._channel, Tls):
            self._channel.cipher = buffers.cipher

    def send(self, watch: Watch, *pieces: bytes | memoryview) -> None:
        """Send all of it.

        Raises:
            BrokenError, CancelledError: not all has been sent.
        """
        try:
            self._channel.send(pieces, watch)
        except OSError as error:
            raise ClosedError(f"while sending: {error}") from error

    def head(self, buffer: memoryview, watch: Watch, until: float = _NEVER) -> Head:
        """The answer's head; what came with it of its body stays in `buffer` until `read` hands it out.

        Args:
            buffer: at least `LONGEST_HEAD` bytes.
            watch: its patience.
            until: monotonic time until which the answer must begin; then `100 Continue` is an answer too.

        Raises:
            SilentError: it did not begin.
            BrokenError, CancelledError: there is none.
        """
        try:
            head = self._next_head(buffer, watch, until)
            while head.status < _OK and (head.status != _CONTINUE or until == _NEVER):
                head = self._next_head(buffer, watch, until)
            self._framing = framing(head)
        except MalformedError as error:
            raise BrokenError(f"no HTTP answer: {error}") from error
        self._keeps_alive = head.keeps_alive and head.status >= _OK
        return head

    def _next_head(self, buffer: memoryview, watch: Watch, until: float) -> Head:
        count = len(self._ahead)
        if count:
            buffer[:count] = self._ahead
        while (end := bytes(buffer[: min(count, LONGEST_HEAD)]).find(b"\r\n\r\n")) < 0:
            if count >= LONGEST_HEAD:
                raise MalformedError(f"a head of more than {LONGEST_HEAD} bytes")
            more = self._receive(buffer[count:], watch, _NEVER if count else until)
            if not more:
                raise ClosedError("closed in the answer's head" if count else "closed without an answer")
            self.answered = True
            count += more
        self._ahead = buffer[end + 4 : count]
        return parse_head(bytes(buffer[:end]))

    def no_body(self) -> None:
        """The head was the answer to a HEAD: the length that it tells is another answer's."""
        self._framing = Length(0)

    def read(self, buffer: memoryview, watch: Watch) -> memoryview:
        """The body's next bytes, in `buffer` or in the one that `head` had; empty at its end.

        Raises:
            BrokenError, CancelledError: the body is not whole.
        """
        while not self._framing.done:
            if not self._ahead:
                count = self._receive(buffer, watch, _NEVER)
                if not count and isinstance(self._framing, UntilClose):
                    break
                if not count:
                    raise ClosedError("closed before the answer's end")
                self._ahead = buffer[:count]
            try:
                piece, self._ahead = self._framing.take(self._ahead)
            except MalformedError as error:
                raise BrokenError(str(error)) from error
            if piece:
                return piece
        return self._ahead[:0]

    def _receive(self, view: memoryview, watch: Watch, until: float) -> int:
        try:
            return self._channel.receive(view, watch, until)
        except OSError as error:
            raise ClosedError(f"while receiving: {error}") from error

    @property
    def reusable(self) -> bool:
        """Whether this exchange has left the connection ready for another."""
        return self._keeps_alive and self._framing.done and not self._ahead

    def spoil(self) -> None:
        """Not to be used again: the peer may wait for what this exchange has not sent."""
        self._keeps_alive = False

    @property
    def dead(self) -> bool:
        """Whether something has come since the last exchange: the end, or what nobody asked for."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close at once, whatever is under way."""
        self._sock.close()
