"""`fleetcopy verify`: compare the two sides, object by object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from random import Random

import msgspec

from worker import config
from worker.aws.reader import WireReader
from worker.aws.s3 import sides
from worker.aws.sqs import Queue
from worker.aws.wire import trust
from worker.commands.parsing import Commands, add
from worker.commands.planned import filters, has_digest_etags, listed, note_if_none, offer_filters
from worker.core.model import Transfer
from worker.core.text import printable
from worker.core.verdict import Finding, Match, Verdict
from worker.flow.deep import deepened
from worker.flow.verify import verify
from worker.screen import bar


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "verify", _verify, "compare the two sides, object by object")
    config.add_endpoints(command)
    command.add_argument(
        "--deep",
        action="store_true",
        help="resolve what the listings cannot prove: by the checksums that S3 stores, else by reading; "
        "--streams objects at a time",
    )
    command.add_argument(
        "--submit", action="store_true", help="queue a task for what is missing or different, in --queue"
    )
    command.add_argument(
        "--json", action="store_true", help="a line of JSON for each finding, and one for the verdict"
    )
    for name in ("queue", "streams", "request-payer"):
        config.add_option(command, name)
    offer_filters(command)


def _verify(options: argparse.Namespace) -> int:
    transfer, wanted, random = config.transfer(options), filters(options), Random()  # noqa: S311 - jitter
    queue = Queue(config.queue_url(options)) if options.submit else None
    source, destination = sides(transfer)
    if queue:
        queue.depth()
    with bar("verifying") as shown:
        verdict = verify(
            transfer,
            source=listed(source),
            destination=listed(destination),
            digests=has_digest_etags(source, destination),
            on_finding=lambda one: shown.write((_json if options.json else _text)(one), file=sys.stdout),
            on_progress=shown.update,
            filters=wanted,
            deepen=_deepen(transfer, config.integer(options, "streams"), random) if options.deep else iter,
            queue=queue,
            random=random,
        )
    print(_json_verdict(verdict, sends=queue is not None) if options.json else verdict)
    if queue and not options.json:
        print(f"sent {verdict.tasks:,} tasks; transfer {transfer.id}")
    note_if_none(transfer, verdict.counts.total())
    return 0 if verdict.proven else 1


def _deepen(transfer: Transfer, streams: int, random: Random) -> partial[Iterator[Finding]]:
    config.refuse_proxies(transfer)
    reader = WireReader(transfer, threads=streams, context=trust(config.ca_bundle()))
    return partial(deepened, reader=reader, threads=streams, random=random)


def _text(finding: Finding) -> str:
    return f"{finding.match:9}  {printable(finding.key)}  ({finding.why})"


def _json(finding: Finding) -> str:
    return msgspec.json.encode({"match": finding.match, "key": finding.key, "why": finding.why}).decode()


def _json_verdict(verdict: Verdict, *, sends: bool) -> str:
    told: dict[str, object] = {
        "verdict": {match: verdict.counts[match] for match in Match},
        "proven": verdict.proven,
    }
    return msgspec.json.encode(told | ({"tasks": verdict.tasks} if sends else {})).decode()
