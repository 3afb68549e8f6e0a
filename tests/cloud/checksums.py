"""The checksums S3 knows, for the embedded AWS to verify what it is sent and to say what it keeps.

The CRCs are awscrt's; `test_checksum_values` holds them against their published check values.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

from awscrt import checksums as crt

ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
Bytes = bytes | memoryview
_CRCS: dict[str, tuple[Any, Any, int]] = {
    "CRC32": (crt.crc32, crt.combine_crc32, 4),
    "CRC32C": (crt.crc32c, crt.combine_crc32c, 4),
    "CRC64NVME": (crt.crc64nvme, crt.combine_crc64nvme, 8),
}


def digest(algorithm: str, *pieces: Bytes) -> bytes:
    """Return the raw digest of the pieces, as if they were one; `algorithm` in S3's spelling, in any case."""
    name = algorithm.upper()
    if name in _CRCS:
        compute, _, width = _CRCS[name]
        state = 0
        for piece in pieces:
            state = compute(piece, state)
        return state.to_bytes(width, "big")
    if name not in ALGORITHMS:
        raise ValueError(algorithm)
    running = hashlib.new(name.lower(), usedforsecurity=False)
    for piece in pieces:
        running.update(piece)
    return running.digest()


def encoded(algorithm: str, *pieces: Bytes) -> str:
    """Return the digest as S3's headers spell it."""
    return base64.b64encode(digest(algorithm, *pieces)).decode()


def combined(algorithm: str, parts: Iterable[tuple[str, int]]) -> str:
    """Return the CRC of a whole from those of its parts; each part's as headers spell it, with its size."""
    _, combine, width = _CRCS[algorithm]
    state = 0
    for value, size in parts:
        state = combine(state, int.from_bytes(base64.b64decode(value), "big"), size)
    return base64.b64encode(state.to_bytes(width, "big")).decode()


def composite(algorithm: str, values: Iterable[str]) -> str:
    """Return the checksum of the checksums of the parts, without the number of parts that follows it."""
    return encoded(algorithm, b"".join(base64.b64decode(value) for value in values))
