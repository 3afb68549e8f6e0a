"""How objects are copied: what a transfer's user may choose beyond what is copied where.

Each has a default that carries the object over as it is. None of it is part of a transfer's id: tasks name
what to copy, and the worker that carries them out knows how.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from worker.core.errors import UsageError

Strategy = Literal["auto", "server-side", "stream"]
Carry = Literal["copy", "ignore"]
StorageClass = Literal[
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
    "REDUCED_REDUNDANCY",
]
Acl = Literal[
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
]
"""The canned ACLs of objects (S3 User Guide, "Access control list (ACL) overview")."""
Sse = Literal["AES256", "aws:kms", "aws:kms:dsse"]

STRATEGIES: tuple[str, ...] = get_args(Strategy)
CARRIES: tuple[str, ...] = get_args(Carry)
STORAGE_CLASSES: tuple[str, ...] = get_args(StorageClass)
ACLS: tuple[str, ...] = get_args(Acl)
SSES: tuple[str, ...] = get_args(Sse)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the objects of a transfer are copied.

    Attributes:
        strategy: `stream` moves the bytes through the worker, `server-side` lets S3 copy, `auto` does the
            latter where it reaches.
        tags: whether objects keep their tags.
        storage_class: of the copies; None: the source object's.
        acl: canned ACL of the copies; None sends none.
        sse: encryption of the copies; None: the destination bucket's default.
        sse_kms_key_id: key for it, where it is KMS; None: the account's own for S3.
        object_lock: whether objects keep their retention and legal hold.
        request_payer: whether the requester pays for what is asked of the source.
    """

    strategy: Strategy = "auto"
    tags: Carry = "copy"
    storage_class: StorageClass | None = None
    acl: Acl | None = None
    sse: Sse | None = None
    sse_kms_key_id: str | None = None
    object_lock: Carry = "copy"
    request_payer: bool = False


def check(options: Options) -> Options:
    """The same options, if they go together.

    Raises:
        UsageError: they do not.
    """
    if options.sse_kms_key_id and options.sse not in {"aws:kms", "aws:kms:dsse"}:
        raise UsageError("a KMS key is named, but no encryption with KMS: add --sse aws:kms, or aws:kms:dsse")
    return options
