"""The API requests that a transfer makes, by side and kind, and what they cost.

| | S3 requests of the first delivery |
|---|---|
| an object in one piece | GET and PUT; within S3 CopyObject, for an empty one HEAD too |
| ... that replaces another, or may be equal to it | HEAD on both sides as well |
| an archived one | the first of these, refused |
| in parts, by one worker | GET and UploadPart a part, or UploadPartCopy; four more |
| in parts, by many | the same, three HEAD, ListParts a hint; HEAD and ListParts at each look of its owner |

The four are HEAD, CreateMultipartUpload, CompleteMultipartUpload and ListMultipartUploads. Listings are those
of `submit`, and the probes of each instance that starts. Retries, idle polls of the queue, what interruptions
repeat, the reading of tags, and looks at locks and redirects depend on the day and on the buckets: they are
not in it.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal, get_args

import msgspec

from worker.core.cost import STANDARD, Prices
from worker.core.options import Options
from worker.core.tally import MOVED, Fate, Parts, Tally
from worker.core.tasks import BATCH_ENTRIES

Place = Literal["source", "destination", "queue"]

LOOKS = 4
"""Times that the owner of an object looks after its parts."""

_PAGE = 1_000
_HEARTBEAT_SECONDS = 40


class Requests(msgspec.Struct, frozen=True):
    """API requests of one kind, and what they cost together."""

    at: Place
    kind: str
    count: int
    dollars: Decimal


class Submission(msgspec.Struct, frozen=True):
    """What `submit` will do, besides what the tally of its plan says.

    Attributes:
        source: objects that it will list at the source; None where it reads a saved listing.
        destination: objects that it will list at the destination; None where there was no look.
        tasks: messages that packs of objects make.
    """

    source: int | None
    destination: int | None
    tasks: int


class _Bill:
    """Counts requests and what they cost; copies are of one storage class, or of their sources'."""

    def __init__(self, prices: Prices, storage_class: str | None) -> None:
        self._prices = prices
        self._storage_class = storage_class
        self._counts: dict[tuple[Place, str], int] = {}
        self._dollars: dict[tuple[Place, str], Decimal] = {}

    def add(self, at: Place, kind: str, count: int, storage_class: str = STANDARD) -> None:
        """Count requests, and charge for them."""
        self._counts[at, kind] = self._counts.get((at, kind), 0) + count
        self.charge(at, kind, count, storage_class)

    def charge(self, at: Place, kind: str, count: int, storage_class: str = STANDARD) -> None:
        """Charge for requests that are not counted."""
        if at == "destination" and self._storage_class:
            storage_class = self._storage_class
        price = self._prices.request(kind, storage_class)
        self._dollars[at, kind] = self._dollars.get((at, kind), Decimal(0)) + price * count

    def lines(self) -> list[Requests]:
        """What there is, place by place."""
        return [
            Requests(at, kind, count, self._dollars[at, kind])
            for (at, kind), count in sorted(self._counts.items(), key=_by_place)
            if count
        ]


def _by_place(line: tuple[tuple[Place, str], int]) -> int:
    return get_args(Place).index(line[0][0])


def requests(
    tally: Tally,
    submission: Submission,
    options: Options,
    prices: Prices,
    *,
    server_side: bool,
    instances: int,
    busy_hours: float,
) -> list[Requests]:
    """All requests of a transfer, in the order in which they are told.

    Args:
        tally: of its plan.
        submission: see there.
        options: how objects are copied.
        prices: what AWS charges.
        server_side: whether S3 copies, and no byte comes through a worker.
        instances: that work.
        busy_hours: of all worker processes together.
    """
    bill = _Bill(prices, options.storage_class)
    _pieces(bill, tally, server_side=server_side)
    _around_pieces(bill, tally)
    # Each instance looks whether it may list, and finds a few objects to see whether it may read their tags.
    probes = instances * (2 if options.tags == "copy" else 1)
    bill.add("source", "s3:ListObjectsV2", _pages(submission.source) + probes)
    # One more: `submit` probes the destination before it sends anything.
    bill.add("destination", "s3:ListObjectsV2", _pages(submission.destination) + 1 + instances)
    _at_queue(bill, tally, submission, math.ceil(busy_hours * 3600 / _HEARTBEAT_SECONDS))
    return bill.lines()


def _pages(objects: int | None) -> int:
    return 0 if objects is None else max(1, -(-objects // _PAGE))


def _pieces(bill: _Bill, tally: Tally, *, server_side: bool) -> None:
    """What moves the bytes."""
    whole = tally.objects(*MOVED)
    for storage_class, parts in tally.parted:
        whole[storage_class] -= parts.objects
        if not server_side:
            bill.add("source", "s3:GetObject", parts.parts, storage_class)
        kind = "s3:UploadPartCopy" if server_side else "s3:UploadPart"
        bill.add("destination", kind, parts.parts, storage_class)
    archived = tally.objects(Fate.ARCHIVED)
    for storage_class, count in (*whole.items(), *archived.items()):
        if server_side:
            bill.add("destination", "s3:CopyObject", count, storage_class)
        else:
            bill.add("source", "s3:GetObject", count, storage_class)
    if server_side:
        for storage_class, count in tally.empty().items():
            bill.add("source", "s3:HeadObject", count, storage_class)
    else:
        for storage_class, count in whole.items():
            bill.add("destination", "s3:PutObject", count, storage_class)


def _around_pieces(bill: _Bill, tally: Tally) -> None:
    """What comes before them, between them and after."""
    for storage_class, count in tally.objects(Fate.REPLACE, Fate.UNPROVEN).items():
        bill.add("source", "s3:HeadObject", count, storage_class)
        bill.add("destination", "s3:HeadObject", count, storage_class)
    for storage_class, parts in tally.parted:
        bill.add("source", "s3:HeadObject", parts.objects, storage_class)
        bill.add("destination", "s3:CreateMultipartUpload", parts.objects, storage_class)
        bill.add("destination", "s3:CompleteMultipartUpload", parts.objects, storage_class)
        bill.add("destination", "s3:ListMultipartUploads", parts.objects, storage_class)
    for storage_class, parts in tally.fanned_out.items():
        # Its first part's and its last one's size, and what the destination holds.
        bill.add("source", "s3:HeadObject", parts.objects * (2 + LOOKS), storage_class)
        bill.add("destination", "s3:HeadObject", parts.objects, storage_class)
        bill.add("destination", "s3:ListParts", parts.hints + parts.objects * LOOKS, storage_class)


def _at_queue(bill: _Bill, tally: Tally, submission: Submission, beats: int) -> None:
    large = sum(tally.fanned_out.values(), Parts())
    submitted = submission.tasks + large.objects
    handed_on = large.hints + large.objects * LOOKS
    batches = -(-submitted // BATCH_ENTRIES)
    # Hints go out with the owner's first message, small ones.
    again = -(-(large.hints + large.objects) // BATCH_ENTRIES) + large.objects * (LOOKS - 1)
    bill.add("queue", "sqs:SendMessageBatch", batches + again)
    # SQS bills each 64 KiB, and a pack's message is hardly smaller: a batch of ten costs as ten.
    bill.charge("queue", "sqs:SendMessageBatch", submitted - batches)
    bill.add("queue", "sqs:ReceiveMessage", submitted + handed_on)
    bill.add("queue", "sqs:DeleteMessage", submitted + handed_on)
    bill.add("queue", "sqs:ChangeMessageVisibilityBatch", beats)
