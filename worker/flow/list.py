"""A bucket's listing by many threads at once, in key order, in bounded memory.

The keys are one range at first. A thread walks through a range page by page; one that finds none to walk
cuts the range in two that seems to have the most left, behind where its walk is, and takes the further half,
whose first page tells whether anything is there. A range is complete when its walk has come to its end, by
S3's own word or by a key beyond it; ranges meet by construction, and are handed on in order. Nothing is
assumed of the keys, and no request is spent on finding out: a page of a bad cut is a page of a range.

What is handed on is the first range's; what the others find waits in `flow.spool`. No range goes on while
`AHEAD` bytes wait before it, its own among them, so that threads are always busy near the front, and a slow
reader slows the listing down.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from worker.core.errors import ListingError
from worker.core.keyrange import Alphabet, KeyRange, beyond
from worker.core.lines import decode, written
from worker.core.model import ObjectRef
from worker.core.page import MOST_KEYS, Cursor, Page
from worker.core.transferrer import Cancellation
from worker.flow.spool import Room, Spool

THREADS = 32
"""Pages asked for at once. At a tenth of a second each they keep a core busy reading."""

AHEAD = 256 * 1024**2
"""Bytes of lines that may wait before a range and it still goes on."""

_MEMORY = 4 * 1024**2
"""Bytes of them that are not on disk. The system's cache holds the rest as well, and fragments less."""

_WORTH_A_CUT = 2 * MOST_KEYS
"""Keys that a range must seem to have left to be cut."""

_TRIALS = 2
"""Cuts of one range of whose further halves nothing is known yet."""

_SAMPLE = 250
"""Every so manieth key of a page teaches what keys look like."""


class PageSource(Protocol):
    """What a walk gets its pages from; `aws.pages.Pages` is one. Safe to use from many threads at once."""

    def next(self, cursor: Cursor, *, most: int = MOST_KEYS, cancel: Cancellation | None = None) -> Page:
        """See `aws.pages.Pages.next`."""
        ...


class _Range:
    """A range, how far its walk is, and what it has found.

    Attributes:
        first: the first key found.
        found: keys found.
        left: keys that it seems to have left; 0 before its first page.
        cuts: how often it has been cut, and what it was cut from.
        trials: what was cut off, as long as nothing is known of it.
        taken: whether a thread waits for a page of it.
        heard_of: whether a page of it has come.
        complete: whether nothing is left.
    """

    def __init__(self, keys: KeyRange, prefix: str, room: Room, cuts: int = 0) -> None:
        self.keys = keys
        self.cursor = Cursor(prefix, keys.after)
        self.spool = Spool(room)
        self.first = ""
        self.found = 0
        self.left = 0.0
        self.cuts = cuts
        self.taken = self.heard_of = self.complete = False
        self.trials: list[_Range] = []

    def may_be_cut(self) -> bool:
        """Whether of what was cut off before, enough has turned out to hold keys or none."""
        self.trials = [one for one in self.trials if not one.heard_of]
        return len(self.trials) < _TRIALS


