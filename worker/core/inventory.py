"""S3 Inventory: what its manifest says, and what the rows of its data files tell. Files are read elsewhere.

A report lists objects as of a day or a week ago, in files of CSV, Apache Parquet or ORC; its manifest names
them, with their digests and columns (S3 User Guide, "Locating your inventory list"). Of its rows, only those
count that a listing of the bucket would show: of each key its latest version, unless that is a delete marker.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import unquote_plus

import msgspec

from worker.core.errors import ListingError
from worker.core.lines import UNREADABLE, Row

NAME = "manifest.json"

_PIECE = 1_000
_NEEDED = ("bucket", "key", "size", "lastmodifieddate", "etag", "storageclass")
_FLAGS = {"true": True, "false": False, True: True, False: False}

# What a row takes from the columns, which CSV spells `LastModifiedDate`, and the others `last_modified_date`.
_FIELDS = {
    "key": "Key",
    "size": "Size",
    "lastmodifieddate": "LastModified",
    "etag": "ETag",
    "storageclass": "StorageClass",
}


class DataFile(msgspec.Struct, frozen=True):
    """A file of rows: its key in the bucket that the report was delivered to, and its MD5 in hexadecimal."""

    key: Annotated[str, msgspec.Meta(min_length=1)]
    md5: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{32}$")] = msgspec.field(name="MD5checksum")


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """What `manifest.json` says."""

    source_bucket: str
    file_format: Literal["CSV", "Parquet", "ORC"]
    file_schema: str
    files: tuple[DataFile, ...]


def manifest(content: bytes, bucket: str) -> Manifest:
    """The manifest of a report on `bucket`.

    Raises:
        ListingError: it is none, or one on another bucket.
    """
    try:
        found = msgspec.json.decode(content, type=Manifest)
    except UNREADABLE as error:
        raise ListingError(f"no manifest of an S3 Inventory report: {error}") from None
    if found.source_bucket != bucket:
        raise ListingError(f"it reports on bucket {found.source_bucket}, and the source is {bucket}")
    return found


class Table:
    """The columns of a data file, and how its records become rows.

    Args:
        names: of the columns, in order.
        bucket: which every record must be of.

    Raises:
        ListingError: a column is missing without which nothing can be planned.
    """

    def __init__(self, names: Sequence[str], bucket: str) -> None:
        plain = [name.strip().replace("_", "").lower() for name in names]
        if missing := [name for name in _NEEDED if name not in plain]:
            raise ListingError(
                f"the report lacks {', '.join(missing)}: a plan needs the optional fields Size, "
                "LastModifiedDate, ETag and StorageClass; add them to the inventory's configuration"
            )
        if "versionid" in plain and "islatest" not in plain:
            raise ListingError("the report lists all versions, and lacks IsLatest, which tells the latest")
        self._bucket = bucket
        self._width = len(plain)
        self._at_bucket = plain.index("bucket")
        self._flags = [
            (plain.index(flag), wanted)
            for flag, wanted in (("islatest", True), ("isdeletemarker", False))
            if flag in plain
        ]
        self._fields = [(field, plain.index(name)) for name, field in _FIELDS.items() if name in plain]
        self._records = 0

    def rows(self, records: Sequence[Sequence[Any]], *, text: bool) -> list[Row]:
        """The rows of the next records.

        Args:
            records: their values in the order of the columns.
            text: whether values are text, and keys URL-encoded, as in CSV.

        Raises:
            ListingError: a record cannot be read; says which, counted over all calls.
        """
        before, self._records = self._records, self._records + len(records)
        try:
            return msgspec.convert(self._wanted(records, text), list[Row], strict=not text)
        except (*UNREADABLE, IndexError, KeyError, TypeError, ValueError):
            for number, record in enumerate(records, before + 1):
                self._check(number, record, text)
            raise

    def _wanted(self, records: Iterable[Sequence[Any]], text: bool) -> list[dict[str, Any]]:  # noqa: FBT001
        wanted = []
        for record in records:
            if len(record) != self._width:
                raise ValueError(f"{len(record)} values for {self._width} columns")
            if record[self._at_bucket] != self._bucket:
                raise ValueError(f"it is of bucket {record[self._at_bucket]!r}, not of {self._bucket}")
            if all(_flag(record[place]) is flag for place, flag in self._flags):
                fields = {field: record[place] for field, place in self._fields}
                if text:
                    fields["Key"] = unquote_plus(fields["Key"], errors="strict")
                wanted.append(fields)
        return wanted

    def _check(self, number: int, record: Sequence[Any], text: bool) -> None:  # noqa: FBT001
        try:
            msgspec.convert(self._wanted([record], text), list[Row], strict=not text)
        except (*UNREADABLE, ValueError) as error:
            raise ListingError(f"record {number:,}: {error}") from None


def _flag(value: object) -> bool:
    flag = _FLAGS.get(value if isinstance(value, bool) else str(value).lower())
    if flag is None:
        raise ValueError(f"{value!r} is neither true nor false")
    return flag


def read_csv(lines: Iterable[str], table: Table) -> Iterator[list[Row]]:
    """The rows of a CSV data file, in pieces.

    Raises:
        ListingError: a record cannot be read; says which.
    """
    reader = csv.reader(lines, strict=True)
    try:
        while records := list(itertools.islice(reader, _PIECE)):
            yield table.rows(records, text=True)
    except csv.Error as error:
        raise ListingError(f"line {reader.line_num:,}: no CSV: {error}") from None
