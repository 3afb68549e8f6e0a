"""What others say of a finished copy: `rclone check` finds it equal, `aws s3 sync` nothing to do."""

from __future__ import annotations

import os
import subprocess
from random import Random
from uuid import uuid4

import pytest

from tests.cloud import REGION, Cloud
from tests.conftest import Command
from tests.test_readme import BIN

SEED = 20261125
OBJECTS = 40
PART = 5 * 1024**2


def run(cloud: Cloud, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a peer's tool of the test environment against the embedded AWS."""
    remote = {
        "TYPE": "s3",
        "PROVIDER": "AWS",
        "ENV_AUTH": "true",
        "REGION": REGION,
        "ENDPOINT": cloud.url,
    }
    told = {f"RCLONE_CONFIG_S3_{name}": value for name, value in remote.items()}
    environment = cloud.environment() | told | {"RCLONE_CONFIG_S3_FORCE_PATH_STYLE": "true"}
    return subprocess.run(
        [BIN / command[0], *command[1:]], env=environment, capture_output=True, text=True, check=False
    )


def filled(cloud: Cloud) -> str:
    """A bucket with objects of many sizes and attributes, two of them uploaded in parts."""
    s3, bucket, random = cloud.client("s3"), cloud.bucket(f"source-{uuid4().hex}"), Random(SEED)
    for number in range(OBJECTS):
        s3.put_object(
            Bucket=bucket,
            Key=f"in/{number % 3}/a key+{number}",
            Body=random.randbytes(random.choice([0, 1, 1000, 70_000])),
            ContentType="text/x",
            CacheControl=f"max-age={number}",
            Metadata={"number": str(number), "mtime": "1700000000.5"},
            Tagging=f"number={number}",
            StorageClass=random.choice(["STANDARD", "STANDARD_IA"]),
        )
    for size in (PART + 1, 2 * PART):
        at = {"Bucket": bucket, "Key": f"in/parts-{size}"}
        upload, body = s3.create_multipart_upload(**at, Metadata={"in": "parts"})["UploadId"], bytes(size)
        parts = [
            s3.upload_part(**at, UploadId=upload, PartNumber=number, Body=body[start : start + PART])
            for number, start in enumerate(range(0, size, PART), 1)
        ]
        rows = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate(parts, 1)]
        s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": rows})
    return bucket


@pytest.mark.parametrize("strategy", ["stream", "server-side"])
def test_peers_find_nothing_to_do(cloud: Cloud, fleetcopy: Command, strategy: str) -> None:
    source, destination = filled(cloud), cloud.bucket(f"destination-{uuid4().hex}")
    done = fleetcopy("copy", f"s3://{source}/in/", f"s3://{destination}/out/", "--strategy", strategy)
    assert (done.returncode, done.stderr) == (0, "")

    def check() -> subprocess.CompletedProcess[str]:
        ends = (f"s3:{source}/in", f"s3:{destination}/out")
        return run(cloud, "rclone", "check", *ends, "--config", os.devnull)

    def sync() -> subprocess.CompletedProcess[str]:
        return run(cloud, "aws", "s3", "sync", "--dryrun", f"s3://{source}/in/", f"s3://{destination}/out/")

    found = check()
    assert found.returncode == 0, found.stderr
    assert "0 differences found" in found.stderr
    assert f"{OBJECTS + 2} matching files" in found.stderr
    assert (sync().returncode, sync().stdout) == (0, "")

    cloud.client("s3").put_object(Bucket=destination, Key="out/1/a key+1", Body=b"altered")
    assert "1 differences found" in check().stderr
    assert "a key+1" in sync().stdout
