"""What requests cost, by kind."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from worker.core.cost import PRICES_AS_OF, dollars, price


@pytest.mark.parametrize(
    ("kind", "of_a_million"),
    [
        ("s3:PutObject", "5"),
        ("s3:CopyObject", "5"),
        ("s3:PostObject", "5"),
        ("s3:ListObjectsV2", "5"),
        ("s3:ListParts", "5"),
        ("s3:ListMultipartUploads", "5"),
        ("s3:CreateMultipartUpload", "5"),
        ("s3:UploadPart", "5"),
        ("s3:UploadPartCopy", "5"),
        ("s3:CompleteMultipartUpload", "5"),
        ("s3:GetObject", "0.4"),
        ("s3:HeadObject", "0.4"),
        ("s3:GetObjectTagging", "0.4"),
        ("s3:DeleteObject", "0"),
        ("s3:DeleteObjects", "0"),
        ("s3:AbortMultipartUpload", "0"),
        ("sqs:SendMessageBatch", "0.4"),
        ("sqs:ReceiveMessage", "0.4"),
        ("logs:PutLogEvents", "0"),
        ("sts:GetCallerIdentity", "0"),
        ("PutObject", "0"),
    ],
)
def test_a_million_requests_cost(kind: str, of_a_million: str) -> None:
    assert price(kind) * 1_000_000 == Decimal(of_a_million)
    assert dollars({kind: 1_000_000}) == Decimal(of_a_million)


def test_a_bill_adds_up_to_the_last_digit() -> None:
    counts = {"s3:PutObject": 3, "s3:GetObject": 3, "sqs:ReceiveMessage": 1, "s3:DeleteObject": 9}
    assert dollars(counts) == Decimal("0.0000166")


def test_no_requests_cost_nothing() -> None:
    assert dollars({}) == Decimal(0)


def test_the_table_is_dated() -> None:
    assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", PRICES_AS_OF)
