"""Our own saved listings: JSON lines, an object a line, in key order.

    {"Key":"1991/06/05/KTLX","Size":1027979,"ETag":"174e…48f","LastModified":"2015-10-29T06:40:00.000Z",
     "StorageClass":"STANDARD"}

on one line, in UTF-8. Names and values are S3's (API Reference, "Object"), but for the ETag's quotes, which
are left out; `VersionId` follows where it is known. Readers take the ETag with its quotes as well, a time in
any zone, a line without `StorageClass` (STANDARD), and fields that they do not know.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from worker.core.errors import ListingError
from worker.core.model import ObjectRef

LONGEST = 1024**2
"""Bytes of the longest line that is read; a key of 1,024 bytes takes at most six times as many."""

LARGEST = 2**63 - 1
"""Bytes of the largest object that is believed."""

UNREADABLE = (msgspec.DecodeError, UnicodeError, OverflowError, RecursionError)
"""What reading a line or a row that cannot be read raises."""


class Line(msgspec.Struct, rename="pascal", omit_defaults=True):
    """A line as it is written; the time as S3 spells it."""

    key: str
    size: int
    e_tag: str = msgspec.field(name="ETag")
    last_modified: str
    storage_class: str
    version_id: str | None = None


class Row(msgspec.Struct, rename="pascal", gc=False):
    """A line as it is read; a row of what `aws s3api list-objects-v2` prints, too."""

    key: Annotated[str, msgspec.Meta(min_length=1)]
    size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
    e_tag: str = msgspec.field(name="ETag")
    last_modified: Annotated[datetime, msgspec.Meta(tz=True)]
    storage_class: str = "STANDARD"
    version_id: str | None = None


class _Keyed(msgspec.Struct, rename="pascal"):
    """What tells a line of a listing from other JSON."""

    key: object


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Row)
_keyed = msgspec.json.Decoder(_Keyed)


def written(lines: Iterable[Line]) -> bytes:
    """Lines as a file holds them, each with its newline."""
    return _encoder.encode_lines(lines)


def encode(ref: ObjectRef) -> bytes:
    """An object's line, with its newline."""
    modified = datetime.fromtimestamp(ref.last_modified, UTC).isoformat(timespec="milliseconds")
    spelt = modified.replace("+00:00", "Z")
    return written([Line(ref.key, ref.size, ref.etag, spelt, ref.storage_class, ref.version_id)])


def refs(rows: Iterable[Row]) -> list[ObjectRef]:
    """The objects that rows tell of."""
    return [
        ObjectRef(
            row.key,
            row.size,
            row.e_tag.strip('"'),
            int(row.last_modified.timestamp()),
            row.storage_class,
            row.version_id,
        )
        for row in rows
    ]


def decode(line: bytes) -> ObjectRef:
    """The object of a line, with or without its newline.

    Raises:
        ListingError: it is no such line; says why. Which line of which file it is, the caller knows.
    """
    try:
        [ref] = refs([_decoder.decode(line)])
    except UNREADABLE as error:
        raise ListingError(f"no line of a listing: {error}") from None
    return ref


def is_line(text: bytes) -> bool:
    """Whether a text looks like a line of a listing: an object that has a key; the rest of it may be bad."""
    try:
        _keyed.decode(text)
    except UNREADABLE:
        return False
    return True


def read(chunks: Iterable[bytes]) -> Iterator[list[Row]]:
    """The rows of a file, in pieces of a chunk or so.

    A file that was cut where a line ends cannot be told from a shorter one: only compressed files tell.

    Raises:
        ListingError: a line is no line of a listing; says which, and why.
    """
    rest, before = b"", 0
    for chunk in itertools.chain(chunks, [b"\n"]):
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        if len(rest) > LONGEST:
            raise ListingError(f"a line holds more than {LONGEST:,} bytes, which no object's does")
        try:
            yield _decoder.decode_lines(whole)
        except UNREADABLE as error:
            raise _blame(whole, before, error) from None
        before += whole.count(b"\n") + len(newline)


def _blame(text: bytes, before: int, error: Exception) -> ListingError:
    """What to say of the first line that cannot be read, where `error` has told that there is one."""
    for number, line in enumerate(text.split(b"\n"), before + 1):
        try:
            if line.strip():
                _decoder.decode(line)
        except UNREADABLE as reason:
            return ListingError(f"line {number:,}: {reason}")
    return ListingError(f"after line {before:,}: {error}")
