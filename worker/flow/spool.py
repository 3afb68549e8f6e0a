"""What has been listed and not yet asked for: blocks of bytes in order, first in memory, then on disk.

One `Room` is shared by the spools of a listing, so that memory is bounded however many there are. Temporary
files have no name, and vanish with the process; each is closed once it has been read.
"""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path
from typing import BinaryIO

_SEGMENT = 16 * 1024**2
"""Bytes after which another file is begun, so that disk is given back as it is read."""

_READ = 1024**2


class Room:
    """How many bytes of memory are left; beyond, files in `folder` (the system's, where None) are used."""

    def __init__(self, memory: int, folder: Path | None = None) -> None:
        self.memory = memory
        self.folder = folder


class _Segment:
    def __init__(self, folder: Path | None) -> None:
        self.file: BinaryIO = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed once read
        self.written = self.read = 0

    def append(self, block: bytes) -> None:
        self.file.seek(self.written)
        view = memoryview(block)
        while view:
            view = view[self.file.write(view) :]
        self.written += len(block)

    def take(self) -> bytes:
        self.file.seek(self.read)
        block = self.file.read(_READ)
        self.read += len(block)
        return block


class Spool:
    """Blocks, first in, first out. Not safe to use from several threads at once.

    Attributes:
        pending: bytes that wait here.
    """

    def __init__(self, room: Room) -> None:
        self.pending = 0
        self._room = room
        self._parts: deque[bytes | _Segment] = deque()

    def put(self, block: bytes) -> None:
        """Add a block, which is not empty.

        Raises:
            OSError: the disk is full.
        """
        last = self._parts[-1] if self._parts else b""
        if isinstance(last, _Segment) and last.written < _SEGMENT:
            last.append(block)
        elif len(block) <= self._room.memory:
            self._room.memory -= len(block)
            self._parts.append(block)
        else:
            segment = _Segment(self._room.folder)
            self._parts.append(segment)
            segment.append(block)
        self.pending += len(block)

    def take(self) -> bytes:
        """The next bytes, not always cut as they were put; there must be some."""
        first = self._parts[0]
        if isinstance(first, bytes):
            self._parts.popleft()
            self._room.memory += len(first)
            block = first
        else:
            block = first.take()
            if first.read == first.written:
                self._parts.popleft()
                first.file.close()
        self.pending -= len(block)
        return block

    def close(self) -> None:
        """Give back what it holds; nothing is pending then."""
        while self._parts:
            first = self._parts.popleft()
            if isinstance(first, bytes):
                self._room.memory += len(first)
            else:
                first.file.close()
        self.pending = 0
