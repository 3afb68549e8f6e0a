"""`fleetcopy work`: copy what the queue's tasks name."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker import config
from worker.aws.s3 import sides
from worker.aws.sqs import Queue
from worker.commands.parsing import Commands, add
from worker.commands.planned import check_tags
from worker.core import errors
from worker.core.model import Transfer
from worker.flow import child, log, supervise
from worker.flow.systemd import Systemd

# What only some settings need is imported where they begin: these take longer than a small copy.
if TYPE_CHECKING:
    from worker.aws.metadata import Metadata

_LOG_CLOSE_SECONDS = 5

_GIVE_UP_SECONDS = 900.0
"""For which a worker bears an endpoint or a queue out of order: somebody may be mending it."""


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "work", _work, "copy what the queue's tasks name")
    config.add_endpoints(command)
    config.add_copies(command)
    for name in ("queue", "processes", "streams", "visibility-seconds", "drain-seconds"):
        config.add_option(command, name)
    command.add_argument(
        "--until-empty",
        action="store_true",
        help="stop once the queue has held nothing, in flight neither, for --empty-seconds; "
        "without this, work until told to stop",
    )
    for name in ("empty-seconds", "spot-notices", "log-level", "log-group"):
        config.add_option(command, name)


def _work(options: argparse.Namespace) -> int:
    transfer, queue = config.transfer(options), Queue(config.queue_url(options))
    config.refuse_proxies(transfer)
    settings = child.ChildSettings(
        transfer=transfer,
        queue_url=queue.url,
        streams=config.integer(options, "streams"),
        visibility=config.integer(options, "visibility-seconds"),
        drain=config.integer(options, "drain-seconds"),
        give_up=_GIVE_UP_SECONDS,
        log_level=config.text(options, "log-level") or "info",
        ca_bundle=config.ca_bundle(),
    )
    log.to_stream(sys.stderr, settings.log_level)
    systemd = Systemd(config.notify_socket(), config.watchdog())
    supervisor = supervise.Supervisor(
        settings,
        processes=config.processes(options),
        drain_seconds=settings.drain,
        until_empty=config.integer(options, "empty-seconds") if options.until_empty else None,
        depth=queue.depth,
        systemd=systemd,
    )
    supervisor.mind_signals()
    systemd.status("starting")
    url, group = config.metadata_url(options), config.text(options, "log-group")
    instance = _watch(url, supervisor) if url else None
    with _cloudwatch(group, config.log_stream(instance) if group else ""):
        _check_reach(transfer, queue)
        return 0 if supervisor.run() else 1


def _watch(url: str, supervisor: supervise.Supervisor) -> str | None:
    """Watch for interruption notices; the id of this EC2 instance, None where the service does not tell."""
    from worker.aws.metadata import Metadata  # noqa: PLC0415
    from worker.flow.watch import Watch  # noqa: PLC0415

    metadata = Metadata(url, time.monotonic)
    instance = _instance_id(metadata)
    Watch(metadata, supervisor.notice).start()
    return instance


def _instance_id(metadata: Metadata) -> str | None:
    from worker.aws.metadata import INSTANCE_ID  # noqa: PLC0415

    try:
        answer = metadata.get(INSTANCE_ID) or ""
    except errors.FleetcopyError as error:
        log.warning("metadata", why=str(error))
        return None
    return answer if re.fullmatch(r"i-[0-9a-z]{1,40}", answer) else None


@contextmanager
def _cloudwatch(group: str | None, stream: str) -> Iterator[None]:
    """Log to CloudWatch as well, within: at the end what did not arrive there, or the fault that ended it."""
    if group is None:
        yield
        return
    from worker.aws.logs import CloudWatchHandler  # noqa: PLC0415

    handler = CloudWatchHandler(group, stream, close_seconds=_LOG_CLOSE_SECONDS)
    log.also_to(handler)
    try:
        yield
    except errors.FleetcopyError as error:
        log.error("ended by a fault", reason=error.reason, why=str(error))
        raise
    finally:
        log.no_longer_to(handler)
        if handler.lost:
            log.warning("log lines lost", group=group, lines=handler.lost)


def _check_reach(transfer: Transfer, queue: Queue) -> None:
    """Fail before any task is touched where nothing could succeed."""
    queue.dead_letters().depth()
    source, destination = sides(transfer)
    source.probe()
    destination.probe()
    check_tags(source, transfer.options)
