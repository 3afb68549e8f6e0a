"""A listing by many threads: every key once and in order, few requests, bounded memory, loud failures."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests import listings
from worker.core.errors import InterruptedTransferError, ListingError, ServiceUnavailableError
from worker.core.keyrange import Alphabet, KeyRange
from worker.core.page import MOST_KEYS, Cursor, Page, parse_page
from worker.core.transferrer import Cancellation
from worker.flow import list as module
from worker.flow.list import Listing, refs
from worker.flow.spool import Room, Spool

SEED = 20261125


class Source:
    """Pages of a generated bucket, without a network.

    Attributes:
        asked: how many.
        most_at_once: how many were asked for at the same time, at most.
    """

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.asked = self.most_at_once = self._now = 0
        self._lock = threading.Lock()

    def next(self, cursor: Cursor, *, most: int = MOST_KEYS, cancel: Cancellation | None = None) -> Page:
        """See `PageSource.next`."""
        with self._lock:
            self.asked += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        page = parse_page(self.answer(cursor, most))
        assert cancel is not None
        # As a network would: other threads go on meanwhile.
        if cancel.wait(0.001):
            raise InterruptedTransferError("cancelled")
        cursor.take(page)
        with self._lock:
            self._now -= 1
        return page

    def answer(self, cursor: Cursor, most: int) -> bytes:
        """The page as the bucket gives it."""
        query = {"prefix": cursor.prefix, "max-keys": str(most)}
        query |= {"continuation-token": cursor.token} if cursor.token else {"start-after": cursor.last}
        return listings.answer(self.bucket, query)


def listed(source: Source, prefix: str = "", keys: KeyRange | None = None, *, threads: int = 8) -> bytes:
    with Listing(source, prefix, keys or KeyRange(), threads=threads) as listing:
        found = b"".join(listing)
    assert listing.found == found.count(b"\n")
    return found


@pytest.mark.parametrize("shape", listings.SHAPES)
@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 30_000])
def test_all_keys_in_order(shape: str, count: int) -> None:
    source = Source(f"{shape}-{count}")
    assert hashlib.sha256(listed(source)).hexdigest() == listings.digest(source.bucket)
    print(source.bucket, source.asked, source.most_at_once)
    # A page more is known only once it has come: as many as are under way, and their trials.
    assert source.asked <= max(1, 2 * -(-count // 1000) + 8)
    if count == 30_000:
        assert source.most_at_once > 2


def test_one_page_takes_one_request() -> None:
    source = Source("flat-1000")
    listed(source)
    assert source.asked == 1


def test_no_more_pages_are_asked_for_at_once_than_have_come() -> None:
    class Counting(Source):
        def answer(self, cursor: Cursor, most: int) -> bytes:
            at_once.append((self.most_at_once, self.asked))
            return super().answer(cursor, most)

    at_once: list[tuple[int, int]] = []
    listed(Counting("flat-3000"), threads=32)
    assert all(2 * most <= asked + 1 for most, asked in at_once)


def test_one_thread_is_enough() -> None:
    source = Source("dated-5000")
    assert hashlib.sha256(listed(source, threads=1)).hexdigest() == listings.digest(source.bucket)


def test_a_cut_into_a_page_that_has_just_come_lists_no_key_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is decided where to cut, the walk goes on: a page has come that reaches beyond the cut."""
    known, came = listings.Keys("hashed-30000")[:], threading.Event()

    class Telling(Source):
        def next(self, cursor: Cursor, *, most: int = MOST_KEYS, cancel: Cancellation | None = None) -> Page:
            page = super().next(cursor, most=most, cancel=cancel)
            came.set()
            return page

    def between(_self: Alphabet, low: str, high: str | None, _prefix: str = "") -> str | None:
        after = known[bisect_right(known, low) :]
        found = after[500] if len(after) > 500 and (high is None or after[500] < high) else None
        came.clear()
        came.wait(0.01)  # none comes where none is under way
        return found

    monkeypatch.setattr(Alphabet, "between", between)
    digest = hashlib.sha256(listed(Telling("hashed-30000"), threads=32)).hexdigest()
    assert digest == listings.digest("hashed-30000")


@pytest.mark.parametrize(
    ("bucket", "prefix"),
    [("dated-30000", "1991/01/2"), ("hashed-30000", "0"), ("unicode-30000", "日誌/"), ("flat-30000", "none")],
)
def test_a_prefix(bucket: str, prefix: str) -> None:
    found = [ref.key for ref in refs([listed(Source(bucket), prefix)])]
    assert found == [key for key in listings.Keys(bucket)[:] if key.startswith(prefix)]


