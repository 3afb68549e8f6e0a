"""What an object holds, in the pieces in which it came: a gigabyte of parts is neither joined nor copied.

A cut of a content shares its bytes; a copy of an object shares them all. `apply` lets moto's keys keep their
values so, in place of temporary files that are copied with every read.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from moto.s3.models import FakeKey

from tests.cloud import checksums
from tests.cloud.moto_sqs import put


class Content:
    """Bytes that do not change, in pieces."""

    __slots__ = ("_starts", "pieces", "size")

    def __init__(self, pieces: Iterable[bytes | memoryview]) -> None:
        self.pieces = tuple(memoryview(piece) for piece in pieces if len(piece))
        *self._starts, self.size = accumulate((len(piece) for piece in self.pieces), initial=0)

    def __deepcopy__(self, _memo: object) -> Content:
        return self  # moto copies whole keys, as for a listing of versions

    def cut(self, first: int, last: int) -> Content:
        """Return the bytes from `first` to `last`, both included; none where last comes before first."""
        kept = []
        at = max(bisect_right(self._starts, first) - 1, 0)
        for start, piece in zip(self._starts[at:], self.pieces[at:], strict=True):
            if start > last:
                break
            kept.append(piece[max(first - start, 0) : last - start + 1])
        return Content(kept)

    def whole(self) -> bytes:
        """Return the bytes as one; a copy, but where they are one already."""
        if len(self.pieces) == 1:
            only = self.pieces[0].obj
            if isinstance(only, bytes) and len(only) == self.size:
                return only
        return b"".join(self.pieces)

    def md5(self) -> str:
        """Return the MD5 in hexadecimal."""
        running = hashlib.md5(usedforsecurity=False)
        for piece in self.pieces:
            running.update(piece)
        return running.hexdigest()

    def checksum(self, algorithm: str) -> str:
        """Return a checksum as headers spell it."""
        return checksums.encoded(algorithm, *self.pieces)


def joined(contents: Iterable[Content]) -> Content:
    """Return contents one after the other as one."""
    return Content(piece for content in contents for piece in content.pieces)


def apply() -> None:
    """Put the patches in place."""

    def keep(self: Any, value: bytes | Content) -> None:
        self.content = value if isinstance(value, Content) else Content([value])
        self.contentsize = self.content.size

    put(FakeKey, "value", property(lambda self: self.content.whole(), keep))

    def etag(self: Any) -> str:
        self._etag = self._etag or self.content.md5()
        return f'"{self._etag}"'

    put(FakeKey, "etag", property(etag))
    plain = FakeKey.dispose

    def dispose(self: Any, garbage: bool = False) -> None:  # noqa: FBT001, FBT002 - moto's signature
        # moto remembers every key there ever was; not its bytes.
        self.content, self.parts = Content([]), {}
        plain(self, garbage)

    put(FakeKey, "dispose", dispose)
    # What a key was put together from, by part number; and by which upload.
    fresh: Any = FakeKey
    fresh.parts, fresh.upload_id = {}, ""
