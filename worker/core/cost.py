"""What AWS charges: the schema of the price table, and bills from counts of requests and bytes.

The table itself is `worker/prices.toml`, dated and with its sources; `worker.prices` reads it. Storage is not
in it: that is the destination's to keep, whoever copies.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from worker.core.errors import UsageError

GB = 1024**3
"""Bytes of what AWS bills as a GB (Amazon S3 FAQs, "How much data can I store")."""

_TB = 1024 * GB

STANDARD = "STANDARD"

_MONTH = re.compile(r"20\d\d-(0[1-9]|1[0-2])")
_S3_WRITES = frozenset({"PutObject", "CopyObject", "PostObject", "UploadPart", "UploadPartCopy"})
_S3_FREE = frozenset({"DeleteObject", "DeleteObjects", "AbortMultipartUpload"})


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the table: what it does not know is a mistake in it."""


class StorageClass(_Table, frozen=True):
    """Of 1,000 requests that write and read objects of one storage class, and of a GB read."""

    write: Decimal
    read: Decimal
    retrieval_per_gb: Decimal = Decimal(0)


class Sqs(_Table, frozen=True):
    """Of a million requests."""

    requests: Decimal


class Instance(_Table, frozen=True):
    """The kind of Spot Instance that a fleet is reckoned in.

    Attributes:
        type: EC2's name for it.
        vcpus: of it; a worker starts one process for each.
        network_gbps: baseline network bandwidth.
        spot_per_hour: dollars.
    """

    type: str
    vcpus: Annotated[int, msgspec.Meta(ge=1)]
    network_gbps: Annotated[float, msgspec.Meta(gt=0)]
    spot_per_hour: Decimal


class Prices(_Table, frozen=True):
    """A price table, as `worker/prices.toml` describes it."""

    as_of: str
    s3: dict[str, StorageClass]
    sqs: Sqs
    between_regions: dict[str, Decimal]
    internet: dict[str, Annotated[list[tuple[int, Decimal]], msgspec.Meta(min_length=1)]]
    instance: Instance

    def __post_init__(self) -> None:
        if not _MONTH.fullmatch(self.as_of):
            raise ValueError(f'as_of is {self.as_of!r}, and must be a month such as "2026-11"')
        for name, steps in self.internet.items():
            if [terabytes for terabytes, _ in steps if not terabytes] != [0] or steps[-1][0]:
                raise ValueError(f"the steps of internet.{name} must end in one of 0 TB, and only there")

    def request(self, kind: str, storage_class: str = STANDARD) -> Decimal:
        """Of one request of a kind (`s3:GetObject`, `sqs:SendMessageBatch`, ...); nothing for other services.

        Listings are billed as writes are (S3 pricing page, "PUT, COPY, POST, LIST requests").
        """
        service, _, operation = kind.partition(":")
        if service == "sqs":
            return self.sqs.requests / 1_000_000
        if service != "s3" or operation in _S3_FREE:
            return Decimal(0)
        price = self.s3.get(storage_class, self.s3[STANDARD])
        written = operation in _S3_WRITES or operation.startswith("List") or "Multipart" in operation
        return (price.write if written else price.read) / 1_000

    def requests(self, counts: Mapping[str, int]) -> Decimal:
        """Of requests counted by kind, on objects in STANDARD."""
        return sum((self.request(kind) * count for kind, count in counts.items()), Decimal(0))

    def retrieval(self, size: int, storage_class: str) -> Decimal:
        """Of reading `size` bytes of objects of a storage class."""
        return self.s3.get(storage_class, self.s3[STANDARD]).retrieval_per_gb * size / GB

    def to_region(self, size: int, source: str, destination: str) -> Decimal:
        """Of `size` bytes out of a region to another of its partition."""
        known = self.between_regions
        price = known.get(f"{source} to {destination}", known.get(source, known["default"]))
        return price * size / GB

    def to_internet(self, size: int, source: str) -> Decimal:
        """Of `size` bytes out of a region to the internet, as if they were all of one month."""
        total, left = Decimal(0), size
        for terabytes, price in self.internet.get(source, self.internet["default"]):
            step = min(left, terabytes * _TB) if terabytes else left
            total += price * step / GB
            left -= step
        return total


def parse(table: str, *over: tuple[str, str]) -> Prices:
    """A price table.

    Args:
        table: TOML, complete.
        over: a file's name and its TOML, which says its own `as_of` and what else is to be other than there.

    Raises:
        UsageError: it cannot be read; says where and why.
    """
    origin = "the package's price table"
    known = _load(origin, table)
    for origin, text in over:
        more = _load(origin, text)
        if "as_of" not in more:
            raise UsageError(f'{origin}: does not say of when it is: add a line such as as_of = "2026-11"')
        known = _merged(known, more)
    try:
        return msgspec.convert(known, Prices)
    except msgspec.ValidationError as error:
        raise UsageError(f"{origin}: {error}; worker/prices.toml shows what a price table holds") from None


def _load(origin: str, text: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin}: not TOML: {error}") from None
    for place, number in _numbers(found, ""):
        if not (Decimal(number).is_finite() and number >= 0):
            raise UsageError(f"{origin}: {place} is {number}, which is no price")
    return found


def _numbers(value: object, place: str) -> Iterator[tuple[str, int | Decimal]]:
    """All numbers of a table, each with its place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, place)
    elif isinstance(value, int | Decimal):
        yield place, value


def _merged(known: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """The same with `over`'s values in place of its own, table by table."""
    merged = dict(known)
    for name, value in over.items():
        before = known.get(name)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[name] = _merged(known[name], value) if both else value
    return merged
