"""The settings: what each is called, what it may be, what it means."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from worker.core import credentials
from worker.core.errors import Side, UsageError
from worker.core.model import parse_uri
from worker.core.options import ACLS, CARRIES, SSES, STORAGE_CLASSES, STRATEGIES

_LONGEST_LEASE = 43_200
"""Seconds; the most that SQS takes as a visibility timeout (SQS Developer Guide, "Visibility timeout")."""


_MOST_STREAMS = 1_024


def _positive(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise ValueError(text)
    return value


def _lease(text: str) -> int:
    value = _positive(text)
    if value > _LONGEST_LEASE:
        raise ValueError(text)
    return value


def _streams(text: str) -> int:
    value = _positive(text)
    if value > _MOST_STREAMS:
        raise UsageError(
            f"{text} is over {_MOST_STREAMS:,}; each is a thread: run more processes or machines"
        )
    return value


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not (parts.port or 1) > 0:
        raise ValueError(text)
    return text


def _switch(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError(text)
    return text == "on"


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise UsageError(f"{text!r} is none of {', '.join(words)}")
        return text

    return read


def _text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _location(text: str) -> str:
    parse_uri(text)
    return text


def _credentials(text: str) -> str:
    credentials.parse(text)
    return text


class Setting(msgspec.Struct, frozen=True):
    """One setting: `--name METAVAR`, its environment variable, how to read it, its default, its help.

    `read` raises ValueError, or UsageError where it has better words for what is wrong.
    """

    name: str
    metavar: str
    variable: str
    read: Callable[[str], object]
    default: object
    help: str


SETTINGS_OF_WORK = (
    Setting("queue", "URL", "FLEETCOPY_QUEUE_URL", _url, None, "URL of the SQS queue that carries the tasks"),
    Setting(
        "processes", "N", "FLEETCOPY_PROCESSES", _positive, None, "worker processes; unset, one per core"
    ),
    Setting("streams", "N", "FLEETCOPY_STREAMS", _streams, 16, "objects in flight in each worker process"),
    Setting(
        "visibility-seconds",
        "SECONDS",
        "FLEETCOPY_VISIBILITY_SECONDS",
        _lease,
        120,
        "lease of a task: after so long a dead worker's tasks are another's; renewed at a third of it",
    ),
    Setting(
        "drain-seconds",
        "SECONDS",
        "FLEETCOPY_DRAIN_SECONDS",
        _positive,
        100,
        "after SIGTERM or Ctrl-C, seconds to finish objects under way and to hand over the rest",
    ),
    Setting(
        "empty-seconds",
        "SECONDS",
        "FLEETCOPY_EMPTY_SECONDS",
        _positive,
        300,
        "how long the queue must have been empty before --until-empty stops: its counts are approximate",
    ),
    Setting(
        "spot-notices",
        "on|off",
        "FLEETCOPY_SPOT_NOTICES",
        _switch,
        False,
        "on a Spot Instance: watch the instance metadata for interruption notices, and drain on one",
    ),
    Setting(
        "log-level",
        "LEVEL",
        "FLEETCOPY_LOG_LEVEL",
        _one_of("debug", "info", "warning", "error"),
        None,
        "debug, info, warning or error; unset, copy logs from warning on, work from info on",
    ),
    Setting("log-group", "NAME", "FLEETCOPY_LOG_GROUP", _text, None, "CloudWatch log group to log to, too"),
)


def _of_side(side: Side) -> tuple[Setting, ...]:
    variable = f"FLEETCOPY_{side.upper()}"
    return (
        Setting(side, side.upper(), variable, _location, None, f"{side}, s3://bucket or s3://bucket/prefix"),
        Setting(
            f"{side}-region",
            "REGION",
            f"{variable}_REGION",
            _text,
            None,
            "its region; unset, that of the AWS configuration",
        ),
        Setting(
            f"{side}-endpoint-url",
            "URL",
            f"{variable}_ENDPOINT_URL",
            _url,
            None,
            "its endpoint, where that is not AWS",
        ),
        Setting(
            f"{side}-credentials",
            "NAME",
            f"{variable}_CREDENTIALS",
            _credentials,
            "default",
            "with which to reach it: default (as the AWS CLI finds them), profile:NAME, role:ARN to "
            "assume, or secret:ARN of a Secrets Manager secret that holds keys",
        ),
    )


SIDES: dict[Side, tuple[Setting, ...]] = {
    "source": _of_side("source"),
    "destination": _of_side("destination"),
}
"""The settings of each side of a transfer; the first, its location, stands on the command line by itself."""

SETTINGS_OF_COPIES = (
    Setting(
        "strategy",
        "|".join(STRATEGIES),
        "FLEETCOPY_STRATEGY",
        _one_of(*STRATEGIES),
        "auto",
        "how bytes move: within S3 (server-side), through the worker (stream), or within S3 where that "
        "reaches and else through the worker",
    ),
    Setting(
        "tags",
        "|".join(CARRIES),
        "FLEETCOPY_TAGS",
        _one_of(*CARRIES),
        "copy",
        "whether objects keep their tags, which needs the permission to read and write them",
    ),
    Setting(
        "storage-class",
        "CLASS",
        "FLEETCOPY_STORAGE_CLASS",
        _one_of(*STORAGE_CLASSES),
        None,
        "storage class of the copies, as S3 spells it; unset, that of the source object",
    ),
    Setting(
        "acl",
        "ACL",
        "FLEETCOPY_ACL",
        _one_of(*ACLS),
        None,
        "canned ACL of the copies; unset, none is sent: buckets made since April 2023 own what is in them. "
        "An older one in another account, with ACLs on, wants bucket-owner-full-control",
    ),
    Setting(
        "sse",
        "|".join(SSES),
        "FLEETCOPY_SSE",
        _one_of(*SSES),
        None,
        "encryption of the copies; unset, the destination bucket's default",
    ),
    Setting(
        "sse-kms-key-id",
        "KEY",
        "FLEETCOPY_SSE_KMS_KEY_ID",
        _text,
        None,
        "id or ARN of the KMS key for it; unset, the account's own for S3",
    ),
    Setting(
        "object-lock",
        "|".join(CARRIES),
        "FLEETCOPY_OBJECT_LOCK",
        _one_of(*CARRIES),
        "copy",
        "whether objects keep their retention and legal hold, as far as they may be read; the destination "
        "bucket must have Object Lock for it",
    ),
    Setting(
        "request-payer",
        "on|off",
        "FLEETCOPY_REQUEST_PAYER",
        _switch,
        False,
        "pay for the requests to a source bucket whose requester pays, and for its data transfer",
    ),
)
"""The settings of `core.options`."""

SETTINGS = (*SIDES["source"], *SIDES["destination"], *SETTINGS_OF_COPIES, *SETTINGS_OF_WORK)

BY_NAME = {setting.name: setting for setting in SETTINGS}
"""Each of them."""


def shown(value: object) -> str:
    """A setting's value as a person writes it."""
    if value is None:
        return "-"
    return ("off", "on")[value] if isinstance(value, bool) else str(value)
