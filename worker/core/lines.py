"""Our own saved listings: JSON lines, an object a line, in key order.

    {"Key":"1991/06/05/KTLX","Size":1027979,"ETag":"174e…48f","LastModified":"2015-10-29T06:40:00.000Z",
     "StorageClass":"STANDARD"}

on one line, in UTF-8. Names and values are S3's (API Reference, "Object"), but for the ETag's quotes, which
are left out; `VersionId` follows where it is known. Readers take the ETag with its quotes as well, a time in
any zone, a line without `StorageClass` (STANDARD), and fields that they do not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from worker.core.errors import ListingError
from worker.core.model import ObjectRef


class Line(msgspec.Struct, rename="pascal", omit_defaults=True):
    """A line as it is written; the time as S3 spells it."""

    key: str
    size: int
    e_tag: str = msgspec.field(name="ETag")
    last_modified: str
    storage_class: str
    version_id: str | None = None


class _Read(msgspec.Struct, rename="pascal"):
    """A line as it is read."""

    key: Annotated[str, msgspec.Meta(min_length=1)]
    size: Annotated[int, msgspec.Meta(ge=0)]
    e_tag: str = msgspec.field(name="ETag")
    last_modified: Annotated[datetime, msgspec.Meta(tz=True)]
    storage_class: str = "STANDARD"
    version_id: str | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_Read)


def written(lines: Iterable[Line]) -> bytes:
    """Lines as a file holds them, each with its newline."""
    return _encoder.encode_lines(lines)


def encode(ref: ObjectRef) -> bytes:
    """An object's line, with its newline."""
    modified = datetime.fromtimestamp(ref.last_modified, UTC).isoformat(timespec="milliseconds")
    spelt = modified.replace("+00:00", "Z")
    return written([Line(ref.key, ref.size, ref.etag, spelt, ref.storage_class, ref.version_id)])


def decode(line: bytes) -> ObjectRef:
    """The object of a line, with or without its newline.

    Raises:
        ListingError: it is no such line; says why. Which line of which file it is, the caller knows.
    """
    try:
        row = _decoder.decode(line)
        modified = int(row.last_modified.timestamp())
    except (msgspec.DecodeError, UnicodeError, OverflowError, RecursionError) as error:
        raise ListingError(f"no line of a listing: {error}") from None
    return ObjectRef(row.key, row.size, row.e_tag.strip('"'), modified, row.storage_class, row.version_id)
