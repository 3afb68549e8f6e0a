"""`fleetcopy verify` as a user runs it: deeper than the listings, as JSON, and sending what is lacking."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from tests import listings
from tests.cloud import Cloud
from tests.conftest import Command
from tests.contract import adopt
from tests.transfers import Trial
from worker.aws.reader import WireReader
from worker.aws.wire import trust
from worker.core.errors import DestinationChangedError, SourceChangedError
from worker.core.model import Endpoint, ObjectRef, Transfer

KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}


def trial(cloud: Cloud, objects: int) -> Trial:
    """A trial whose destination has all of its objects."""
    made = Trial.fill(cloud, Random(7), objects, [1_000])
    for number in range(objects):
        put(made, number)
    return made


def put(made: Trial, number: int, body: bytes | None = None, **more: Any) -> None:  # noqa: ANN401 - boto3's
    """Put an object's bytes, or others, at the destination."""
    s3 = made.cloud.client("s3", "eu-west-1")
    if body is None:
        body = s3.get_object(Bucket=made.source, Key=f"in/{number:05}")["Body"].read()
    s3.put_object(Bucket=made.destination, Key=f"out/{number:05}", Body=body, **more)


def encrypting(cloud: Cloud, objects: int) -> Trial:
    """One whose destination encrypts with KMS by default, and so is known to have no digests for ETags."""
    made = trial(cloud, objects)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    cloud.client("s3", "eu-west-1").put_bucket_encryption(
        Bucket=made.destination, ServerSideEncryptionConfiguration={"Rules": [rule]}
    )
    return made


def damaged(cloud: Cloud) -> Trial:
    """One object is missing, one altered, one added."""
    made = trial(cloud, 6)
    s3 = cloud.client("s3", "eu-west-1")
    s3.delete_object(Bucket=made.destination, Key="out/00001")
    put(made, 3, bytes(1_000))
    s3.put_object(Bucket=made.destination, Key="out/more", Body=b"")
    return made


def test_three_findings_among_a_hundred_thousand(cloud: Cloud) -> None:
    server = listings.Lister()
    url = f"http://127.0.0.1:{server.serve()}"
    ends = ["s3://flat-100000", "s3://damaged-flat-100000"]
    verify = Command(cloud.environment() | {"AWS_ENDPOINT_URL": url})
    done = verify("verify", *ends)
    assert done.returncode == 1, done.stderr
    keys = listings.Keys("flat-100000")
    missing, altered, added = (keys[number] for number in listings.DAMAGE.values())
    etags = f"ETag {50_000:032x} at the source, {2**128 - 50_000:032x} at the destination"
    assert done.stdout.splitlines() == [
        f"missing    {missing}  (not at the destination)",
        f"different  {altered}  (same size, {etags})",
        f"extra      {added}+  (not at the source)",
        "verdict: equal 99998, different 1, missing 1, extra 1, unproven 0",
    ]


def test_findings_as_lines_of_json(cloud: Cloud) -> None:
    made = damaged(cloud)
    done = made.command("verify", *made.ends, "--json")
    assert done.returncode == 1, done.stderr
    *found, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["match"], one["key"]) for one in found] == [
        ("missing", "in/00001"),
        ("different", "in/00003"),
        ("extra", "out/more"),
    ]
    assert last == {
        "verdict": {"equal": 4, "different": 1, "missing": 1, "extra": 1, "unproven": 0},
        "proven": False,
    }


def test_filters_leave_findings_out(cloud: Cloud) -> None:
    made = damaged(cloud)
    done = made.command("verify", *made.ends, "--exclude", "00001", "--exclude", "more")
    assert done.stdout.splitlines()[-1] == "verdict: equal 4, different 1, missing 0, extra 0, unproven 0"


def test_what_is_lacking_is_sent_and_then_copied(cloud: Cloud) -> None:
    made = damaged(cloud)
    queue = ["--queue", made.queue.url]
    done = made.command("verify", *made.ends, *queue, "--submit")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("sent 1 tasks; transfer ")
    work = ["work", *made.ends, *queue, "--processes", "1", "--until-empty", "--empty-seconds", "1"]
    done = made.command(*work)
    assert done.returncode == 0, done.stderr
    done = made.command("verify", *made.ends, "--exclude", "more")
    assert done.returncode == 0
    assert done.stdout == "verdict: equal 6, different 0, missing 0, extra 0, unproven 0\n"


def test_submit_needs_a_queue(cloud: Cloud) -> None:
    made = damaged(cloud)
    done = made.command("verify", *made.ends, "--submit")
    assert done.returncode == 2
    assert "no queue is named" in done.stderr


def test_what_kms_leaves_unproven_is_proven_by_reading(cloud: Cloud) -> None:
    made = encrypting(cloud, 3)
    # boto3 lets S3 store a CRC32 for the source's: none that they have in common.
    put(made, 1, ChecksumAlgorithm="SHA256", **KMS)
    put(made, 2, bytes(1_000), ChecksumAlgorithm="SHA256", **KMS)
    shallow = made.command("verify", *made.ends)
    assert shallow.stdout.splitlines()[-1] == "verdict: equal 1, different 0, missing 0, extra 0, unproven 2"
    cloud.clear_journal()
    deep = made.command("verify", *made.ends, "--deep")
    assert deep.stdout.splitlines() == [
        "different  in/00002  (other bytes, by reading)",
        "verdict: equal 2, different 1, missing 0, extra 0, unproven 0",
    ]
    assert cloud.counts()["s3:GetObject"] == 4
    assert "s3:PutObject" not in cloud.counts()


def test_no_other_version_is_read_than_the_one_looked_at(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trial(cloud, 1)
    adopt(monkeypatch, cloud.environment())
    transfer = Transfer(
        Endpoint(bucket=made.source, prefix="in/", endpoint_url=cloud.url),
        Endpoint(bucket=made.destination, prefix="out/", endpoint_url=cloud.url),
    )
    reader = WireReader(transfer, threads=1, context=trust(None))
    one = ObjectRef("in/00000", 1_000, "", 0)
    seen, _ = reader.look(one)
    assert seen
    assert len(reader.crc64nvme("source", one, seen.etag)) == 12
    with pytest.raises(SourceChangedError):
        reader.crc64nvme("source", one, "0" * 32)
    with pytest.raises(DestinationChangedError):
        reader.crc64nvme("destination", one, "0" * 32)


def test_stored_checksums_are_asked_before_anything_is_read(cloud: Cloud) -> None:
    made = encrypting(cloud, 1)
    s3 = cloud.client("s3", "eu-west-1")
    body = s3.get_object(Bucket=made.source, Key="in/00000")["Body"].read()
    s3.put_object(Bucket=made.source, Key="in/00000", Body=body, ChecksumAlgorithm="CRC64NVME")
    put(made, 0, ChecksumAlgorithm="CRC64NVME", **KMS)
    cloud.clear_journal()
    deep = made.command("verify", *made.ends, "--deep")
    assert deep.stdout == "verdict: equal 1, different 0, missing 0, extra 0, unproven 0\n"
    assert cloud.counts()["s3:HeadObject"] == 2
    assert "s3:GetObject" not in cloud.counts()
