"""The `aws-chunked` framing of an upload whose checksum follows its bytes, as a trailer.

S3 API Reference, "Signature calculations for trailing headers". The length of the whole is needed before the
first byte, and so the chunks are of one size, whatever the pieces that the bytes come in.
"""

from __future__ import annotations

from collections.abc import Iterator

CHUNK = 1024 * 1024
"""Bytes; S3 wants 8 KiB at least in all but the last."""


def encoded_length(size: int, trailer: int, chunk: int = CHUNK) -> int:
    """Bytes that `size` bytes and a trailer line of so many bytes become."""
    whole, rest = divmod(size, chunk)
    length = whole * (len(f"{chunk:x}") + 4 + chunk)
    if rest:
        length += len(f"{rest:x}") + 4 + rest
    return length + len("0\r\n") + trailer + len("\r\n\r\n")


class Framer:
    """Frames the bytes of one body of `size` bytes."""

    def __init__(self, size: int, chunk: int = CHUNK) -> None:
        self._left = size
        self._chunk = chunk
        self._in_chunk = 0

    def frame(self, piece: memoryview) -> Iterator[bytes | memoryview]:
        """The next bytes, with chunk heads and ends around them where they fall."""
        while piece:
            if not self._in_chunk:
                self._in_chunk = min(self._chunk, self._left)
                yield b"%x\r\n" % self._in_chunk
            part, piece = piece[: self._in_chunk], piece[self._in_chunk :]
            self._left -= len(part)
            self._in_chunk -= len(part)
            yield part
            if not self._in_chunk:
                yield b"\r\n"

    @staticmethod
    def end(trailer: str) -> bytes:
        """What follows the last byte; `trailer` is a header line without its end."""
        return f"0\r\n{trailer}\r\n\r\n".encode()
