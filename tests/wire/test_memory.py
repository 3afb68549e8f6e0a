"""Memory, threads and sockets of one process stay as they are, over many objects and over a large one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from tests.cloud import ROOT
from tests.wire import KEYS
from tests.wire.peer import OK, Exchange, Peer, answer

OBJECTS = 20_000
STREAMS = 32
MIB = 1024**2
LARGE = 1024 * MIB
BLOCK = bytes(range(256)) * (MIB // 256)

DRIVER = """
import os, queue, sys, threading
from threading import Event
from pathlib import Path
from tests.wire import between
from worker.aws.http import Limits
from worker.core.model import ObjectRef
source, destination, etag, large = sys.argv[1:]
transferrer = between(source, destination, limits=Limits())
refs = queue.SimpleQueue()
def run():
    while ref := refs.get():
        transferrer.copy(ref, fenced=True, expect="", cancel=Event())
        done.release()
done = threading.Semaphore(0)
def measure():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), int(status["Threads"]), len(os.listdir("/proc/self/fd"))
def copy(rows):
    for row in rows:
        refs.put(ObjectRef(*row, 0))
    for _ in rows:
        done.acquire()
    print(*measure(), flush=True)
for _ in range(%d):
    threading.Thread(target=run, daemon=True).start()
copy([(str(number), 1000, etag) for number in range(2000)])
copy([(str(number), 1000, etag) for number in range(2000, %d)])
copy([("large", int(large), "0" * 32 + "-2")])
os._exit(0)
""" % (STREAMS, OBJECTS)  # noqa: UP031 - braces are Python's


def pour(exchange: Exchange) -> None:
    """A large object out of nothing."""
    exchange.send(OK + f'etag: "{"0" * 32}-2"\r\ncontent-length: {LARGE}\r\n\r\n'.encode())
    for _ in range(LARGE // MIB):
        exchange.send(BLOCK)


@pytest.mark.slow
def test_memory_threads_and_sockets_stay_as_they_are(source: Peer, destination: Peer) -> None:
    stored = source.put(b"x" * 1000, "any")
    for number in range(OBJECTS):
        source.objects["source", str(number)] = stored
    received, crc, lock = 0, 0, threading.Lock()

    def take(exchange: Exchange) -> None:
        nonlocal received, crc
        with lock:
            exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            while piece := exchange.receive():
                received, crc = received + len(piece), crc64nvme(piece, crc)
        exchange.send(answer(200, {"etag": '"x"'}))

    def serve(peer: Peer, special: object) -> object:
        ordinary = peer.serve

        def choose(exchange: Exchange) -> None:
            (special if exchange.head.place[1] == "large" else ordinary)(exchange)  # type: ignore[operator]

        return choose

    source.serve = serve(source, pour)  # type: ignore[method-assign, assignment]
    destination.serve = serve(destination, take)  # type: ignore[method-assign, assignment]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, source.url, destination.url, stored.etag, str(LARGE)],
        env=environment | KEYS | {"AWS_CONFIG_FILE": os.devnull, "HOME": str(Path(os.devnull))},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    begin, small, large = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
    assert len(destination.objects) == OBJECTS
    assert small[0] - begin[0] < 8 * 1024
    assert large[0] - small[0] < 2 * 1024
    assert begin[1] == small[1] == large[1] == STREAMS + 1
    # A connection to either side for each stream, and what Python itself has open.
    assert max(begin[2], small[2], large[2]) <= 2 * STREAMS + 16
    expected = 0
    for _ in range(LARGE // MIB):
        expected = crc64nvme(BLOCK, expected)
    assert (received, crc) == (LARGE, expected)
