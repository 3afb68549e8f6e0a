"""Filters: which of the source's objects a transfer is about.

An object is taken if it passes every filter that is given. `include` and `exclude` are globs on the key
without the source's prefix: `*` stands for any characters, a slash too, `?` for one, `[...]` for one of a
set, as in the AWS CLI. An object passes if it matches one of `include`, or there is none, and none of
`exclude`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator

import msgspec

from worker.core.model import ObjectRef, Transfer


class Filters(msgspec.Struct, frozen=True):
    """What must hold of an object; those left out let everything pass.

    Attributes:
        include, exclude: globs, see above.
        min_size, max_size: bytes, both inclusive.
        modified_after, modified_before: seconds since the epoch; the first inclusive, the second not.
        storage_classes: S3's names.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int = 0
    max_size: int | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    storage_classes: tuple[str, ...] = ()


EVERYTHING = Filters()


class Sieve:
    """`filters` made ready for the objects of a transfer."""

    def __init__(self, filters: Filters, transfer: Transfer) -> None:
        self._filters = filters
        self._cut = len(transfer.source.prefix)
        self._destination_cut = len(transfer.destination.prefix)
        self._include = _either(filters.include)
        self._exclude = _either(filters.exclude)
        self._lets_all_pass = filters == EVERYTHING

    def takes(self, ref: ObjectRef) -> bool:
        """Whether the object passes."""
        if self._lets_all_pass:
            return True
        wanted = self._filters
        return (
            self.takes_name(ref.key[self._cut :])
            and wanted.min_size <= ref.size
            and (wanted.max_size is None or ref.size <= wanted.max_size)
            and (wanted.modified_after is None or ref.last_modified >= wanted.modified_after)
            and (wanted.modified_before is None or ref.last_modified < wanted.modified_before)
            and (not wanted.storage_classes or ref.storage_class in wanted.storage_classes)
        )

    def takes_name(self, name: str) -> bool:
        """Whether a key without its prefix passes the globs: all to be asked of one that has no source."""
        if self._include and not self._include.match(name):
            return False
        return not (self._exclude and self._exclude.match(name))

    def pairs(
        self, pairs: Iterable[tuple[ObjectRef | None, ObjectRef | None]]
    ) -> Iterator[tuple[ObjectRef | None, ObjectRef | None]]:
        """Those of the pairs of `core.listing.paired` that the transfer is about."""
        if self._lets_all_pass:
            yield from pairs
            return
        cut = self._destination_cut
        for source, destination in pairs:
            if source is not None:
                if self.takes(source):
                    yield source, destination
            elif destination is not None and self.takes_name(destination.key[cut:]):
                yield source, destination


def _either(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs)) if globs else None
