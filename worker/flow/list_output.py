"""A listing into a file that appears when it is whole, and that an interrupted run goes on with.

Until then it is `FILE.<hash of where the listing is from>.part`: the same command finds what it has written
before, cuts off what is not whole, and goes on after its last key. Another listing has another hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.core.errors import ListingError, UsageError
from worker.core.lines import decode
from worker.core.model import Endpoint
from worker.flow.packing import packed, whole


class ListingFile:
    """The file, within a `with`.

    Args:
        path: where it appears.
        source: what is listed.
        packing: see `flow.packing`.

    Attributes:
        after: the last key of what an earlier run has written; empty for none.

    Raises:
        UsageError: what is there is no regular file, and must not be replaced by one.
    """

    def __init__(self, path: Path, source: Endpoint, packing: str) -> None:
        path = path.resolve()  # the file behind a link is replaced, not the link
        if path.exists() and not path.is_file():
            raise UsageError(
                f"{path}: no regular file, and so not to be replaced: name a file, or - for standard output"
            )
        self.after = ""
        self._path = path
        self._packing = packing
        origin = f"{packing} {source.endpoint_url or ''} {source.uri}"
        mark = hashlib.sha256(origin.encode()).hexdigest()[:8]
        self._part = path.with_name(f"{path.name}.{mark}.part")

    @property
    def folder(self) -> Path:
        """Where there is room for it."""
        return self._path.parent

    def __enter__(self) -> Self:
        try:
            self._file = self._part.open("r+b" if self._part.exists() else "x+b")
        except OSError as error:
            raise UsageError(f"{self._path}: cannot be written: {error.strerror}") from None
        try:
            self._resume()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _resume(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self._part}: another process is writing it") from None
        try:
            end, line = whole(self._file, self._packing)
            self.after = decode(line).key if line else ""
        except (ListingError, ValueError, zlib.error) as error:
            raise ListingError(f"{self._part}: not what an earlier run left ({error}): delete it") from None
        self._file.seek(end)
        self._file.truncate()

    def write(self, blocks: Iterator[bytes]) -> None:
        """Write what follows, and let the file appear.

        Raises:
            UsageError: the disk is full.
            FleetcopyError: of the blocks; what came before is kept.
        """
        for block in packed(blocks, self._packing):
            try:
                self._file.write(block)
            except OSError as error:
                raise UsageError(f"{self._part}: cannot be written: {error.strerror}") from None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self._path)
