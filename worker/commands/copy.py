"""`fleetcopy copy`: a whole transfer on one machine, without a queue service."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from random import Random

from worker import config, screen
from worker.aws.s3 import sides
from worker.commands.parsing import Commands, add
from worker.commands.planned import (
    WHY,
    check_tags,
    filters,
    has_digest_etags,
    left_alone,
    listed,
    note_if_none,
    offer_comparison,
    offer_filters,
)
from worker.core.compare import Criterion
from worker.core.model import Kind, Transfer
from worker.core.text import printable
from worker.flow import child, log, supervise
from worker.flow.local import LocalTransfer
from worker.flow.local_queue import Hub
from worker.flow.submit import submit
from worker.flow.systemd import Systemd

_GIVE_UP_SECONDS = 60.0
"""For which it bears an endpoint out of order: somebody waits for it, and can start it again."""

_FAILURES_SHOWN = 20


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "copy", _copy, "copy on this machine what differs, without a queue")
    config.add_endpoints(command)
    config.add_copies(command)
    for name in ("processes", "streams", "drain-seconds", "log-level"):
        config.add_option(command, name)
    offer_comparison(command)
    offer_filters(command)


def _copy(options: argparse.Namespace) -> int:
    transfer, hub, began = config.transfer(options), Hub(), time.monotonic()
    config.refuse_proxies(transfer)
    wanted = filters(options)
    settings = child.ChildSettings(
        transfer=transfer,
        queue_url=None,
        streams=config.integer(options, "streams"),
        visibility=config.integer(options, "visibility-seconds"),
        drain=0,
        give_up=_GIVE_UP_SECONDS,
        log_level=config.text(options, "log-level") or "warning",
        ca_bundle=config.ca_bundle(),
    )
    supervisor = supervise.Supervisor(
        settings,
        processes=config.processes(options),
        drain_seconds=config.integer(options, "drain-seconds"),
        until_empty=None,
        depth=hub.depth,
        connect=hub.connect,
        systemd=Systemd(None, None),
    )

    def plan(counts: Counter[str]) -> None:
        source, destination = sides(transfer)
        check_tags(source, transfer.options)
        submit(
            transfer,
            hub,
            source=listed(source),
            destination=listed(destination),
            digests=has_digest_etags(source, destination),
            random=Random(),  # noqa: S311 - an order of tasks, no secret
            filters=wanted,
            by=Criterion(options.compare),
            counts=counts,
            on_step=lambda step: shown.say(left_alone(step)),
        )

    local = LocalTransfer(hub, supervisor, plan)
    shown = screen.Screen(sys.stderr, local.progress, time.monotonic)
    log.to_person(shown.say, settings.log_level)
    supervisor.mind_signals()
    with shown:
        local.run()
    return _conclude(transfer, local, hub, time.monotonic() - began)


def _conclude(transfer: Transfer, local: LocalTransfer, hub: Hub, seconds: float) -> int:
    """Say how a copy ended; its exit code."""
    progress = local.progress()
    for failure in hub.failures[:_FAILURES_SHOWN]:
        text = f"failed  {printable(failure.key)}  ({failure.reason}: {printable(failure.detail)})"
        print(text, file=sys.stderr)
    if hub.failed > _FAILURES_SHOWN:
        print(f"failed  and {hub.failed - _FAILURES_SHOWN:,} more", file=sys.stderr)
    print(screen.summary(progress, seconds))
    if not local.complete:
        print("stopped before all was copied; the same command copies the rest", file=sys.stderr)
        return 130
    note_if_none(transfer, sum(progress.planned.values()))
    archived = progress.tally.counts.get(Kind.ARCHIVED, 0)
    return 1 if hub.failed or archived or any(progress.planned.get(action) for action in WHY) else 0
