"""Credentials of a name, read at their first use and again once they are refused: so a rotation is noticed.

boto3 finds some by itself; it does not those of a role to assume, and those kept in a secret. What they hold
goes into signatures alone: into no message, no log line, no error and no other process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.credentials import (
    Credentials,
    DeferredRefreshableCredentials,
    ReadOnlyCredentials,
    create_assume_role_refresher,
)

from worker.aws.errors import Where, translated
from worker.core.errors import ConfigurationError
from worker.core.refusal import OLD_KEYS

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sts import STSClient

REREAD_SECONDS = 10.0
"""Between two readings for a refusal: what is refused straight after one is not refused for its age."""


class _Keys(msgspec.Struct, frozen=True):
    """A secret's JSON; other fields are its owner's business."""

    aws_access_key_id: str
    aws_secret_access_key: str
    aws_session_token: str | None = None


def assumed(arn: str, sts: STSClient) -> Credentials:
    """A role's credentials, renewed a quarter of an hour before they expire.

    Using them raises ConfigurationError where the role may not be assumed, ServiceUnavailableError where STS
    does not answer and the ones at hand have expired.
    """
    assume = create_assume_role_refresher(sts, {"RoleArn": arn, "RoleSessionName": "fleetcopy"})

    def refresh() -> dict[str, Any]:
        with translated(Where(f"assume role {arn}")):
            fresh: dict[str, Any] = assume()
        return fresh

    return DeferredRefreshableCredentials(refresh, "assume-role")


def of_secret(arn: str, secrets: SecretsManagerClient) -> Credentials:
    """The keys in a secret.

    Raises:
        ConfigurationError: it is missing, may not be read or holds no keys.
        ServiceUnavailableError: Secrets Manager does not answer.
    """
    with translated(Where(f"secret {arn}")):
        text = secrets.get_secret_value(SecretId=arn).get("SecretString", "")
    try:
        keys = msgspec.json.decode(text, type=_Keys)
    except msgspec.DecodeError:
        keys = _Keys("", "")
    if not keys.aws_access_key_id or not keys.aws_secret_access_key:
        raise ConfigurationError(
            f"secret {arn} holds no keys. It must be JSON with aws_access_key_id and "
            "aws_secret_access_key, and with aws_session_token where they are temporary"
        )
    return Credentials(keys.aws_access_key_id, keys.aws_secret_access_key, keys.aws_session_token)


class Renewable(Credentials):
    """Credentials that are read again once they have been refused; safe to use from many threads.

    Args:
        read: finds them; what it raises, using them raises.
        clock: seconds, monotonic.
    """

    def __init__(self, read: Callable[[], Credentials], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("", "")
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._found: Credentials | None = None
        self._reread_from = float("-inf")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The keys to sign with now; those that expire are refreshed before they do."""
        with self._lock:
            if self._found is None:
                self._found = self._read()
            found = self._found
        return found.get_frozen_credentials()

    def refused(self) -> None:
        """Read them again when they are next asked for, unless that was done just now."""
        with self._lock:
            if self._clock() >= self._reread_from:
                self._reread_from = self._clock() + REREAD_SECONDS
                self._found = None

    def answered(self, parsed: dict[str, Any], **_: object) -> None:
        """Look at an answer that these keys were given, as botocore's `after-call` event tells it."""
        if parsed.get("Error", {}).get("Code") in OLD_KEYS:
            self.refused()
