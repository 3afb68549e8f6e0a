"""A submission's checkpoint: how far it has come, so that the next run goes on from there.

All objects up to `sent_through`, in key order, are done with: found equal, left alone, or in tasks that the
queue has taken. What is sent beyond it when a run ends is sent once more by the next, which does no harm.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from worker.core.errors import UsageError
from worker.core.model import Transfer


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a submission.

    Attributes:
        transfer: id.
        asked: hash of what was asked of it besides: filters, comparison, queue, where the listing comes from.
        began: seconds since the epoch, as of which ages are meant.
        sent_through: source key; None before the first.
        left_alone: whether an object was that cannot be copied.
        complete: whether that is all there is.
    """

    v: Literal[1] = 1
    transfer: str
    asked: str
    began: float
    sent_through: str | None = None
    left_alone: bool = False
    complete: bool = False


def begin(transfer: Transfer, asked: object, now: float) -> Checkpoint:
    """The checkpoint of a submission that has sent nothing yet; `asked` is any value of plain types."""
    digest = hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()[:16]
    return Checkpoint(transfer=transfer.id, asked=digest, began=now)


def encode(checkpoint: Checkpoint) -> bytes:
    """As it is kept: one line of JSON."""
    return msgspec.json.encode(checkpoint) + b"\n"


def resume(kept: bytes, fresh: Checkpoint, place: str) -> Checkpoint:
    """Where a submission goes on from.

    Args:
        kept: what an earlier run kept.
        fresh: this one's beginning.
        place: what keeps it, for the error's text.

    Raises:
        UsageError: it is no checkpoint, or another submission's.
    """
    try:
        found = msgspec.json.decode(kept, type=Checkpoint)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UsageError(f"{place} is not a checkpoint ({error}): name another, or delete it") from None
    if found.transfer != fresh.transfer:
        raise UsageError(f"{place} is the checkpoint of another transfer: name another")
    if found.asked != fresh.asked:
        raise UsageError(
            f"{place} is the checkpoint of a submission with another queue, endpoint, filter, comparison or "
            "listing: give the same ones, or name another checkpoint"
        )
    return found
