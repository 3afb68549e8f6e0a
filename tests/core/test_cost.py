"""The price table and its bills: requests by kind, bytes by where they go; and what a table may not hold."""

from __future__ import annotations

from decimal import Decimal

import pytest

from worker import prices
from worker.core.cost import GB, parse
from worker.core.errors import UsageError

TABLE = prices.load()
TB = 1024 * GB

SMALL = """
as_of = "2026-11"
s3.STANDARD = {write = 0.005, read = 0.0004}
s3.STANDARD_IA = {write = 0.01, read = 1, retrieval_per_gb = 0.5}
sqs = {requests = 0.4}
between_regions = {default = 0.02, "here to there" = 0.01, here = 0.5}
internet = {default = [[1, 0.3], [2, 0.2], [0, 0.1]], island = [[0, 7]]}
instance = {type = "c6i.xlarge", vcpus = 4, network_gbps = 1.5, spot_per_hour = 0.085}
"""


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
    assert TABLE.request(kind) * 1_000_000 == Decimal(of_a_million)
    assert TABLE.requests({kind: 1_000_000}) == Decimal(of_a_million)


def test_a_bill_adds_up_to_the_last_digit() -> None:
    counts = {"s3:PutObject": 3, "s3:GetObject": 3, "sqs:ReceiveMessage": 1, "s3:DeleteObject": 9}
    assert TABLE.requests(counts) == Decimal("0.0000166")


def test_no_requests_cost_nothing() -> None:
    assert TABLE.requests({}) == Decimal(0)


@pytest.mark.parametrize(
    ("kind", "storage_class", "price"),
    [
        ("s3:PutObject", "STANDARD_IA", "0.00001"),
        ("s3:GetObject", "STANDARD_IA", "0.001"),
        ("s3:PutObject", "UNHEARD_OF", "0.000005"),
    ],
)
def test_a_storage_class_has_prices_of_its_own(kind: str, storage_class: str, price: str) -> None:
    assert parse(SMALL).request(kind, storage_class) == Decimal(price)


def test_reading_some_storage_classes_costs_by_the_byte() -> None:
    assert parse(SMALL).retrieval(3 * GB, "STANDARD_IA") == Decimal("1.5")
    assert parse(SMALL).retrieval(3 * GB, "STANDARD") == parse(SMALL).retrieval(3 * GB, "UNHEARD_OF") == 0


@pytest.mark.parametrize(
    ("source", "destination", "price"),
    [("here", "there", "0.01"), ("here", "elsewhere", "0.5"), ("there", "here", "0.02")],
)
def test_a_gigabyte_between_regions_costs_by_where_it_leaves(
    source: str, destination: str, price: str
) -> None:
    assert parse(SMALL).to_region(2 * GB, source, destination) == 2 * Decimal(price)


@pytest.mark.parametrize(
    ("size", "price"),
    [
        (0, "0"),
        (GB, "0.3"),
        (TB, "307.2"),
        (2 * TB, "512"),
        (3 * TB, "716.8"),
        (10 * TB, "1433.6"),
    ],
)
def test_bytes_to_the_internet_cost_step_by_step(size: int, price: str) -> None:
    assert parse(SMALL).to_internet(size, "here") == Decimal(price)
    assert parse(SMALL).to_internet(size, "island") == 7 * Decimal(size) / GB


def test_a_file_is_laid_over_the_table() -> None:
    over = 'as_of = "2027-01"\ns3.STANDARD.read = 1\nbetween_regions.mars = 9\ninstance.vcpus = 96'
    found = parse(SMALL, ("mine.toml", over))
    assert found.as_of == "2027-01"
    assert found.request("s3:GetObject") == Decimal("0.001")
    assert found.request("s3:PutObject") == Decimal("0.000005")
    assert found.to_region(GB, "mars", "here") == 9
    assert (found.instance.vcpus, found.instance.network_gbps) == (96, 1.5)


@pytest.mark.parametrize(
    ("over", "complaint"),
    [
        ("as_of = ", "mine.toml: not TOML: Invalid value"),
        ("sqs.requests = 1", "does not say of when it is"),
        ('as_of = "November"', "as_of is 'November', and must be a month such as"),
        ('as_of = "2026-11"\nsqs.request = 1', r"unknown field `request` - at `\$.sqs`"),
        ('as_of = "2026-11"\nsqs.requests = "dear"', r"at `\$.sqs.requests`"),
        ('as_of = "2026-11"\nsqs.requests = -1', "sqs.requests is -1, which is no price"),
        ('as_of = "2026-11"\nsqs.requests = inf', "sqs.requests is Infinity, which is no price"),
        ('as_of = "2026-11"\ninternet.default = [[0, -0.1]]', "internet.default is -0.1, which is no price"),
        ('as_of = "2026-11"\ns3.STANDARD_IA = 1', r"at `\$.s3\[...\]`"),
        ('as_of = "2026-11"\ns3.NEW = {write = 1}', "missing required field `read`"),
        ('as_of = "2026-11"\ninternet.here = []', r"at `\$.internet\[...\]`"),
        ('as_of = "2026-11"\ninternet.here = [[1, 0.1]]', "steps of internet.here must end in one of 0 TB"),
        ('as_of = "2026-11"\ninternet.here = [[0, 0.1], [0, 1]]', "steps of internet.here must end in one"),
        ('as_of = "2026-11"\ninternet.here = [[0, 0.1], [1, 1]]', "steps of internet.here must end in one"),
        ('as_of = "2026-11"\ninstance.vcpus = 0', r"at `\$.instance.vcpus`"),
        ('as_of = "2026-11"\ninstance.network_gbps = 0', r"at `\$.instance.network_gbps`"),
    ],
)
def test_a_file_that_is_no_price_table_is_refused(over: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as refused:
        parse(SMALL, ("mine.toml", over))
    assert str(refused.value).startswith("mine.toml: ")
