"""Planning a transfer without sending anything: the steps of `submit`, tallied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from worker.core.bill import Submission
from worker.core.compare import Criterion
from worker.core.filters import EVERYTHING, Filters, Sieve
from worker.core.listing import paired
from worker.core.message import CopyTask
from worker.core.model import ObjectRef, Transfer
from worker.core.pack import pack
from worker.core.plan import plan
from worker.core.tally import Tally

_CHUNK = 1_000


def tally(
    transfer: Transfer,
    *,
    source: Iterable[ObjectRef],
    destination: Iterable[ObjectRef] | None,
    digests: bool,
    live: bool = True,
    filters: Filters = EVERYTHING,
    by: Criterion = Criterion.ETAG,
    on_progress: Callable[[int], object] = lambda _objects: None,
) -> tuple[Tally, Submission]:
    """What `submit` would do, given the same; in constant memory.

    Args:
        transfer: what is copied where.
        source: listing of the source, in key order.
        destination: listing of the destination, in key order; None to take it for empty.
        digests: whether both buckets' plain ETags are MD5 digests.
        live: whether the source's listing comes from its bucket.
        filters: which of the source's objects this is about.
        by: what makes two objects equal.
        on_progress: told numbers of source objects seen, now and then.

    Raises:
        ListingError: a listing is out of order.
        FleetcopyError: a bucket refuses.
    """
    here, there = _Counted(source, on_progress), _Counted(destination or ())
    taken = Sieve(filters, transfer).pairs(paired(transfer, here, there))
    found = Tally(transfer.source.prefix)
    steps = plan(transfer, taken, digests=digests, by=by)
    tasks = sum(isinstance(task, CopyTask) for task in pack(transfer.id, found.through(steps)))
    return found, Submission(
        source=here.seen if live else None,
        destination=None if destination is None else there.seen,
        tasks=tasks,
    )


class _Counted:
    """The same objects, counted a chunk at a time."""

    def __init__(
        self, refs: Iterable[ObjectRef], on_progress: Callable[[int], object] = lambda _objects: None
    ) -> None:
        self._refs = iter(refs)
        self._on_progress = on_progress
        self.seen = 0

    def __iter__(self) -> Iterator[ObjectRef]:
        while chunk := list(islice(self._refs, _CHUNK)):
            self.seen += len(chunk)
            self._on_progress(len(chunk))
            yield from chunk
