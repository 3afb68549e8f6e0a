"""Part plans: the sizes into which an object is cut, and what its parts together prove.

| source shows | parts | proof before Complete |
|---|---|---|
| ETag `-N`, N parts of one size, no KMS | the source's own | MD5 of the parts' MD5s equals that ETag |
| stored checksum of the whole object | for throughput | the parts' checksums, combined, equal it |
| neither, or parts that S3 did not sum | for throughput | none: S3 received what was sent, no more is known |

In no case is a byte hashed for the proof alone.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Sequence

import msgspec

from worker.core.compare import Seen
from worker.core.errors import ProofRefusedError
from worker.core.message import MOST_PARTS
from worker.core.model import LARGEST_PUT, ObjectRef, Proof, is_md5

MIB = 1024**2
GIB = 1024**3

SMALLEST_PART = 5 * MIB
"""Bytes of any part but the last (S3 User Guide, "Amazon S3 multipart upload limits")."""

LARGEST_PART = 5 * GIB
"""Bytes (same source)."""

LARGEST_OBJECT = MOST_PARTS * LARGEST_PART
"""Bytes, 48.8 TiB (same source)."""

FAN_OUT_ABOVE = GIB
"""Bytes above which the parts of an object are copied by many workers."""

_PART = 64 * MIB
"""Bytes of a part that costs little to send again, and little beside its bytes."""

_PARTS = re.compile(r"[0-9a-f]{32}-([1-9][0-9]{0,4})")


class Part(msgspec.Struct, frozen=True):
    """A part that is there: its number from 1, ETag without quotes, bytes, checksum (base64; `""`: none)."""

    number: int
    etag: str
    size: int
    checksum: str = ""


def is_large(ref: ObjectRef) -> bool:
    """Whether an object is copied by many workers: what is large, but for what one PUT proves by its MD5."""
    return ref.size > FAN_OUT_ABOVE and (ref.size > LARGEST_PUT or not is_md5(ref.etag))


def parts_in(etag: str) -> int:
    """How many parts an object with this ETag was uploaded in; 0 where the ETag does not say."""
    match = _PARTS.fullmatch(etag)
    return int(match[1]) if match else 0


def count(size: int, part_size: int) -> int:
    """How many parts an object has; an empty one has one."""
    return max(1, math.ceil(size / part_size))


def span(size: int, part_size: int, number: int) -> tuple[int, int]:
    """First byte and length of a part."""
    first = (number - 1) * part_size
    return first, min(part_size, size - first)


def own_part_size(source: Seen, first_part: int) -> int | None:
    """Bytes of the source's own parts, where all but the last may be of one size, and its ETag proves them.

    Other sizes may come to the same: the ETag tells in the end, the sizes of the single parts before.

    Args:
        source: the object.
        first_part: bytes that S3 gives for its part number 1.
    """
    parts = parts_in(source.etag)
    if not source.digest or not parts or not 0 < first_part <= LARGEST_PART:
        return None
    if parts > 1 and first_part < SMALLEST_PART:
        return None  # no S3 would take such parts again
    return first_part if (parts - 1) * first_part < source.size <= parts * first_part else None


def part_size(size: int) -> int:
    """Bytes of the parts of an object whose own are not known: 64 MiB, or what fits S3's limits."""
    return max(_PART, math.ceil(size / MOST_PARTS / MIB) * MIB)


def etag_of(parts: Sequence[Part]) -> str:
    """The ETag that S3 gives an object of these parts, if theirs are MD5 digests."""
    digests = b"".join(bytes.fromhex(part.etag) for part in parts)
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"


Combine = Callable[[str, Iterable[tuple[str, int]]], str]
"""Combines checksums of consecutive bytes: algorithm, then base64 and length of each."""


class Whole(msgspec.Struct, frozen=True):
    """What a finished upload is known to be: the proof, and its checksum to send with Complete, or `""`."""

    proof: Proof
    checksum: str = ""


def prove(source: Seen, parts: Sequence[Part], *, algorithm: str, own: bool, combine: Combine) -> Whole:
    """Prove the parts to be the source object, by the table above.

    Args:
        source: the version that they are of.
        parts: all of them, in order.
        algorithm: of their checksums; empty where they were to have none.
        own: whether they are the source's own, and the ETags of both are made of MD5 digests.
        combine: see there.

    Raises:
        ProofRefusedError: they are something else.
    """
    size = sum(part.size for part in parts)
    if size != source.size:
        raise ProofRefusedError(f"its parts have {size} bytes, the source {source.size}")
    summed = bool(algorithm) and all(part.checksum for part in parts)
    checksum = combine(algorithm, [(part.checksum, part.size) for part in parts]) if summed else ""
    if own:
        etag = etag_of(parts)
        if etag != source.etag:
            raise ProofRefusedError(f"its parts have the ETag {etag}, the source {source.etag}")
        return Whole(Proof.MD5, checksum)
    stored = source.checksums.get(algorithm)
    if stored is None or not summed:
        return Whole(Proof.TRANSPORT, checksum)
    if stored != checksum:
        raise ProofRefusedError(f"its parts have the {algorithm} {checksum}, the source {stored}")
    return Whole(Proof.CHECKSUM, checksum)
