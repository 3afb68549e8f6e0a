"""`--from`: a listing that was saved, in place of listing the source's bucket."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from worker import config
from worker.core.model import ObjectRef, Transfer
from worker.flow.sources import open_listing, versions


def offer_listings(command: argparse.ArgumentParser) -> None:
    """Offer the option."""
    command.add_argument(
        "--from",
        dest="listings",
        metavar="LISTING",
        action="append",
        default=[],
        help="list the source from a file, not from its bucket: JSON lines as `fleetcopy list` writes them, "
        "what `aws s3api list-objects-v2` printed as JSON, each plain, .gz or .zst, or the manifest.json of "
        "an S3 Inventory report; or from a folder of such files; on disk or s3://bucket/key; may be given "
        "again",
    )


def saved_listing(options: argparse.Namespace, transfer: Transfer) -> Iterator[ObjectRef] | None:
    """The source's objects as the saved listings tell of them; None where none is named.

    Raises:
        FleetcopyError: as `open_listing`.
    """
    if not options.listings:
        return None
    return open_listing(options.listings, transfer.source, config.endpoint_of)


def listing_versions(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Name and version of each file that the saved listings are made of, by which another one is told.

    Raises:
        FleetcopyError: as `open_listing`.
    """
    return versions(options.listings, config.endpoint_of)