def test_ranges_list_what_lies_in_them() -> None:
    random, known = Random(SEED), listings.Keys("hashed-20000")[:]
    print("seed", SEED)
    for _ in range(10):
        after, until = sorted(f"{random.getrandbits(32):08x}" for _ in range(2))
        keys = KeyRange(after, until)
        found = [ref.key for ref in refs([listed(Source("hashed-20000"), keys=keys)])]
        assert found == [key for key in known if key in keys]


def test_a_range_may_end_at_a_key() -> None:
    known = listings.Keys("flat-3000")
    found = [ref.key for ref in refs([listed(Source("flat-3000"), keys=KeyRange(known[9], known[1999]))])]
    assert found == known[10:2000]


@pytest.mark.parametrize("lie", [lie for lie in listings.LIES if lie != "breaks"])
def test_a_page_that_lies_is_an_error(lie: str) -> None:
    bucket = f"{lie}-flat-5000"
    known, found = listings.Keys(bucket), b""
    with Listing(Source(bucket), "", threads=1) as listing, pytest.raises(ListingError):  # noqa: PT012
        for block in listing:
            found += block
    # What was handed on before is right.
    keys = [ref.key for ref in refs([found])]
    assert keys == known[: len(keys)]
    assert len(keys) <= 2000


def test_what_a_thread_fails_of_the_reader_is_told() -> None:
    class Failing(Source):
        def answer(self, cursor: Cursor, most: int) -> bytes:
            if cursor.last >= "data/000000020000":
                raise ServiceUnavailableError("list: no answer")
            return super().answer(cursor, most)

    with pytest.raises(ServiceUnavailableError, match="no answer"):
        listed(Failing("flat-30000"))


def test_a_reader_that_leaves_stops_the_threads() -> None:
    source = Source("flat-1000000")
    before = threading.active_count()
    with Listing(source, "") as listing:
        next(iter(listing))
    assert threading.active_count() == before
    assert source.asked < 1000


def test_a_slow_reader_slows_the_listing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AHEAD", 1_000_000)
    source, read = Source("flat-1000000"), 0
    with Listing(source, "", threads=4) as listing:
        for block, _ in zip(listing, range(40), strict=False):
            read += block.count(b"\n")
            threading.Event().wait(0.02)
        assert (
            listing.found < read + 40_000
        )  # a million bytes are seven pages, of which each cut may add some


def test_what_waits_is_on_disk_beyond_what_may_be_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MEMORY", 500_000)
    source = Source("unicode-20000")
    assert hashlib.sha256(listed(source)).hexdigest() == listings.digest(source.bucket)


def blocks_of(random: Random) -> Iterator[bytes]:
    while True:
        yield random.randbytes(random.choice([1, 100, 40_000]))


def test_a_spool_gives_back_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.flow.spool._SEGMENT", 100_000)
    monkeypatch.setattr("worker.flow.spool._READ", 30_000)
    random, room = Random(SEED), Room(150_000)
    print("seed", SEED)
    spools = [Spool(room), Spool(room)]
    given, taken = [b"", b""], [b"", b""]
    blocks = blocks_of(random)
    for _ in range(2_000):
        at = random.randrange(2)
        if random.random() < 0.55:
            block = next(blocks)
            spools[at].put(block)
            given[at] += block
        elif spools[at].pending:
            taken[at] += spools[at].take()
        assert room.memory >= 0
        assert spools[at].pending == len(given[at]) - len(taken[at])
    for at in range(2):
        while spools[at].pending:
            taken[at] += spools[at].take()
    assert taken == given
    assert room.memory == 150_000


def test_what_is_on_disk_shares_files(monkeypatch: pytest.MonkeyPatch) -> None:
    made, spool, real = [], Spool(Room(0)), tempfile.TemporaryFile

    def make(**more: Any) -> Any:  # noqa: ANN401 - as the real one
        made.append(real(**more))
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", make)
    for _ in range(100):
        spool.put(b"a" * 1000)
    assert spool.take() == b"a" * 100_000
    assert (len(made), made[0].closed) == (1, True)


def test_a_spool_that_is_closed_gives_back_its_memory() -> None:
    room = Room(1_000)
    spool = Spool(room)
    spool.put(b"a" * 900)
    spool.put(b"b" * 900)
    spool.close()
    assert (room.memory, spool.pending) == (1_000, 0)
