"""`fleetcopy release build | publish`: what an instance of the Spot Fleet installs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from worker import config
from worker.aws.releases import Shelf
from worker.commands.parsing import Commands, add
from worker.core.release import Place
from worker.flow import release


def offer(commands: Commands) -> None:
    """Offer the command."""
    command = commands.add_parser("release", help="build and publish what an instance installs")
    command.description = "Build and publish what an instance of the Spot Fleet installs."
    releases = command.add_subparsers(title="commands", required=True, metavar="COMMAND")

    build = add(releases, "build", _build, "make the release of a checkout, and print its folder")
    build.add_argument(
        "--checkout",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="of fleetcopy's repository; default: here",
    )
    build.add_argument(
        "--output", metavar="DIR", type=Path, help="where releases go; default: dist, in the checkout"
    )

    summary = "upload a release, and print the stack's parameters that name it"
    publish = add(releases, "publish", _publish, summary)
    publish.add_argument("place", metavar="URI", help="where releases are, s3://bucket or s3://bucket/prefix")
    publish.add_argument(
        "release", metavar="RELEASE", type=Path, nargs="?", help="its folder; default: the newest in dist"
    )


def _build(options: argparse.Namespace) -> int:
    print(release.build(options.checkout, options.output or options.checkout / "dist"))
    return 0


def _publish(options: argparse.Namespace) -> int:
    place = Place.parse(options.place)
    folder = options.release or release.latest(Path("dist"))
    published = release.publish(folder, place, Shelf(config.endpoint_of(place.bucket)))
    print(
        f"published {published.version}: {published.sent} of {published.files} files were new",
        file=sys.stderr,
    )
    print("\n".join(published.parameters))
    return 0
