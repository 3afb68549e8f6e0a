"""A look at what an earlier delivery of a task may have finished: one listing, not a request per object."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from worker.core.listing import just_below
from worker.core.message import common_prefix
from worker.core.model import ObjectRef, Transfer

MOST_LISTED = 10_000
"""Rows of the destination that one survey reads; what lies beyond is copied under its write's condition."""


class Listable(Protocol):
    """What lists objects after a key; `aws.s3.Bucket` is one."""

    def list(self, start_after: str = "", prefix: str | None = None) -> Iterator[ObjectRef]:
        """See `aws.s3.Bucket.list`."""
        ...


def survey(
    destination: Listable, transfer: Transfer, refs: Sequence[ObjectRef]
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """Split a redelivered task's objects into those that the destination proves, and the rest.

    The rest carry what was seen at the destination, as far as the listing reached.
    """
    keys = {transfer.destination_key(ref.key): ref for ref in refs}
    first, last = min(keys), max(keys)
    rows = list(
        itertools.takewhile(
            lambda row: row.key <= last,
            itertools.islice(
                destination.list(start_after=just_below(first), prefix=common_prefix([first, last])),
                MOST_LISTED,
            ),
        )
    )
    reached = rows[-1].key if len(rows) == MOST_LISTED else last
    listed = {row.key: row for row in rows}
    proven, rest = [], []
    for key, ref in keys.items():
        row = listed.get(key)
        if row and (row.size, row.etag) == (ref.size, ref.etag):
            proven.append(ref)
        elif key <= reached:
            rest.append(msgspec.structs.replace(ref, destination_etag=row.etag if row else ""))
        else:
            rest.append(ref)
    return proven, rest
