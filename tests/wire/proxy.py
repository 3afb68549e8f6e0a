"""A proxy of ours that breaks what passes through it, at a byte and in a way that a test names.

It carries a connection's bytes as they are, TLS or not, and counts them each way; at a fault's offset it
strikes. With it a test reaches every stage of a request, of either leg: the handshake, the head, the body,
the wait for the answer, the answer's head and body.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_RESET = struct.pack("ii", 1, 0)


class Way(enum.StrEnum):
    """How a fault strikes."""

    RESET = "reset"
    CLOSE = "close"
    STALL = "stall"
    DRIP = "drip"
    FLIP = "flip"


@dataclass(frozen=True)
class Fault:
    """Strikes one connection, once.

    Attributes:
        upwards: whether among the client's bytes, else the server's.
        at: how many of them pass before.
        way: how.
    """

    upwards: bool
    at: int
    way: Way


class Proxy:
    """Passes connections on to a port of loopback; the next one that reaches `fault` meets it."""

    def __init__(self, port: int) -> None:
        self.fault: Fault | None = None
        self.struck = threading.Event()
        """Whether the fault has been met."""
        self.passed = {True: 0, False: 0}
        """Bytes, upwards and downwards, of the connections since `begin`."""
        self._target = port
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._sockets: list[socket.socket] = []
        self._reset: set[socket.socket] = set()
        self._over = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def begin(self, fault: Fault | None) -> None:
        """Forget what passed, cut all connections, and break the next as the fault says."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()
        self.struck.clear()
        self.passed = {True: 0, False: 0}
        self.fault = fault

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            down = threading.Thread(target=self._pump, args=(server, client, False), daemon=True)
            down.start()
            self._pump(client, server, True)
            down.join()
            client.close()
            server.close()

    def _pump(self, origin: socket.socket, target: socket.socket, upwards: bool) -> None:  # noqa: FBT001
        with contextlib.suppress(OSError):
            while data := origin.recv(65_536):
                self._pass(data, origin, target, upwards)
        for sock in (origin, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RD if sock in self._reset else socket.SHUT_RDWR)

    def _pass(self, data: bytes, origin: socket.socket, target: socket.socket, upwards: bool) -> None:  # noqa: FBT001
        with self._lock:
            fault = self.fault if self.fault and self.fault.upwards is upwards else None
            room = fault.at - self.passed[upwards] if fault else len(data)
            self.passed[upwards] += len(data)
            if room >= len(data):
                fault = None
            if fault:
                self.fault = None
                self.struck.set()
        target.sendall(data[:room] if fault else data)
        if fault:
            self._strike(fault.way, data[room:], (origin, target))

    def _strike(self, way: Way, rest: bytes, ends: tuple[socket.socket, socket.socket]) -> None:
        match way:
            case Way.RESET:
                # The reset goes out when both pumps are done, and the sockets closed.
                for sock in ends:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    self._reset.add(sock)
                raise OSError
            case Way.CLOSE:
                raise OSError
            case Way.STALL:
                self._over.wait(4)
                raise OSError
            case Way.DRIP:
                for byte in rest[:100]:
                    ends[1].sendall(bytes([byte]))
                    time.sleep(0.03)
                raise OSError
            case Way.FLIP:
                ends[1].sendall(bytes([rest[0] ^ 0x20]) + rest[1:])
