"""What an object's GET headers say, and which headers of a PUT carry its attributes over unchanged.

Values are passed on as they came, byte for byte. What S3 itself says it withholds, or what another header
could not hold again, is an error, never a shrug.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from worker.core.compare import KMS, Seen
from worker.core.errors import AttributeLostError

_CHECKSUMS = {
    f"x-amz-checksum-{name.lower()}": name for name in ("CRC64NVME", "CRC32", "CRC32C", "SHA1", "SHA256")
}

_CARRIED = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-website-redirect-location",
    }
)
_METADATA = "x-amz-meta-"
_DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} [0-2]\d:[0-5]\d:[0-6]\d GMT"
)


def seen(headers: Mapping[str, str], size: int) -> Seen:
    """What a GET answer says of its object's bytes; `size` is how many they are."""
    encrypted = (
        headers.get("x-amz-server-side-encryption") in KMS
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )
    whole = headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT"
    checksums = {}
    if whole:
        for header, name in _CHECKSUMS.items():
            value = headers.get(header, "-")
            # A checksum of parts' checksums (COMPOSITE, `-N` at its end) proves nothing of the whole.
            if "-" not in value:
                checksums[name] = value
    return Seen(size, headers.get("etag", "").strip('"'), not encrypted, checksums)


def carried(headers: Mapping[str, str]) -> dict[str, str]:
    """The PUT headers that carry an object's attributes over; tags are not among a GET's headers.

    Raises:
        AttributeLostError: one cannot be carried over.
    """
    if missing := headers.get("x-amz-missing-meta"):
        raise AttributeLostError(f"S3 withholds {missing} metadata entries")
    expires = headers.get("expires")
    if expires and not _DATE.fullmatch(expires):
        raise AttributeLostError(f"Expires {expires!r} is no HTTP date")
    return {
        name: value
        for name, value in headers.items()
        if (name in _CARRIED and value) or name.startswith(_METADATA)
    }
