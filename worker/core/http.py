"""HTTP/1.1 as bytes: what an answer's head says, and where its body's bytes are in what was received.

RFC 9112. Nothing here reads or waits: `worker.aws.http` brings the bytes. Bodies are handed out as slices of
the buffer they arrived in, so that framing copies nothing.
"""

from __future__ import annotations

import re

import msgspec

LONGEST_HEAD = 65_536
"""Bytes of an answer's head; S3's own limits (2 KiB of metadata, 8 KiB of headers) are far below."""

_LONGEST_LINE = 4096
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_OK, _NO_CONTENT, _NOT_MODIFIED = 200, 204, 304


class MalformedError(Exception):
    """What came is not HTTP as this program understands it."""


class Head(msgspec.Struct, frozen=True):
    """An answer's head.

    Attributes:
        status: code.
        headers: by name in lower case; their characters stand for bytes (ISO 8859-1).
        length: bytes of the body, where it says.
        keeps_alive: whether the connection stays open.
    """

    status: int
    headers: dict[str, str]
    length: int | None = None
    keeps_alive: bool = True


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
    try:
        for line in lines:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip(" \t")
    except ValueError as error:
        raise MalformedError("a header without a colon") from error
    if len(headers) != len(lines):
        headers = _joined(lines)
    names = "".join(headers)
    if "" in headers or " " in names or "\t" in names:
        raise MalformedError("a header without a name")
    keeps_alive = first[7] != "0" and headers.get("connection", "").lower() != "close"
    return Head(int(first[9:12]), headers, _length(headers), keeps_alive)


def _joined(lines: list[str]) -> dict[str, str]:
    """Headers some of which come more than once (RFC 9110, 5.3)."""
    headers: dict[str, str] = {}
    for line in lines:
        spelt, value = line.split(":", 1)
        name, text = spelt.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _length(headers: dict[str, str]) -> int | None:
    text = headers.get("content-length")
    if text is None or "transfer-encoding" in headers:
        return None
    if not text.isdecimal() or not text.isascii():
        raise MalformedError(f"content-length {text[:40]!r}")
    return int(text)


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
        if not _SIZE.fullmatch(digits):
            raise MalformedError(f"no chunk size: {line[:40]!r}")
        self._left = int(digits, 16)
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
    if head.length is not None and head.status == _OK:
        return Length(head.length)
    coding = head.headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked" or "content-length" in head.headers:
            raise MalformedError(f"transfer-encoding {coding[:40]!r}")
        return Chunked()
    if head.status in (_NO_CONTENT, _NOT_MODIFIED) or head.status < _OK:
        return Length(0)
    return UntilClose() if head.length is None else Length(head.length)
