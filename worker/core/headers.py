"""What an object's GET or HEAD headers say, and which headers of a write carry its attributes over unchanged.

| attribute | write that brings the bytes (PUT, CreateMultipartUpload) | CopyObject |
|---|---|---|
| content headers, user metadata | as they came | S3 carries them |
| tags | those that were read | S3 carries them |
| website redirect | as it came | must be sent |
| storage class | the source's, else as the options say | must be sent |
| object lock | the source's while it lasts | must be sent |
| ACL, encryption | as the options say | as the options say |

Values are passed on as they came, byte for byte. What S3 itself says it withholds, or what another header
could not hold again, is an error, never a shrug.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlencode

from worker.core.compare import KMS, Seen
from worker.core.errors import AttributeLostError
from worker.core.model import ARCHIVES
from worker.core.options import Options

PAYER = {"x-amz-request-payer": "requester"}
"""By which a requester agrees to pay."""

WITH_CHECKSUMS: Mapping[str, str] = {"x-amz-checksum-mode": "ENABLED"}
"""By which a GET or HEAD asks for the checksums that are stored with an object."""

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
    }
)
_REDIRECT = "x-amz-website-redirect-location"
_LOCK_MODE, _LOCK_UNTIL = "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"
_LEGAL_HOLD = "x-amz-object-lock-legal-hold"
_METADATA = "x-amz-meta-"
_DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3]\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} [0-2]\d:[0-5]\d:[0-6]\d GMT"
)


def seen(headers: Mapping[str, str], size: int) -> Seen:
    """What a GET or HEAD answer says of its object, of `size` bytes."""
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
    return Seen(
        size=size,
        etag=headers.get("etag", "").strip('"'),
        digest=not encrypted,
        checksums=checksums,
        storage_class=headers.get("x-amz-storage-class", "STANDARD"),
    )


def is_archived(headers: Mapping[str, str]) -> bool:
    """Whether an object must be restored before it can be read (S3 API Reference, HeadObject)."""
    archived = headers.get("x-amz-storage-class") in ARCHIVES or "x-amz-archive-status" in headers
    return archived and 'ongoing-request="false"' not in headers.get("x-amz-restore", "")


def attributes(
    headers: Mapping[str, str], tags: Sequence[tuple[str, str]], options: Options
) -> dict[str, str]:
    """The headers with which PutObject and CreateMultipartUpload give the copy the source's attributes.

    Args:
        headers: of a GET or HEAD of the source, names in lower case.
        tags: key and value of each, as far as they are to be kept.
        options: see there.

    Raises:
        AttributeLostError: one cannot be carried over.
    """
    if missing := headers.get("x-amz-missing-meta"):
        raise AttributeLostError(f"S3 withholds {missing} metadata entries")
    expires = headers.get("expires")
    if expires and not _DATE.fullmatch(expires):
        raise AttributeLostError(f"Expires {expires!r} is no HTTP date")
    carried = {
        name: value
        for name, value in headers.items()
        if (name in _CARRIED and value) or name.startswith(_METADATA)
    }
    if tags:
        # A space as %20, for not every server reads a + as one.
        carried["x-amz-tagging"] = urlencode(tags, quote_via=quote)
    return carried | beside(headers, options)


def beside(headers: Mapping[str, str], options: Options) -> dict[str, str]:
    """Those of them that S3 does not carry over by itself where it copies an object."""
    sent = {
        _REDIRECT: headers.get(_REDIRECT),
        "x-amz-storage-class": options.storage_class or headers.get("x-amz-storage-class"),
        "x-amz-acl": options.acl,
        "x-amz-server-side-encryption": options.sse,
        "x-amz-server-side-encryption-aws-kms-key-id": options.sse_kms_key_id,
    }
    if options.object_lock == "copy":
        sent |= _lock(headers)
    # It is what S3 takes where none is sent, and servers may know no classes.
    if sent["x-amz-storage-class"] == "STANDARD":
        del sent["x-amz-storage-class"]
    return {name: value for name, value in sent.items() if value}


def _lock(headers: Mapping[str, str]) -> dict[str, str | None]:
    """An object's lock, as far as it lasts: S3 takes no retention that has ended."""
    hold = headers.get(_LEGAL_HOLD)
    lock: dict[str, str | None] = {_LEGAL_HOLD: hold if hold == "ON" else None}
    until, now = headers.get(_LOCK_UNTIL), headers.get("date")
    if until and not (now and datetime.fromisoformat(until) <= parsedate_to_datetime(now)):
        lock |= {_LOCK_MODE: headers.get(_LOCK_MODE), _LOCK_UNTIL: until}
    return lock
