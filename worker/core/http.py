"""HTTP/1.1 as bytes: what an answer's head says, and where its body's bytes are in what was received.

RFC 9112. Nothing here reads or waits: `worker.aws.http` brings the bytes. Bodies are handed out as slices of
the buffer they arrived in, so that framing copies nothing.
"""

from __future__ import annotations

import msgspec

LONGEST_HEAD = 65_536
"""Bytes of an answer's head; S3's own limits (2 KiB of metadata, 8 KiB of headers) are far below."""

_LONGEST_LINE = 4096
_OK, _NO_CONTENT, _NOT_MODIFIED = 200, 204, 304


class MalformedError(Exception):
    """What came is not HTTP as this program understands it."""


class Head(msgspec.Struct, frozen=True):
    """An answer's head. Header names are in lower case; values' characters stand for bytes (ISO 8859-1)."""

    status: int
    headers: dict[str, str]
    keeps_alive: bool = True

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the head says."""
        text = self.headers.get("content-length")
        return None if text is None or "transfer-encoding" in self.headers else int(text)


def parse_head(raw: bytes) -> Head:
    """An answer's head, given without the empty line that ends it.

    Raises:
        MalformedError: it is none.
    """
    text = raw.decode("latin-1")
    first, *lines = text.split("\r\n")
    # What ends a line for others, or a text, must not pass for a part of a value.
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise MalformedError("a control character")
    if not first.startswith("HTTP/1.") or not first[9:12].isdecimal():
        raise MalformedError(f"no status line: {first[:40]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedError(f"no header: {line[:40]!r}")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    names = "".join(headers)
    if "" in headers or " " in names or "\t" in names:
        raise MalformedError("no name of a header")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or not length.isascii():
        raise MalformedError(f"content-length {length[:40]!r}")
    keeps_alive = first[7] != "0" and headers.get("connection", "").lower() != "close"
    return Head(int(first[9:12]), headers, keeps_alive)


class Length:
    """A body of so many bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    @property
    def done(self) -> bool:
        """Whether the body has ended."""
        return not self.left

    def take(self, view: memoryview) -> tuple[memoryview, memoryview]:
        """The body's next bytes out of what was received, and what remains to be looked at."""
        piece, rest = view[: self.left], view[self.left :]
        self.left -= len(piece)
        return piece, rest


class Chunked:
    """A body in chunks (RFC 9112, 7.1); chunk extensions and trailers are skipped."""

    def __init__(self) -> None:
        self.done = False
        """Whether the body has ended."""
        self._left = 0
        self._line = b""
        self._next = self._size

    def take(self, view: memoryview) -> tuple[memoryview, memoryview]:
        """As `Length.take`.

        Raises:
            MalformedError: these are no chunks.
        """
        while view and not self.done:
            if self._left:
                piece, rest = view[: self._left], view[self._left :]
                self._left -= len(piece)
                return piece, rest
            view = self._read_line(view)
        return view[:0], view

    def _read_line(self, view: memoryview) -> memoryview:
        line, newline, _ = bytes(view[:_LONGEST_LINE]).partition(b"\n")
        self._line += line
        if len(self._line) > _LONGEST_LINE:
            raise MalformedError("a chunk's first line does not end")
        if newline:
            whole, self._line = self._line, b""
            self._next(whole.removesuffix(b"\r"))
        return view[len(line) + len(newline) :]

    def _size(self, line: bytes) -> None:
        digits = line.partition(b";")[0].strip()
        try:
            self._left = int(digits, 16) if digits.isalnum() else -1
        except ValueError:
            self._left = -1
        if self._left < 0:
            raise MalformedError(f"no chunk size: {line[:40]!r}")
        self._next = self._end_of_chunk if self._left else self._trailer

    def _end_of_chunk(self, line: bytes) -> None:
        if line:
            raise MalformedError("a chunk is longer than it says")
        self._next = self._size

    def _trailer(self, line: bytes) -> None:
        self.done = not line


class UntilClose:
    """A body that ends with the connection, and so may have been cut short unnoticed."""

    done = False

    def take(self, view: memoryview) -> tuple[memoryview, memoryview]:
        """As `Length.take`."""
        return view, view[:0]


Framing = Length | Chunked | UntilClose


def framing(head: Head) -> Framing:
    """How the body of an answer to GET or PUT is delimited (RFC 9112, 6.3).

    Raises:
        MalformedError: in a way that is not understood.
    """
    coding = head.headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or "content-length" in head.headers:
            raise MalformedError(f"transfer-encoding {coding[:40]!r}")
        return Chunked()
    if head.status in (_NO_CONTENT, _NOT_MODIFIED) or head.status < _OK:
        return Length(0)
    length = head.length
    return UntilClose() if length is None else Length(length)
