"""An S3 of ours on a loopback socket, whose every byte a test may choose.

`Peer.scripts` are used up first, one a request: a script has the `Exchange` and does with its socket what it
likes. Requests without one are served from memory as S3 would, as far as whole objects go: GET with its
fence, PUT with its conditions, digests and trailers. Every head that came is kept in `Peer.heads`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import select
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from awscrt.checksums import crc64nvme

_RESET = struct.pack("ii", 1, 0)
_OF_THE_REQUEST = {"authorization", "content-length", "expect", "host", "if-match", "if-none-match"}
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Stored:
    """One object."""

    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = ""

    def __post_init__(self) -> None:
        self.etag = self.etag or hashlib.md5(self.body, usedforsecurity=False).hexdigest()


@dataclass
class Head:
    """A request's head, header names in lower case, and the number of its connection."""

    method: str
    target: str
    headers: dict[str, str]
    connection: int

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and key of a path-style request."""
        bucket, _, key = self.target.partition("?")[0][1:].partition("/")
        return unquote(bucket), unquote(key)


class GoneError(Exception):
    """The client closed, or a script does not want to go on with the connection."""


class Exchange:
    """One request on its connection, as a script has it."""

    def __init__(self, sock: socket.socket, head: Head, early: bytes) -> None:
        self.head = head
        self._sock = sock
        self._early = early
        self._left = int(head.headers.get("content-length", 0))

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._sock.sendall(data)

    def receive(self, limit: int = 65_536) -> bytes:
        """Some of the request's body; empty at its end."""
        piece = self._early or (self._sock.recv(min(limit, self._left)) if self._left else b"")
        self._early = b""
        self._left -= len(piece)
        if self._left and not piece:
            raise GoneError
        return piece

    def body(self) -> bytes:
        """All of the request's body, asked for where the client waits to be."""
        if "expect" in self.head.headers:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return b"".join(iter(self.receive, b""))

    def reset(self) -> None:
        """End the connection without a word."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raise GoneError

    def close(self) -> None:
        """End the connection."""
        raise GoneError

    def hang(self) -> None:
        """Read nothing, say nothing, until the client is gone."""
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        poll.poll(30_000)
        raise GoneError


Script = Callable[[Exchange], None]


def answer(status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """An answer as it goes on the wire."""
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode("latin-1") + body


def error(status: int, code: str, more: str = "", headers: dict[str, str] | None = None) -> bytes:
    """An error as S3 writes it."""
    return answer(
        status, headers, f"<Error><Code>{code}</Code><Message>so it is</Message>{more}</Error>".encode()
    )


def says(data: bytes) -> Script:
    """A script that takes the request, and answers with these bytes."""

    def script(exchange: Exchange) -> None:
        exchange.body()
        exchange.send(data)

    return script


class Peer:
    """The server. `context` makes it speak TLS; `family` is AF_INET6 for `::1`."""

    def __init__(
        self, context: ssl.SSLContext | None = None, family: socket.AddressFamily = socket.AF_INET
    ) -> None:
        self.objects: dict[tuple[str, str], Stored] = {}
        self.scripts: dict[str, deque[Script]] = {"GET": deque(), "PUT": deque()}
        self.heads: list[Head] = []
        self.over = threading.Event()
        """Set when the peer is to end; what hangs waits for it."""
        self._context = context
        self._sockets: set[socket.socket] = set()
        self._host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._listener = socket.create_server((self._host, 0), family=family, backlog=128)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Its endpoint's URL; over TLS by the name in its certificate."""
        if self._context:
            return f"https://localhost:{self.port}"
        return f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._sockets)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        # Closing alone would not wake the thread in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def put(self, body: bytes, key: str, **headers: str) -> Stored:
        """Put an object into the bucket `source`; names are spelt with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        stored = self.objects["source", key] = Stored(body, named, named.pop("etag", ""))
        return stored

    def drop(self) -> None:
        """Close all connections."""
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def next(self, method: str, *scripts: Script) -> None:
        """Let the next requests of a method go by these scripts."""
        self.scripts[method].extend(scripts)

    def _accept(self) -> None:
        number = 0
        while not self.over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, GoneError, ValueError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._sockets.add(sock)
            while True:
                exchange = self._next(sock, number)
                scripts = self.scripts.get(exchange.head.method)
                (scripts.popleft() if scripts else self.serve)(exchange)
        self._sockets.discard(sock)
        sock.close()

    def _next(self, sock: socket.socket, number: int) -> Exchange:
        raw = b""
        while b"\r\n\r\n" not in raw:
            piece = sock.recv(65_536)
            if not piece:
                raise GoneError
            raw += piece
        text, _, early = raw.partition(b"\r\n\r\n")
        first, *lines = text.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        head = Head(method, target, {name.lower(): value.strip() for name, _, value in pairs}, number)
        self.heads.append(head)
        return Exchange(sock, head, early)

    def serve(self, exchange: Exchange) -> None:
        """Answer as S3 would."""
        if exchange.head.method == "GET":
            exchange.send(self.got(exchange.head))
        elif exchange.head.method == "HEAD":
            exchange.send(self.got(exchange.head).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        else:
            exchange.send(self.refusal(exchange.head) or self._put(exchange))

    def got(self, head: Head) -> bytes:
        """The answer to a GET of an object, or to the listing that finds out whether the bucket is there."""
        stored = self.objects.get(head.place)
        if "list-type" in head.target:
            return answer(200, {}, b"<ListBucketResult/>")
        if stored is None:
            return error(404, "NoSuchKey")
        if head.headers.get("if-match", f'"{stored.etag}"') != f'"{stored.etag}"':
            return error(412, "PreconditionFailed")
        kept = {name: value for name, value in stored.headers.items() if name not in _OF_THE_REQUEST}
        return answer(200, {"etag": f'"{stored.etag}"', **kept}, stored.body)

    def refusal(self, head: Head) -> bytes:
        """The answer to a PUT whose condition does not hold, before a byte of its body is read."""
        stored, expected = self.objects.get(head.place), head.headers.get("if-match")
        if head.headers.get("if-none-match") == "*" and stored:
            return error(412, "PreconditionFailed", headers={"connection": "close"})
        if expected and (stored is None or expected != f'"{stored.etag}"'):
            return error(412, "PreconditionFailed", headers={"connection": "close"})
        return b""

    def _put(self, exchange: Exchange) -> bytes:
        headers = dict(exchange.head.headers)
        body = exchange.body()
        if headers.get("x-amz-content-sha256") == "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
            body, trailer = unchunked(body)
            headers |= trailer
            if len(body) != int(headers["x-amz-decoded-content-length"]):
                return error(400, "IncompleteBody")
            headers["content-encoding"] = headers["content-encoding"].removesuffix("aws-chunked").rstrip(",")
        if not digests_agree(headers, body):
            return error(400, "BadDigest")
        if refused := self.refusal(exchange.head):
            return refused
        stored = self.objects[exchange.head.place] = Stored(body, headers)
        return answer(200, {"etag": f'"{stored.etag}"'})


def unchunked(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Content and trailer of an aws-chunked body."""
    content = b""
    while True:
        line, _, body = body.partition(b"\r\n")
        size = int(line, 16)
        if not size:
            name, _, value = body.partition(b"\r\n")[0].decode().partition(":")
            return content, {name: value}
        content, body = content + body[:size], body[size:]
        assert body.startswith(b"\r\n")
        body = body[2:]


def digests_agree(headers: dict[str, str], body: bytes) -> bool:
    """Whether the body has the digests that its headers declare."""
    md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    crc = base64.b64encode(crc64nvme(body).to_bytes(8, "big")).decode()
    return headers.get("content-md5", md5) == md5 and headers.get("x-amz-checksum-crc64nvme", crc) == crc
