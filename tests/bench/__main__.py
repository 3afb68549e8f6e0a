"""`python -m tests.bench`: the tools by turns on each workload; what they cost, printed, kept and drawn."""

from __future__ import annotations

import argparse
import json
import os
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench import measure, report, workloads
from tests.bench.tools import TOOLS, Place, Tool, base_environment
from tests.cloud import ROOT
from tests.tls import authority

CLIENT_CORE, SERVER_CORE = 0, 1
DISTANT_STREAMS = (64, 256)
DISTANCE_SECONDS = 0.2
DISTANT_ROUNDS = (20, 100)
"""Objects for each stream, of the run that is the start's measure and of the one that is weighed."""

DISTANT = "distance"
CEILING_REQUESTS = 4000
CURL = "/usr/bin/curl"


class Server:
    """The benchmark's S3 in a process of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=place.certificate)),
        )

    def control(self, name: str, **arguments: object) -> Any:  # noqa: ANN401 - JSON
        """Prepare a run, or ask what it did; see `tests.bench.server.control`."""
        request = urllib.request.Request(  # noqa: S310 - our own loopback URL
            f"{self.place.source}/_bench/{name}", data=json.dumps(arguments).encode(), method="POST"
        )
        with self._opener.open(request, timeout=600) as answer:
            return json.loads(answer.read())


@contextmanager
def serving() -> Iterator[Server]:
    """The server, on its core, with a certificate of its own."""
    with tempfile.TemporaryDirectory(prefix="fleetcopy-bench-") as folder:
        made = authority(Path(folder))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.server", made.certificate, made.key],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        source, destination = process.stdout.readline().split()
        place = Place(
            f"https://127.0.0.1:{source}", f"https://127.0.0.1:{destination}", str(made.certificate)
        )
        try:
            yield Server(place)
        finally:
            process.stdin.close()
            process.wait()
            process.stdout.close()


def run(
    server: Server, tool: Tool, workload: str, objects: int, *, streams: int, delay: float = 0.0
) -> report.Run:
    """One run of one tool, checked object by object.

    Raises:
        RunFailedError: the tool failed, or what it copied is not what there was.
    """
    server.control("begin", delay=delay)
    environment = base_environment() | tool.environment(server.place)
    weight = measure.run(tool.command(server.place, streams), environment, CLIENT_CORE)
    end = server.control("end")
    if end["wrong"]:
        raise measure.RunFailedError(f"{tool.name}: {end['wrong']} objects of {workload} are wrong")
    units = objects * workloads.unit(workload)[1]
    return report.Run(
        workload, tool.name, streams, weight.cpu, weight.wall, weight.memory, end["requests"], units
    )


def ceiling(server: Server) -> float:
    """Requests a second that the server answers to eight connections: GETs of 16 KiB, by one client core.

    The client of this measure is curl, whose own cost is small; a tool that comes near this figure waits for
    the server, and its wall time says nothing of itself.
    """
    url = f"{server.place.source}/source/small/[000000-{CEILING_REQUESTS - 1:06}]"
    quiet = ["--silent", "--show-error", "--fail", "--output", os.devnull]
    trust = ["--cacert", server.place.certificate]
    weight = measure.run(
        [CURL, *quiet, *trust, "--parallel", "--parallel-max", "8", url], base_environment(), CLIENT_CORE
    )
    return CEILING_REQUESTS / weight.wall


def compare(server: Server, options: argparse.Namespace, objects: dict[str, int]) -> Iterator[report.Run]:
    """Every tool on every workload, by turns, so that all meet the same machine."""
    tools = [tool for tool in TOOLS if not options.tools or tool.name in options.tools]
    for workload in [name for name in options.workloads if name in workloads.NAMES]:
        objects[workload] = server.control("fill", workload=workload, scale=options.scale)
        for turn in range(options.runs):
            for tool in tools:
                done = run(server, tool, workload, objects[workload], streams=tool.streams)
                figures = f"{done.cpu:.2f} CPU s, {done.wall:.2f} s"
                print(f"{workload} {turn + 1}/{options.runs} {tool.name}: {figures}", flush=True)
                yield done


def distance(server: Server) -> Iterator[str]:
    """How near `fleetcopy copy` comes to streams divided by the round trip, 200 ms from the destination.

    Of two runs, one of more objects than the other, the difference counts: start and end are in both.
    """
    for streams in DISTANT_STREAMS:
        few, many = (_distant(server, streams, rounds) for rounds in DISTANT_ROUNDS)
        objects, seconds = (many.units - few.units) * 1000, many.wall - few.wall
        rate, bound = objects / seconds, streams / DISTANCE_SECONDS
        yield (
            f"{streams} streams at {DISTANCE_SECONDS * 1000:.0f} ms: {objects:.0f} objects in "
            f"{seconds:.2f} s: {rate:.0f} objects/s, {rate / bound:.0%} of {bound:.0f}; {many.memory:.0f} MiB"
        )


def _distant(server: Server, streams: int, rounds: int) -> report.Run:
    wanted = streams * rounds
    objects = server.control("fill", workload="small", scale=wanted / workloads.SHAPES["small"][0])
    return run(server, TOOLS[0], "small", objects, streams=streams, delay=DISTANCE_SECONDS)


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    names = (*workloads.NAMES, DISTANT)
    parser.add_argument("--workloads", nargs="+", choices=names, default=names)
    parser.add_argument("--tools", nargs="+", choices=[tool.name for tool in TOOLS])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of objects")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    if os.cpu_count() == 1:
        sys.exit("the benchmark needs two cores, one for the client and one for the server")
    os.sched_setaffinity(0, {SERVER_CORE})
    objects: dict[str, int] = {}
    with serving() as server:
        server.control("fill", workload="small", scale=CEILING_REQUESTS / workloads.SHAPES["small"][0])
        rate = ceiling(server)
        print(f"the server answers {rate:.0f} requests/s of 16 KiB on its core", flush=True)
        print(f"fleetcopy has {ssl.OPENSSL_VERSION}", flush=True)
        runs = list(compare(server, options, objects))
        table = report.rows(runs, objects)
        distant = list(distance(server)) if DISTANT in options.workloads else []
    print("", report.text(table), "", *distant, sep="\n")
    told = {"ceiling requests/s": rate, "OpenSSL": ssl.OPENSSL_VERSION, "distance": distant}
    report.write(options.output, runs, table, told)
    print(f"\nkept in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
