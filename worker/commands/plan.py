"""`fleetcopy plan`: what a transfer would do, cost and take, before anything is sent."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from worker import config, prices
from worker.aws import session
from worker.aws.s3 import Bucket, sides
from worker.commands.listings import offer_listings, saved_listing
from worker.commands.parsing import Commands, add
from worker.commands.planned import filters, has_digest_etags, listed, offer_comparison, offer_filters
from worker.core import report
from worker.core.compare import Criterion
from worker.core.cost import Prices
from worker.core.errors import UsageError
from worker.core.estimate import Fleet, estimate
from worker.core.route import ROUND_TRIPS, Move, Region, route
from worker.core.webpage import as_html
from worker.flow.plan import tally
from worker.screen import bar


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = add(commands, "plan", _plan, "say what a transfer would do, cost and take; send nothing")
    config.add_endpoints(command)
    for name in ("strategy", "storage-class", "request-payer"):
        config.add_option(command, name)
    offer_listings(command)
    command.add_argument(
        "--no-destination",
        action="store_true",
        help="do not list the destination, but take it for empty: it may not exist yet, or not be reached "
        "from here",
    )
    offer_comparison(command)
    _offer_fleet(command)
    output = command.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one line of JSON, not text")
    output.add_argument("--html", metavar="FILE", type=Path, help="write a page with plots, too")
    offer_filters(command)


def _offer_fleet(command: argparse.ArgumentParser) -> None:
    fleet = command.add_argument_group("fleet", "what is reckoned with")
    fleet.add_argument(
        "--instances", metavar="N", type=_whole, default=1, help="Spot Instances that work; default 1"
    )
    fleet.add_argument(
        "--network-bandwidth",
        metavar="GBPS",
        type=_positive,
        help="baseline network bandwidth of an instance, in Gbps; default, that of the price table's type",
    )
    fleet.add_argument(
        "--round-trip-ms",
        metavar="MS",
        type=_positive,
        help="round trip to the farther side; default: {:.0f} in a region, {:.0f} between regions, {:.0f} to "
        "another partition".format(
            *(1000 * ROUND_TRIPS[move] for move in (Move.SAME_REGION, Move.BETWEEN_REGIONS, Move.INTERNET))
        ),
    )
    config.add_option(fleet, "streams")
    fleet.add_argument(
        "--prices",
        metavar="FILE",
        type=Path,
        help="prices to reckon with where they differ from the package's; worker/prices.toml shows the form",
    )


def _whole(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return value


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _plan(options: argparse.Namespace) -> int:
    transfer, wanted, by = config.transfer(options), filters(options), Criterion(options.compare)
    table = prices.load(options.prices)
    if options.html:
        _check_writable(options.html)
    saved = saved_listing(options, transfer)
    source, destination = sides(transfer)
    looked_at = ([] if saved else [source]) + ([] if options.no_destination else [destination])
    for bucket in looked_at:
        bucket.probe()
    with bar("planning") as shown:
        found, submission = tally(
            transfer,
            source=saved or listed(source),
            destination=None if options.no_destination else listed(destination),
            digests=has_digest_etags(*looked_at),
            live=not saved,
            filters=wanted,
            by=by,
            on_progress=shown.update,
        )
    way = route(transfer, _region(source), _region(destination))
    fleet = _fleet(options, table, way.move)
    told = estimate(transfer, found, submission, by=by, route=way, fleet=fleet, prices=table)
    if options.html:
        _write(options.html, as_html(told))
    print(report.as_json(told) if options.json else report.as_text(told))
    if not told.pace.fits_retention:
        sys.stdout.flush()
        raise UsageError(report.too_slow(told))
    return 0


def _region(bucket: Bucket) -> Region:
    name = bucket.client.meta.region_name
    return Region(name, session.partition(name))


def _fleet(options: argparse.Namespace, table: Prices, move: Move) -> Fleet:
    return Fleet(
        instances=options.instances,
        streams=config.integer(options, "streams"),
        network_gbps=options.network_bandwidth or table.instance.network_gbps,
        round_trip=options.round_trip_ms / 1000 if options.round_trip_ms else ROUND_TRIPS[move],
    )


def _check_writable(file: Path) -> None:
    """Find out before hours of listing."""
    if file.is_dir() or not os.access(file if file.exists() else file.absolute().parent, os.W_OK):
        raise UsageError(f"--html {file}: cannot be written: name a file in a folder that is there")


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, "utf-8")
    except OSError as error:
        raise UsageError(f"--html {file}: cannot be written ({error})") from None
