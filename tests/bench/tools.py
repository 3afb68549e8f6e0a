"""How each tool is told to copy one bucket to another, between two endpoints over TLS."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cloud import ROOT

BIN = Path(sys.executable).parent
KEYS = {"AWS_ACCESS_KEY_ID": "AKIABENCH", "AWS_SECRET_ACCESS_KEY": "bench"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the benchmark's S3 is: the URLs of both endpoints, and the certificate to trust."""

    source: str
    destination: str
    certificate: str


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to copy: its name, its objects at a time, its command by place and streams, its environment."""

    name: str
    streams: int
    command: Callable[[Place, int], list[str | Path]]
    environment: Callable[[Place], dict[str, str]]


def base_environment() -> dict[str, str]:
    """Nothing of the user's AWS, no proxy, no metadata; `LD_LIBRARY_PATH` chooses an OpenSSL."""
    names = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | KEYS | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


def _fleetcopy(place: Place, streams: int) -> list[str | Path]:
    ends = ["--source-endpoint-url", place.source, "--destination-endpoint-url", place.destination]
    return [BIN / "fleetcopy", "copy", "s3://source", "s3://destination", "--streams", str(streams), *ends]


def _rclone(place: Place, streams: int, *more: str) -> list[str | Path]:
    ends: list[str | Path] = ["source:source", "destination:destination"]
    return [
        *[BIN / "rclone", "copy", *ends, "--config", os.devnull, "--ca-cert", place.certificate],
        *["--transfers", str(streams), "--checkers", str(2 * streams), *more],
    ]


def _rclone_environment(place: Place) -> dict[str, str]:
    told: dict[str, str] = {}
    for name, url in (("SOURCE", place.source), ("DESTINATION", place.destination)):
        told |= {
            f"RCLONE_CONFIG_{name}_TYPE": "s3",
            f"RCLONE_CONFIG_{name}_PROVIDER": "AWS",
            f"RCLONE_CONFIG_{name}_ENV_AUTH": "true",
            f"RCLONE_CONFIG_{name}_REGION": "us-east-1",
            f"RCLONE_CONFIG_{name}_ENDPOINT": url,
            f"RCLONE_CONFIG_{name}_FORCE_PATH_STYLE": "true",
        }
    return told


def _fleetcopy_environment(place: Place) -> dict[str, str]:
    return {"AWS_CA_BUNDLE": place.certificate, "PYTHONPATH": str(ROOT)}


# No HEAD after a write, no look at the destination before it, no metadata of its own: what it can do leanest.
TUNED = ("--s3-no-head", "--no-check-dest", "--s3-disable-checksum", "--ignore-checksum")
TUNED_LARGE = ("--s3-upload-concurrency", "8", "--s3-chunk-size", "64M", "--multi-thread-streams", "0")

TOOLS = (
    # Its own defaults, as rclone's next.
    Tool("fleetcopy", 16, _fleetcopy, _fleetcopy_environment),
    Tool("rclone", 4, _rclone, _rclone_environment),
    Tool("rclone tuned", 32, lambda place, streams: _rclone(place, streams, *TUNED), _rclone_environment),
    Tool(
        "rclone tuned, large parts",
        32,
        lambda place, streams: _rclone(place, streams, *TUNED, *TUNED_LARGE),
        _rclone_environment,
    ),
)
