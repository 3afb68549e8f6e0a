"""`fleetcopy uploads`: what nobody finished is listed and aborted, by prefix and age, whatever its key."""

from __future__ import annotations

import re

import pytest

from tests.cloud import Cloud
from tests.conftest import Command

KEYS = ("out/a", "out/a b+c%2F", "out/\u00e9\U0001f600", "out/\n", "other")


@pytest.fixture
def begun(cloud: Cloud, bucket: str) -> dict[str, str]:
    """Unfinished uploads: id by key."""
    s3 = cloud.client("s3")
    return {key: s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in KEYS}


def left(cloud: Cloud, bucket: str) -> set[str]:
    """Ids of the uploads that are there."""
    answer = cloud.client("s3").list_multipart_uploads(Bucket=bucket)
    return {row["UploadId"] for row in answer.get("Uploads", [])}


def test_they_are_listed_by_prefix(fleetcopy: Command, bucket: str, begun: dict[str, str]) -> None:
    done = fleetcopy("uploads", "list", f"s3://{bucket}/out/")
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert last == "4 unfinished uploads"
    shown = {"out/a", "out/a b+c%2F", "out/\u00e9\U0001f600", r"'out/\n'"}
    matches = [re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}Z +\d+[sm]  (\S+)  (.+)", line) for line in lines]
    assert {match[2] for match in matches if match} == shown
    assert {match[1] for match in matches if match} == {begun[key] for key in KEYS if key != "other"}


def test_they_are_aborted_by_age(
    cloud: Cloud, fleetcopy: Command, bucket: str, begun: dict[str, str]
) -> None:
    done = fleetcopy("uploads", "abort", f"s3://{bucket}/out/", "--older-than", "1h")
    assert done.stdout == "0 uploads aborted\n"
    assert left(cloud, bucket) == set(begun.values())
    done = fleetcopy("uploads", "abort", "--older-than", "0s", FLEETCOPY_DESTINATION=f"s3://{bucket}/out/")
    *lines, last = done.stdout.splitlines()
    assert last == "4 uploads aborted"
    assert all(line.startswith("aborted  ") for line in lines)
    assert left(cloud, bucket) == {begun["other"]}


def test_more_than_one_page_is_aborted(cloud: Cloud, fleetcopy: Command, bucket: str) -> None:
    s3 = cloud.client("s3")
    for number in range(1_005):
        s3.create_multipart_upload(Bucket=bucket, Key=f"out/ {number // 3}")
    done = fleetcopy("uploads", "abort", f"s3://{bucket}", "--older-than", "0s")
    assert done.stdout.endswith("\n1,005 uploads aborted\n"), done.stderr
    assert left(cloud, bucket) == set()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("list",), 2, "no destination is named"),
        (("list", "bucket"), 2, "not an S3 location"),
        (("list", "s3://bucket-that-is-not"), 3, "bucket-that-is-not"),
        (("abort", "s3://bucket"), 2, "--older-than"),
        (("abort", "s3://bucket", "--older-than", "soon"), 2, "write a number and one of s m h d w"),
    ],
)
def test_what_is_wrong_is_said(fleetcopy: Command, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = fleetcopy("uploads", *arguments)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
