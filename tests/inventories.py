"""S3 Inventory reports in a folder, as S3 delivers them: data files, `manifest.json`, `manifest.checksum`."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
from pyarrow import orc, parquet

SOURCE = "radar"
FOLDER = "inventories/radar/daily/"
"""In the bucket that reports are delivered to."""

DATED = "2026-01-04T01-00Z"

# As the columnar formats spell the columns; with their types.
COLUMNS = {
    "bucket": pa.string(),
    "key": pa.string(),
    "version_id": pa.string(),
    "is_latest": pa.bool_(),
    "is_delete_marker": pa.bool_(),
    "size": pa.int64(),
    "last_modified_date": pa.timestamp("ms", "UTC"),
    "e_tag": pa.string(),
    "storage_class": pa.string(),
    "checksum_algorithm": pa.string(),
}
_IN_CSV = {
    "bucket": "Bucket",
    "key": "Key",
    "version_id": "VersionId",
    "is_latest": "IsLatest",
    "is_delete_marker": "IsDeleteMarker",
    "size": "Size",
    "last_modified_date": "LastModifiedDate",
    "e_tag": "ETag",
    "storage_class": "StorageClass",
    "checksum_algorithm": "ChecksumAlgorithm",
}
CURRENT = [name for name in COLUMNS if name not in {"version_id", "is_latest", "is_delete_marker"}]
"""The columns of a report on current versions alone."""

Record = Mapping[str, Any]


def record(key: str, **columns: object) -> dict[str, Any]:
    """A record of one object, with these columns changed."""
    return {
        "bucket": SOURCE,
        "key": key,
        "version_id": "3sL4kqtJlcpXroDTDmJ",
        "is_latest": True,
        "is_delete_marker": False,
        "size": 10,
        "last_modified_date": datetime.fromisoformat("2015-10-28T22:23:24.000Z"),
        "e_tag": "174e902285547a333a8bc348cf62f88f",
        "storage_class": "STANDARD",
        "checksum_algorithm": "CRC64NVME",
    } | columns


def data_file(file_format: str, columns: Sequence[str], records: Sequence[Record]) -> bytes:
    """A data file's content."""
    if file_format == "CSV":
        return gzip.compress(_csv(columns, records).encode())
    table = pa.table({name: pa.array([one[name] for one in records], COLUMNS[name]) for name in columns})
    out = io.BytesIO()
    if file_format == "Parquet":
        parquet.write_table(table, out, row_group_size=1_500)
    else:
        orc.write_table(table, out)
    return out.getvalue()


def _csv(columns: Sequence[str], records: Sequence[Record]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for one in records:
        writer.writerow(_text(name, one[name]) for name in columns)
    return out.getvalue()


def _text(column: str, value: object) -> object:
    if column == "key":
        return quote_plus(str(value), safe="/")
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value).lower() if isinstance(value, bool) else value


def deliver(
    folder: Path,
    file_format: str,
    *files: Sequence[Record],
    columns: Sequence[str] = CURRENT,
    source: str = SOURCE,
) -> Path:
    """Write a report below `folder` as `aws s3 sync` of its destination would; its manifest's path."""
    suffix = {"CSV": "csv.gz", "Parquet": "parquet", "ORC": "orc"}[file_format]
    manifest = folder / DATED / "manifest.json"
    manifest.parent.mkdir(parents=True)
    (folder / "data").mkdir()
    rows = []
    for number, records in enumerate(files):
        content = data_file(file_format, columns, records)
        name = f"data/{number:08x}-7e5b-4c3d-9f10-2b1d3c4e5f60.{suffix}"
        (folder / name).write_bytes(content)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        rows.append({"key": FOLDER + name, "size": len(content), "MD5checksum": md5})
    names = (
        ", ".join(_IN_CSV[name] for name in columns) if file_format == "CSV" else "message s3.inventory {}"
    )
    said = {
        "sourceBucket": source,
        "destinationBucket": "arn:aws:s3:::reports",
        "version": "2016-11-30",
        "creationTimestamp": "1767488400000",
        "fileFormat": file_format,
        "fileSchema": names,
        "files": rows,
    }
    write_manifest(manifest, said)
    return manifest


def write_manifest(manifest: Path, content: object) -> None:
    """Write a manifest and its checksum."""
    text = json.dumps(content, indent=2)
    manifest.write_text(text)
    md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    manifest.with_name("manifest.checksum").write_text(md5 + "\n")
