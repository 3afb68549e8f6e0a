"""`fleetcopy submit`: list both sides, and queue a task for what differs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from random import Random

from worker import config
from worker.aws.s3 import sides
from worker.aws.sqs import Queue
from worker.commands.parsing import Commands, add
from worker.commands.planned import WHY, has_digest_etags, left_alone
from worker.core.plan import Action, Step
from worker.flow import listing_files
from worker.flow.submit import submit
from worker.screen import bar


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "submit", _submit, "list both sides and queue a task for what differs")
    config.add_endpoints(command)
    config.add_option(command, "request-payer")
    config.add_option(command, "queue")
    command.add_argument(
        "--from",
        dest="listings",
        metavar="PATH",
        type=Path,
        action="append",
        help="list the source from a saved file, not from its bucket: what `aws s3api list-objects-v2` "
        "printed as JSON, plain or .gz; or from a folder of such files; may be given again",
    )


def _submit(options: argparse.Namespace) -> int:
    transfer, queue = config.transfer(options), Queue(config.queue_url(options))
    files = listing_files.find(options.listings) if options.listings else []
    source, destination = sides(transfer)
    queue.depth()
    destination.probe()
    with bar("submitting") as shown:

        def report(step: Step) -> None:
            shown.write(left_alone(step), file=sys.stderr)

        counts = submit(
            transfer,
            queue,
            source=listing_files.merged(files, transfer.source.prefix) if files else source.list(),
            destination=destination.list(),
            digests=has_digest_etags(destination) if files else has_digest_etags(source, destination),
            random=Random(),  # noqa: S311 - an order of tasks, no secret
            on_progress=shown.update,
            on_step=report,
        )
    listed = sum(counts[action] for action in Action)
    parts = ", ".join(f"{counts[action]:,} {action}" for action in Action)
    print(f"listed {listed:,} objects: {parts}")
    print(f"sent {counts['tasks']:,} tasks for {counts['bytes']:,} bytes; transfer {transfer.id}")
    return 1 if any(counts[action] for action in WHY) else 0
