"""What requests cost: a dated price table, and a bill from counts of requests by kind."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

PRICES_AS_OF = "2026-11"
"""Month in which the table was written: us-east-1, S3 Standard and SQS standard queues, first tier."""

_S3_WRITE = Decimal("0.000005")
_S3_READ = Decimal("0.0000004")
_SQS = Decimal("0.0000004")

_S3_WRITES = frozenset({"PutObject", "CopyObject", "PostObject", "UploadPart", "UploadPartCopy"})
_S3_FREE = frozenset({"DeleteObject", "DeleteObjects", "AbortMultipartUpload"})


def dollars(counts: Mapping[str, int]) -> Decimal:
    """US dollars for requests counted by kind (`s3:GetObject`, `sqs:SendMessageBatch`, ...).

    Listings are billed as writes are (S3 pricing page, "PUT, COPY, POST, LIST requests"). Storage, data
    transfer and instances are not in it.
    """
    return sum((price(kind) * count for kind, count in counts.items()), Decimal(0))


def price(kind: str) -> Decimal:
    """US dollars of one request of a kind; nothing for those of services that the table lacks."""
    service, _, operation = kind.partition(":")
    if service == "sqs":
        return _SQS
    if service != "s3" or operation in _S3_FREE:
        return Decimal(0)
    billed_as_write = operation in _S3_WRITES or operation.startswith("List") or "Multipart" in operation
    return _S3_WRITE if billed_as_write else _S3_READ
