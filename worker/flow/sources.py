"""Saved listings as a source of objects: in key order, each key once, and none before all of them are read.

| what is named | what it is |
|---|---|
| `manifest.json` | an S3 Inventory report, in CSV, Parquet or ORC |
| a file whose first line is an object with a key | our own JSON lines, or `jq -c '.Contents[]'` |
| any other file | what `aws s3api list-objects-v2 --output json` printed |
| a folder | the listings below it, by their names |

Each is a path or an s3:// URI, plain or compressed. All is read twice. The first reading checks every row, so
that a listing that cannot be trusted ends the command before it has done anything, and tells whether the
files are in order and do not overlap. If so, the second hands out their objects as they come; if not, they
are sorted on disk, and where a key comes twice, the row last modified counts. Memory does not grow with the
listing.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import itertools
import operator
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec

from worker.aws.blob import Blob, Blobs
from worker.core import document, inventory, lines
from worker.core.errors import ListingError
from worker.core.lines import Row
from worker.core.model import Endpoint, ObjectRef, parse_uri
from worker.flow import columnar, packing, sort

_CHUNK = 65_536
_SUFFIXES = tuple(kind + packed for kind in (".json", ".jsonl") for packed in ("", *packing.SUFFIXES))
_CHECKSUM = "manifest.checksum"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

Piece = list[Row] | document.Folders | document.Truncated


class File(Protocol):
    """A file that can be opened again and again."""

    @property
    def name(self) -> str:
        """As the command line spells it."""

    def open(self) -> io.BufferedReader:
        """Open it for reading, at its start; it can seek."""

    def version(self) -> str:
        """Something that is another once its content is."""

    def beside(self, name: str) -> File:
        """The file of that name in the same folder."""

    def delivered(self, key: str) -> File:
        """The data file that this one, an inventory's manifest, names by its key."""


class _LocalFile(msgspec.Struct, frozen=True):
    """A file on disk."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def open(self) -> io.BufferedReader:
        if self.path.exists() and not self.path.is_file():
            raise ListingError("no file that can be read twice: save the listing in one")
        return self.path.open("rb")

    def version(self) -> str:
        found = self.path.stat()
        return f"{found.st_size} {found.st_mtime_ns}"

    def beside(self, name: str) -> _LocalFile:
        return _LocalFile(self.path.with_name(name))

    def delivered(self, key: str) -> _LocalFile:
        """It lies where `aws s3 sync` puts it, or beside the manifest."""
        name, folder = PurePosixPath(key).name, self.path.absolute().parent
        places = [folder.parent / "data" / name, folder / "data" / name, folder / name]
        return _LocalFile(next((place for place in places if place.exists()), places[0]))


class _Saved(msgspec.Struct):
    """A file of rows, how to read it, and what the first reading told.

    `first` and `last` are its first and last key under the prefix, where it is in order; `reach` is the
    furthest of all, and `truncated` whether it says that there are more behind.
    """

    file: File
    read: Callable[[File], Iterator[Piece]]
    in_order: bool = True
    first: str = ""
    last: str = ""
    reach: str = ""
    truncated: bool = False


def open_listing(
    where: Sequence[str], source: Endpoint, reach: Callable[[str], Endpoint]
) -> Iterator[ObjectRef]:
    """The objects under the source's prefix that saved listings tell of.

    Args:
        where: paths and s3:// URIs of files and folders.
        source: which bucket and prefix the listing is of.
        reach: how to reach a bucket that holds listings.

    Raises:
        ListingError: one is not there, or cannot be trusted; says which, where in it, and why.
        ConfigurationError, ServiceUnavailableError: S3 refuses, or does not answer.
    """
    files = [file for one in where for file in _find(one, reach)]
    reports = [file for file in files if PurePosixPath(file.name).name == inventory.NAME]
    if not reports:
        saved = [_Saved(file, _read_listing) for file in files]
    elif len(files) == 1:
        saved = _report(files[0], source.bucket)
    else:
        raise ListingError(
            f"{reports[0].name}: an inventory report stands by itself, and {len(files)} listings are named: "
            "name its manifest.json alone"
        )
    return _objects(saved, source.prefix)


def versions(where: Sequence[str], reach: Callable[[str], Endpoint]) -> list[tuple[str, str]]:
    """Name and version of each file that `open_listing` would read first; raises what that raises."""
    found = []
    for file in (file for one in where for file in _find(one, reach)):
        with _blaming(file):
            found.append((file.name, file.version()))
    return found


def _objects(saved: Sequence[_Saved], prefix: str) -> Iterator[ObjectRef]:
    for one in saved:
        _survey(one, prefix)
    _check_truncated(saved, prefix)
    saved = sorted((one for one in saved if one.last or not one.in_order), key=lambda one: one.first)
    disjoint = all(one.last < two.first for one, two in itertools.pairwise(saved))
    if disjoint and all(one.in_order for one in saved):
        for one in saved:
            for refs, _ in _selected(one, prefix):
                yield from refs
    else:
        yield from sort.by_key(piece for one in saved for piece in _selected(one, prefix))


def _survey(saved: _Saved, prefix: str) -> None:
    """Read a file to its end, and note what its keys are like."""
    for piece in _pieces(saved):
        if isinstance(piece, document.Truncated):
            saved.truncated = True
            continue
        if isinstance(piece, document.Folders):
            saved.in_order = False
            saved.reach = max([saved.reach, *piece.prefixes])
            continue
        keys = [row.key for row in _below(prefix, piece)]
        saved.reach = max(saved.reach, piece[-1].key if piece else "")
        if keys:
            saved.in_order = saved.in_order and saved.last < keys[0] and all(map(operator.lt, keys, keys[1:]))
            saved.first, saved.last = saved.first or keys[0], keys[-1]


def _check_truncated(saved: Sequence[_Saved], prefix: str) -> None:
    """Make sure that where a listing says that there are more objects, another goes on."""
    furthest = max((one.reach for one in saved), default="")
    is_past = furthest > prefix and not furthest.startswith(prefix)
    for one in saved:
        if one.truncated and one.reach == furthest and not is_past:
            raise ListingError(
                f"{one.file.name}: it says that the bucket holds more after {furthest!r}, which no listing "
                "named tells of: name the rest too, or list again without --max-items and --no-paginate"
            )


def _selected(saved: _Saved, prefix: str) -> Iterator[tuple[list[ObjectRef], list[str]]]:
    """The objects, and the folders left out, under a prefix."""
    for piece in _pieces(saved):
        if isinstance(piece, document.Truncated):
            continue
        if isinstance(piece, document.Folders):
            left_out = [one for one in piece.prefixes if one.startswith(prefix) or prefix.startswith(one)]
            yield [], left_out
        else:
            yield lines.refs(_below(prefix, piece)), []


def _below(prefix: str, rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.key.startswith(prefix)] if prefix else rows


def _pieces(saved: _Saved) -> Iterator[Piece]:
    with _blaming(saved.file):
        yield from saved.read(saved.file)


@contextmanager
def _blaming(file: File) -> Iterator[None]:
    """Name the file in an error about its contents."""
    try:
        yield
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ListingError(
            f"{file.name}: cannot be read to its end ({error}): save the listing again"
        ) from None
    except ListingError as error:
        raise ListingError(f"{file.name}: {error}") from None


def _read_listing(file: File) -> Iterator[Piece]:
    """The rows of a file that is no part of a report."""
    with file.open() as opened, _unpacked(opened) as unpacked:
        chunks = iter(functools.partial(unpacked.read, _CHUNK), b"")
        if opened.peek(len(_ZSTD)).startswith(_ZSTD):
            chunks = packing.unpacked_zstd(opened)
        head = next(chunks, b"")
        if not head:
            raise ListingError("it is empty: save the listing again, or leave it out if the bucket is empty")
        read, kind = (
            (lines.read, "JSON lines, an object a line")
            if lines.is_line(head.partition(b"\n")[0])
            else (document.read, "what `aws s3api list-objects-v2 --output json` prints")
        )
        try:
            yield from read(itertools.chain([head], chunks))
        except ListingError as error:
            raise ListingError(f"not {kind}: {error}: save it again") from None


@contextmanager
def _unpacked(opened: io.BufferedReader) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """The file's content, which its first bytes tell whether it is compressed."""
    if opened.peek(len(_GZIP)).startswith(_GZIP):
        with gzip.open(opened) as unpacked:
            yield unpacked
    else:
        yield opened


