"""Which objects a transfer is about."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from tests.core import keys, properly, ref, transfer
from worker.core.filters import EVERYTHING, Filters, Sieve
from worker.core.model import ObjectRef

HERE = transfer("in/", "out/")
ONE = msgspec.structs.replace(ref("in/2024/a b.gz", 1_000), last_modified=500)


@pytest.mark.parametrize(
    ("filters", "takes"),
    [
        ({}, True),
        ({"include": ("*.gz",)}, True),
        ({"include": ("*.txt",)}, False),
        ({"include": ("*.txt", "2024/*")}, True),
        ({"include": ("in/*",)}, False),  # globs are on the key without the prefix
        ({"include": ("2024/a?b.gz",)}, True),
        ({"include": ("2024/a?.gz",)}, False),
        ({"include": ("[0-2]*",)}, True),
        ({"include": ("2024",)}, False),  # all of the key
        ({"include": ("*.GZ",)}, False),
        ({"exclude": ("*.gz",)}, False),
        ({"exclude": ("*.txt",)}, True),
        ({"include": ("*",), "exclude": ("2024/*",)}, False),
        ({"min_size": 1_000}, True),
        ({"min_size": 1_001}, False),
        ({"max_size": 1_000}, True),
        ({"max_size": 999}, False),
        ({"max_size": 0}, False),
        ({"modified_after": 500.0}, True),
        ({"modified_after": 500.5}, False),
        ({"modified_before": 500.5}, True),
        ({"modified_before": 500.0}, False),
        ({"storage_classes": ("GLACIER", "STANDARD")}, True),
        ({"storage_classes": ("GLACIER",)}, False),
        ({"include": ("*.gz",), "min_size": 1_001}, False),
    ],
)
def test_an_object_is_taken_if_it_passes_every_filter(filters: dict[str, Any], takes: bool) -> None:  # noqa: FBT001
    assert Sieve(Filters(**filters), HERE).takes(ONE) is takes


@properly
@given(keys())
def test_a_star_stands_for_any_key(key: str) -> None:
    assert Sieve(Filters(include=("*",)), HERE).takes_name(key)
    assert not Sieve(Filters(exclude=("*",)), HERE).takes_name(key)


PAIRS: list[tuple[ObjectRef | None, ObjectRef | None]] = [
    (ref("in/a.gz"), ref("out/a.gz")),
    (ref("in/b.txt"), ref("out/b.txt")),
    (ref("in/c.gz", 99), None),
    (None, ref("out/d.gz")),
    (None, ref("out/e.txt")),
]


def test_pairs_that_the_transfer_is_not_about_are_left_out() -> None:
    sieve = Sieve(Filters(include=("*.gz",), max_size=10), HERE)
    # Of what is at the destination alone, nothing but the name can be asked.
    assert list(sieve.pairs(PAIRS)) == [PAIRS[0], PAIRS[3]]
    assert list(Sieve(EVERYTHING, HERE).pairs(PAIRS)) == PAIRS
