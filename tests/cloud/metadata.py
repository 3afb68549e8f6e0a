"""An instance-metadata service: IMDSv2 only, with answers and faults to order.

One stands for one instance, on a free loopback port unless told otherwise. A request without a valid token is
refused with 401, as where `HttpTokens` is `required`; there is no IMDSv1. `values_of` has all that boto3, the
AWS CLI and cloud-init ask for; credentials are fetched anew before they expire.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

LONGEST_TTL = 21_600
TOKEN_PATH = "/latest/api/token"  # noqa: S105 - a path
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
ACTION = "meta-data/spot/instance-action"
REBALANCE = "meta-data/events/recommendations/rebalance"
CREDENTIALS = "meta-data/iam/security-credentials"
ACCOUNT = "123456789012"

Value = str | Callable[[], str]


class Metadata:
    """The service: `with Metadata() as metadata: metadata.values[ACTION] = ...`.

    Attributes:
        values: text, or what returns it (an OSError is a 500), by path below `/latest/`; a path above some of
            them lists what is below, as the service does; all else is answered with 404.
        faults: status codes for the next requests other than for a token; 0 hangs until the client leaves.
        token_faults: the same for the next requests for a token.
        requests: method and path of each request so far.
    """

    def __init__(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.values: dict[str, Value] = {}
        self.faults: deque[int] = deque()
        self.token_faults: deque[int] = deque()
        self.requests: list[str] = []
        self._tokens: dict[str, float] = {}
        self._ended = threading.Event()
        self._server = _Server(address, _handler(self))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self._server.server_name}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def change(self, values: Mapping[str, Value | None]) -> None:
        """Put values, and take away those that are None."""
        for path, value in values.items():
            if value is None:
                self.values.pop(path, None)
            else:
                self.values[path] = value

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
            return self._give_token(headers)
        if self._tokens.get(headers.get("x-aws-ec2-metadata-token", ""), 0) <= time.monotonic():
            return 401, ""
        return self._look_up(path.removeprefix("/latest").strip("/"))

    def _look_up(self, path: str) -> tuple[int, str]:
        value = self.values.get(path)
        if isinstance(value, str):
            return 200, value
        if value is not None:
            try:
                return 200, value()
            except OSError as error:
                return 500, str(error)
        above = f"{path}/" if path else ""
        below = [
            name.removeprefix(above)
            for name in tuple(self.values)
            if name.startswith(above) and name != above
        ]
        names = {name.partition("/")[0] + ("/" if "/" in name else "") for name in below}
        return (200, "\n".join(sorted(names))) if names else (404, "Not Found")

    def _give_token(self, headers: dict[str, str]) -> tuple[int, str]:
        seconds = headers.get(TTL_HEADER.lower(), "")
        if "x-forwarded-for" in headers:
            return 403, ""
        if not seconds.isdecimal() or not 1 <= int(seconds) <= LONGEST_TTL:
            return 400, ""
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(seconds)
        return 200, token


class Rotating:
    """Credentials as the service shows them, fetched anew once half of their life is over.

    Args:
        fetch: returns a document with `Expiration`; called from the service's threads, one at a time.
    """

    def __init__(self, fetch: Callable[[], dict[str, str]]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._text = ""
        self._renew_at = 0.0

    def __call__(self) -> str:
        """The document as JSON."""
        with self._lock:
            now = time.time()
            if now >= self._renew_at:
                document = self._fetch()
                ends = datetime.strptime(document["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
                self._renew_at = now + (ends.timestamp() - now) / 2
                self._text = json.dumps(document, indent=2)
            return self._text


def values_of(machine: Mapping[str, Any], fetch: Callable[[], dict[str, str]]) -> dict[str, Value]:
    """Return what an instance finds, but for notices.

    Args:
        machine: as `tests.cloud.moto_fleet.machines` describes it.
        fetch: returns new credentials of its role.
    """
    identity = {
        "accountId": ACCOUNT,
        "architecture": "x86_64",
        "availabilityZone": machine["zone"],
        "imageId": machine["image"],
        "instanceId": machine["id"],
        "instanceType": machine["type"],
        "privateIp": machine["address"],
        "region": machine["region"],
        "version": "2017-09-30",
    }
    values: dict[str, Value] = {
        "dynamic/instance-identity/document": json.dumps(identity, indent=2),
        "meta-data/ami-id": machine["image"],
        "meta-data/instance-id": machine["id"],
        "meta-data/instance-life-cycle": "spot",
        "meta-data/instance-type": machine["type"],
        "meta-data/local-ipv4": machine["address"],
        "meta-data/placement/availability-zone": machine["zone"],
        "meta-data/placement/region": machine["region"],
        "meta-data/services/domain": "amazonaws.com",
        "meta-data/services/partition": "aws",
    }
    if machine["role"]:
        info = {"Code": "Success", "InstanceProfileArn": machine["profile"]}
        info["InstanceProfileId"] = machine["profile_id"]
        values["meta-data/iam/info"] = json.dumps(info, indent=2)
        values[f"{CREDENTIALS}/{machine['role']}"] = Rotating(fetch)
    return values


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without looking up the machine's name, which may stall."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


def _handler(metadata: Metadata) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "EC2ws"
        sys_version = ""
        # A small answer must not wait for the client's delayed acknowledgement of its head.
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text = metadata.answer(self.command, self.path, headers)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            if self.command == "PUT" and TTL_HEADER.lower() in headers:
                self.send_header(TTL_HEADER, headers[TTL_HEADER.lower()])
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler
