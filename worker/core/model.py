"""The nouns: endpoint, transfer, object reference, and what becomes of one object.

Everything here is a frozen value. Keys are text that came from UTF-8 and is never normalised.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re

import msgspec

from worker.core.errors import FleetcopyError, UsageError
from worker.core.options import Options

LARGEST_PUT = 5 * 1024**3
"""Bytes; the most that one PutObject takes (S3 User Guide, "Uploading objects")."""

LONGEST_KEY = 1024
"""Bytes of UTF-8 that a key may have (S3 User Guide, "Naming Amazon S3 objects")."""

ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects must be restored before they can be read."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_MD5 = re.compile(r"[0-9a-f]{32}")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a transfer.

    Attributes:
        bucket: name of the bucket.
        prefix: literal start of the keys that belong to the transfer; no slash is ever added to it.
        region: AWS region, or None for the one that the credentials' profile names.
        endpoint_url: URL of an S3-compatible service, or None for AWS.
        credentials: name of the credentials, see `core.credentials`; never the credentials themselves.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    credentials: str = "default"

    @property
    def uri(self) -> str:
        """The endpoint as the command line spells it."""
        return f"s3://{self.bucket}/{self.prefix}"


def parse_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/prefix` into bucket and prefix, the prefix taken literally.

    Raises:
        UsageError: it is no such URI.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{uri!r} is not an S3 location: write s3://bucket or s3://bucket/prefix")
    return bucket, prefix


class Transfer(msgspec.Struct, frozen=True):
    """What is copied where, and how. A task names it unmistakably by its id, a hash of what and where."""

    source: Endpoint
    destination: Endpoint
    options: Options = Options()

    @property
    def id(self) -> str:
        """16 hexadecimal digits, a hash of what is copied where.

        Regions, endpoint URLs, credentials and options are left out: they are how a machine reaches the
        buckets and copies, and the one that submits may do so otherwise than the ones that work.
        """
        what = [self.source.bucket, self.source.prefix, self.destination.bucket, self.destination.prefix]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    def destination_key(self, key: str) -> str:
        """The key at the destination of a source key, which must start with the source's prefix."""
        return self.destination.prefix + key[len(self.source.prefix) :]


class ObjectRef(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One source object as listed. Its fields, in this order, are an object's row in a message.

    Attributes:
        key: whole source key (in a message: what follows the common prefix).
        size: bytes.
        etag: without its quotes.
        last_modified: seconds since the epoch.
        storage_class: as S3 spells it.
        version_id: where known.
        destination_etag: what the plan saw at the destination: `""` absent, None not looked.
    """

    key: str
    size: int
    etag: str
    last_modified: int
    storage_class: str = "STANDARD"
    version_id: str | None = None
    destination_etag: str | None = None


def is_md5(etag: str) -> bool:
    """Whether an ETag has the shape of an MD5 digest (a multipart upload's has `-N` at its end)."""
    return _MD5.fullmatch(etag) is not None


class Proof(enum.StrEnum):
    """Why the destination object is right; established before S3 publishes it."""

    MD5 = "md5"
    """S3 checked the bytes it received against the source's ETag, an MD5 digest."""
    CHECKSUM = "checksum"
    """S3 checked the bytes it received against the full-object checksum stored with the source."""
    SERVER_SIDE = "server-side"
    """S3 copied the bytes itself, of the version that was asked for; they did not come here."""
    TRANSPORT = "transport"
    """The source offers no digest: length and transport only."""


class Kind(enum.StrEnum):
    """What became of one object in one delivery of its task."""

    COPIED = "copied"
    SKIPPED = "skipped"
    GONE = "gone"
    ARCHIVED = "archived"
    FAILED = "failed"
    UNTOUCHED = "untouched"
    """Not begun, or cancelled: another delivery will see to it."""
    HANDED_ON = "handed on"
    """Led to other tasks, which will see to it; a step of a large object's, or of a listing's."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of one object, and why.

    Attributes:
        kind: see `Kind`.
        bytes: moved by this delivery.
        proof: when copied.
        error: when failed or untouched by a fault.
    """

    kind: Kind
    bytes: int = 0
    proof: Proof | None = None
    error: FleetcopyError | None = None


UNTOUCHED = Outcome(Kind.UNTOUCHED)
