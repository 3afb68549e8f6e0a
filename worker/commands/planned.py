"""What `copy`, `plan`, `submit` and `verify` share: which objects they are about, and how these compare."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from worker.aws.s3 import Bucket
from worker.core.compare import CAN_MISS, Criterion
from worker.core.errors import UsageError
from worker.core.filters import Filters
from worker.core.keyrange import KeyRange
from worker.core.model import ObjectRef, Transfer
from worker.core.options import Options
from worker.core.plan import Action, Step
from worker.core.quantities import parse_age, parse_size
from worker.core.text import printable
from worker.flow.list import Listing, refs

WHY = {
    Action.TOO_LARGE: "over 48.8 TiB, the most that S3 takes; it is left alone",
    Action.UNNAMEABLE: "its destination key would be empty or over 1,024 bytes; choose another prefix",
}
"""Why the plan leaves an object alone."""


def listed(bucket: Bucket, after: str = "") -> Iterator[ObjectRef]:
    """A bucket's objects after a key, in key order, listed by many threads at once."""
    with Listing(bucket.pages, bucket.endpoint.prefix, KeyRange(after)) as listing:
        yield from refs(listing)


def has_digest_etags(*buckets: Bucket) -> bool:
    """Whether plain ETags are MD5 digests in all of these."""
    return all(bucket.has_digest_etags() for bucket in buckets)


def check_tags(source: Bucket, options: Options) -> None:
    """Fail before anything is copied where tags would be lost unnoticed.

    Raises:
        ConfigurationError: they are to be kept, and may not be read.
    """
    if options.tags == "copy":
        source.probe_tags()


def note_if_none(transfer: Transfer, objects: int) -> None:
    """Say so where there was no object at all: a slip of the prefix looks like success."""
    if not objects:
        print(
            f"note: no object of {transfer.source.uri} was found that the filters let pass; "
            "check the prefix, and the filters if there are any",
            file=sys.stderr,
        )


def left_alone(step: Step) -> str:
    """A line that names an object left alone, and why."""
    return f"{step.action}  {printable(step.ref.key)}  ({WHY[step.action]})"


def offer_filters(command: argparse.ArgumentParser) -> None:
    """Offer what an object must be for the command to be about it."""
    group = command.add_argument_group(
        "filters", "objects that do not pass all of these are left out, and are no findings"
    )
    group.add_argument(
        "--include",
        metavar="GLOB",
        action="append",
        help="only keys that match, without the source's prefix; * stands for slashes too; may be given "
        "again, for keys that match any",
    )
    group.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        help="no keys that match, whatever --include says; may be given again",
    )
    group.add_argument("--min-size", metavar="SIZE", help="no smaller objects; bytes, or such as 64KiB or 5G")
    group.add_argument("--max-size", metavar="SIZE", help="no larger objects")
    group.add_argument(
        "--newer-than",
        metavar="AGE",
        help="only objects last modified since; an age such as 12h or 30d, or a time such as 2026-11-01",
    )
    group.add_argument("--older-than", metavar="AGE", help="only objects last modified before; as above")
    group.add_argument(
        "--source-storage-class",
        metavar="CLASS",
        action="append",
        dest="storage_classes",
        help="only objects of this storage class, such as STANDARD_IA; may be given again",
    )


def offer_comparison(command: argparse.ArgumentParser) -> None:
    """Offer what makes two objects equal."""
    misses = "; ".join(f"{criterion} can miss {CAN_MISS[criterion]}" for criterion in Criterion)
    command.add_argument(
        "--compare",
        metavar="|".join(Criterion),
        choices=tuple(Criterion),
        default=Criterion.ETAG,
        help=f"what makes an object equal to its source; default {Criterion.ETAG}; {misses}",
    )


def filters(options: argparse.Namespace, now: float | None = None) -> Filters:
    """The filters that the options ask for; ages are as of `now`, seconds since the epoch.

    Raises:
        UsageError: one cannot be read.
    """
    as_of = time.time() if now is None else now

    def moment(text: str) -> float:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return as_of - parse_age(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()

    def read(name: str, reading: Callable[[str], float]) -> float | None:
        text: str | None = getattr(options, name)
        try:
            return None if text is None else reading(text)
        except UsageError as error:
            raise UsageError(f"--{name.replace('_', '-')}: {error}") from None

    smallest, largest = read("min_size", parse_size), read("max_size", parse_size)
    return Filters(
        include=tuple(options.include or ()),
        exclude=tuple(options.exclude or ()),
        min_size=int(smallest or 0),
        max_size=None if largest is None else int(largest),
        modified_after=read("newer_than", moment),
        modified_before=read("older_than", moment),
        storage_classes=tuple(options.storage_classes or ()),
    )
