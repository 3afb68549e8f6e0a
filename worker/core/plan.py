"""The plan: source listing against destination listing, and what to do about each source object.

The plan's view of the destination travels with each object, as the condition of the later write.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

import msgspec

from worker.core.compare import Comparison, Criterion, compare_refs
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

    # Enum's own is written in Python, and steps are counted by action.
    __hash__ = str.__hash__


class Step(msgspec.Struct, frozen=True, gc=False):
    """One line of a plan: an action, the object, and how what the destination holds compares with it.

    `comparison` is None where it holds nothing; `ref.destination_etag` is what was seen there.
    """

    action: Action
    ref: ObjectRef
    comparison: Comparison | None = None


def plan(
    transfer: Transfer,
    pairs: Iterable[tuple[ObjectRef | None, ObjectRef | None]],
    *,
    digests: bool,
    by: Criterion = Criterion.ETAG,
) -> Iterator[Step]:
    """What to do about each source object of the joined listings, in key order.

    Args:
        transfer: what is copied where.
        pairs: as `core.listing.join` yields them; objects of the destination alone are left alone.
        digests: whether both buckets' plain ETags are MD5 digests; see `core.compare`.
        by: what makes two objects equal.

    A pair that cannot be proven equal is copied: the worker looks at both objects' checksums first.
    """
    cut, prefix_bytes = len(transfer.source.prefix), len(transfer.destination.prefix.encode())
    for source, destination in pairs:
        if source is None:
            continue
        seen, comparison = "", None
        if destination is not None:
            seen, comparison = destination.etag, compare_refs(source, destination, digests=digests, by=by)
        ref, key = msgspec.structs.replace(source, destination_etag=seen), source.key
        # Every object of a bucket comes through here, and of most keys the bytes are known without a look.
        name_bytes = len(key) - cut if key.isascii() else len(key[cut:].encode())
        if comparison is Comparison.EQUAL:
            yield Step(Action.EQUAL, ref, comparison)
        elif not 0 < prefix_bytes + name_bytes <= LONGEST_KEY:
            yield Step(Action.UNNAMEABLE, ref, comparison)
        elif source.size > LARGEST_OBJECT:
            yield Step(Action.TOO_LARGE, ref, comparison)
        else:
            yield Step(Action.COPY, ref, comparison)
