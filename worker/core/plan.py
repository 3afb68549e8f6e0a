"""The plan: source listing against destination listing, and what to do about each source object.

The plan's view of the destination travels with each object, as the condition of the later write.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

import msgspec

from worker.core.compare import Comparison, compare_refs
from worker.core.model import LONGEST_KEY, ObjectRef, Transfer
from worker.core.parts import LARGEST_OBJECT


class Action(enum.StrEnum):
    """What the plan does about one source object."""

    COPY = "copy"
    EQUAL = "equal"
    TOO_LARGE = "too large"
    """For S3."""
    UNNAMEABLE = "unnameable"
    """Its destination key would be empty, or longer than S3 allows."""


class Step(msgspec.Struct, frozen=True):
    """One line of a plan: an action, and the object with what was seen at the destination."""

    action: Action
    ref: ObjectRef


def plan(
    transfer: Transfer, pairs: Iterable[tuple[ObjectRef | None, ObjectRef | None]], *, digests: bool
) -> Iterator[Step]:
    """What to do about each source object of the joined listings, in key order.

    Args:
        transfer: what is copied where.
        pairs: as `core.listing.join` yields them; objects of the destination alone are left alone.
        digests: whether both buckets' plain ETags are MD5 digests; see `core.compare`.

    A pair that cannot be proven equal is copied: the worker looks at both objects' checksums first.
    """
    for source, destination in pairs:
        if source is None:
            continue
        seen = "" if destination is None else destination.etag
        ref = msgspec.structs.replace(source, destination_etag=seen)
        if destination and compare_refs(source, destination, digests=digests) is Comparison.EQUAL:
            yield Step(Action.EQUAL, ref)
        elif not 0 < len(transfer.destination_key(ref.key).encode()) <= LONGEST_KEY:
            yield Step(Action.UNNAMEABLE, ref)
        elif source.size > LARGEST_OBJECT:
            yield Step(Action.TOO_LARGE, ref)
        else:
            yield Step(Action.COPY, ref)
