"""`fleetcopy submit` as a user runs it: filters, a dry run, and a checkpoint that survives a kill.

Set FLEETCOPY_TEST_SEED to repeat a run.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests import archive
from tests.cloud import Cloud
from tests.transfers import Trial, wait_for
from worker.flow.send import BLOCK

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261126"))
OBJECTS = 20_000


def keys_sent(trial: Trial) -> Counter[str]:
    """How often each key stands in the messages that nobody has seen yet."""
    return Counter(key for keys in tasks_sent(trial) for key in keys)


def tasks_sent(trial: Trial) -> list[list[str]]:
    """The keys of each message that nobody has seen yet."""
    sqs, found = trial.cloud.client("sqs"), list[list[str]]()
    while messages := sqs.receive_message(QueueUrl=trial.queue.url, MaxNumberOfMessages=10).get(
        "Messages", []
    ):
        for message in messages:
            body = json.loads(message["Body"])
            found.append([body["common_prefix"] + row[0] for row in body["objects"]])
    return found


def saved(folder: Path, count: int) -> Path:
    """A listing as `aws s3api list-objects-v2` saves it, of an archive in small below `in/`."""
    rows: list[dict[str, Any]] = [
        {
            "Key": f"in/{one.key}",
            "Size": one.size,
            "ETag": f'"{number:032x}"',
            "LastModified": datetime(2015, 10, 28, tzinfo=UTC).isoformat(),
            "StorageClass": "STANDARD",
        }
        for number, one in enumerate(archive.generate(count, SEED))
    ]
    path = folder / "listing.json"
    path.write_text(json.dumps({"Contents": rows}))
    return path


def test_filters_choose_what_is_sent(cloud: Cloud) -> None:
    trial = Trial.fill(cloud, Random(SEED), 10, [100])
    trial.cloud.client("s3").put_object(Bucket=trial.source, Key="in/large", Body=bytes(70_000))
    queue = ["--queue", trial.queue.url]
    done = trial.command(
        "submit", *trial.ends, *queue, "--include", "0000?", "--include", "large", "--exclude", "*3",
        "--max-size", "64KiB", "--newer-than", "1h", "--source-storage-class", "STANDARD",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert keys_sent(trial) == {f"in/{number:05}": 1 for number in range(10) if number != 3}
    assert "listed 9 objects: 9 copy" in done.stdout


def test_a_dry_run_says_what_it_would_send_and_sends_nothing(cloud: Cloud) -> None:
    trial = Trial.fill(cloud, Random(SEED), 5, [100])
    done = trial.command("submit", *trial.ends, "--dry-run")  # no queue is needed
    assert done.returncode == 0, done.stderr
    assert "would send 1 tasks for 500 bytes" in done.stdout
    assert sum(trial.messages().values()) == 0


def test_a_comparison_by_size_leaves_equal_sizes_alone(cloud: Cloud) -> None:
    trial = Trial.fill(cloud, Random(SEED), 2, [100])
    s3 = cloud.client("s3", "eu-west-1")
    s3.put_object(Bucket=trial.destination, Key="out/00000", Body=bytes(100))
    s3.put_object(Bucket=trial.destination, Key="out/00001", Body=bytes(99))
    command = ["submit", *trial.ends, "--dry-run", "--compare"]
    assert "1 copy, 1 equal" in trial.command(*command, "size").stdout
    assert "2 copy, 0 equal" in trial.command(*command, "etag").stdout
    assert "1 copy, 1 equal" in trial.command(*command, "size-and-time").stdout


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--min-size", "big"], "--min-size: 'big' is no size"),
        (["--older-than", "yesterday"], "--older-than: 'yesterday' is no age"),
        (["--compare", "md5"], "invalid choice: 'md5'"),
        (["--checkpoint", "s3://bucket"], "no key; write s3://bucket/key"),
        (["--checkpoint", "/proc/none/file"], "checkpoint /proc/none/file"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(cloud: Cloud, words: list[str], complaint: str) -> None:
    trial = Trial.fill(cloud, Random(SEED), 1, [1])
    done = trial.command("submit", *trial.ends, "--queue", trial.queue.url, *words)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert sum(trial.messages().values()) == 0


def test_a_live_listing_goes_on_from_a_checkpoint_too(cloud: Cloud, tmp_path: Path) -> None:
    trial = Trial.fill(cloud, Random(SEED), 5, [100])
    words = ["submit", *trial.ends, "--queue", trial.queue.url, "--checkpoint", str(tmp_path / "how-far")]
    assert trial.command(*words).returncode == 0
    assert len(keys_sent(trial)) == 5
    kept = json.loads((tmp_path / "how-far").read_text())
    (tmp_path / "how-far").write_text(json.dumps(kept | {"sent_through": "in/00002", "complete": False}))
    assert "listed 2 objects after 'in/00002': 2 copy" in trial.command(*words).stdout
    assert keys_sent(trial) == {"in/00003": 1, "in/00004": 1}


def test_a_checkpoint_is_for_one_queue_and_one_listing(cloud: Cloud, tmp_path: Path) -> None:
    trial, other = Trial.fill(cloud, Random(SEED), 1, [100]), Trial.fill(cloud, Random(SEED), 0)
    listing, place = saved(tmp_path, 5), tmp_path / "how-far"
    words = ["submit", *trial.ends, "--from", str(listing), "--checkpoint", str(place)]
    assert trial.command(*words, "--queue", trial.queue.url).returncode == 0
    done = trial.command(*words, "--queue", other.queue.url)
    assert done.returncode == 2
    assert "another queue" in done.stderr
    saved(tmp_path, 6)
    done = trial.command(*words, "--queue", trial.queue.url)
    assert done.returncode == 2
    assert "another queue, endpoint, filter, comparison or listing" in done.stderr


def test_ages_are_as_of_the_beginning_of_a_submission(cloud: Cloud, tmp_path: Path) -> None:
    trial, place = Trial.fill(cloud, Random(SEED), 5, [100]), tmp_path / "how-far"
    words = ["submit", *trial.ends, "--queue", trial.queue.url, "--checkpoint", str(place)]
    words += ["--newer-than", "1h"]
    assert "listed 5 objects" in trial.command(*words).stdout
    kept = json.loads(place.read_text()) | {"sent_through": "in/00001", "complete": False}
    place.write_text(json.dumps(kept))
    assert "listed 3 objects" in trial.command(*words).stdout
    place.write_text(json.dumps(kept | {"began": kept["began"] + 7200}))
    assert "listed 0 objects" in trial.command(*words).stdout


def test_what_was_left_alone_is_remembered(cloud: Cloud, tmp_path: Path) -> None:
    trial = Trial.fill(cloud, Random(SEED), 1, [100])
    trial.cloud.client("s3").put_object(Bucket=trial.source, Key="in/" + "x" * 1_000, Body=b"")
    ends = [word + "y" * 30 if word.startswith("s3://") and "/out/" in word else word for word in trial.ends]
    words = ["submit", *ends, "--queue", trial.queue.url, "--checkpoint", str(tmp_path / "how-far")]
    assert trial.command(*words).returncode == 1
    again = trial.command(*words)
    assert again.returncode == 1
    assert "all but objects left alone was sent before" in again.stdout


@pytest.mark.parametrize(
    ("time", "count"),
    [
        ("2015-10-28T00:00:00", 5),
        ("2015-10-28T00:00:01", 0),
        ("2015-10-28T08:00:00+08:00", 5),
        ("2015-10-28T08:00:01+08:00", 0),
        ("2015-10-27T19:00:00-05:00", 5),
    ],
)
def test_a_time_has_the_zone_that_it_names_or_utc(
    cloud: Cloud, tmp_path: Path, time: str, count: int
) -> None:
    trial = Trial.fill(cloud, Random(SEED), 0)
    words = ["submit", *trial.ends, "--dry-run", "--from", str(saved(tmp_path, 5)), "--newer-than", time]
    assert f"listed {count} objects" in trial.command(*words).stdout


@pytest.mark.parametrize("in_s3", [False, True], ids=["file", "object"])
def test_a_killed_submission_goes_on_from_its_checkpoint(
    cloud: Cloud, tmp_path: Path, *, in_s3: bool
) -> None:
    trial = Trial.fill(cloud, Random(SEED), 0)
    listing = saved(tmp_path, OBJECTS)
    place = f"s3://{trial.destination}/kept/how-far" if in_s3 else str(tmp_path / "how-far")
    words = ["submit", *trial.ends, "--queue", trial.queue.url, "--from", str(listing), "--checkpoint", place]
    cloud.clear_journal()
    # Slow enough for it to be killed with the second block under way: one is known to be sent.
    cloud.fault("sqs:SendMessageBatch", "delay", times=None, seconds=1.5)
    process = trial.command.start(*words)
    wait_for(lambda: cloud.counts().get("sqs:SendMessageBatch", 0) > BLOCK // 10, 60, "a block")
    process.kill()
    process.communicate()
    cloud.clear_faults()
    first = tasks_sent(trial)

    other = trial.command(*words, "--exclude", "x")
    assert other.returncode == 2
    assert "another queue, endpoint, filter, comparison or listing" in other.stderr

    done = trial.command(*words)
    assert done.returncode == 0, done.stderr
    assert " after 'in/" in done.stdout
    second = keys_sent(trial)
    assert {key for keys in first for key in keys} | second.keys() == {
        f"in/{one.key}" for one in archive.generate(OBJECTS, SEED)
    }
    assert sum(keys[0] in second for keys in first) <= BLOCK

    again = trial.command(*words)
    assert again.returncode == 0
    assert "all was sent before" in again.stdout
    assert keys_sent(trial) == {}


def test_the_workers_list_by_themselves(cloud: Cloud) -> None:
    trial = Trial.fill(cloud, Random(SEED), 60, [100])
    trial.cloud.client("s3").put_object(Bucket=trial.source, Key="in/left out", Body=b"")
    words = ["submit", *trial.ends, "--queue", trial.queue.url, "--distributed", "--exclude", "left*"]
    cloud.clear_journal()
    done = trial.command(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sent 1 task, to list ")
    assert cloud.counts() == {"sqs:SendMessageBatch": 1}
    work = ["work", *trial.ends, "--queue", trial.queue.url, "--processes", "1", "--until-empty"]
    done = trial.command(*work, "--empty-seconds", "1")
    assert done.returncode == 0, done.stderr
    assert len(trial.written()) == 60
    again = trial.command("verify", *trial.ends, "--exclude", "left*")
    assert again.stdout == "verdict: equal 60, different 0, missing 0, extra 0, unproven 0\n"


@pytest.mark.parametrize("word", ["--dry-run", "--checkpoint=x", "--from=x"])
def test_what_goes_with_a_listing_made_here_alone(cloud: Cloud, word: str) -> None:
    trial = Trial.fill(cloud, Random(SEED), 0)
    done = trial.command("submit", *trial.ends, "--queue", trial.queue.url, "--distributed", word)
    assert done.returncode == 2
    assert "--distributed leaves the listing to the workers" in done.stderr
