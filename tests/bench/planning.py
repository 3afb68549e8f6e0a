"""What planning from saved listings costs: `python -m tests.bench.planning [OBJECTS]`.

The same made-up radar archive is saved in each of the forms that `--from` takes; from each, `flow.submit`
lists, plans, packs and encodes all of it, for a queue that takes everything and keeps nothing. Each run is a
process of its own on one core; its CPU seconds are all of its life's, from `import` on. The budget is 400,000
objects a CPU second and 100 MiB for listings in order; the others are told to compare. SQS requests may be 12
per 1,000 objects.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast

from tests.bench import measure
from tests.cloud import ROOT
from worker.core.model import Endpoint, Transfer
from worker.core.tasks import Entry, Refusal
from worker.flow.sources import open_listing
from worker.flow.submit import submit

SOURCE = "radar"
SEED = 1991
OBJECTS = 1_000_000
CORE = 0


class Taken:
    """A queue that takes all and keeps nothing."""

    url = "nowhere"

    def __init__(self) -> None:
        self.bytes = self.batches = 0

    def send(self, entries: Sequence[Entry]) -> list[Refusal]:
        """Take a batch."""
        self.bytes += sum(entry.size for entry in entries)
        self.batches += 1
        return []


def planned(listing: str) -> None:
    """Submit all that a listing tells of, and print what was sent."""
    source, destination = Endpoint(bucket=SOURCE), Endpoint(bucket="copy", prefix="radar/")
    queue = Taken()
    counts = submit(
        Transfer(source, destination),
        queue,
        source=open_listing([listing], source, lambda bucket: Endpoint(bucket=bucket)),
        destination=(),
        digests=True,
        random=random.Random(SEED),
    )
    requests = queue.batches + 2 * counts["tasks"]
    print(
        f"{counts['copy']} objects in {counts['tasks']:,} tasks of {queue.bytes:,} bytes: with their "
        f"receiving and deleting, {1_000 * requests / counts['copy']:.1f} SQS requests per 1,000 objects"
    )


def rows(count: int) -> Iterator[tuple[str, int, str, str]]:
    """Key, size, ETag and time of the archive's objects, in key order."""
    chance = random.Random(SEED)
    begun, saved = datetime(1991, 6, 5, tzinfo=UTC), datetime(2015, 10, 28, tzinfo=UTC)
    for number in range(count):
        at = begun + timedelta(seconds=360 * number)
        yield (
            f"{at:%Y/%m/%d}/KTLX/KTLX{at:%Y%m%d_%H%M%S}.gz",
            chance.randrange(1_500_000),
            f"{chance.getrandbits(128):032x}",
            f"{saved + timedelta(seconds=number):%Y-%m-%dT%H:%M:%S}",
        )


def line(row: tuple[str, int, str, str]) -> str:
    """A row as `fleetcopy list` writes it."""
    key, size, etag, modified = row
    return (
        f'{{"Key":"{key}","Size":{size},"ETag":"{etag}","LastModified":"{modified}.000Z",'
        '"StorageClass":"STANDARD"}\n'
    )


def write_lines(file: Path, count: int) -> None:
    """JSON lines in key order."""
    with _opened(file) as out:
        out.writelines(line(row).encode() for row in rows(count))


def write_shuffled(file: Path, count: int) -> None:
    """JSON lines in an order of chance."""
    mixed = [line(row).encode() for row in rows(count)]
    random.Random(SEED).shuffle(mixed)
    with _opened(file) as out:
        out.writelines(mixed)


def write_document(file: Path, count: int) -> None:
    """What the AWS CLI prints."""
    with _opened(file) as out:
        out.write(b'{\n    "Contents": [\n')
        for number, (key, size, etag, modified) in enumerate(rows(count)):
            row = {
                "Key": key,
                "LastModified": f"{modified}+00:00",
                "ETag": f'"{etag}"',
                "ChecksumAlgorithm": ["CRC64NVME"],
                "ChecksumType": "FULL_OBJECT",
                "Size": size,
                "StorageClass": "STANDARD",
            }
            text = json.dumps(row, indent=4).replace("\n", "\n        ")
            comma = ",\n" if number else ""
            out.write(f"{comma}        {text}".encode())
        out.write(b'\n    ],\n    "RequestCharged": null,\n    "Prefix": ""\n}\n')


def write_inventory(file: Path, count: int) -> None:
    """An S3 Inventory report of one CSV file."""
    data = file.with_name("1.csv.gz")
    with _opened(data) as out:
        for key, size, etag, modified in rows(count):
            out.write(f'"{SOURCE}","{key}","{size}","{modified}.000Z","{etag}","STANDARD"\n'.encode())
    md5 = hashlib.md5(data.read_bytes(), usedforsecurity=False).hexdigest()
    said = {
        "sourceBucket": SOURCE,
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key, Size, LastModifiedDate, ETag, StorageClass",
        "files": [{"key": data.name, "MD5checksum": md5}],
    }
    file.write_text(json.dumps(said))
    md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    file.with_name("manifest.checksum").write_text(md5)


def _opened(file: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(file, "wb", 6)) if file.suffix == ".gz" else file.open("wb")


FORMS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "JSON lines": ("listing.jsonl", write_lines),
    "JSON lines, gzipped": ("listing.jsonl.gz", write_lines),
    "AWS CLI's JSON": ("listing.json", write_document),
    "AWS CLI's JSON, gzipped": ("listing.json.gz", write_document),
    "JSON lines, in disorder": ("mixed.jsonl", write_shuffled),
    "S3 Inventory, CSV": ("manifest.json", write_inventory),
}


def main(count: int) -> None:
    """Weigh each form."""
    environment = os.environ | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": str(ROOT)}
    print(f"{count:,} objects a listing, one core")
    for name, (file, write) in FORMS.items():
        with tempfile.TemporaryDirectory(prefix="fleetcopy-bench-") as folder:
            listing = Path(folder) / file
            write(listing, count)
            command = [sys.executable, "-m", "tests.bench.planning", "--child", str(listing)]
            weight = measure.run(command, environment, CORE)
        print(
            f"{name:24} {count / weight.cpu:10,.0f} objects/CPU s "
            f"{weight.cpu:7.2f} CPU s {weight.wall:7.2f} s {weight.memory:6.0f} MiB"
        )
    print(weight.printed, end="")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        planned(sys.argv[2])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else OBJECTS)
