"""Odd keys on every server: listed, read, written and listed back as they are."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

import pytest

from tests.contract import SEED, Pair, Place
from tests.keys import KEYS, fitted, fuzzed
from tests.servers import Can
from worker.aws.s3 import Bucket
from worker.core.model import Proof

FUZZED = 10_000
THREADS = 8
PAGE = 1000
"""Keys that every server lists at once."""


def body_of(key: str) -> bytes:
    """Bytes that belong to this key and to no other."""
    return hashlib.sha256(key.encode()).digest()


def row_of(key: str) -> tuple[str, str]:
    """Key and ETag, as they shall be listed."""
    return key, hashlib.md5(body_of(key), usedforsecurity=False).hexdigest()


def fill(place: Place, keys: list[str]) -> None:
    """Put an object for every key."""

    def put(key: str) -> None:
        place.s3.put_object(Bucket=place.bucket, Key=key, Body=body_of(key))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, keys))


def rows(place: Place, prefix: str) -> list[tuple[str, str]]:
    """Keys and ETags, as boto3 lists them."""
    pages = place.s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix)
    return [(row["Key"], row["ETag"].strip('"')) for page in pages for row in page.get("Contents", [])]


def in_folders(keys: list[str], room: int) -> dict[str, list[str]]:
    """Keys in folders of one page at most, each key with its folder's name; in the order of S3."""
    folders = {f"{at // PAGE:03}/": keys[at : at + PAGE] for at in range(0, len(keys), PAGE)}
    # Room for the prefix to come, so that the longest keys are as long as S3 allows.
    return {
        name: sorted({name + fitted(key, name + "-" * room)[len(name) + room :] for key in some})
        for name, some in folders.items()
    }


@pytest.mark.parametrize("count", [0, pytest.param(FUZZED, marks=pytest.mark.slow)])
def test_odd_keys_arrive(own_pair: Pair, count: int) -> None:
    pair, transfer, server = own_pair, own_pair.transfer, own_pair.source.server
    keys = [*KEYS.values(), *fuzzed(Random(SEED), count)]
    folders = in_folders(keys, room=len("out/"))
    fill(pair.source, [f"in/{key}" for some in folders.values() for key in some])
    source = Bucket(transfer.source, "source")
    refs = [ref for name in folders for ref in source.list(prefix=f"in/{name}")]
    expected = [row_of(f"in/{key}") for some in folders.values() for key in some]
    assert [(ref.key, ref.etag) for ref in refs] == expected

    with ThreadPoolExecutor(THREADS) as pool:
        copy = pair.transferrer.copy
        done = pool.map(lambda ref: copy(ref, fenced=True, expect="", cancel=Event()), refs)
        assert {copied.proof for copied in done} == {Proof.MD5}

    copied = [(transfer.destination_key(key), etag) for key, etag in expected]
    assert [row for name in folders for row in rows(pair.destination, f"out/{name}")] == copied
    if server.can(Can.PAGES):
        assert rows(pair.destination, "") == copied
        assert [(ref.key, ref.etag) for ref in source.list()] == expected
