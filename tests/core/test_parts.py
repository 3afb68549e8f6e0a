"""Part plans within S3's limits, and the table of proofs, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import ONE_MD5, properly, ref
from worker.core.compare import Seen
from worker.core.errors import ProofRefusedError
from worker.core.message import MOST_PARTS
from worker.core.model import LARGEST_PUT, Proof
from worker.core.parts import (
    FAN_OUT_ABOVE,
    GIB,
    LARGEST_OBJECT,
    LARGEST_PART,
    MIB,
    SMALLEST_PART,
    Part,
    Whole,
    count,
    etag_of,
    is_large,
    own_part_size,
    part_size,
    parts_in,
    prove,
    span,
)


def seen(size: int, etag: str, *, digest: bool = True, **checksums: str) -> Seen:
    return Seen(size, etag, digest, checksums)


@pytest.mark.parametrize(
    ("etag", "parts"),
    [
        (f"{ONE_MD5}-1", 1),
        (f"{ONE_MD5}-10000", 10_000),
        (ONE_MD5, 0),
        (f"{ONE_MD5}-0", 0),
        (f"{ONE_MD5}-01", 0),
        (f"{ONE_MD5}-", 0),
        (f"{ONE_MD5}-123456", 0),
        (f"{ONE_MD5[1:]}-2", 0),
        ("opaque-2", 0),
        ("", 0),
    ],
)
def test_an_etag_tells_how_many_parts_there_were(etag: str, parts: int) -> None:
    assert parts_in(etag) == parts


@pytest.mark.parametrize(
    ("size", "parts", "first", "own"),
    [
        pytest.param(100, 1, 100, 100, id="one part, however small"),
        pytest.param(3 * 8 * MIB, 3, 8 * MIB, 8 * MIB, id="exactly N parts"),
        pytest.param(2 * 8 * MIB + 1, 3, 8 * MIB, 8 * MIB, id="a last part of one byte"),
        pytest.param(2 * 8 * MIB, 3, 8 * MIB, None, id="too small for N parts"),
        pytest.param(3 * 8 * MIB + 1, 3, 8 * MIB, None, id="too large for N parts"),
        pytest.param(9 * MIB, 2, 5 * MIB + 7, 5 * MIB + 7, id="odd size"),
        pytest.param(9 * MIB, 2, 4 * MIB, None, id="parts that S3 would not take"),
        pytest.param(8 * MIB, 2, 5 * MIB - 1, None, id="a byte less than S3 takes"),
        pytest.param(10 * GIB, 2, 5 * GIB, 5 * GIB, id="the largest parts"),
        pytest.param(11 * GIB, 2, 6 * GIB, None, id="larger than any part"),
        pytest.param(0, 1, 0, None, id="nothing"),
        pytest.param(3 * 8 * MIB, 3, 24 * MIB, None, id="an endpoint that knows no part numbers"),
        pytest.param(100, 0, 100, None, id="no parts"),
    ],
)
def test_the_sources_own_parts_are_taken_where_they_may_be_of_one_size(
    size: int, parts: int, first: int, own: int | None
) -> None:
    etag = f"{ONE_MD5}-{parts}" if parts else ONE_MD5
    assert own_part_size(seen(size, etag), first) == own
    assert own_part_size(seen(size, etag, digest=False), first) is None


@properly
@given(st.integers(1, LARGEST_OBJECT))
def test_any_object_has_a_plan_within_s3s_limits(size: int) -> None:
    part = part_size(size)
    assert SMALLEST_PART <= part <= LARGEST_PART
    total = count(size, part)
    assert 1 <= total <= MOST_PARTS
    first, length = span(size, part, total)
    assert first + length == size
    assert 0 < length <= part
    assert span(size, part, 1) == (0, min(part, size))


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (1, 64 * MIB),
        (GIB, 64 * MIB),
        (MOST_PARTS * 64 * MIB, 64 * MIB),
        (MOST_PARTS * 64 * MIB + 1, 65 * MIB),
        (LARGEST_OBJECT, LARGEST_PART),
    ],
)
def test_parts_grow_only_where_their_number_must_not(size: int, part: int) -> None:
    assert part_size(size) == part


@pytest.mark.parametrize(
    ("size", "etag", "large"),
    [
        (FAN_OUT_ABOVE, f"{ONE_MD5}-20", False),
        (FAN_OUT_ABOVE + 1, f"{ONE_MD5}-20", True),
        (FAN_OUT_ABOVE + 1, "opaque", True),
        (FAN_OUT_ABOVE + 1, ONE_MD5, False),
        (LARGEST_PUT, ONE_MD5, False),
        (LARGEST_PUT + 1, ONE_MD5, True),
    ],
)
def test_what_many_workers_copy(size: int, etag: str, *, large: bool) -> None:
    assert is_large(ref("k", size, etag)) is large


# Proofs.


BODIES = (b"a" * 5, b"b" * 5, b"c")
MD5S = [hashlib.md5(body, usedforsecurity=False) for body in BODIES]
PARTS = [
    Part(number, digest.hexdigest(), len(body), f"sum{number}")
    for number, (digest, body) in enumerate(zip(MD5S, BODIES, strict=True), 1)
]
ETAG = hashlib.md5(b"".join(one.digest() for one in MD5S), usedforsecurity=False).hexdigest() + "-3"


def combine(algorithm: str, sums: Iterable[tuple[str, int]]) -> str:
    return f"{algorithm}:" + ",".join(f"{value}*{length}" for value, length in sums)


SUM = "CRC64NVME:sum1*5,sum2*5,sum3*1"


def test_the_etag_of_parts_is_what_s3_makes_of_them() -> None:
    assert etag_of(PARTS) == ETAG


def proof(source: Seen, *, algorithm: str = "CRC64NVME", own: bool = False) -> Whole:
    return prove(source, PARTS, algorithm=algorithm, own=own, combine=combine)


def test_the_sources_own_parts_are_proven_by_its_etag() -> None:
    assert proof(seen(11, ETAG), own=True) == Whole(Proof.MD5, SUM)
    assert proof(seen(11, ETAG), own=True, algorithm="") == Whole(Proof.MD5)


def test_other_parts_are_proven_by_the_sources_checksum() -> None:
    assert proof(seen(11, "opaque", CRC64NVME=SUM)) == Whole(Proof.CHECKSUM, SUM)


@pytest.mark.parametrize(
    "source", [seen(11, "opaque"), seen(11, f"{ONE_MD5}-3"), seen(11, "opaque", CRC32="x")]
)
def test_parts_of_a_source_that_shows_nothing_are_proven_by_transport(source: Seen) -> None:
    assert proof(source) == Whole(Proof.TRANSPORT, SUM)
    assert proof(source, algorithm="") == Whole(Proof.TRANSPORT)


@pytest.mark.parametrize(
    ("source", "own"),
    [
        (seen(11, f"{ONE_MD5}-3"), True),
        (seen(11, "opaque", CRC64NVME="other"), False),
        (seen(12, ETAG), True),
        (seen(12, "opaque"), False),
    ],
)
def test_parts_of_something_else_are_refused(source: Seen, *, own: bool) -> None:
    with pytest.raises(ProofRefusedError):
        proof(source, own=own)


def test_a_missing_byte_is_noticed_whatever_the_proof() -> None:
    with pytest.raises(ProofRefusedError, match="its parts have 11 bytes, the source 10"):
        proof(seen(10, "opaque"))
