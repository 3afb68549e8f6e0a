"""`fleetcopy list` as a user runs it: what it writes, where, and what becomes of it when it is cut off."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest
import zstandard

from tests import listings
from tests.cloud import ROOT, Cloud
from tests.cloud.web import Request, Response
from worker.core.lines import decode
from worker.flow.packing import packed

BIN = Path(sys.executable).parent
SEED = 20261125
PEAK = 150 * 1024
"""KiB."""


class Bench:
    """A server of computed buckets, and the command that lists them."""

    def __init__(self, server: listings.Lister | None = None) -> None:
        self.server = server or listings.Lister()
        self.url = f"http://127.0.0.1:{self.server.serve()}"

    def start(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `fleetcopy list`; `environment` tells of another AWS."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        keys = {"AWS_ACCESS_KEY_ID": "AKIALIST", "AWS_SECRET_ACCESS_KEY": "list"}
        return subprocess.Popen(
            [BIN / "fleetcopy", "list", *arguments, "--source-endpoint-url", self.url],
            env=(dict(environment) if environment else kept | keys)
            | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, str]:
        """Run it: exit code, what it wrote to standard output, what to standard error."""
        process = self.start(*arguments, environment=environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err.decode()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def is_of(bucket: str, found: bytes) -> bool:
    return hashlib.sha256(found).hexdigest() == listings.digest(bucket)


def test_to_standard_output(bench: Bench) -> None:
    code, out, err = bench.run("s3://unicode-3000")
    assert code == 0
    assert is_of("unicode-3000", out)
    assert err.startswith("listed 3,000 objects in ")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_to_a_file(bench: Bench, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    code, out, _ = bench.run("s3://dated-20000", "--output", file)
    assert (code, out) == (0, b"")
    data = file.read_bytes()
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    if name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    assert is_of("dated-20000", data)
    assert list(tmp_path.iterdir()) == [file]


def test_packed_as_told_whatever_the_name(bench: Bench) -> None:
    _, out, _ = bench.run("s3://flat-10", "--compress", "gzip")
    assert is_of("flat-10", gzip.decompress(out))


def test_a_bucket_without_objects(bench: Bench, tmp_path: Path) -> None:
    assert bench.run("s3://flat-10/none")[:2] == (0, b"")
    assert bench.run("s3://flat-10/none", "--output", tmp_path / "a.gz")[0] == 0
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b""


@pytest.mark.parametrize("lie", [lie for lie in listings.LIES if lie != "breaks"])
def test_a_page_that_lies_ends_it(bench: Bench, tmp_path: Path, lie: str) -> None:
    file = tmp_path / "a.jsonl"
    code, _, err = bench.run(f"s3://{lie}-flat-5000", "--output", file)
    print(err)
    assert code == 2
    assert err.startswith(f"fleetcopy: list source s3://{lie}-flat-5000/: ")
    assert not file.exists()


@pytest.mark.parametrize("packing", ["none", "gzip", "zstd"])
def test_an_interrupted_file_is_gone_on_with(
    bench: Bench, tmp_path: Path, packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed run leaves ends anywhere; whatever is whole of it is not listed again."""
    monkeypatch.setattr("worker.flow.packing._MEMBER", 100_000)
    random = Random(SEED)
    print("seed", SEED)
    _, whole, _ = bench.run("s3://hashed-9000")
    written = b"".join(packed(iter([whole[at : at + 70_000] for at in range(0, 900_000, 70_000)]), packing))
    file = tmp_path / "a.jsonl"
    for cut in (0, 10, len(written) // 2, random.randrange(len(written))):
        for old in tmp_path.iterdir():
            old.unlink()
        part(file, bench.url, "s3://hashed-9000", packing).write_bytes(written[:cut])
        code, _, err = bench.run("s3://hashed-9000", "--output", file, "--compress", packing)
        assert code == 0, err
        if cut == len(written) // 2:
            assert "going on after" in err
        assert is_of("hashed-9000", unpacked(file.read_bytes(), packing))


def part(file: Path, url: str, uri: str, packing: str) -> Path:
    """The unfinished file of a listing, by its name."""
    mark = hashlib.sha256(f"{packing} {url} {uri}/".encode()).hexdigest()[:8]
    return file.with_name(f"{file.name}.{mark}.part")


def unpacked(data: bytes, packing: str) -> bytes:
    match packing:
        case "gzip":
            return gzip.decompress(data)
        case "zstd":
            return zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    return data


def test_killed_and_started_again(bench: Bench, tmp_path: Path) -> None:
    file, enough = tmp_path / "a.jsonl", threading.Event()
    asked: list[str] = []

    def ask(_bucket: str, query: Mapping[str, str]) -> None:
        asked.append(query.get("start-after") or query.get("continuation-token", ""))
        if len(asked) == 60:
            enough.set()

    bench.server.ask = ask
    process = bench.start("s3://flat-100000", "--output", file)
    assert enough.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not file.exists()
    [left] = tmp_path.iterdir()
    kept = left.read_bytes().count(b"\n")
    code, _, err = bench.run("s3://flat-100000", "--output", file)
    print(kept, err)
    assert code == 0
    assert f"listed {100_000 - kept:,} objects" in err
    assert is_of("flat-100000", file.read_bytes())


def test_what_another_listing_left_is_not_gone_on_with(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    part(file, bench.url, "s3://other", "none").write_bytes(b"{}\n")
    code, _, _ = bench.run("s3://flat-2000", "--output", file)
    assert code == 0
    assert is_of("flat-2000", file.read_bytes())


def test_what_is_no_listing_is_not_gone_on_with(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    part(file, bench.url, "s3://flat-2000", "none").write_bytes(b"no listing\n")
    code, _, err = bench.run("s3://flat-2000", "--output", file)
    assert code == 2
    assert "delete it" in err


def test_nothing_but_a_regular_file_is_replaced(bench: Bench, tmp_path: Path) -> None:
    pipe, target, link = tmp_path / "pipe", tmp_path / "target", tmp_path / "link"
    os.mkfifo(pipe)
    target.write_bytes(b"old")
    link.symlink_to(target)
    code, _, err = bench.run("s3://flat-10", "--output", pipe)
    assert code == 2
    assert "no regular file" in err
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert bench.run("s3://flat-10", "--output", link)[0] == 0
    assert link.is_symlink()
    assert is_of("flat-10", target.read_bytes())


def test_pages_that_do_not_come_whole_are_asked_for_again(bench: Bench) -> None:
    whole, failures = bench.server.handle, iter(range(4))

    def handle(request: Request) -> Response:
        answer = whole(request)
        match next(failures, None):
            case 0:
                return Response(503, body=b"<Error><Code>SlowDown</Code></Error>")
            case 1:
                return Response(200, answer.headers, answer.body, cut=len(answer.body) // 2)
            case 2:
                return Response(200, answer.headers, answer.body[:-100])
        return answer

    bench.server.handle = handle  # type: ignore[method-assign]
    _, out, err = Bench(bench.server).run("s3://flat-3000")
    assert is_of("flat-3000", out), err
    assert bench.server.pages["flat-3000"] >= 6


def test_a_directory_bucket_is_refused(bench: Bench) -> None:
    code, _, err = bench.run("s3://data--usw2-az1--x-s3")
    assert code == 2
    assert "directory bucket" in err
    assert not bench.server.pages


def test_to_s3(bench: Bench, cloud: Cloud) -> None:
    bucket = cloud.bucket("listed-packed")
    where = ("--output", f"s3://{bucket}/a.jsonl.gz")
    code, _, err = bench.run("s3://unicode-3000", *where, environment=cloud.environment())
    assert code == 0, err
    body = cloud.client("s3").get_object(Bucket=bucket, Key="a.jsonl.gz")["Body"].read()
    assert is_of("unicode-3000", gzip.decompress(body))


def test_to_s3_part_by_part_or_not_at_all(bench: Bench, cloud: Cloud) -> None:
    bucket, s3 = cloud.bucket("listed-in-parts"), cloud.client("s3")
    where, told = ("--output", f"s3://{bucket}/a.jsonl"), cloud.environment()
    code, _, err = bench.run("s3://flat-150000", *where, environment=told)
    assert code == 0, err
    answer = s3.get_object(Bucket=bucket, Key="a.jsonl")
    assert answer["ETag"].endswith('-2"')
    assert is_of("flat-150000", answer["Body"].read())
    s3.delete_object(Bucket=bucket, Key="a.jsonl")
    assert bench.run("s3://loses-flat-5000", *where, environment=told)[0] == 2
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_to_a_bucket_that_is_not_there(bench: Bench, cloud: Cloud) -> None:
    code, _, err = bench.run("s3://flat-10", "--output", "s3://nowhere/a", environment=cloud.environment())
    assert code == 3
    assert "write s3://nowhere/a: NoSuchBucket" in err


def highest(pid: int) -> int:
    """The most memory that a process has had so far, in KiB; not what its parent had, as wait4 would tell."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


@pytest.mark.parametrize(
    ("bucket", "objects"),
    [("flat", 1_000_000), ("dated", 200_000), ("hashed", 200_000), ("unicode", 200_000)],
)
@pytest.mark.slow
def test_complete_and_in_order_within_its_memory(bench: Bench, bucket: str, objects: int) -> None:
    name = f"{bucket}-{objects}"
    process, found = bench.start(f"s3://{name}"), hashlib.sha256()
    assert process.stdout is not None
    assert process.stderr is not None
    peak = 0
    while block := process.stdout.read(1 << 20):
        found.update(block)
        peak = max(peak, highest(process.pid))
    err = process.stderr.read().decode()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    print(name, peak // 1024, "MiB", err, bench.server.pages)
    assert process.returncode == 0, err
    assert found.hexdigest() == listings.digest(name)
    assert 0 < peak <= PEAK
    assert bench.server.pages[name] <= 1.2 * objects / 1000 + 100


def test_the_first_line_is_an_object(bench: Bench) -> None:
    _, out, _ = bench.run("s3://flat-10")
    assert decode(out.splitlines()[3]).key == "data/000000000003.bin"
