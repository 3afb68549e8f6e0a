"""A proxy of ours that breaks what passes through it, at the bytes and in the ways that a test names.

It carries a connection's bytes as they are, and counts them each way; at a fault's offset it strikes. With it
a test reaches every stage of a request, of either leg: the handshake, the head, the body, the wait for the
answer, the answer's head and body. Given certificates, it ends TLS on either side, so that faults strike what
TLS guards, as a fault of a load balancer would.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import re
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

_RESET = struct.pack("ii", 1, 0)
_ASCII = bytes(range(128))
_OF_AN_OBJECT = re.compile(rb"[\x80-\xff]")
_BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nconnection: close\r\ncontent-length: 36\r\n\r\n"
    b"<Error><Code>SlowDown</Code></Error>"
)


class Way(enum.StrEnum):
    """How a fault strikes."""

    RESET = "reset"
    CLOSE = "close"
    STALL = "stall"
    DRIP = "drip"
    FLIP = "flip"
    SPOIL = "flip a byte of an object, where objects have no ASCII bytes, and heads no others"
    BUSY = "answer 503, and close"


@dataclass(frozen=True)
class Fault:
    """Strikes one connection, once.

    Attributes:
        upwards: whether among the client's bytes, else the server's.
        at: how many of them pass before; of objects' bytes with `SPOIL`.
        way: how.
    """

    upwards: bool
    at: int
    way: Way


class Proxy:
    """Passes connections on to a port of loopback, and strikes those that reach a fault.

    Args:
        port: where to.
        shows: speaks TLS with clients, and shows this certificate.
        trusts: speaks TLS with the server, by these.
    """

    def __init__(
        self, port: int, *, shows: ssl.SSLContext | None = None, trusts: ssl.SSLContext | None = None
    ) -> None:
        self.passed = {True: 0, False: 0}
        """Bytes, upwards and downwards, of the connections since `begin`."""
        self.port = 0
        """Where it listens."""
        self._target = port
        self._shows = shows
        self._trusts = trusts
        self._of_objects = {True: 0, False: 0}
        self._faults: dict[bool, deque[Fault]] = {True: deque(), False: deque()}
        self._carriers: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def struck(self) -> bool:
        """Whether all faults have been met."""
        return not any(self._faults.values())

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def begin(self, *faults: Fault) -> None:
        """Forget what passed, cut all connections, and break those to come as the faults say."""
        self._run(self._begin(faults))

    def _run(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(20)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0, ssl=self._shows, backlog=128)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        await self._begin(())

    async def _begin(self, faults: tuple[Fault, ...]) -> None:
        carriers = list(self._carriers)
        for carrier in carriers:
            carrier.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)
        self.passed = {True: 0, False: 0}
        self._of_objects = {True: 0, False: 0}
        for upwards, due in self._faults.items():
            due.clear()
            due.extend(
                sorted((fault for fault in faults if fault.upwards is upwards), key=lambda fault: fault.at)
            )

    async def _carry(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        carrier = asyncio.current_task()
        assert carrier
        self._carriers.add(carrier)
        ends = [client]
        try:
            from_server, server = await asyncio.open_connection(
                "127.0.0.1", self._target, **_tls(self._trusts)
            )
            ends.append(server)
            up = asyncio.create_task(self._pump(from_client, server, client, upwards=True))
            down = asyncio.create_task(self._pump(from_server, client, server, upwards=False))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._carriers.discard(carrier)
            for end in ends:
                end.close()

    async def _pump(
        self,
        origin: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        *,
        upwards: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await origin.read(65_536):
                at = self._meets(data, upwards=upwards)
                target.write(data if at is None else data[:at])
                await target.drain()
                if at is not None:
                    way = self._faults[upwards].popleft().way
                    await _strike(way, data[at:], target, back)

    def _meets(self, data: bytes, *, upwards: bool) -> int | None:
        """How many of these bytes pass before the next fault strikes; None where it does not."""
        due = self._faults[upwards]
        at = max(0, due[0].at - self.passed[upwards]) if due else len(data)
        if due and due[0].way is Way.SPOIL:
            left = max(0, due[0].at - self._of_objects[upwards])
            found = next(itertools.islice(_OF_AN_OBJECT.finditer(data), left, None), None)
            at = found.start() if found else len(data)
        self.passed[upwards] += len(data)
        self._of_objects[upwards] += len(data.translate(None, _ASCII))
        return at if at < len(data) else None


def _tls(context: ssl.SSLContext | None) -> dict[str, Any]:
    """Options of a stream; one that is closed does not wait long for its peer's consent."""
    return {"ssl": context, "ssl_shutdown_timeout": 0.1} if context else {}


async def _strike(way: Way, rest: bytes, target: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
    """Break a connection, or the first of the bytes that are to pass.

    Raises:
        ConnectionError: it is at its end.
    """
    match way:
        case Way.FLIP | Way.SPOIL:
            target.write(bytes([rest[0] ^ 0x20]) + rest[1:])
            return
        case Way.RESET:
            for end in (target, back):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()
        case Way.STALL:
            await asyncio.sleep(4)
        case Way.DRIP:
            for byte in rest[:100]:
                target.write(bytes([byte]))
                await asyncio.sleep(0.03)
        case Way.BUSY:
            back.write(_BUSY)
    raise ConnectionError
