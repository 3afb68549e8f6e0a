"""Listings packed as they are written: nothing, gzip or zstd, in members that each end with a whole line.

Members of a packed file are whole by themselves, so that what an interrupted one holds can be told and gone
on from; readers take a file of many for one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from worker.core.errors import UsageError

PACKINGS = ("none", "gzip", "zstd")
SUFFIXES = {".gz": "gzip", ".zst": "zstd"}

_MEMBER = 64 * 1024**2
"""Bytes of lines after which a member ends: the most that an interruption loses."""

_LEVEL = {"gzip": 1, "zstd": 3}
"""A listing takes less time than packing it well."""

_CHUNK = 1024**2
_PACKED_CHUNK = 8_192
_GZIP = zlib.MAX_WBITS | 16


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def check(packing: str) -> None:
    """Make sure that a packing can be had.

    Raises:
        UsageError: it needs what is not installed.
    """
    if packing == "zstd":
        _zstandard()


def packed(blocks: Iterator[bytes], packing: str) -> Iterator[bytes]:
    """What a file of these blocks of lines holds; the last member may be empty, the file is not."""
    if packing == "none":
        yield from blocks
        return
    packer, held = _packer(packing), 0
    for block in blocks:
        held += len(block)
        if held < _MEMBER or b"\n" not in block:
            yield packer.compress(block)
            continue
        end = block.rindex(b"\n") + 1
        yield packer.compress(block[:end]) + packer.flush()
        packer, held = _packer(packing), len(block) - end
        yield packer.compress(block[end:])
    yield packer.flush()


def whole(file: BinaryIO, packing: str) -> tuple[int, bytes]:
    """Up to which byte a file that may be cut short holds whole lines, and the last of these.

    Raises:
        zlib.error, ValueError: it is no such file.
    """
    return _whole_lines(file) if packing == "none" else _whole_members(file, packing)


def _whole_lines(file: BinaryIO) -> tuple[int, bytes]:
    end, tail = file.seek(0, 2), b""
    # From the end backwards, until it holds the last whole line and the end of the one before.
    while end > 0 and tail.count(b"\n") < 2:  # noqa: PLR2004
        start = max(0, end - _CHUNK)
        file.seek(start)
        tail, end = file.read(end - start) + tail, start
    lines = tail[: tail.rfind(b"\n") + 1]
    return end + len(lines), lines[lines.rfind(b"\n", 0, -1) + 1 :]


def _whole_members(file: BinaryIO, packing: str) -> tuple[int, bytes]:
    unpacker, end, read, last, tail = _unpacker(packing), 0, 0, b"", b""
    file.seek(0)
    while data := file.read(_CHUNK):
        read += len(data)
        while data:
            tail = _last_line(tail + unpacker.decompress(data))
            data = b""
            if unpacker.eof:
                data = unpacker.unused_data
                end, last, unpacker = read - len(data), tail, _unpacker(packing)
    return end, last


def _last_line(text: bytes) -> bytes:
    """The last line, and what may be the beginning of another."""
    end = text.rfind(b"\n")
    return text[text.rfind(b"\n", 0, max(end, 0)) + 1 :]


def unpacked_zstd(file: BinaryIO) -> Iterator[bytes]:
    """The content of a zstd file of any number of frames, in pieces.

    zstandard's own reader takes a cut for an end.

    Raises:
        EOFError: the file ends within a frame.
        ValueError: it is no such file.
        UsageError: zstandard is not installed.
    """
    zstandard, unpacker = _zstandard(), None
    while chunk := file.read(_PACKED_CHUNK):
        while chunk:
            unpacker = unpacker or _unpacker("zstd")
            try:
                content = unpacker.decompress(chunk)
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None
            chunk, unpacker = (unpacker.unused_data, None) if unpacker.eof else (b"", unpacker)
            if content:
                yield content
    if unpacker:
        raise EOFError("compressed file ended before its end")


def _packer(packing: str) -> _Packer:
    if packing == "gzip":
        return zlib.compressobj(_LEVEL[packing], zlib.DEFLATED, _GZIP)
    made: _Packer = _zstandard().ZstdCompressor(_LEVEL[packing], write_checksum=True).compressobj()
    return made


def _unpacker(packing: str) -> _Unpacker:
    if packing == "gzip":
        return zlib.decompressobj(_GZIP)
    made: _Unpacker = _zstandard().ZstdDecompressor().decompressobj()
    return made


def _zstandard() -> Any:  # noqa: ANN401 - a module that may be missing
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError("zstd needs a package: pip install 'fleetcopy[zstd]', or write .gz") from None
    return zstandard
