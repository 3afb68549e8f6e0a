"""An instance-metadata service on loopback: IMDSv2 only, with answers and faults to order.

One stands for one instance. A request without a valid token is refused with 401, as where `HttpTokens` is
`required`; there is no IMDSv1.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Self

LONGEST_TTL = 21_600
TOKEN_PATH = "/latest/api/token"  # noqa: S105 - a path
ACTION = "meta-data/spot/instance-action"
REBALANCE = "meta-data/events/recommendations/rebalance"


class Metadata:
    """The service: `with Metadata() as metadata: metadata.values[ACTION] = ...`.

    Attributes:
        values: text by path below `/latest/`; what is absent is answered with 404.
        faults: status codes for the next requests other than for a token; 0 hangs until the client leaves.
        token_faults: the same for the next requests for a token.
        requests: method and path of each request so far.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.faults: deque[int] = deque()
        self.token_faults: deque[int] = deque()
        self.requests: list[str] = []
        self._tokens: dict[str, float] = {}
        self._ended = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def forget_tokens(self) -> None:
        """Let every token given so far be expired."""
        self._tokens.clear()

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """Status and text for a request; header names in lower case."""
        self.requests.append(f"{method} {path}")
        faults = self.token_faults if path == TOKEN_PATH else self.faults
        fault = faults.popleft() if faults else None
        if fault == 0:
            self._ended.wait()
        if fault is not None:
            return fault or 500, "fault"
        if method == "PUT" and path == TOKEN_PATH:
            return self._give_token(headers.get("x-aws-ec2-metadata-token-ttl-seconds", ""))
        if self._tokens.get(headers.get("x-aws-ec2-metadata-token", ""), 0) <= time.monotonic():
            return 401, ""
        value = self.values.get(path.removeprefix("/latest/"))
        return (404, "Not Found") if value is None else (200, value)

    def _give_token(self, seconds: str) -> tuple[int, str]:
        if not seconds.isdecimal() or not 1 <= int(seconds) <= LONGEST_TTL:
            return 400, ""
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(seconds)
        return 200, token


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without looking up the machine's name, which may stall."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]


def _handler(metadata: Metadata) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text = metadata.answer(self.command, self.path, headers)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler
