"""Saved listings as a source of objects: what `aws s3api list-objects-v2` printed, plain or gzipped.

Files may come in any number and order: rows are sorted on disk, in a temporary database that vanishes with
the process, so that memory does not grow with the bucket. One file is held in memory at a time. A file that
cannot be read to its end is an error before anything is done with the rest.
"""

from __future__ import annotations

import gzip
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from worker.core.errors import ListingError
from worker.core.model import ObjectRef

_CACHE_KIB = 65_536
_SUFFIXES = (".json", ".json.gz")


class _Row(msgspec.Struct, rename="pascal"):
    key: Annotated[str, msgspec.Meta(min_length=1)]
    size: Annotated[int, msgspec.Meta(ge=0)]
    e_tag: str = msgspec.field(name="ETag")
    last_modified: Annotated[datetime, msgspec.Meta(tz=True)]
    storage_class: str = "STANDARD"


class _Document(msgspec.Struct, rename="pascal"):
    contents: list[_Row]


_decoder = msgspec.json.Decoder(_Document)
_row = msgspec.json.Decoder(ObjectRef)


def find(paths: Sequence[Path]) -> list[Path]:
    """The listing files that `paths` name: files as they are, folders by their `*.json` and `*.json.gz`.

    Raises:
        ListingError: a path does not exist, or a folder holds no listing.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(
                file for file in path.rglob("*") if file.is_file() and file.name.endswith(_SUFFIXES)
            )
            if not found:
                raise ListingError(
                    f"{path}: holds no *.json or *.json.gz file; name the folder of the listing"
                )
            files += found
        elif path.exists():
            files.append(path)
        else:
            raise ListingError(f"{path}: no such file or folder; name a saved listing, or a folder of them")
    return files


def read(file: Path) -> list[ObjectRef]:
    """The objects of one listing file.

    Raises:
        ListingError: it is unreadable, cut short, or not such a listing; says where.
    """
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
        rows = _decoder.decode(content).contents
    except (OSError, EOFError, zlib.error) as error:
        raise ListingError(f"{file}: cannot be read to its end ({error}): save the listing again") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError) as error:
        raise ListingError(
            f"{file}: not what `aws s3api list-objects-v2 --output json` prints ({error}): save it again"
        ) from None
    return [
        ObjectRef(
            row.key, row.size, row.e_tag.strip('"'), int(row.last_modified.timestamp()), row.storage_class
        )
        for row in rows
    ]


def merged(files: Sequence[Path], prefix: str) -> Iterator[ObjectRef]:
    """The objects of all files that start with `prefix`, in key order, each key once.

    Where files overlap, the row last modified counts. All files are read before the first object comes.

    Raises:
        ListingError: a file cannot be trusted.
    """
    # An empty name is a temporary database on disk that SQLite deletes by itself.
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("CREATE TABLE object (key BLOB PRIMARY KEY, modified INT, row BLOB) WITHOUT ROWID")
        database.execute("BEGIN")
        for file in files:
            database.executemany(
                "INSERT INTO object VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "modified = excluded.modified, row = excluded.row WHERE excluded.modified > modified",
                (
                    (ref.key.encode(), ref.last_modified, msgspec.json.encode(ref))
                    for ref in read(file)
                    if ref.key.startswith(prefix)
                ),
            )
        for (row,) in database.execute("SELECT row FROM object ORDER BY key"):
            yield _row.decode(row)
