"""What a PUT sends: the bytes of an object, or of a part of it, as they come in, and perhaps their checksum.

A small body is held in its thread's buffer and goes out in one go with its head; a larger one streams
through. A sum is made of the bytes on their way: where the destination can check it, or may not check what is
declared.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from awscrt import checksums

from worker.aws.exchange import Body, Pieces
from worker.aws.wire import Answer, Site
from worker.core.aws_chunked import Framer, encoded_length
from worker.core.errors import ProofRefusedError, ServiceUnavailableError

_HELD = 65_536
"""Bytes of an object that is held at most: half of the smallest buffer, so that its head fits there too."""

CRC64NVME = "CRC64NVME"

_SUMS = {
    CRC64NVME: (checksums.crc64nvme, checksums.combine_crc64nvme, 8),
    "CRC32C": (checksums.crc32c, checksums.combine_crc32c, 4),
    "CRC32": (checksums.crc32, checksums.combine_crc32, 4),
}
"""By algorithm: adds bytes to a sum; joins it with the next, given what that is of; and its own bytes."""

COMBINED = tuple(_SUMS)
"""Algorithms whose sums of parts make the sum of the whole, the one to choose first."""


def combine(algorithm: str, sums: Iterable[tuple[str, int]]) -> str:
    """The sum of consecutive bytes from that of each stretch; see `core.parts.Combine`."""
    _, join, width = _SUMS[algorithm]
    whole = 0
    for value, length in sums:
        whole = join(whole, int.from_bytes(base64.b64decode(value), "big"), length)
    return base64.b64encode(whole.to_bytes(width, "big")).decode()


def can_trail(writer: Site) -> bool:
    """Whether a destination takes checksums behind the bytes; over plain HTTP, S3 takes none unsigned."""
    return writer.capabilities.trailers and writer.encrypts


class Digest(Protocol):
    """What takes bytes in, as those of `hashlib` do."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes in."""
        ...

    def digest(self) -> bytes:
        """That of those so far."""
        ...


Declared = tuple[str, str]
"""Algorithm and base64 of a checksum that the request declares of its body."""


def body(
    reader: Site,
    answer: Answer,
    size: int,
    headers: dict[str, str],
    *,
    trailed: str = "",
    digest: Digest | None = None,
    unchecked: Declared | None = None,
) -> Body:
    """The body of a PUT of the `size` bytes that an answer brings.

    Args:
        reader: the answer's site.
        answer: its body is read as it is sent.
        size: bytes.
        headers: of the PUT; a checksum behind the bytes adds its own.
        trailed: algorithm of that checksum; `""` for none.
        digest: takes the bytes in on their way.
        unchecked: what the destination may not compare with the bytes: it is compared here.
    """
    pieces, length = _pieces(reader, answer, size, digest), size
    if unchecked:
        pieces = _checked(pieces, size, unchecked, reader.where(answer.request).what)
    if trailed:
        name = f"x-amz-checksum-{trailed.lower()}"
        pieces, length = _with_sum(pieces, size, trailed, name), _framed_length(size, trailed, name)
        encoding = headers.get("content-encoding")
        headers["content-encoding"] = f"{encoding},aws-chunked" if encoding else "aws-chunked"
        headers["x-amz-decoded-content-length"] = str(size)
        headers["x-amz-trailer"] = name
    if size > _HELD:
        return Body(length, stream=pieces, trailed=bool(trailed))
    return Body(length, held=_held(pieces, length), trailed=bool(trailed))


def _pieces(reader: Site, answer: Answer, size: int, digest: Digest | None) -> Iterator[Pieces]:
    """An answer's bytes, `size` in all, each piece good until the next.

    Raises:
        ServiceUnavailableError: they are fewer or more.
    """
    left = size
    while left:
        piece = reader.read(answer)
        if not 0 < len(piece) <= left:
            what = reader.where(answer.request).what
            raise ServiceUnavailableError(f"{what}: not the {size} bytes that it was said to have")
        left -= len(piece)
        if digest:
            digest.update(piece)
        yield (piece,)


def _checked(pieces: Iterator[Pieces], size: int, declared: Declared, what: str) -> Iterator[Pieces]:
    """The same, but for the last piece where they do not have the checksum that is declared; `what` they are.

    Raises:
        ProofRefusedError: they do not; what was sent so far is no whole body.
    """
    algorithm, expected = declared
    digest = _Crc(algorithm) if algorithm in _SUMS else hashlib.new(algorithm, usedforsecurity=False)
    left = size
    for some in pieces:
        for piece in some:
            left -= len(piece)
            digest.update(piece)
        if not left and (found := _spelt(digest)) != expected:
            raise ProofRefusedError(f"{what}: what came has the {algorithm} {found}, not {expected}")
        yield some


def _spelt(digest: Digest) -> str:
    return base64.b64encode(digest.digest()).decode()


class _Crc:
    """A CRC, used as hashlib's digests are."""

    def __init__(self, algorithm: str) -> None:
        self._add, _, self._width = _SUMS[algorithm]
        self._total = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._total = self._add(data, self._total)

    def digest(self) -> bytes:
        return self._total.to_bytes(self._width, "big")


def _framed_length(size: int, algorithm: str, name: str) -> int:
    width = _SUMS[algorithm][2]
    return encoded_length(size, len(name) + len(":") + len(base64.b64encode(bytes(width))))


def _with_sum(pieces: Iterator[Pieces], size: int, algorithm: str, name: str) -> Iterator[Pieces]:
    """The same in S3's framing, with their sum at the end."""
    framer, crc = Framer(size), _Crc(algorithm)
    for some in pieces:
        for piece in some:
            crc.update(piece)
        yield tuple(framed for piece in some for framed in framer.frame(memoryview(piece)))
    yield (framer.end(f"{name}:{_spelt(crc)}"),)


def _held(pieces: Iterator[Pieces], length: int) -> Pieces:
    """All of the pieces at once."""
    first = next(pieces, ())
    if sum(map(len, first)) == length:
        return first
    # The buffer is used again for the next: what it held is copied.
    return (b"".join(first), *(b"".join(more) for more in pieces))
