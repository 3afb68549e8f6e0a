"""`fleetcopy plan`: what it says is what `submit` and `work` then do, and what a real archive holds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cloud import Cloud
from tests.conftest import Command
from tests.test_archive_listing import LISTING, OBJECTS, rows
from tests.test_large import Versions
from tests.transfers import Trial
from worker.core.bill import LOOKS
from worker.core.parts import FAN_OUT_ABOVE, MIB

SEED = 6
FENCES_TRIED = {"s3:CopyObject": 2}
"""Copies by which a process finds out whether an endpoint that is not AWS heeds conditions."""

NOT_PREDICTED = {
    "s3:GetBucketEncryption",
    "s3:GetObjectTagging",
    "s3:GetObjectLockConfiguration",
    "s3:GetBucketWebsite",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
    "sqs:ChangeMessageVisibilityBatch",
}
"""Requests at the start, which are few, and those whose number depends on time."""

CHROMIUM = shutil.which("chromium")
ENDS = ["s3://noaa-nexrad-level2", "s3://copy/radar/", "--source-region", "us-east-1", "--no-destination"]
ABROAD = [*ENDS, "--destination-region", "cn-north-1"]


def planned(trial: Trial, *options: str) -> dict[str, Any]:
    """What `plan --json` says."""
    done = trial.command("plan", *trial.ends, "--json", *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def carried_out(trial: Trial, *options: str) -> Counter[tuple[str, str]]:
    """What submitting and working asks of each place, by operation."""
    trial.cloud.clear_journal()
    trial.submit()
    work = ["--queue", trial.queue.url, "--until-empty", "--empty-seconds", "1", "--processes", "1"]
    done = trial.command("work", *trial.ends, *work, *options)
    assert done.returncode == 0, done.stderr
    places = {trial.source: "source", trial.destination: "destination", None: "queue"}
    return Counter((places[row["bucket"]], row["operation"]) for row in trial.cloud.journal())


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["stream", "server-side"])
def test_the_plan_is_what_happens(cloud: Cloud, strategy: str) -> None:
    print(f"seed {SEED}")
    trial = Trial.fill(cloud, Random(SEED), 120, (0, 1, 100, 5_000))
    for number in range(20):
        key = f"out/{number:05}"
        cloud.client("s3").put_object(Bucket=trial.destination, Key=key, Body=b"another")
    plan = planned(trial, "--strategy", strategy)
    done = carried_out(trial, "--strategy", strategy)
    fates = {one["fate"]: one["objects"] for one in plan["outcomes"] if one["objects"]}
    assert fates == {"copy": 100, "replace": 20}
    assert foretold(plan) == seen(done)
    # Each message is received once, and the queue asked in vain a few times before the worker ends.
    tasks = plan["work"]["copy_tasks"]
    assert tasks == done["queue", "sqs:DeleteMessage"]
    assert tasks <= done["queue", "sqs:ReceiveMessage"] <= tasks + 3


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["stream", "server-side"])
def test_the_plan_of_objects_in_parts_is_what_happens(cloud: Cloud, strategy: str) -> None:
    trial = Trial.fill(cloud, Random(SEED), 2, (5_000,))
    for parts in (1, 3):
        in_parts(trial, f"in/{parts} parts", [5 * MIB] * (parts - 1) + [1_000])
    plan = planned(trial, "--strategy", strategy)
    assert (plan["work"]["copy_tasks"], plan["work"]["parts"]) == (1, 4)
    assert foretold(plan) == seen(carried_out(trial, "--strategy", strategy))


@pytest.mark.slow
def test_the_plan_of_an_object_that_many_copy_is_what_happens() -> None:
    with Cloud() as cloud:  # its memory holds the object
        trial = Trial.fill(cloud, Random(SEED), 2, (10,))
        Versions(cloud, FAN_OUT_ABOVE + 5 * MIB).put(trial.source, "in/large", 1)
        plan = planned(trial, "--strategy", "stream")
        done = carried_out(trial, "--strategy", "stream")
    work, told, found = plan["work"], foretold(plan), seen(done)
    assert (work["copy_tasks"], work["large_tasks"], work["parts"]) == (1, 1, 65)
    # How often its owner looks depends on time.
    looks = found["queue", "sqs:DeleteMessage"] - work["copy_tasks"] - work["large_tasks"] - work["hints"]
    each_look = [("source", "s3:HeadObject"), ("destination", "s3:ListParts")]
    each_look += [("queue", "sqs:DeleteMessage"), ("queue", "sqs:SendMessageBatch")]
    assert told == found | {of: found[of] + LOOKS - looks for of in each_look}


def in_parts(trial: Trial, key: str, sizes: list[int]) -> None:
    """Put an object in parts of these sizes."""
    s3, where = trial.cloud.client("s3"), {"Bucket": trial.source, "Key": key}
    upload = s3.create_multipart_upload(**where)["UploadId"]
    rows = [
        {"PartNumber": number, "ETag": s3.upload_part(
            **where, UploadId=upload, PartNumber=number, Body=Random(number).randbytes(size)
        )["ETag"]}
        for number, size in enumerate(sizes, 1)
    ]  # fmt: skip
    s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": rows})


def foretold(plan: dict[str, Any]) -> dict[tuple[str, str], int]:
    """How often a plan says that each operation is asked of each place."""
    rows = [row for row in plan["requests"] if row["kind"] not in NOT_PREDICTED]
    return {(row["at"], row["kind"]): row["count"] for row in rows}


def seen(done: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """How often it was asked, once an endpoint had shown that it heeds conditions."""
    return {
        of: count - FENCES_TRIED.get(of[1], 0) for of, count in done.items() if of[1] not in NOT_PREDICTED
    }


def test_what_is_equal_is_the_users_to_say(cloud: Cloud) -> None:
    trial = Trial.fill(cloud, Random(SEED), 3, (7,))
    for number in range(3):
        key = f"out/{number:05}"
        cloud.client("s3").put_object(Bucket=trial.destination, Key=key, Body=b"1234567")
    for by, fate, moved in (("etag", "replace", 3), ("size", "equal", 0)):
        plan = planned(trial, "--compare", by)
        assert [one["fate"] for one in plan["outcomes"] if one["objects"]] == [fate]
        assert (plan["destination_objects"], plan["moved_objects"]) == (3, moved)


def test_a_plan_sends_and_writes_nothing(cloud: Cloud) -> None:
    trial = Trial.fill(cloud, Random(SEED), 3)
    cloud.clear_journal()
    planned(trial)
    assert set(cloud.counts()) <= {"s3:ListObjectsV2", "s3:GetBucketEncryption"}


@pytest.mark.skipif(not LISTING.is_dir(), reason=f"no {LISTING}")
def test_a_real_archive_is_planned_to_the_last_byte(fleetcopy: Command) -> None:
    """Totals, classes of sizes and prefixes, as counted independently of the product."""
    done = fleetcopy("plan", *ABROAD, "--json", "--from", str(LISTING))
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    sizes = {row["Key"]: row["Size"] for row in rows()}
    assert plan["source_objects"] == plan["moved_objects"] == len(sizes) == OBJECTS
    assert plan["source_bytes"] == plan["moved_bytes"] == sum(sizes.values())
    for one in plan["sizes"]:
        inside = [size for size in sizes.values() if one["least"] <= size < one["below"]]
        assert (one["objects"], one["bytes"]) == (len(inside), sum(inside))
    assert sum(one["objects"] for one in plan["sizes"]) == OBJECTS
    months: dict[str, list[int]] = {}
    for key, size in sizes.items():
        months.setdefault(key[: len("1991/06/")], []).append(size)
    largest = sorted(((sum(of), len(of), month) for month, of in months.items()), reverse=True)[:10]
    assert plan["largest"]["depth"] == 2
    assert plan["largest"]["distinct"] == len(months)
    assert [(one["bytes"], one["objects"], one["prefix"]) for one in plan["largest"]["prefixes"]] == largest
    counts = {(line["at"], line["kind"]): line["count"] for line in plan["requests"]}
    assert counts["source", "s3:GetObject"] == counts["destination", "s3:PutObject"] == OBJECTS
    transfer = next(one for one in plan["charges"] if one["what"] == "data transfer over the internet")
    assert transfer["dollars"] == pytest.approx(0.09 * sum(sizes.values()) / 2**30)


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    """A saved listing of 25 GB, with keys that a careless page would carry out."""
    names = ["<script>alert(1)</script>/a", "data/a", "data/caf\u00e9 & <b>/c", "new\nline/d", "x/y", "z"]
    contents = [
        {
            "Key": name,
            "Size": 5 * 10**9,
            "ETag": f'"{"a" * 32}"',
            "LastModified": "2026-11-01T00:00:00+00:00",
            "StorageClass": "DEEP_ARCHIVE" if name == "z" else "STANDARD",
        }
        for name in names
    ]
    file = tmp_path / "listing.json"
    file.write_text(json.dumps({"Contents": contents}))
    return file


SLOW_NETWORK = ["--network-bandwidth", "0.0001"]
REFUSED = (
    "fleetcopy: 23.1 days with 1 instance is longer than the 14 days for which a queue keeps its messages: "
    "what is left then is lost. 2 instances would do\n"
)


def test_what_would_outlast_the_queue_is_told_and_refused(fleetcopy: Command, listing: Path) -> None:
    options = [*ABROAD, "--from", str(listing), *SLOW_NETWORK]
    done = fleetcopy("plan", *options)
    assert (done.returncode, done.stderr) == (2, REFUSED)
    assert "\narchived                 1   5,000,000,000  in Glacier" in done.stdout
    assert "TIME  23.1 days with 1 x c6i.xlarge" in done.stdout
    done = fleetcopy("plan", *options, "--instances", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["pace"]["fits_retention"]


def test_prices_are_the_users(fleetcopy: Command, listing: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('as_of = "2031-02"\ninternet.us-east-1 = [[0, 1]]\n')
    options = [*ABROAD, "--from", str(listing), "--prices", str(prices)]
    done = fleetcopy("plan", *options)
    assert done.returncode == 0, done.stderr
    assert re.search(r"data transfer over the internet +\$23\.28\n", done.stdout)
    assert "at list prices of 2031-02" in done.stdout
    prices.write_text('as_of = "2031-02"\ninternets = 1\n')
    done = fleetcopy("plan", *options)
    assert done.returncode == 2
    assert f"{prices}: Object contains unknown field `internets`" in done.stderr


def test_a_page_that_cannot_be_written_is_told_before_anything_is_listed(fleetcopy: Command) -> None:
    done = fleetcopy("plan", *ABROAD, "--from", "/nowhere/listing.json", "--html", "/nowhere/x.html")
    assert done.returncode == 2
    assert "--html /nowhere/x.html: cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (("--instances", "0"), "argument --instances: '0' is not a whole number above 0"),
        (("--network-bandwidth", "inf"), "argument --network-bandwidth: 'inf' is not a number above 0"),
        (("--prices", "/nowhere"), "/nowhere: cannot be read"),
        (("--html", "/nowhere/x.html"), "--html /nowhere/x.html: cannot be written"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    fleetcopy: Command, listing: Path, option: tuple[str, str], complaint: str
) -> None:
    done = fleetcopy("plan", *ABROAD, "--from", str(listing), *option)
    assert done.returncode == 2
    assert complaint in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_shows_the_page(fleetcopy: Command, listing: Path, tmp_path: Path) -> None:
    """It reads the page as it is meant: nothing is fetched, and no key is taken for markup."""
    page, picture = tmp_path / "plan.html", tmp_path / "plan.png"
    done = fleetcopy("plan", *ABROAD, "--from", str(listing), *SLOW_NETWORK, "--html", str(page))
    assert (done.returncode, done.stderr) == (2, REFUSED)
    dom = browse(page, tmp_path, "--dump-dom")
    assert dom.stderr.count("CONSOLE") == 0, dom.stderr
    assert re.findall(r"<script|<b>alert|(?:src|href)=", dom.stdout) == []
    assert dom.stdout.count("<svg ") == 5
    assert "&lt;script&gt;alert(1)" in dom.stdout
    assert '<div class="warning" role="alert">' in dom.stdout
    browse(page, tmp_path, "--window-size=1000,2000", f"--screenshot={picture}")
    assert picture.stat().st_size > 50_000


def browse(page: Path, home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a Chromium that knows of no other place, and has no memory."""
    assert CHROMIUM
    return subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *("--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *(f"--user-data-dir={home / 'chromium'}", *options, page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
