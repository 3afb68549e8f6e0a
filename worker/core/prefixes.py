"""The largest prefixes of a listing: exact totals at the first few depths, in constant memory.

A prefix is what stands before a `/`. Keys come in order, so that those of one prefix come one after another:
its total is known when the next begins, and only the largest are kept. Objects that lie straight in a prefix,
beside deeper ones, count at the deeper depths as if that prefix were one of these: each depth tells of all.
"""

from __future__ import annotations

import heapq

import msgspec

DEPTHS = 3
"""Depths that are counted, below the prefix of the listing."""

KEPT = 10
"""Prefixes that are kept of each depth."""

_ENOUGH = 4


class Prefix(msgspec.Struct, frozen=True, order=True):
    """What lies below one prefix."""

    bytes: int
    objects: int
    prefix: str


class _Folder(msgspec.Struct, gc=False):
    """A prefix that the listing is in: all objects below it so far, and those straight in it."""

    prefix: str
    objects: int = 0
    bytes: int = 0
    own_objects: int = 0
    own_bytes: int = 0


class Prefixes:
    """Totals by prefix.

    Args:
        prefix: of the listing, which all keys start with.

    Attributes:
        distinct: how many prefixes there are at each depth, the first at depth 1.
    """

    def __init__(self, prefix: str) -> None:
        self.distinct = [0] * DEPTHS
        self._largest: list[list[Prefix]] = [[] for _ in range(DEPTHS)]
        self._open = [_Folder(prefix)]
        self._deepest = ""
        """The prefix at the last depth that the listing is in, which needs no account of its own."""

    def enter(self, key: str, objects: int, size: int) -> tuple[str, bool]:
        """Count the objects straight in the prefix where the listing was, and turn to a key's.

        Args:
            key: one that does not lie straight in the same prefix, nor below it where that is the deepest.
            objects: since the last turn.
            size: bytes of these.

        Returns:
            The key's prefix, and whether no deeper one is counted.
        """
        self._count(objects, size)
        while not key.startswith(self._open[-1].prefix):
            self._leave()
        folder = self._open[-1].prefix
        while (end := key.find("/", len(folder)) + 1) and len(self._open) < DEPTHS:
            folder = key[:end]
            self._open.append(_Folder(folder))
        self._deepest = key[:end]
        return self._deepest or folder, bool(end)

    def close(self, objects: int, size: int) -> None:
        """Count the last, and end."""
        self._count(objects, size)
        while self._open:
            self._leave()

    def _count(self, objects: int, size: int) -> None:
        here = self._open[-1]
        here.objects += objects
        here.bytes += size
        if self._deepest:
            self._keep(DEPTHS, self._deepest, objects, size)
        else:
            here.own_objects += objects
            here.own_bytes += size

    def _leave(self) -> None:
        folder, depth = self._open.pop(), len(self._open)
        if self._open:
            self._open[-1].objects += folder.objects
            self._open[-1].bytes += folder.bytes
            self._keep(depth, folder.prefix, folder.objects, folder.bytes)
        if folder.own_objects:
            for deeper in range(depth + 1, DEPTHS + 1):
                self._keep(deeper, folder.prefix, folder.own_objects, folder.own_bytes)

    def _keep(self, depth: int, prefix: str, objects: int, size: int) -> None:
        kept = self._largest[depth - 1]
        self.distinct[depth - 1] += 1
        if len(kept) < KEPT:
            heapq.heappush(kept, Prefix(size, objects, prefix))
        elif size > kept[0].bytes:
            heapq.heappushpop(kept, Prefix(size, objects, prefix))

    @property
    def depth(self) -> int:
        """The depth worth telling: the first that has a few prefixes, else the one that has most."""
        enough = (depth for depth, number in enumerate(self.distinct, 1) if number >= _ENOUGH)
        return next(enough, 1 + self.distinct.index(max(self.distinct)))

    @property
    def largest(self) -> list[Prefix]:
        """Those of most bytes at that depth, the largest first."""
        return self.at(self.depth)

    def at(self, depth: int) -> list[Prefix]:
        """Those of most bytes at a depth, the largest first."""
        return sorted(self._largest[depth - 1], reverse=True)
