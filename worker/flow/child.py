"""A worker process as its supervisor starts it: settings in, log lines out.

Standard input carries one line of settings (names of credentials, never secrets), then at most a few lines
`drain SECONDS`; its end means that the supervisor is gone, and is a drain too. Standard output carries log
lines, and `READY` once the process can work. The exit status is the supervisor's to read: see `Exit`.
"""

from __future__ import annotations

import enum
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from random import Random

import msgspec

from worker.aws.sqs import Queue
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import trust
from worker.core.errors import FleetcopyError
from worker.core.message import LargeTask, ListTask, PartTask
from worker.core.model import Transfer
from worker.core.progress import Report
from worker.core.tasks import TaskQueue
from worker.flow import log
from worker.flow.consume import Consumer
from worker.flow.in_parts import InParts
from worker.flow.large import Large
from worker.flow.list_task import Lister
from worker.flow.local_queue import LocalQueue
from worker.flow.steps import Steps
from worker.flow.streams import Streams

READY = "ready"

_YOUNG_OBJECTS = 50_000
"""Objects made before the interpreter looks for garbage; at its own 700, a third of making an S3 client."""


class Exit(enum.IntEnum):
    """How a worker process ended; any other status is a crash."""

    DRAINED = 0
    FAILED_OBJECTS = 10
    GAVE_UP = 11


class ChildSettings(msgspec.Struct, frozen=True):
    """What a worker process is told.

    Attributes:
        transfer: what it carries out.
        queue_url: the SQS queue that holds its tasks.
        line: else the file descriptor of a line to its supervisor, which holds them.
        streams: objects in flight at most.
        visibility: seconds of a task's lease.
        drain: seconds for a drain when the supervisor is gone.
        give_up: seconds for which an endpoint or the queue may be out of order.
        log_level: the least level that is logged.
        ca_bundle: file of the certificates to trust; None for the system's.
    """

    transfer: Transfer
    queue_url: str | None
    streams: int
    visibility: int
    drain: float
    give_up: float
    log_level: str
    ca_bundle: str | None = None
    line: int | None = None


def look_for_garbage_seldom() -> None:
    """Each process of ours does: what botocore loads stays, and what we make goes without being found."""
    gc.set_threshold(_YOUNG_OBJECTS)


def main() -> None:
    """Run until drained; never returns."""
    look_for_garbage_seldom()
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
    tasks, report = _tasks(settings)
    transferrer = WireTransferrer(
        settings.transfer, streams=settings.streams, context=trust(settings.ca_bundle)
    )
    lister = Lister(
        settings.transfer,
        source=transferrer.source,
        destination=transferrer.destination,
        digests=lambda: all(
            side.has_digest_etags() for side in (transferrer.source, transferrer.destination)
        ),
        random=random,
    )
    large = Large(transferrer.multipart, random)
    streams = Streams(
        transfer=settings.transfer,
        tasks=tasks,
        transferrer=InParts(transferrer, transferrer.multipart, random),
        steps=Steps({LargeTask: large.own, PartTask: large.hint, ListTask: lister.perform}),
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
        give_up=settings.give_up,
        random=random,
        on_report=report,
    )
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    threading.Thread(target=_obey, args=(consumer, settings.drain), daemon=True).start()
    consumer.run()
    return Exit.FAILED_OBJECTS if consumer.totals["dead_letters"] else Exit.DRAINED


def _tasks(settings: ChildSettings) -> tuple[TaskQueue, Callable[[Report], None] | None]:
    """The queue, and whom to tell how far this process is."""
    if settings.queue_url is not None:
        return Queue(settings.queue_url), None
    tasks = LocalQueue(socket.socket(fileno=settings.line))
    return tasks, tasks.report


def _obey(consumer: Consumer, drain: float) -> None:
    """Pass the supervisor's word on to the consumer."""
    for line in sys.stdin:
        word, _, seconds = line.partition(" ")
        if word == "drain":
            consumer.drain(float(seconds))
    consumer.drain(drain)


if __name__ == "__main__":
    main()
