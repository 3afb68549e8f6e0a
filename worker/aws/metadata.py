"""The instance-metadata service, IMDSv2 only: a token first, and never a request without one.

| answer | we |
|---|---|
| 200 | return the text |
| 404 | return None: there is no such thing now |
| 401 | fetch a new token and ask again, once |
| 403 | ConfigurationError: the service is turned off for this instance |
| 400, 429, 5xx, timeout, no connection | ServiceUnavailableError |

Source: EC2 User Guide, "Use the Instance Metadata Service".
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import requests

from worker.core.errors import ConfigurationError, ServiceUnavailableError

DEFAULT_URL = "http://169.254.169.254"

INSTANCE_ID = "meta-data/instance-id"
SPOT_ACTION = "meta-data/spot/instance-action"
REBALANCE = "meta-data/events/recommendations/rebalance"

_TOKEN_SECONDS = 21_600
_TIMEOUT_SECONDS = 1.0


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
        answer = self._ask("GET", path, {"X-aws-ec2-metadata-token": self._token})
        if answer.status_code == HTTPStatus.UNAUTHORIZED and not fresh:
            self._renew()
            answer = self._ask("GET", path, {"X-aws-ec2-metadata-token": self._token})
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return self._text(answer)

    def _renew(self) -> None:
        self._renew_at = 0.0
        header = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        self._token = self._text(self._ask("PUT", "api/token", header))
        self._renew_at = self._clock() + _TOKEN_SECONDS / 2

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> requests.Response:
        try:
            return self._session.request(
                method,
                f"{self._url}/latest/{path}",
                headers=headers,
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ServiceUnavailableError(f"instance metadata {path}: {error}") from error

    def _text(self, answer: requests.Response) -> str:
        if answer.status_code == HTTPStatus.OK:
            return answer.text
        where = f"instance metadata answers {answer.status_code}"
        if answer.status_code == HTTPStatus.FORBIDDEN:
            raise ConfigurationError(f"{where}: turn its HTTP endpoint on for this instance")
        raise ServiceUnavailableError(where)
