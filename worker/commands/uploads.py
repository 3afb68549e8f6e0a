"""`fleetcopy uploads list | abort`: multipart uploads that nobody finished, for whose parts S3 charges."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from worker import config
from worker.aws.multipart import Unfinished, abort, unfinished
from worker.aws.s3 import Bucket
from worker.commands.parsing import Commands, add
from worker.core.quantities import parse_age, show_age
from worker.core.text import printable


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = commands.add_parser("uploads", help="list and abort uploads that nobody finished")
    command.description = "List and abort multipart uploads that nobody finished, at the destination."
    uploads = command.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, run, summary in (
        ("list", _list, "list them: when they began, their age, id and key"),
        ("abort", _abort, "abort them: what parts they have is deleted, and whoever works on them fails"),
    ):
        one = add(uploads, name, run, summary)
        config.add_side(one, "destination")
        one.add_argument(
            "--older-than",
            metavar="AGE",
            required=run is _abort,
            default="0s",
            help="only those that began so long ago, such as 90s, 30m, 12h or 7d",
        )


def _list(options: argparse.Namespace) -> int:
    found = 0
    for _, line in _chosen(options, _bucket(options)):
        print(line)
        found += 1
    print(f"{found:,} unfinished uploads")
    return 0


def _abort(options: argparse.Namespace) -> int:
    bucket, aborted = _bucket(options), 0
    for upload, line in _chosen(options, bucket):
        abort(bucket, upload.key, upload.id)
        print(f"aborted  {line}")
        aborted += 1
    print(f"{aborted:,} uploads aborted")
    return 0


def _bucket(options: argparse.Namespace) -> Bucket:
    return Bucket(config.endpoint(options, "destination"), "destination")


def _chosen(options: argparse.Namespace, bucket: Bucket) -> Iterator[tuple[Unfinished, str]]:
    """The uploads that are old enough, each with a line about it."""
    least, now = parse_age(options.older_than), time.time()
    for upload in unfinished(bucket, bucket.endpoint.prefix):
        age = now - upload.initiated.timestamp()
        if age >= least:
            began = upload.initiated.strftime("%Y-%m-%dT%H:%M:%SZ")
            yield upload, f"{began}  {show_age(age):>5}  {upload.id}  {printable(upload.key)}"
