"""What the owner of a large object does next: decisions alone, `flow.large` carries them out.

One task owns an object: it alone creates, completes and aborts the upload. Each of its receipts looks, takes
a step and sends its successor; hints, which any worker takes, bring the parts. All that is remembered is in
these messages and in the upload.

| stage | source | upload | then |
|---|---|---|---|
| start | gone, archived, equal to the destination | | end |
| start | else | | create an upload, send hints |
| upload | gone, changed | | abort |
| upload | as it was | gone | start over: completed by us or another, or aborted by another |
| upload | as it was | all parts there | prove and complete |
| upload | as it was | not all hinted | send more hints |
| upload | as it was | no part has come for a while | send the hints again, at last give up |
| upload | as it was | else | look again later |
| abort | | gone | start over |
| abort | | there | abort again: a part was under way |
| clean | | uploads of this very key | abort them, look again later |
| clean | | none | end |

An upload that is found by its key is never adopted: it does not tell which version its parts are of.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Iterator

from worker.core.message import LargeTask, PartTask, Upload
from worker.core.model import ObjectRef
from worker.core.pack import DEFAULT_LIMITS
from worker.core.parts import Part, count

MOST_HINTS = 200
"""Hints that one receipt sends at most: SQS takes them in a second or two, and a heartbeat may be due."""

_SPREAD = 16
"""Hints at least, where an object has so many parts: as many streams may work at once."""

_PATIENCE = 4
"""Looks without a new part before the hints are sent again; doubled each time, for the queue may be long."""

_MOST_STALLS = 9
"""Times that the hints are sent again in vain; the last wait is a day and a half."""

_SPEED = 500e6
"""Bytes a second at which a fleet is taken to copy one object; says only when to look again."""

_SLOWEST = 5e6
"""Bytes a second at which a part that is under way is taken to arrive at the least."""

_SOONEST, _LATEST, _LONGEST = 1, 60, 900
"""Seconds of delay: between looks; of any message (SQS)."""


class Move(enum.Enum):
    """What to do about an upload."""

    ABORT = "abort"
    START_OVER = "start over"
    COMPLETE = "complete"
    HINT = "send more hints"
    HINT_AGAIN = "send the hints again"
    GIVE_UP = "give up"
    WAIT = "look again later"


def decide(task: LargeTask, source: ObjectRef | None, parts: Collection[Part] | None) -> Move:
    """Decide by the rows `upload` of the table above.

    Args:
        task: of the stage `upload`.
        source: the object as the source holds it now; None where it is gone.
        parts: those of the upload; None where that is gone.
    """
    upload = task.upload
    assert upload
    if source is None or (source.etag, source.size) != (task.ref.etag, task.ref.size):
        return Move.ABORT
    if parts is None:
        return Move.START_OVER
    total = count(task.ref.size, upload.part_size)
    if len(parts) >= total:
        return Move.COMPLETE
    if upload.hinted < total:
        return Move.HINT
    if len(parts) > upload.arrived or upload.looks < _PATIENCE * 2**upload.stalls:
        return Move.WAIT
    return Move.GIVE_UP if upload.stalls >= _MOST_STALLS else Move.HINT_AGAIN


def hints(task: LargeTask, there: Collection[int]) -> Iterator[PartTask]:
    """Hints for the parts after the last one hinted that are not there, in ranges of half a minute's work."""
    upload, ref = task.upload, task.ref
    assert upload
    total = count(ref.size, upload.part_size)
    step = parts_a_hint(total, upload.part_size)
    plain = Upload(upload.id, upload.part_size, upload.checksum, upload.own)
    for first in range(upload.hinted + 1, total + 1, step):
        last = min(first + step - 1, total)
        if any(number not in there for number in range(first, last + 1)):
            yield PartTask(task.transfer, ref, plain, first, last)


def parts_a_hint(total: int, part_size: int) -> int:
    """How many of an object's parts one hint names: half a minute's work, or what spreads them."""
    work = DEFAULT_LIMITS.seconds * DEFAULT_LIMITS.bytes_per_second
    return max(1, min(int(work // part_size), math.ceil(total / _SPREAD)))


def next_look(left: int, looks: int) -> int:
    """Seconds until the next look at an upload that lacks `left` bytes, after so many in vain."""
    soon = max(_SOONEST, math.ceil(left / _SPEED))
    return int(min(_LATEST, soon * 2 ** min(looks, 6)))


def lateness(part_size: int) -> int:
    """Seconds within which parts of an aborted upload that were under way have arrived, or never will."""
    return int(min(_LONGEST, max(_LATEST / 6, part_size / _SLOWEST)))
