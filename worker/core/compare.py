"""Whether two objects are equal, as far as what S3 says of them can tell.

| sizes | ETags | stored full-object checksums of one algorithm | comparison |
|---|---|---|---|
| differ | | | different |
| equal | equal | | equal |
| equal | differ, both MD5 digests | | different |
| equal | differ otherwise | equal | equal |
| equal | differ otherwise | differ | different |
| equal | differ otherwise | none in common | unproven |

An absent ETag equals nothing. Equal ETags of the multipart form (`-N`) mean the same parts, each with the
same MD5 digest.
"""

from __future__ import annotations

import enum

import msgspec

from worker.core.model import ObjectRef, is_md5

KMS = frozenset({"aws:kms", "aws:kms:dsse"})
"""Encryptions under which an ETag is no digest (S3 API Reference, "Object": ETag)."""


class Comparison(enum.StrEnum):
    """What can be said of a pair of objects."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNPROVEN = "unproven"


class Criterion(enum.StrEnum):
    """By what two listed objects are compared. What each can miss is in `CAN_MISS`."""

    ETAG = "etag"
    """By the table above."""
    SIZE = "size"
    """Equal where the sizes are."""
    SIZE_AND_TIME = "size-and-time"
    """Equal where the sizes are, and the destination was not written before the source."""


CAN_MISS = {
    Criterion.ETAG: "nothing: what ETags cannot tell, workers find out by checksum before they copy",
    Criterion.SIZE: "an object overwritten, on either side, by another of the same size",
    Criterion.SIZE_AND_TIME: "a source overwritten by another of the same size while it was copied, "
    "and a copy altered since without a change of size",
}
"""Which differences a criterion takes for equality."""


class Seen(msgspec.Struct, frozen=True):
    """An object as S3 describes it.

    Attributes:
        size: bytes.
        etag: without its quotes.
        digest: whether the ETag of MD5 shape is a digest of the bytes (not under KMS, nor SSE-C).
        checksums: base64 of the stored full-object checksums, by algorithm (`CRC64NVME`, ...).
        storage_class: as S3 spells it; says nothing of the bytes.
    """

    size: int
    etag: str
    digest: bool = True
    checksums: dict[str, str] = {}
    storage_class: str = "STANDARD"


def compare(source: Seen, destination: Seen) -> Comparison:
    """Compare by the table above."""
    if source.size != destination.size:
        return Comparison.DIFFERENT
    if source.etag and source.etag == destination.etag:
        return Comparison.EQUAL
    if source.digest and destination.digest and is_md5(source.etag) and is_md5(destination.etag):
        return Comparison.DIFFERENT
    shared = source.checksums.keys() & destination.checksums.keys()
    if not shared:
        return Comparison.UNPROVEN
    same = all(source.checksums[name] == destination.checksums[name] for name in shared)
    return Comparison.EQUAL if same else Comparison.DIFFERENT


def compare_refs(
    source: ObjectRef, destination: ObjectRef, *, digests: bool, by: Criterion = Criterion.ETAG
) -> Comparison:
    """Compare two listed objects; `digests` says whether both buckets' plain ETags are MD5 digests."""
    if by is Criterion.ETAG:
        return compare(
            Seen(source.size, source.etag, digests), Seen(destination.size, destination.etag, digests)
        )
    older = by is Criterion.SIZE_AND_TIME and destination.last_modified < source.last_modified
    return Comparison.DIFFERENT if older or source.size != destination.size else Comparison.EQUAL
