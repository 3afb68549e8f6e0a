"""A worker process as its supervisor starts it: settings in, log lines out.

Standard input carries one line of settings (names of credentials, never secrets), then at most a few lines
`drain SECONDS`; its end means that the supervisor is gone, and is a drain too. Standard output carries log
lines, and `READY` once the process can work. The exit status is the supervisor's to read: see `Exit`.
"""

from __future__ import annotations

import enum
import os
import signal
import sys
import threading
from random import Random

import msgspec

from worker.aws.sqs import Queue
from worker.aws.transfer import Boto3Transferrer
from worker.core.errors import FleetcopyError
from worker.core.model import Transfer
from worker.flow import log
from worker.flow.consume import Consumer
from worker.flow.streams import Streams

READY = "ready"


class Exit(enum.IntEnum):
    """How a worker process ended; any other status is a crash."""

    DRAINED = 0
    FAILED_OBJECTS = 10
    GAVE_UP = 11


class ChildSettings(msgspec.Struct, frozen=True):
    """What a worker process is told.

    Attributes:
        transfer: what it carries out.
        queue_url: where its tasks are.
        streams: objects in flight at most.
        visibility: seconds of a task's lease.
        drain: seconds for a drain when the supervisor is gone.
        log_level: the least level that is logged.
    """

    transfer: Transfer
    queue_url: str
    streams: int
    visibility: int
    drain: float
    log_level: str


def main() -> None:
    """Run until drained; never returns."""
    # Whoever signals all processes at once means the supervisor, which alone decides what a signal means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=ChildSettings)
    log.to_stream(sys.stdout, settings.log_level)
    try:
        status = _work(settings)
    except FleetcopyError as error:
        log.error("gave up", reason=error.reason, why=str(error))
        status = Exit.GAVE_UP
    sys.stdout.flush()
    # Streams that hang in a socket are daemons; waiting for them at interpreter exit would be in vain.
    os._exit(status)


def _work(settings: ChildSettings) -> Exit:
    random = Random()  # noqa: S311 - jitter, not secrets
    tasks = Queue(settings.queue_url)
    transferrer = Boto3Transferrer(settings.transfer, connections=settings.streams)
    streams = Streams(
        transfer=settings.transfer,
        tasks=tasks,
        transferrer=transferrer,
        destination=transferrer.destination,
        probe=transferrer.probe,
        count=settings.streams,
        visibility=settings.visibility,
        random=random,
    )
    consumer = Consumer(
        transfer=settings.transfer,
        tasks=tasks,
        dead_letters=tasks.dead_letters(),
        streams=streams,
        visibility=settings.visibility,
        random=random,
    )
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    threading.Thread(target=_obey, args=(consumer, settings.drain), daemon=True).start()
    consumer.run()
    return Exit.FAILED_OBJECTS if consumer.totals["dead_letters"] else Exit.DRAINED


def _obey(consumer: Consumer, drain: float) -> None:
    """Pass the supervisor's word on to the consumer."""
    for line in sys.stdin:
        word, _, seconds = line.partition(" ")
        if word == "drain":
            consumer.drain(float(seconds))
    consumer.drain(drain)
