"""`python -m tests.bench.copies`: what it costs a client to have S3 copy many small objects by itself.

`fleetcopy copy` against boto3 (`copy_object` in as many threads, with the same fences and conditions), each a
process from its start to its end, listings included, by turns on the embedded AWS. CPU seconds are of the
client alone, so that it does not matter how fast the server is. Every copy's ETag is compared, and requests
are counted. Exits 1 where boto3 takes less than five times as much.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config

from tests.bench import measure
from tests.cloud import Cloud

STREAMS = 16
MUST = 5.0
CLIENT_CORE = 0


def main() -> int:
    """Measure; 0 where the budget holds."""
    parser = argparse.ArgumentParser(description="Client CPU of copies within S3: fleetcopy against boto3.")
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with Cloud() as cloud:
        etags = _fill(cloud, options.objects)
        rounds = [
            [_weighed(cloud, etags, tool, f"{tool}-{number}") for tool in ("fleetcopy", "boto3")]
            for number in range(options.rounds)
        ]
    ours, theirs = (statistics.median(one[tool].cpu for one in rounds) for tool in (0, 1))
    print(f"{options.objects:,} objects, median of {options.rounds}: fleetcopy {ours:.2f} s of CPU, ", end="")
    print(f"boto3 {theirs:.2f} s, {theirs / ours:.1f} times as much (must be {MUST:g})")
    return 0 if theirs >= MUST * ours else 1


def _fill(cloud: Cloud, objects: int) -> dict[str, str]:
    """Put the objects; their ETags by key."""
    s3, source = cloud.client("s3"), cloud.bucket("source")
    bodies = {f"{number % 100:02}/{number:06}": f"{number}".encode() for number in range(objects)}
    for key, body in bodies.items():
        s3.put_object(Bucket=source, Key=key, Body=body)
    return {key: f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"' for key, body in bodies.items()}


def _weighed(cloud: Cloud, etags: dict[str, str], tool: str, destination: str) -> measure.Weight:
    """One run of one tool into an empty bucket, checked."""
    s3 = cloud.client("s3")
    cloud.bucket(destination)
    commands: dict[str, list[str | Path]] = {
        "fleetcopy": [
            Path(sys.executable).with_name("fleetcopy"),
            *("copy", "s3://source", f"s3://{destination}", "--strategy", "server-side"),
            *("--processes", "1", "--streams", str(STREAMS)),
        ],
        "boto3": [sys.executable, "-c", f"from tests.bench import copies; copies.by_boto3({destination!r})"],
    }
    cloud.clear_journal()
    weight = measure.run(commands[tool], cloud.environment(), CLIENT_CORE)
    counts = cloud.counts()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=destination)
    assert {row["Key"]: row["ETag"] for page in pages for row in page["Contents"]} == etags
    # fleetcopy asks what is not AWS twice whether it heeds conditions.
    assert counts["s3:CopyObject"] - len(etags) == {"fleetcopy": 2, "boto3": 0}[tool]
    others = sum(counts.values()) - len(etags)
    print(f"{tool:10} {weight.cpu:6.2f} s of CPU, {weight.wall:6.1f} s, {weight.memory:4.0f} MiB, ", end="")
    print(
        f"{1e6 * weight.cpu / len(etags):5.0f} us an object, {len(etags):,} copies, {others} other requests"
    )
    return weight


def by_boto3(destination: str) -> None:
    """The same with the SDK, as its documentation shows it."""
    s3 = boto3.client("s3", config=Config(max_pool_connections=STREAMS))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="source")

    def copy(key: str, etag: str) -> None:
        s3.copy_object(
            Bucket=destination,
            Key=key,
            CopySource={"Bucket": "source", "Key": key},
            CopySourceIfMatch=etag,
            IfNoneMatch="*",
        )

    with ThreadPoolExecutor(STREAMS) as pool:
        rows = [(row["Key"], row["ETag"]) for page in pages for row in page["Contents"]]
        for done in [pool.submit(copy, *row) for row in rows]:
            done.result()


if __name__ == "__main__":
    sys.exit(main())
