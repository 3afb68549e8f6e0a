"""Sorting on disk: rows in any order, and any number of them, come back by key, each key once.

SQLite does it, in a temporary database that vanishes with the process, within bounded memory. It writes
rows as they come and sorts them at the end, by merging: a tree kept in order is written all over, and takes
twice as long at a million rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import msgspec

from worker.core.errors import ListingError, UsageError
from worker.core.model import ObjectRef

_CACHE_KIB = 8_192
_FIRST = 2**62
"""As the time of a folder: before any object of the same key."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ObjectRef).decode


def by_key(pieces: Iterable[tuple[Sequence[ObjectRef], Sequence[str]]]) -> Iterator[ObjectRef]:
    """The objects of all pieces in key order; of one key, the object last modified.

    Args:
        pieces: objects, and prefixes below which there must be some.

    Raises:
        ListingError: there is no object below a prefix.
        UsageError: there is no room on the disk.
    """
    try:
        # An empty name is a temporary database on disk that SQLite deletes by itself.
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("CREATE TABLE item (key BLOB, modified INT, row BLOB)")
            database.execute("BEGIN")
            rows: list[tuple[bytes, int, bytes | None]]
            for refs, folders in pieces:
                rows = [(ref.key.encode(), ref.last_modified, _encode(ref)) for ref in refs]
                rows += [(folder.encode(), _FIRST, None) for folder in folders]
                database.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)
            yield from _once(database.execute("SELECT key, row FROM item ORDER BY key, modified DESC, rowid"))
    except sqlite3.Error as error:
        raise UsageError(
            f"the listing cannot be sorted on disk ({error}): name a folder with more room in $TMPDIR"
        ) from None


def _once(items: Iterable[tuple[bytes, bytes | None]]) -> Iterator[ObjectRef]:
    """The first object of each key; each folder must be followed by an object below it."""
    last, folders = None, []
    for key, row in items:
        if row is None:
            folders.append(key)
        elif key != last:
            last = key
            _check(folders, key)
            folders.clear()
            yield _decode(row)
    _check(folders, b"")


def _check(folders: Iterable[bytes], key: bytes) -> None:
    """Make sure that a key, the next after some folders, lies below them."""
    for folder in folders:
        if not key.startswith(folder):
            raise ListingError(
                f"the listing was made with a delimiter, and nothing is listed below {folder.decode()!r}: "
                "add the listing of that prefix, or list without a delimiter"
            )
