"""Settings: flag over environment over default. The only reader of `os.environ`."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from worker.aws.metadata import DEFAULT_URL
from worker.core.errors import Side, UsageError
from worker.core.model import Endpoint, Transfer, parse_uri

_LONGEST_LEASE = 43_200
"""Seconds; the most that SQS takes as a visibility timeout (SQS Developer Guide, "Visibility timeout")."""


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


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not (parts.port or 1) > 0:
        raise ValueError(text)
    return text


def _switch(text: str) -> bool:
    if text not in {"on", "off"}:
        raise ValueError(text)
    return text == "on"


def _level(text: str) -> str:
    if text not in {"debug", "info", "warning", "error"}:
        raise ValueError(text)
    return text


class Setting(msgspec.Struct, frozen=True):
    """One setting: `--name METAVAR`, its environment variable, how to read it, its default, its help."""

    name: str
    metavar: str
    variable: str
    read: Callable[[str], object]
    default: object
    help: str


SETTINGS = (
    Setting("queue", "URL", "FLEETCOPY_QUEUE_URL", _url, None, "URL of the SQS queue that carries the tasks"),
    Setting(
        "processes", "N", "FLEETCOPY_PROCESSES", _positive, None, "worker processes; unset, one per core"
    ),
    Setting("streams", "N", "FLEETCOPY_STREAMS", _positive, 16, "objects in flight in each worker process"),
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
        _level,
        None,
        "debug, info, warning or error; unset, copy logs from warning on, work from info on",
    ),
    Setting("log-group", "NAME", "FLEETCOPY_LOG_GROUP", str, None, "CloudWatch log group to log to as well"),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class Value(msgspec.Struct, frozen=True):
    """A setting's value, and where it comes from: `option`, `variable` or `default`."""

    value: object
    origin: str


def add_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Offer a setting as an option."""
    setting = _BY_NAME[name]
    default = "" if setting.default is None else f"; default {shown(setting.default)}"
    parser.add_argument(
        f"--{name}",
        metavar=setting.metavar,
        help=f"{setting.help} (or ${setting.variable}{default})",
    )


def shown(value: object) -> str:
    """A setting's value as a person writes it."""
    if value is None:
        return "-"
    return ("off", "on")[value] if isinstance(value, bool) else str(value)


def resolve(options: argparse.Namespace, name: str) -> Value:
    """The value of a setting that `options` may or may not hold.

    Raises:
        UsageError: it cannot be read.
    """
    setting = _BY_NAME[name]
    flag = getattr(options, name.replace("-", "_"), None)
    text = os.environ.get(setting.variable) if flag is None else flag
    if not text:
        return Value(setting.default, "default")
    try:
        return Value(setting.read(text), "variable" if flag is None else "option")
    except ValueError:
        spelling = f"${setting.variable}" if flag is None else f"--{name}"
        raise UsageError(f"{spelling}: {text!r} is no value for it: {setting.help}") from None


def integer(options: argparse.Namespace, name: str) -> int:
    """The value of a whole-number setting."""
    value = resolve(options, name).value
    assert isinstance(value, int)
    return value


def text(options: argparse.Namespace, name: str) -> str | None:
    """The value of a text setting, None where it is not set."""
    value = resolve(options, name).value
    return None if value is None else str(value)


def processes(options: argparse.Namespace) -> int:
    """How many worker processes to run: as set, else one for each core that this process may use."""
    value = resolve(options, "processes").value
    if isinstance(value, int):
        return value
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def metadata_url(options: argparse.Namespace) -> str | None:
    """Where to watch for interruption notices; None: nowhere."""
    if not resolve(options, "spot-notices").value or os.environ.get("AWS_EC2_METADATA_DISABLED") == "true":
        return None
    return os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or DEFAULT_URL


def queue_url(options: argparse.Namespace) -> str:
    """The queue's URL.

    Raises:
        UsageError: none is given.
    """
    url = text(options, "queue")
    if url is None:
        raise UsageError("no queue is named: give --queue URL, or set FLEETCOPY_QUEUE_URL")
    return url


def add_endpoints(parser: argparse.ArgumentParser) -> None:
    """Offer SOURCE and DESTINATION, and the options of each, in the AWS CLI's spelling."""
    for side in ("source", "destination"):
        parser.add_argument(side, metavar=side.upper(), help=f"{side}, s3://bucket or s3://bucket/prefix")
    for side in ("source", "destination"):
        group = parser.add_argument_group(side)
        group.add_argument(f"--{side}-region", metavar="REGION", help="its region; default: the profile's")
        group.add_argument(
            f"--{side}-endpoint-url", metavar="URL", help="of an S3-compatible service; default: AWS"
        )
        group.add_argument(
            f"--{side}-profile",
            metavar="NAME",
            help=f"AWS profile to use (or ${_credentials_variable(side)} as default or profile:NAME)",
        )


def transfer(options: argparse.Namespace) -> Transfer:
    """The transfer that the options name.

    Raises:
        UsageError: a location is malformed, or source and destination overlap.
    """
    source, destination = _endpoint(options, "source"), _endpoint(options, "destination")
    same_bucket = (source.bucket, source.endpoint_url) == (destination.bucket, destination.endpoint_url)
    if same_bucket and (
        source.prefix.startswith(destination.prefix) or destination.prefix.startswith(source.prefix)
    ):
        raise UsageError(f"{source.uri} and {destination.uri} overlap: copies would be copied again")
    return Transfer(source, destination)


def _endpoint(options: argparse.Namespace, side: Side) -> Endpoint:
    bucket, prefix = parse_uri(getattr(options, side))
    profile = getattr(options, f"{side}_profile")
    # boto3 reads these variables too, but would then take the endpoint for one with DNS of its own.
    url = (
        getattr(options, f"{side}_endpoint_url")
        or os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
    )
    try:
        url = _url(url) if url else None
    except ValueError:
        raise UsageError(
            f"{url!r} is not the URL of an endpoint for the {side}: write https://HOST"
        ) from None
    return Endpoint(
        bucket=bucket,
        prefix=prefix,
        region=getattr(options, f"{side}_region"),
        endpoint_url=url,
        credentials=f"profile:{profile}"
        if profile
        else os.environ.get(_credentials_variable(side), "default"),
    )


def _credentials_variable(side: str) -> str:
    return f"FLEETCOPY_{side.upper()}_CREDENTIALS"


def ca_bundle() -> str | None:
    """File of the certificates to trust, as boto3 and the AWS CLI are told it; None for the system's."""
    return os.environ.get("AWS_CA_BUNDLE") or None


def refuse_proxies(transfer: Transfer) -> None:
    """Make sure that the environment names no proxy for the endpoints: objects do not go through one.

    Raises:
        UsageError: it does.
    """
    proxies = getproxies()
    for endpoint in (transfer.source, transfer.destination):
        suffix = "amazonaws.com.cn" if (endpoint.region or "").startswith("cn-") else "amazonaws.com"
        parts = urlsplit(endpoint.endpoint_url or f"https://s3.{endpoint.region or 'us-east-1'}.{suffix}")
        if parts.scheme in proxies and not proxy_bypass(parts.hostname or ""):
            raise UsageError(
                f"${parts.scheme.upper()}_PROXY names a proxy for {parts.hostname}, and objects do not go "
                f"through proxies: unset it, or add {parts.hostname} to $NO_PROXY"
            )


def log_stream() -> str:
    """This machine's log stream: one per boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = str(os.getpid())
    return f"{socket.gethostname()}/{boot}"
