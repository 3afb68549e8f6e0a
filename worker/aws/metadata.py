"""The instance-metadata service, IMDSv2 only: a token first, and never a request without one.

| answer | we |
|---|---|
| 200 | return the text |
| 404 | return None: there is no such thing now |
| 401 | fetch a new token and ask again, once |
| 403 | ConfigurationError: the service is turned off for this instance |
| 400, 429, 5xx, timeout, no connection, too long an answer | ServiceUnavailableError |

Source: EC2 User Guide, "Use the Instance Metadata Service".
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import requests
from urllib3.exceptions import HTTPError

from worker.core.errors import ConfigurationError, ServiceUnavailableError

INSTANCE_ID = "meta-data/instance-id"
SPOT_ACTION = "meta-data/spot/instance-action"
REBALANCE = "meta-data/events/recommendations/rebalance"

_TOKEN_SECONDS = 21_600
_TIMEOUT_SECONDS = 1.0
"""For a connection, and for each piece of an answer."""

_BODY_SECONDS = 3.0
_LONGEST_BODY = 16_384
"""Bytes; tokens, notices and ids have a few hundred at most."""


class Metadata:
    """A client of one metadata service, for one thread.

    Args:
        url: of the service, without a path.
        clock: seconds, monotonic.
    """

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url = url.rstrip("/")
        self._clock = clock
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, and no netrc: the address is on this machine
        self._token = ""
        self._renew_at = 0.0

    def get(self, path: str) -> str | None:
        """What stands under `/latest/<path>`, or None.

        Raises:
            ServiceUnavailableError: no answer, or one that says to come back later.
            ConfigurationError: the service is turned off.
        """
        fresh = self._clock() >= self._renew_at
        if fresh:
            self._renew()
        status, text = self._ask_with_token(path)
        if status == HTTPStatus.UNAUTHORIZED and not fresh:
            self._renew()
            status, text = self._ask_with_token(path)
        return None if status == HTTPStatus.NOT_FOUND else _if_ok(status, text)

    def _ask_with_token(self, path: str) -> tuple[int, str]:
        return self._ask("GET", path, {"X-aws-ec2-metadata-token": self._token})

    def _renew(self) -> None:
        self._renew_at = 0.0
        header = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        token = _if_ok(*self._ask("PUT", "api/token", header))
        if not (token.isascii() and token.isprintable() and token):
            raise ServiceUnavailableError("instance metadata gives a token that no header can hold")
        self._token = token
        self._renew_at = self._clock() + _TOKEN_SECONDS / 2

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        """Status and text of an answer."""
        try:
            with self._session.request(
                method,
                f"{self._url}/latest/{path}",
                headers=headers,
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                return answer.status_code, self._body(answer).decode(errors="replace")
        except (requests.RequestException, HTTPError) as error:
            raise ServiceUnavailableError(f"instance metadata {path}: {error}") from error

    def _body(self, answer: requests.Response) -> bytes:
        """What the answer holds, within bounds of time and memory."""
        body, deadline = b"", self._clock() + _BODY_SECONDS
        while piece := answer.raw.read1(_LONGEST_BODY):
            body += piece
            if len(body) > _LONGEST_BODY or self._clock() > deadline:
                raise ServiceUnavailableError("instance metadata does not come to the end of its answer")
        return body


def _if_ok(status: int, text: str) -> str:
    if status == HTTPStatus.OK:
        return text
    where = f"instance metadata answers {status}"
    if status == HTTPStatus.FORBIDDEN:
        raise ConfigurationError(f"{where}: turn its HTTP endpoint on for this instance")
    raise ServiceUnavailableError(where)
