"""Saved listings that lie in S3 are read as those on disk are, by ranges, and each time the same object."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ReadTimeoutError

from tests.bench import planning
from tests.cloud import ROOT, Cloud
from tests.contract import adopt
from tests.flow.test_sources import FORMATS, SOME, row, save
from tests.inventories import DATED, FOLDER, SOURCE, deliver
from worker.aws import blob
from worker.core.errors import ConfigurationError, ListingError
from worker.core.model import Endpoint
from worker.flow.sources import open_listing

MOST = 100
"""MiB that reading listings of any size may ever take."""

ROWS = 2_000_000


class Store:
    """A bucket that listings are kept in."""

    def __init__(self, cloud: Cloud, bucket: str) -> None:
        self.s3, self.bucket = cloud.client("s3"), bucket
        self._url = cloud.environment()["AWS_ENDPOINT_URL"]

    def put(self, key: str, file: Path) -> str:
        """Keep a file; its URI."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=file.read_bytes())
        return f"s3://{self.bucket}/{key}"

    def reach(self, bucket: str) -> Endpoint:
        """How to reach the bucket."""
        return Endpoint(bucket=bucket, endpoint_url=self._url)

    def listed(self, *where: str) -> list[str]:
        """The keys that listings tell of."""
        return [one.key for one in open_listing(where, Endpoint(bucket=SOURCE), self.reach)]


@pytest.fixture
def store(cloud: Cloud, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    adopt(monkeypatch, cloud.environment())
    return Store(cloud, bucket)


def test_a_file_and_a_folder_are_read(store: Store, tmp_path: Path) -> None:
    one = store.put("lists/a.json.gz", save(tmp_path / "a.json.gz", row("c"), row("d")))
    odd = store.put("lists/b odd+", save(tmp_path / "b.jsonl", row("x")))
    store.put("lists/deep/b.jsonl", save(tmp_path / "b.jsonl", row("a"), row("b")))
    assert store.listed(one) == ["c", "d"]
    assert store.listed(odd) == ["x"]
    assert store.listed(odd, one) == ["c", "d", "x"]
    assert store.listed(f"s3://{store.bucket}/lists/") == ["a", "b", "c", "d"]
    assert store.listed(f"s3://{store.bucket}") == ["a", "b", "c", "d"]


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_report_is_read_where_s3_delivered_it(store: Store, tmp_path: Path, file_format: str) -> None:
    deliver(tmp_path, file_format, SOME)
    for path in tmp_path.rglob("*.*"):
        if path.is_file():
            store.put(FOLDER + str(path.relative_to(tmp_path)), path)
    names = sorted(one["key"] for one in SOME)
    assert store.listed(f"s3://{store.bucket}/{FOLDER}{DATED}/manifest.json") == names
    assert store.listed(f"s3://{store.bucket}/{FOLDER}") == names


def test_a_report_lacks_a_data_file(store: Store, tmp_path: Path) -> None:
    manifest = deliver(tmp_path, "CSV", SOME)
    where = store.put("inv/manifest.json", manifest)
    with pytest.raises(ListingError, match=r"inv/manifest\.checksum: no such object"):
        store.listed(where)
    store.put("inv/manifest.checksum", manifest.with_name("manifest.checksum"))
    with pytest.raises(ListingError, match=r"data/.*\.csv\.gz: no such object"):
        store.listed(where)


def test_what_is_read_by_ranges_is_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob, "_RANGE", 1_000)
    names = [f"{number:05}" for number in range(300)]
    for name in ("a.json", "a.json.gz", "a.jsonl"):
        assert store.listed(store.put(name, save(tmp_path / name, *map(row, names)))) == names


def test_an_object_that_changes_between_its_readings_is_refused(store: Store, tmp_path: Path) -> None:
    store.put("a.jsonl", save(tmp_path / "a.jsonl", row("a")))
    changed = blob.Blob(blob.Blobs(store.reach(store.bucket)), "a.jsonl")
    opened = changed.open()
    store.put("a.jsonl", save(tmp_path / "b.jsonl", row("b")))
    with pytest.raises(ListingError, match="it changed while it was read"):
        opened.read()
    again = changed.open()
    with pytest.raises(ListingError, match="it changed while it was read"):
        again.read()


def test_a_range_that_breaks_off_is_asked_for_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = store.put("a.jsonl", save(tmp_path / "a.jsonl", row("a")))
    get, asked = blob.Blob._get, []  # noqa: SLF001 - the one request that may break off

    def breaking(one: blob.Blob, start: int, end: int) -> bytes:
        asked.append(start)
        if len(asked) % 3:
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1")
        return get(one, start, end)

    monkeypatch.setattr(blob.Blob, "_get", breaking)
    assert store.listed(where) == ["a"]
    assert len(asked) == 6, "two readings, three tries each"


def test_what_is_not_there_or_may_not_be_read_is_told(store: Store) -> None:
    with pytest.raises(ListingError, match=rf"s3://{store.bucket}/none: holds no \*\.json"):
        store.listed(f"s3://{store.bucket}/none")
    with pytest.raises(ConfigurationError, match="NoSuchBucket"):
        store.listed("s3://no-such-bucket-anywhere/a.json")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["AWS CLI's JSON", "JSON lines, gzipped", "JSON lines, in disorder"])
def test_memory_does_not_grow_with_the_listing(tmp_path: Path, form: str) -> None:
    """In a process of its own: Python, boto3 and what reading, planning and packing hold."""
    name, write = planning.FORMS[form]
    write(tmp_path / name, ROWS)
    code = (
        "import sys; from pathlib import Path; from tests.bench.planning import planned; "
        "planned(sys.argv[1]); "
        "status = Path('/proc/self/status').read_text(); print(status.split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / name)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told, peak = done.stdout.splitlines()
    print(f"{told}; {int(peak) / 1024:.0f} MiB")
    assert told.startswith(f"{ROWS} objects")
    assert int(peak) / 1024 <= MOST
