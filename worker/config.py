"""What the settings are set to: flag over environment over default. The only reader of `os.environ`."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from worker.core.errors import Side, UsageError
from worker.core.model import Endpoint, Transfer, parse_uri
from worker.core.options import Options, check
from worker.core.settings import BY_NAME, SETTINGS_OF_COPIES, SIDES, Setting, shown

_METADATA_URL = "http://169.254.169.254"
"""Of EC2's instance-metadata service (EC2 User Guide)."""


class Value(msgspec.Struct, frozen=True):
    """A setting's value, and where it comes from: `option`, `variable` or `default`."""

    value: object
    origin: str


def add_option(options: argparse._ActionsContainer, name: str) -> None:
    """Offer a setting as an option."""
    setting = BY_NAME[name]
    options.add_argument(f"--{name}", metavar=setting.metavar, help=_help(setting))


def _help(setting: Setting) -> str:
    default = "" if setting.default in {None, "default"} else f"; default {shown(setting.default)}"
    return f"{setting.help} (or ${setting.variable}{default})"


def resolve(options: argparse.Namespace, name: str) -> Value:
    """The value of a setting that `options` may or may not hold; a variable that is empty is not set.

    Raises:
        UsageError: it cannot be read.
    """
    setting = BY_NAME[name]
    flag = getattr(options, name.replace("-", "_"), None)
    text = (os.environ.get(setting.variable) or None) if flag is None else flag
    if text is None:
        return Value(setting.default, "default")
    spelling = f"${setting.variable}" if flag is None else setting.metavar if name in SIDES else f"--{name}"
    try:
        return Value(setting.read(text), "variable" if flag is None else "option")
    except UsageError as error:
        raise UsageError(f"{spelling}: {error}") from None
    except ValueError:
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
    return os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _METADATA_URL


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
    for location, *_ in SIDES.values():
        parser.add_argument(location.name, metavar=location.metavar, nargs="?", help=_help(location))
    for side, (_, *settings) in SIDES.items():
        group = parser.add_argument_group(side)
        for setting in settings:
            add_option(group, setting.name)


def add_side(parser: argparse.ArgumentParser, side: Side) -> None:
    """Offer SOURCE or DESTINATION alone, and its options."""
    location, *settings = SIDES[side]
    parser.add_argument(location.name, metavar=location.metavar, nargs="?", help=_help(location))
    group = parser.add_argument_group(side)
    for setting in settings:
        add_option(group, setting.name)


def add_copies(parser: argparse.ArgumentParser) -> None:
    """Offer the options that say how objects are copied."""
    group = parser.add_argument_group("copies")
    for setting in SETTINGS_OF_COPIES:
        add_option(group, setting.name)


def transfer(options: argparse.Namespace) -> Transfer:
    """The transfer that the options name.

    Raises:
        UsageError: a side is not named or malformed, source and destination overlap, or options do not go
            together.
    """
    source, destination = endpoint(options, "source"), endpoint(options, "destination")
    same_bucket = (source.bucket, source.endpoint_url) == (destination.bucket, destination.endpoint_url)
    if same_bucket and (
        source.prefix.startswith(destination.prefix) or destination.prefix.startswith(source.prefix)
    ):
        raise UsageError(f"{source.uri} and {destination.uri} overlap: copies would be copied again")
    return Transfer(source, destination, _copies(options))


def _copies(options: argparse.Namespace) -> Options:
    values = {setting.name: resolve(options, setting.name).value for setting in SETTINGS_OF_COPIES}
    return check(msgspec.convert({name.replace("-", "_"): value for name, value in values.items()}, Options))


def endpoint(options: argparse.Namespace, side: Side) -> Endpoint:
    """One side, as the options name it.

    Raises:
        UsageError: it is not named, or malformed.
    """
    location = text(options, side)
    if location is None:
        name = side.upper()
        raise UsageError(f"no {side} is named: give {name} as s3://bucket/prefix, or set FLEETCOPY_{name}")
    bucket, prefix = parse_uri(location)
    return Endpoint(
        bucket=bucket,
        prefix=prefix,
        region=text(options, f"{side}-region"),
        endpoint_url=text(options, f"{side}-endpoint-url") or _s3_endpoint_url(),
        credentials=text(options, f"{side}-credentials") or "default",
    )


def endpoint_of(bucket: str) -> Endpoint:
    """A bucket reached as the AWS CLI reaches it, by its environment and configuration alone."""
    return Endpoint(bucket=bucket, endpoint_url=_s3_endpoint_url())


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


def _s3_endpoint_url() -> str | None:
    # boto3 reads these variables too, but would then take the endpoint for one with DNS of its own.
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def notify_socket() -> str | None:
    """Where systemd listens; None: nowhere."""
    return os.environ.get("NOTIFY_SOCKET") or None


def watchdog() -> float | None:
    """Seconds of silence after which systemd takes this process for dead; None: never.

    Source: sd_watchdog_enabled(3).
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    is_for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if is_for_us and microseconds.isdecimal() else None


def log_stream(instance: str | None) -> str:
    """The log stream of this machine and boot; by its name where it is no EC2 instance."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = str(os.getpid())
    return f"{instance or socket.gethostname()}/{boot}"
