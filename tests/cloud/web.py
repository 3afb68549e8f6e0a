"""The embedded AWS's HTTP/1.1 server: bytes on a loopback socket in, a Request out, a Response back.

Promises kept-alive connections without Nagle stalls (werkzeug's development server closes after every
answer), and that a request whose body ends early never reaches the handler. What a request means is the
handler's business.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from io import BufferedReader
from typing import Protocol
from urllib.parse import parse_qsl, unquote

REASONS = {status.value: status.phrase for status in HTTPStatus}
NO_LINGER = struct.pack("ii", 1, 0)
MAX_HEAD_LINE = 65_536


class Pieces(Protocol):
    """A body that is not held as one."""

    @property
    def pieces(self) -> Sequence[memoryview]:
        """Its bytes, in order."""

    @property
    def size(self) -> int:
        """How many they are."""


@dataclass(slots=True)
class Request:
    """One request: header names in lower case, `sent_names` as they were sent, the body whole.

    `outlives` is the fault of that name: how long to wait for the end of the upload that it belongs to.
    """

    method: str
    target: str
    headers: dict[str, str]
    sent_names: dict[str, str]
    body: bytes = b""
    path: str = ""
    query: str = ""
    outlives: float = 0.0
    _md5: str = ""

    def __post_init__(self) -> None:
        self.path, _, self.query = self.target.partition("?")

    def parameters(self) -> dict[str, str]:
        """Return the query's parameters; the last of a repeated name wins."""
        return dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}

    def md5(self) -> str:
        """Return the body's MD5 in hexadecimal; computed once, for it is asked for under a lock."""
        if not self._md5:
            self._md5 = hashlib.md5(self.body, usedforsecurity=False).hexdigest()
        return self._md5

    def bucket_and_key(self) -> tuple[str, str]:
        """Return the path's first segment and all the rest, decoded once and not normalised."""
        bucket, _, key = self.path[1:].partition("/")
        return unquote(bucket), unquote(key)


@dataclass(slots=True)
class Response:
    """One answer. `cut` sends only so many bytes of the body and closes; `reset` sends nothing at all.

    `content` takes the place of `body` where it is not held as one.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    content: Pieces | None = None
    cut: int | None = None
    reset: bool = False

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.content is None else self.content.size

    def head(self, method: str) -> bytes:
        """Return the status line and headers as they go on the wire."""
        lines = [f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Unknown')}"]
        sized = False
        for name, value in self.headers.items():
            lowered = name.lower()
            if lowered == "content-length":
                sized = method == "HEAD"
                if not sized:
                    continue
            if lowered not in ("connection", "date", "transfer-encoding"):
                lines.append(f"{name}: {value}")
        if not sized and self.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            lines.append(f"Content-Length: {self.size}")
        lines.append(f"Date: {formatdate(usegmt=True)}\r\n\r\n")
        return "\r\n".join(lines).encode("latin-1", "replace")


class Server:
    """Listens on a free loopback port and gives every connection a thread."""

    def __init__(self, handler: Callable[[Request], Response]) -> None:
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]

    def serve_forever(self) -> None:
        """Accept connections until the process ends."""
        while True:
            connection, _ = self._listener.accept()
            # A small answer must not wait for the client's delayed acknowledgement of the one before.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            while self._answer(stream, connection):
                pass

    def _answer(self, stream: BufferedReader, connection: socket.socket) -> bool:
        """Answer one request; return whether there may be another. An idle connection holds no body."""
        request = read_request(stream, connection)
        return request is not None and send_response(connection, request, self._handler(request))


def read_request(stream: BufferedReader, connection: socket.socket) -> Request | None:
    """Read one whole request; None when the client is gone, also in the middle of a body."""
    line = stream.readline(MAX_HEAD_LINE)
    parts = line.decode("latin-1").split(" ")
    if len(parts) != 3:
        return None
    headers: dict[str, str] = {}
    names: dict[str, str] = {}
    while line := stream.readline(MAX_HEAD_LINE):
        if line in (b"\r\n", b"\n"):
            break
        name, _, value = line.decode("latin-1").partition(":")
        lowered, value = name.lower(), value.strip()
        headers[lowered] = f"{headers[lowered]},{value}" if lowered in headers else value
        names[lowered] = name
    else:
        return None
    request = Request(parts[0], parts[1], headers, names)
    length = int(headers.get("content-length") or 0)
    if "expect" in headers:
        # Before an empty body too: an AWS CLI that is answered at once misreads its connection's next answer.
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if length:
        request.body = stream.read(length)
        if len(request.body) < length:
            return None
    return request


def send_response(connection: socket.socket, request: Request, response: Response) -> bool:
    """Send the answer; return whether the connection may carry another request."""
    if response.reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        return False
    head = response.head(request.method)
    pieces = [memoryview(response.body)] if response.content is None else response.content.pieces
    left = 0 if request.method == "HEAD" else response.size if response.cut is None else response.cut
    if left < MAX_HEAD_LINE:
        connection.sendall(b"".join((head, *pieces))[: len(head) + left])
    else:
        connection.sendall(head)
        for piece in pieces:
            connection.sendall(piece[:left])
            left = max(left - len(piece), 0)
    if response.cut is not None:
        return False
    return request.headers.get("connection", "").lower() != "close"
