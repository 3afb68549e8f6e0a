"""Requests of a transfer, by the rows of the table in `core.bill`."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.core import ONE_MD5, ref
from tests.core.planning import prices, tallied
from worker.core.bill import Requests, Submission, requests
from worker.core.compare import Comparison
from worker.core.model import ObjectRef
from worker.core.options import Options
from worker.core.plan import Action, Step

GIB = 1024**3
NOTHING = Submission(None, None, 0)


def copy(key: str = "a", size: int = 1, etag: str = ONE_MD5, storage_class: str = "STANDARD") -> Step:
    return Step(Action.COPY, ObjectRef(key, size, etag, 0, storage_class))


def billed(
    *steps: Step,
    submission: Submission = NOTHING,
    options: Options | None = None,
    server_side: bool = False,
    instances: int = 0,
    busy_hours: float = 0,
) -> list[Requests]:
    return requests(
        tallied(steps),
        submission,
        options or Options(),
        prices(),
        server_side=server_side,
        instances=instances,
        busy_hours=busy_hours,
    )


def lines(found: list[Requests]) -> list[str]:
    """What is not the probe that every transfer begins with, a line each."""
    return [f"{one.at} {one.kind} {one.count}" for one in found if "ListObjects" not in one.kind]


STREAMED = ["source s3:GetObject 1", "destination s3:PutObject 1"]
HEADS = ["source s3:HeadObject 1", "destination s3:HeadObject 1"]
IN_PARTS = f"{ONE_MD5}-3"


@pytest.mark.parametrize("server_side", [False, True])
def test_nothing_to_move_takes_nothing(*, server_side: bool) -> None:
    steps = [Step(Action.EQUAL, ref("a"), Comparison.EQUAL), Step(Action.TOO_LARGE, ref("b"))]
    steps += [Step(Action.UNNAMEABLE, ref("c"))]
    assert lines(billed(*steps, server_side=server_side)) == []


@pytest.mark.parametrize(
    ("step", "streamed", "server_side"),
    [
        (copy(), STREAMED, ["destination s3:CopyObject 1"]),
        (copy(size=0), STREAMED, ["source s3:HeadObject 1", "destination s3:CopyObject 1"]),
        (
            Step(Action.COPY, ref("a"), Comparison.DIFFERENT),
            [STREAMED[0], HEADS[0], STREAMED[1], HEADS[1]],
            [HEADS[0], "destination s3:CopyObject 1", HEADS[1]],
        ),
        (
            Step(Action.COPY, ref("a"), Comparison.UNPROVEN),
            [STREAMED[0], HEADS[0], STREAMED[1], HEADS[1]],
            [HEADS[0], "destination s3:CopyObject 1", HEADS[1]],
        ),
        (copy(storage_class="GLACIER"), STREAMED[:1], ["destination s3:CopyObject 1"]),
        (
            copy(size=5, etag=IN_PARTS),
            [
                *("source s3:GetObject 3", "source s3:HeadObject 1", "destination s3:UploadPart 3"),
                *("destination s3:CreateMultipartUpload 1", "destination s3:CompleteMultipartUpload 1"),
                "destination s3:ListMultipartUploads 1",
            ],
            [
                *("source s3:HeadObject 1", "destination s3:UploadPartCopy 3"),
                *("destination s3:CreateMultipartUpload 1", "destination s3:CompleteMultipartUpload 1"),
                "destination s3:ListMultipartUploads 1",
            ],
        ),
        (
            copy(size=2 * GIB, etag=IN_PARTS),
            [
                *("source s3:GetObject 3", "source s3:HeadObject 7", "destination s3:UploadPart 3"),
                *("destination s3:CreateMultipartUpload 1", "destination s3:CompleteMultipartUpload 1"),
                *("destination s3:ListMultipartUploads 1", "destination s3:HeadObject 1"),
                *("destination s3:ListParts 7", "queue sqs:SendMessageBatch 5"),
                *("queue sqs:ReceiveMessage 8", "queue sqs:DeleteMessage 8"),
            ],
            [
                *("source s3:HeadObject 7", "destination s3:UploadPartCopy 3"),
                *("destination s3:CreateMultipartUpload 1", "destination s3:CompleteMultipartUpload 1"),
                *("destination s3:ListMultipartUploads 1", "destination s3:HeadObject 1"),
                *("destination s3:ListParts 7", "queue sqs:SendMessageBatch 5"),
                *("queue sqs:ReceiveMessage 8", "queue sqs:DeleteMessage 8"),
            ],
        ),
    ],
)
def test_an_object_takes(step: Step, streamed: list[str], server_side: list[str]) -> None:
    assert lines(billed(step)) == streamed
    assert lines(billed(step, server_side=True)) == server_side


@pytest.mark.parametrize(
    ("objects", "pages"), [(None, 0), (0, 1), (1, 1), (1_000, 1), (1_001, 2), (1_000_000_000, 1_000_000)]
)
def test_listings_have_pages_of_a_thousand(objects: int | None, pages: int) -> None:
    found = billed(submission=Submission(objects, objects, 0))
    counts = {one.at: one.count for one in found}
    assert counts.get("source", 0) == pages
    assert counts["destination"] == pages + 1


@pytest.mark.parametrize(("tags", "probes"), [("copy", 6), ("ignore", 3)])
def test_each_instance_looks_before_it_works(tags: str, probes: int) -> None:
    options = Options(tags="copy" if tags == "copy" else "ignore")
    counts = {one.at: one.count for one in billed(instances=3, options=options)}
    assert counts == {"source": probes, "destination": 4}


def test_ten_tasks_are_one_request_and_are_billed_as_ten() -> None:
    found = {one.kind: (one.count, one.dollars) for one in billed(submission=Submission(None, None, 25))}
    assert found["sqs:SendMessageBatch"] == (3, Decimal(25))
    assert found["sqs:ReceiveMessage"] == found["sqs:DeleteMessage"] == (25, Decimal(25))


def test_leases_are_renewed_while_there_is_work() -> None:
    assert lines(billed(busy_hours=1.001)) == ["queue sqs:ChangeMessageVisibilityBatch 91"]


@pytest.mark.parametrize(
    ("options", "write"), [(Options(), "0.05"), (Options(storage_class="STANDARD"), "0.005")]
)
def test_reading_costs_by_the_sources_class_and_writing_by_the_copys(options: Options, write: str) -> None:
    found = billed(copy(storage_class="STANDARD_IA"), options=options)
    dollars = {one.kind: one.dollars for one in found}
    assert dollars["s3:GetObject"] == Decimal("0.01")
    assert dollars["s3:PutObject"] == Decimal(write)