class Listing:
    """The objects under a prefix, as JSON lines in key order; iterate once, within a `with`.

    Args:
        pages: where from.
        prefix: of the keys.
        keys: the range that is listed, all keys by default.
        threads: see `THREADS`.
        folder: of temporary files; None: the system's.

    Attributes:
        found: keys listed so far, handed on or not.
    """

    def __init__(
        self,
        pages: PageSource,
        prefix: str,
        keys: KeyRange = KeyRange(),  # noqa: B008 - frozen
        *,
        threads: int = THREADS,
        folder: Path | None = None,
    ) -> None:
        self.found = 0
        self._pages = pages
        self._prefix = prefix
        self._most = threads
        self._room = Room(_MEMORY, folder)
        self._ranges = [_Range(keys, prefix, self._room)]
        self._alphabet = Alphabet()
        self._flying = self._came = 0
        """Pages asked for and not here, and pages that came."""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._output = threading.Condition(self._lock)
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._most)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stop.set()
            self._idle.notify_all()
        for thread in self._threads:
            thread.join()
        for one in self._ranges:
            one.spool.close()

    def __iter__(self) -> Iterator[bytes]:
        """Blocks of bytes; each line ends with a newline, blocks end anywhere.

        Raises:
            FleetcopyError: see `aws.pages.Pages.next`; what has been handed on is right, and not all.
            OSError: there is no room for temporary files.
        """
        while (block := self._take()) is not None:
            yield block

    def _take(self) -> bytes | None:
        """The next bytes of the first range, or of the one that meets it; None at the end of the last."""
        with self._lock:
            while True:
                first = self._ranges[0]
                if self._failure is not None:
                    raise self._failure
                if first.spool.pending:
                    block = first.spool.take()
                    self._idle.notify()
                    return block
                if not first.complete:
                    self._output.wait()
                elif len(self._ranges) == 1:
                    return None
                else:
                    self._advance()

    def _advance(self) -> None:
        done = self._ranges.pop(0)
        if done.keys.until != self._ranges[0].keys.after:
            raise ListingError(f"ranges of the listing do not meet: {done.keys}, {self._ranges[0].keys}")
        self._idle.notify()

    # The threads.

    def _run(self) -> None:
        try:
            while (mine := self._next()) is not None:
                self._keep(mine, self._pages.next(mine.cursor, cancel=self._stop))
        except BaseException as error:  # noqa: BLE001 - the one who iterates raises it
            with self._lock:
                self._failure = self._failure or error
                self._stop.set()
                self._idle.notify_all()
                self._output.notify_all()

    def _next(self) -> _Range | None:
        """A range to get a page of; None when there is nothing more to do."""
        with self._lock:
            while not self._stop.is_set() and not all(one.complete for one in self._ranges):
                mine = next((one for one in self._near() if not one.taken), None) or self._cut()
                if mine is None:
                    self._idle.wait()
                    continue
                mine.taken = True
                self._flying += 1
                self._idle.notify()  # there may be more where this came from
                return mine
            self._idle.notify_all()
            return None

    def _near(self) -> Iterator[_Range]:
        """The incomplete ranges that are not too far ahead of what has been handed on."""
        ahead = 0
        for one in self._ranges:
            ahead += one.spool.pending
            if ahead >= AHEAD:
                return
            if not one.complete:
                yield one

    def _cut(self) -> _Range | None:
        """Cut the range that has the most left: the further half, or None where there is none to be cut.

        No more pages are asked for at once than have come, so that a small bucket takes few requests.
        """
        if self._flying > self._came:
            return None
        cuttable = (one for one in self._near() if one.left >= _WORTH_A_CUT and one.may_be_cut())
        largest = max(cuttable, key=lambda one: one.left, default=None)
        if largest is None:
            return None
        where = self._where(largest)
        if where is None:
            largest.left = 0.0
            return None
        largest.cuts += 1
        largest.keys, rest = largest.keys.cut(where)
        half = _Range(rest, self._prefix, self._room, largest.cuts)
        largest.trials.append(half)
        self._estimate(largest)
        self._ranges.insert(self._ranges.index(largest) + 1, half)
        return half

    def _where(self, largest: _Range) -> str | None:
        """Where to cut: by turns in the middle, and behind what looks like the last key seen."""
        low, high = largest.cursor.last, largest.keys.until
        behind = beyond(largest.first, low, high, self._prefix) if largest.cuts % 2 else None
        return behind or self._alphabet.between(low, high, self._prefix)

    def _estimate(self, one: _Range) -> None:
        """Guess how much a range has left, by how dense its keys have been so far."""
        ends = KeyRange(one.first, one.keys.until)
        one.left = one.found * self._alphabet.share(ends, one.cursor.last, self._prefix)

    def _keep(self, mine: _Range, page: Page) -> None:
        """Keep what a page holds of its range."""
        # Spelt before the lock is taken; a cut that was under way may still have gone through this page.
        count = _held(page, mine.keys.until)
        lines = written(page.lines(count))
        with self._lock:
            if (held := _held(page, mine.keys.until)) != count:
                count, lines = held, written(page.lines(held))
            if count:
                mine.spool.put(lines)
                mine.first = mine.first or page.keys[0]
                mine.found += count
                self.found += count
            until, last = mine.keys.until, mine.cursor.last
            mine.complete = mine.cursor.ended or (until is not None and last >= until)
            if not mine.complete:
                self._alphabet.learn(page.keys[::_SAMPLE])
                self._estimate(mine)
            mine.taken, mine.heard_of = False, True
            self._flying -= 1
            self._came += 1
            self._output.notify()


def _held(page: Page, until: str | None) -> int:
    """How many of a page's keys a range that ends there holds."""
    return len(page.keys) if until is None else bisect_right(page.keys, until)


def refs(blocks: Iterable[bytes]) -> Iterator[ObjectRef]:
    """The objects of a listing's blocks."""
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        yield from map(decode, lines)
