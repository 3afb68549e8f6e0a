"""Memory, threads and sockets of one process stay as they are, over many objects and over a large one."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from tests import tls
from tests.cloud import ROOT
from tests.wire import KEYS
from tests.wire.peer import OK, Exchange, Peer, answer

OBJECTS = 20_000
STREAMS = 32
MIB = 1024**2
LARGE = 4096 * MIB
BLOCK = bytes(range(256)) * (MIB // 256)

MOST = 100
"""MiB that the process may ever hold: Python, boto3 and awscrt, and half a MiB for each stream."""

DRIVER = """
import os, queue, sys, threading
from threading import Event
from pathlib import Path
from tests.wire import between
from worker.aws.http import Limits
from worker.aws.wire import trust
from worker.core.model import ObjectRef
source, destination, etag, large, certificate = sys.argv[1:]
transferrer = between(source, destination, context=trust(certificate), limits=Limits())
refs = queue.SimpleQueue()
def run():
    while ref := refs.get():
        transferrer.copy(ref, fenced=True, expect="", cancel=Event())
        done.release()
done = threading.Semaphore(0)
def measure():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]), int(status["Threads"]), len(os.listdir("/proc/self/fd"))
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


class Source(Peer):
    """Pours a large object out of nothing."""

    def serve(self, exchange: Exchange) -> None:
        """See `Peer.serve`."""
        if exchange.head.place[1] != "large":
            super().serve(exchange)
            return
        exchange.send(OK + f'etag: "{"0" * 32}-2"\r\ncontent-length: {LARGE}\r\n\r\n'.encode())
        for _ in range(LARGE // MIB):
            exchange.send(BLOCK)


class Destination(Peer):
    """Counts and sums a large object, and keeps none of it."""

    received, crc = 0, 0

    def serve(self, exchange: Exchange) -> None:
        """See `Peer.serve`."""
        if exchange.head.place[1] != "large":
            super().serve(exchange)
            return
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while piece := exchange.receive():
            self.received, self.crc = self.received + len(piece), crc64nvme(piece, self.crc)
        exchange.send(answer(200, {"etag": '"x"'}))


@pytest.mark.slow
def test_memory_threads_and_sockets_stay_as_they_are(
    authority: tls.Authority, server_context: ssl.SSLContext
) -> None:
    with Source(server_context) as source, Destination(server_context) as destination:
        stored = source.put(b"x" * 1000, "any")
        for number in range(OBJECTS):
            source.objects["source", str(number)] = stored
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        sides = [source.url, destination.url, stored.etag, str(LARGE), str(authority.certificate)]
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, *sides],
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
    # KiB, at their highest.
    assert small[0] - begin[0] < 8 * 1024
    assert large[0] - small[0] < 2 * 1024
    assert large[0] < MOST * 1024
    assert begin[1] == small[1] == large[1] == STREAMS + 1
    # A connection to either side for each stream, and what Python itself has open.
    assert max(begin[2], small[2], large[2]) <= 2 * STREAMS + 16
    expected = 0
    for _ in range(LARGE // MIB):
        expected = crc64nvme(BLOCK, expected)
    assert (destination.received, destination.crc) == (LARGE, expected)
