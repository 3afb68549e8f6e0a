"""Credentials that boto3's own chain does not find: those of a role to assume, and those kept in a secret.

Both are read at their first use and renewed by themselves. What they hold goes into signatures alone: into no
message, no log line, no error and no other process.
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

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sts import STSClient

REREAD_SECONDS = 30.0
"""Between two readings of a secret: what is refused straight after one is not refused for its age."""

_REFUSALS = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
)


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


class SecretCredentials(Credentials):
    """The keys in a secret, read again once they have been refused: that is how a rotation is noticed.

    Using them raises ConfigurationError where the secret is missing, may not be read or holds no keys,
    ServiceUnavailableError where Secrets Manager does not answer.
    """

    def __init__(
        self, arn: str, secrets: SecretsManagerClient, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__("", "", method="secret")
        self._arn = arn
        self._secrets = secrets
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: ReadOnlyCredentials | None = None
        self._read_at = 0.0

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The keys; what botocore signs with."""
        with self._lock:
            if self._keys is None:
                self._keys, self._read_at = self._read(), self._clock()
            return self._keys

    def answered(self, parsed: dict[str, Any], **_: object) -> None:
        """Look at an answer that these keys were given, as botocore's `after-call` event tells it."""
        if parsed.get("Error", {}).get("Code") not in _REFUSALS:
            return
        with self._lock:
            if self._clock() - self._read_at >= REREAD_SECONDS:
                self._keys = None

    def _read(self) -> ReadOnlyCredentials:
        with translated(Where(f"secret {self._arn}")):
            text = self._secrets.get_secret_value(SecretId=self._arn).get("SecretString", "")
        try:
            keys = msgspec.json.decode(text, type=_Keys)
        except msgspec.DecodeError:
            keys = _Keys("", "")
        if not keys.aws_access_key_id or not keys.aws_secret_access_key:
            raise ConfigurationError(
                f"secret {self._arn} holds no keys. It must be JSON with aws_access_key_id and "
                "aws_secret_access_key, and with aws_session_token where they are temporary"
            )
        return ReadOnlyCredentials(keys.aws_access_key_id, keys.aws_secret_access_key, keys.aws_session_token)
