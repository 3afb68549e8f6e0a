"""The truth table of `core.compare`, row by row."""

from __future__ import annotations

import itertools

import pytest

from tests.core import ONE_MD5, OTHER_MD5, ref
from worker.core.compare import CAN_MISS, Comparison, Criterion, Seen, compare, compare_refs
from worker.core.model import ObjectRef

EQUAL, DIFFERENT, UNPROVEN = Comparison.EQUAL, Comparison.DIFFERENT, Comparison.UNPROVEN
PARTS = f"{ONE_MD5}-2"

ROWS = [
    # sizes differ, whatever else is said
    (Seen(1, ONE_MD5), Seen(2, ONE_MD5), DIFFERENT),
    (Seen(1, ONE_MD5), Seen(2, OTHER_MD5), DIFFERENT),
    (Seen(1, PARTS, True, {"CRC32": "x"}), Seen(2, PARTS, True, {"CRC32": "x"}), DIFFERENT),
    (Seen(0, "", False), Seen(1, "", False), DIFFERENT),
    # sizes equal, ETags equal
    (Seen(1, ONE_MD5), Seen(1, ONE_MD5), EQUAL),
    (Seen(1, PARTS), Seen(1, PARTS), EQUAL),
    (Seen(0, ONE_MD5), Seen(0, ONE_MD5), EQUAL),
    # ETags differ, both MD5 digests
    (Seen(1, ONE_MD5), Seen(1, OTHER_MD5), DIFFERENT),
    (Seen(1, ONE_MD5, True, {"CRC32": "x"}), Seen(1, OTHER_MD5, True, {"CRC32": "x"}), DIFFERENT),
    # ETags differ otherwise, stored checksums of one algorithm are equal
    (Seen(1, ONE_MD5, True, {"CRC32": "x"}), Seen(1, PARTS, True, {"CRC32": "x"}), EQUAL),
    (Seen(1, ONE_MD5, False, {"CRC32": "x"}), Seen(1, OTHER_MD5, True, {"CRC32": "x"}), EQUAL),
    (Seen(1, ONE_MD5, False, {"SHA1": "x", "CRC32": "y"}), Seen(1, PARTS, True, {"SHA1": "x"}), EQUAL),
    # ... differ
    (Seen(1, ONE_MD5, True, {"CRC32": "x"}), Seen(1, PARTS, True, {"CRC32": "y"}), DIFFERENT),
    (
        Seen(1, ONE_MD5, True, {"CRC32": "x", "SHA1": "s"}),
        Seen(1, PARTS, True, {"CRC32": "x", "SHA1": "t"}),
        DIFFERENT,
    ),
    # ... have none in common
    (Seen(1, ONE_MD5), Seen(1, PARTS), UNPROVEN),
    (Seen(1, PARTS), Seen(1, f"{ONE_MD5}-3"), UNPROVEN),
    (Seen(1, ONE_MD5, False), Seen(1, OTHER_MD5), UNPROVEN),
    (Seen(1, ONE_MD5, False), Seen(1, OTHER_MD5, False), UNPROVEN),
    (Seen(1, ONE_MD5, True, {"CRC32": "x"}), Seen(1, PARTS, True, {"SHA1": "x"}), UNPROVEN),
    (Seen(1, ONE_MD5.upper()), Seen(1, ONE_MD5), UNPROVEN),
    (Seen(1, ""), Seen(1, ""), UNPROVEN),
]


@pytest.mark.parametrize(("source", "destination", "comparison"), ROWS)
def test_objects_compare_by_the_table(source: Seen, destination: Seen, comparison: Comparison) -> None:
    assert compare(source, destination) is comparison
    assert compare(destination, source) is comparison


@pytest.mark.parametrize(
    ("etags", "digests", "comparison"),
    [
        ((ONE_MD5, ONE_MD5), True, EQUAL),
        ((ONE_MD5, ONE_MD5), False, EQUAL),
        ((ONE_MD5, OTHER_MD5), True, DIFFERENT),
        ((ONE_MD5, OTHER_MD5), False, UNPROVEN),
        ((ONE_MD5, PARTS), True, UNPROVEN),
        ((PARTS, PARTS), False, EQUAL),
    ],
)
def test_listed_objects_compare_by_size_and_etag(
    etags: tuple[str, str], comparison: Comparison, *, digests: bool
) -> None:
    one, two = ref("a", 5, etags[0]), ref("b", 5, etags[1])
    assert compare_refs(one, two, digests=digests) is comparison
    assert compare_refs(one, ref("b", 6, etags[1]), digests=digests) is DIFFERENT


def test_only_evidence_of_both_sides_says_equal() -> None:
    """Over all combinations: equal needs equal sizes, and equal ETags or an equal checksum."""
    sightings = [
        Seen(size, etag, digest, checksums)
        for size in (1, 2)
        for etag in (ONE_MD5, OTHER_MD5, PARTS)
        for digest in (True, False)
        for checksums in ({}, {"CRC32": "x"}, {"CRC32": "y"}, {"SHA1": "x"})
    ]
    for one, two in itertools.product(sightings, repeat=2):
        if compare(one, two) is EQUAL:
            assert one.size == two.size
            assert one.etag == two.etag or one.checksums.items() & two.checksums.items()


@pytest.mark.parametrize(
    ("by", "sizes", "etags", "times", "comparison"),
    [
        (Criterion.ETAG, (5, 5), (ONE_MD5, ONE_MD5), (9, 1), EQUAL),
        (Criterion.ETAG, (5, 5), (ONE_MD5, PARTS), (1, 9), UNPROVEN),
        (Criterion.SIZE, (5, 5), (ONE_MD5, OTHER_MD5), (9, 1), EQUAL),
        (Criterion.SIZE, (5, 6), (ONE_MD5, ONE_MD5), (1, 9), DIFFERENT),
        (Criterion.SIZE_AND_TIME, (5, 5), (ONE_MD5, OTHER_MD5), (1, 1), EQUAL),
        (Criterion.SIZE_AND_TIME, (5, 5), (ONE_MD5, OTHER_MD5), (1, 2), EQUAL),
        (Criterion.SIZE_AND_TIME, (5, 5), (ONE_MD5, ONE_MD5), (2, 1), DIFFERENT),
        (Criterion.SIZE_AND_TIME, (5, 6), (ONE_MD5, ONE_MD5), (1, 2), DIFFERENT),
    ],
)
def test_a_criterion_looks_at_what_its_name_says(
    by: Criterion,
    sizes: tuple[int, int],
    etags: tuple[str, str],
    times: tuple[int, int],
    comparison: Comparison,
) -> None:
    one, two = (ObjectRef("key", *seen) for seen in zip(sizes, etags, times, strict=True))
    assert compare_refs(one, two, digests=True, by=by) is comparison


def test_each_criterion_says_what_it_can_miss() -> None:
    assert CAN_MISS.keys() == set(Criterion)
