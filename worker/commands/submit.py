"""`fleetcopy submit`: list both sides, and queue a task for what differs."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from random import Random

import msgspec

from worker import config
from worker.aws.note import Note
from worker.aws.s3 import sides
from worker.aws.sqs import Queue
from worker.commands.listings import listing_versions, offer_listings, saved_listing
from worker.commands.parsing import Commands, add
from worker.commands.planned import (
    filters,
    has_digest_etags,
    left_alone,
    listed,
    note_if_none,
    offer_comparison,
    offer_filters,
)
from worker.core import checkpoint
from worker.core.checkpoint import Checkpoint
from worker.core.compare import Criterion
from worker.core.errors import UsageError
from worker.core.message import ListTask
from worker.core.model import ObjectRef, Transfer, parse_uri
from worker.core.plan import Action, Step
from worker.flow.checkpoints import FileKeeper, Keeper
from worker.flow.send import send_tasks
from worker.flow.submit import submit
from worker.screen import bar


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "submit", _submit, "list both sides and queue a task for what differs")
    config.add_endpoints(command)
    config.add_option(command, "request-payer")
    config.add_option(command, "queue")
    offer_listings(command)
    command.add_argument(
        "--checkpoint",
        metavar="PLACE",
        help="a file, or s3://bucket/key, that keeps how far this has come: the same command goes on from "
        "there once it was interrupted",
    )
    command.add_argument(
        "--distributed",
        action="store_true",
        help="list nothing here: queue one task, for the workers to list both sides by themselves",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="say what would be sent, and send nothing; needs no queue"
    )
    offer_comparison(command)
    offer_filters(command)


def _submit(options: argparse.Namespace) -> int:
    return _delegate(options) if options.distributed else _list(options)


def _delegate(options: argparse.Namespace) -> int:
    """Let the fleet list."""
    if options.listings or options.checkpoint or options.dry_run:
        raise UsageError(
            "--distributed leaves the listing to the workers: --from, --checkpoint and --dry-run are for one "
            "that is made here"
        )
    transfer, queue = config.transfer(options), Queue(config.queue_url(options))
    task = ListTask(transfer.id, filters=filters(options), by=Criterion(options.compare))
    send_tasks(queue, [task], Random())  # noqa: S311 - an order of tasks, no secret
    print(f"sent 1 task, to list {transfer.source.uri}; transfer {transfer.id}")
    return 0


def _list(options: argparse.Namespace) -> int:
    transfer, by = config.transfer(options), Criterion(options.compare)
    queue = None if options.dry_run else Queue(config.queue_url(options))
    saved = saved_listing(options, transfer)
    place = None if options.dry_run or not options.checkpoint else _keeper(options.checkpoint)
    asked = _asked(options, transfer, queue)
    begun = _resumed(place, checkpoint.begin(transfer, asked, time.time()))
    if begun.complete:
        but = " but objects left alone" if begun.left_alone else ""
        print(f"all{but} was sent before, says {place}; delete it to submit again")
        return _status(begun)
    progress = _Progress(place, begun)
    source, destination = sides(transfer)
    if queue:
        queue.depth()
    destination.probe()
    after = begun.sent_through or ""
    with bar("submitting") as shown:

        def report(step: Step) -> None:
            shown.write(left_alone(step), file=sys.stderr)
            progress.left_alone()

        counts = submit(
            transfer,
            queue,
            source=_after(saved, after) if saved else listed(source, after),
            destination=listed(destination, transfer.destination_key(after) if after else ""),
            digests=has_digest_etags(destination) if saved else has_digest_etags(source, destination),
            random=Random(),  # noqa: S311 - an order of tasks, no secret
            filters=filters(options, begun.began),
            by=by,
            on_progress=shown.update,
            on_step=report,
            on_sent=progress.sent,
        )
    progress.completed()
    total = sum(counts[action] for action in Action)
    parts = ", ".join(f"{counts[action]:,} {action}" for action in Action)
    if not after:
        note_if_none(transfer, total)
    sent = "would send" if options.dry_run else "sent"
    print(f"listed {total:,} objects{f' after {after!r}' if after else ''}: {parts}")
    print(f"{sent} {counts['tasks']:,} tasks for {counts['bytes']:,} bytes; transfer {transfer.id}")
    return _status(progress.now)


def _status(reached: Checkpoint) -> int:
    return 1 if reached.left_alone else 0


def _asked(options: argparse.Namespace, transfer: Transfer, queue: Queue | None) -> object:
    """What a checkpoint is for, besides the transfer."""
    return [
        msgspec.to_builtins(filters(options, now=0.0)),
        options.compare,
        queue.url if queue else "",
        transfer.source.endpoint_url,
        transfer.destination.endpoint_url,
        listing_versions(options) if options.checkpoint else [],
    ]


def _keeper(place: str) -> Keeper:
    if not place.startswith("s3://"):
        return FileKeeper(Path(place))
    bucket, key = parse_uri(place)
    if not key:
        raise UsageError(f"--checkpoint {place!r}: no key; write s3://bucket/key")
    return Note(config.endpoint_of(bucket), key)


def _resumed(place: Keeper | None, fresh: Checkpoint) -> Checkpoint:
    """Where to go on from; a checkpoint that cannot be written is found out before anything is sent."""
    if place is None:
        return fresh
    kept = place.read()
    begun = fresh if kept is None else checkpoint.resume(kept, fresh, str(place))
    place.write(checkpoint.encode(begun))
    return begun


class _Progress:
    """How far the submission has come, and keeps it.

    Attributes:
        now: that.
    """

    def __init__(self, place: Keeper | None, begun: Checkpoint) -> None:
        self.now = begun
        self._place = place

    def left_alone(self) -> None:
        """An object was; to be kept with what comes next."""
        self.now = msgspec.structs.replace(self.now, left_alone=True)

    def sent(self, key: str) -> None:
        """All up to a key is done with."""
        self._keep(msgspec.structs.replace(self.now, sent_through=key))

    def completed(self) -> None:
        """All is."""
        self._keep(msgspec.structs.replace(self.now, complete=True))

    def _keep(self, now: Checkpoint) -> None:
        self.now = now
        if self._place:
            self._place.write(checkpoint.encode(now))


def _after(refs: Iterable[ObjectRef], key: str) -> Iterable[ObjectRef]:
    """What comes after a key in a listing that can be read from its start alone."""
    return itertools.dropwhile(lambda ref: ref.key <= key, refs) if key else refs