def _report(file: File, bucket: str) -> list[_Saved]:
    """The data files of the report whose manifest a file is."""
    checksum = file.beside(_CHECKSUM)
    with _blaming(checksum), checksum.open() as opened:
        md5 = opened.read(_CHUNK).decode().strip()
    with _blaming(file):
        with file.open() as opened:
            content = opened.read()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.lower():
            raise ListingError(f"it is not what {_CHECKSUM} says: download both again")
        manifest = inventory.manifest(content, bucket)
    return [_Saved(file.delivered(data.key), _DataReader(manifest, data.md5)) for data in manifest.files]


class _DataReader(msgspec.Struct):
    """Reads the rows of a report's data file; at the first time, makes sure that it is the right file."""

    manifest: inventory.Manifest
    md5: str
    verified: bool = False

    def __call__(self, file: File) -> Iterator[Piece]:
        with file.open() as opened:
            if not self.verified:
                digest = hashlib.file_digest(opened, functools.partial(hashlib.md5, usedforsecurity=False))
                if digest.hexdigest() != self.md5.lower():
                    raise ListingError("it is not the file that the manifest tells of: download it again")
                opened.seek(0)
                self.verified = True
            file_format, bucket = self.manifest.file_format, self.manifest.source_bucket
            if file_format == "CSV":
                table = inventory.Table(self.manifest.file_schema.split(","), bucket)
                with _unpacked(opened) as unpacked:
                    yield from inventory.read_csv(io.TextIOWrapper(unpacked, "utf-8", newline=""), table)
            else:
                yield from columnar.read(opened, file_format, bucket)


def _find(where: str, reach: Callable[[str], Endpoint]) -> list[File]:
    """The files that a path or an s3:// URI names: one as it is, a folder by the listings below it."""
    found: Iterable[File]
    if where.startswith("s3://"):
        bucket, key = parse_uri(where)
        blobs = Blobs(reach(bucket))
        keys = blobs.keys(key)
        if (first := next(keys, None)) == key:
            return [Blob(blobs, key)]
        found = (Blob(blobs, one) for one in itertools.chain([first or ""], keys))
    else:
        path = Path(where)
        if not path.exists():
            raise ListingError(f"{path}: no such file or folder; name a saved listing, or a folder of them")
        if not path.is_dir():
            return [_LocalFile(path)]
        found = (_LocalFile(one) for one in sorted(path.rglob("*")) if one.is_file())
    listings = [file for file in found if file.name.endswith(_SUFFIXES)]
    if not listings:
        raise ListingError(
            f"{where}: holds no *.json or *.jsonl file, plain, .gz or .zst; name the folder of the listing"
        )
    return listings
