"""`python -m tests.bench.listing`: what listing a bucket costs, side by side; keys per second of client CPU.

The bucket is computed (`tests.listings`), so that it may have any number of objects; its pages are as S3
sends them, over TLS. Each tool lists all of it once a turn, start and end included; those that would take
minutes list a part.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench import measure
from tests.bench.server import S3, Answer, Connection, Request, Store
from tests.bench.tools import BIN, Place, base_environment
from tests.cloud import ROOT
from tests.listings import SHAPES, answer
from tests.tls import authority

CLIENT_CORE, SERVER_CORE = 0, 1
OBJECTS = 1_000_000
RATIO = 5.0
"""The budget: keys per CPU second against rclone's."""

PAGINATOR = """
import boto3, sys
pages = boto3.client("s3", endpoint_url=sys.argv[1]).get_paginator("list_objects_v2")
for page in pages.paginate(Bucket=sys.argv[2]):
    for row in page["Contents"]:
        row["Key"]
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to list: its name, its command by place and bucket, which part of the objects it is given."""

    name: str
    command: Callable[[Place, str], list[str | Path]]
    share: float = 1.0


def _rclone(place: Place, bucket: str) -> list[str | Path]:
    backend = (
        f":s3,provider=AWS,env_auth,region=us-east-1,force_path_style,endpoint='{place.source}':{bucket}"
    )
    # Its default, keys alone: for times it would ask after each object.
    options = ["--config", os.devnull, "--ca-cert", place.certificate]
    return [BIN / "rclone", "lsf", "-R", "--fast-list", backend, *options]


TOOLS = (
    Tool(
        "fleetcopy list",
        lambda place, bucket: [
            *(BIN / "fleetcopy", "list", f"s3://{bucket}", "--source-endpoint-url", place.source),
            *("--output", Path(place.certificate).with_name("listing.jsonl")),
        ],
    ),
    Tool("rclone lsf -R --fast-list", _rclone),
    Tool(
        "s5cmd ls",
        lambda place, bucket: [BIN / "s5cmd", "--endpoint-url", place.source, "ls", f"s3://{bucket}/*"],
    ),
    Tool(
        "aws s3 ls --recursive",
        lambda place, bucket: [
            *(BIN / "aws", "s3", "ls", "--recursive", f"s3://{bucket}"),
            *("--endpoint-url", place.source),
        ],
        share=0.1,
    ),
    Tool(
        "boto3's paginator",
        lambda place, bucket: [sys.executable, "-c", PAGINATOR, place.source, bucket],
        share=0.1,
    ),
)


class Lister(S3):
    """The benchmark's S3 for buckets of any size, that are listed and nothing else."""

    def answer(self, request: Request) -> Answer:
        """A page of a listing; all else succeeds and does nothing."""
        if request.method != "GET" or "list-type" not in request.query:
            return 200, [], b""
        return 200, [(b"Content-Type", b"application/xml")], answer(request.bucket, request.query)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one tool."""

    shape: str
    tool: str
    objects: int
    cpu: float
    wall: float
    memory: float


@contextmanager
def serving() -> Iterator[Place]:
    """The server, in a process of its own on its core."""
    with tempfile.TemporaryDirectory(prefix="fleetcopy-bench-") as folder:
        made = authority(Path(folder))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.listing", "--serve", made.certificate, made.key],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        url = f"https://127.0.0.1:{process.stdout.readline().strip()}"
        try:
            yield Place(url, url, str(made.certificate))
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()


async def serve(certificate: str, key: str) -> None:
    """Serve until standard input ends."""
    import asyncio  # noqa: PLC0415 - of the server's process alone
    import ssl  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        partial(Connection, Lister(Store(), "source"), Store()), "127.0.0.1", 0, ssl=context, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


def compare(place: Place, shape: str, objects: int, turns: int) -> Iterator[Run]:
    """Every tool that is there, by turns, so that all meet the same machine."""
    environment = base_environment() | {"AWS_CA_BUNDLE": place.certificate, "PYTHONPATH": str(ROOT)}
    for _ in range(turns):
        for tool in TOOLS:
            count = round(objects * tool.share)
            command = tool.command(place, f"{shape}-{count}")
            # The AWS CLI is a Python script, found by its name; the others may not be installed.
            if not Path(command[0]).exists():
                continue
            weight = measure.run(command, environment, CLIENT_CORE)
            yield Run(shape, tool.name, count, weight.cpu, weight.wall, weight.memory)


def table(runs: list[Run]) -> list[str]:
    """A line for each shape and tool: medians, and the ratio to rclone's."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.shape, run.tool), []).append(run)
    rates = {name: median(run.objects / run.cpu for run in group) for name, group in groups.items()}
    lines = [f"{'keys':8} {'tool':26} {'keys per CPU s':>15} {'ratio':>6} {'wall s':>7} {'MiB':>5}"]
    for (shape, tool), group in groups.items():
        peer = rates.get((shape, TOOLS[1].name))
        ratio = f"{rates[shape, tool] / peer:.2f}" if peer else "-"
        wall, memory = median(run.wall for run in group), median(run.memory for run in group)
        lines.append(
            f"{shape:8} {tool:26} {rates[shape, tool]:15,.0f} {ratio:>6} {wall:7.2f} {memory:5.0f}"
            f"  {group[0].objects:,} objects"
        )
    return lines


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.listing", description=__doc__)
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=["flat"])
    parser.add_argument("--objects", type=int, default=OBJECTS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--serve", nargs=2, metavar=("CERTIFICATE", "KEY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        import uvloop  # noqa: PLC0415 - of the server's process alone

        uvloop.run(serve(*options.serve))
        return 0
    os.sched_setaffinity(0, {SERVER_CORE})
    with serving() as place:
        runs = [
            run for shape in options.shapes for run in compare(place, shape, options.objects, options.runs)
        ]
    print(*table(runs), sep="\n")
    options.output.mkdir(parents=True, exist_ok=True)
    kept = [
        {name: getattr(run, name) for name in ("shape", "tool", "objects", "cpu", "wall", "memory")}
        for run in runs
    ]
    (options.output / "listing.json").write_text(json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
