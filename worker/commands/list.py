"""`fleetcopy list`: what a bucket holds, as JSON lines in key order."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from worker import config
from worker.aws.s3 import Bucket
from worker.aws.upload import upload
from worker.commands.parsing import Commands, add
from worker.core.errors import UsageError
from worker.core.keyrange import KeyRange
from worker.core.model import parse_uri
from worker.flow.list import Listing
from worker.flow.list_output import ListingFile
from worker.flow.packing import PACKINGS, SUFFIXES, check, packed
from worker.screen import bar


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "list", _list, "list a bucket in key order, as JSON lines")
    config.add_side(command, "source")
    command.add_argument(
        "--output",
        metavar="PLACE",
        default="-",
        help="a file, s3://bucket/key, or - for standard output, the default; a file appears when it is "
        "whole, and the same command goes on with one that was interrupted",
    )
    command.add_argument(
        "--compress",
        metavar="|".join(PACKINGS),
        choices=PACKINGS,
        help="how the output is packed; by default as its name says: .gz, .zst, or not",
    )
    config.add_option(command, "request-payer")


def _list(options: argparse.Namespace) -> int:
    source, place = config.endpoint(options, "source"), options.output
    packing = options.compress or SUFFIXES.get(PurePosixPath(place).suffix, "none")
    check(packing)
    bucket = Bucket(source, "source", payer=bool(config.resolve(options, "request-payer").value))
    began = time.monotonic()
    if place == "-":
        found = _to_output(bucket, packing)
    elif place.startswith("s3://"):
        found = _to_s3(bucket, packing, place)
    else:
        found = _to_file(bucket, packing, Path(place))
    seconds = time.monotonic() - began
    print(f"listed {found:,} objects in {seconds:,.1f} s: {found / seconds:,.0f} objects/s", file=sys.stderr)
    return 0


def _to_output(bucket: Bucket, packing: str) -> int:
    with Listing(bucket.pages, bucket.endpoint.prefix) as listing:
        for block in packed(_shown(listing), packing):
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    return listing.found


def _to_s3(bucket: Bucket, packing: str, place: str) -> int:
    name, key = parse_uri(place)
    if not key:
        raise UsageError(f"--output {place!r}: no key; write s3://bucket/key")
    with Listing(bucket.pages, bucket.endpoint.prefix) as listing:
        upload(config.endpoint_of(name), key, packed(_shown(listing), packing))
    return listing.found


def _to_file(bucket: Bucket, packing: str, path: Path) -> int:
    with ListingFile(path, bucket.endpoint, packing) as file:
        if file.after:
            print(f"going on after {file.after!r}", file=sys.stderr)
        keys = KeyRange(file.after)
        with Listing(bucket.pages, bucket.endpoint.prefix, keys, folder=file.folder) as listing:
            file.write(_shown(listing))
    return listing.found


def _shown(listing: Listing) -> Iterator[bytes]:
    """The listing's blocks; how far it has come is shown meanwhile."""
    with bar("listing") as shown:
        for block in listing:
            shown.update(listing.found - shown.n)
            yield block
