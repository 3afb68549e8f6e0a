"""Odd keys on every server: written, listed, read and written again as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from random import Random
from threading import Event
from urllib.parse import quote, urlsplit

import msgspec
import pytest

from tests.cloud import Cloud
from tests.contract import SEED, Make, Place, adopt, new_place
from tests.keys import KEYS, fitted, fuzzed
from tests.servers import Can, Server, embedded
from worker.aws.s3 import Bucket
from worker.core.model import Endpoint, Proof, Transfer
from worker.core.options import Options

FUZZED = 10_000
THREADS = 8
PAGE = 1000
"""Keys that every server lists at once."""


def body_of(key: str) -> bytes:
    """Bytes that belong to this key and to no other."""
    return hashlib.sha256(key.encode()).digest()


def row_of(prefix: str, key: str) -> tuple[str, str]:
    """Key and ETag, as they shall be listed, of an object that was put at `in/` and the key."""
    return prefix + key, hashlib.md5(body_of(f"in/{key}"), usedforsecurity=False).hexdigest()


def fill(place: Place, keys: list[str]) -> None:
    """Put an object for every key into the embedded AWS, with no signature: boto3 would take minutes."""
    connection = HTTPConnection(urlsplit(place.server.url).netloc)
    for key in keys:
        connection.request("PUT", f"/{place.bucket}/{quote(key)}", body_of(key))
        answer = connection.getresponse()
        assert answer.read() == b""
        assert answer.status == 200, ascii(key)
    connection.close()


def rows(place: Place, *prefixes: str) -> list[tuple[str, str]]:
    """Keys and ETags, as boto3 lists them."""
    paginate = place.s3.get_paginator("list_objects_v2").paginate
    pages = [page for prefix in prefixes for page in paginate(Bucket=place.bucket, Prefix=prefix)]
    return [(row["Key"], row["ETag"].strip('"')) for page in pages for row in page.get("Contents", [])]


def in_folders(keys: list[str], room: int) -> dict[str, list[str]]:
    """Keys in folders of one page at most, each key with its folder's name; in the order of S3."""
    folders = {f"{at // PAGE:03}/": keys[at : at + PAGE] for at in range(0, len(keys), PAGE)}
    # Room for the prefix to come, so that the longest keys are as long as S3 allows.
    return {
        name: sorted({name + fitted(key, name + "-" * room)[len(name) + room :] for key in some})
        for name, some in folders.items()
    }


@pytest.fixture(scope="module", params=[0, pytest.param(FUZZED, marks=pytest.mark.slow)])
def home(request: pytest.FixtureRequest, cloud: Cloud) -> tuple[Place, dict[str, list[str]]]:
    """A bucket of the embedded AWS with an object for each odd key, and its folders."""
    print(f"seed {SEED}")
    folders = in_folders([*KEYS.values(), *fuzzed(Random(SEED), request.param)], room=len("out/"))
    place = new_place(embedded(cloud))
    fill(place, [f"in/{key}" for some in folders.values() for key in some])
    return place, folders


def copy_all(make: Make, server: Server, transfer: Transfer, folders: Iterable[str]) -> set[Proof]:
    """Copy each object that our own listing of each folder shows; the proofs."""
    source, prefix = Bucket(transfer.source, "source"), transfer.source.prefix
    refs = [ref for name in folders for ref in source.list(prefix=prefix + name)]
    copy = make(transfer, server).copy
    with ThreadPoolExecutor(THREADS) as pool:
        done = pool.map(lambda ref: copy(ref, fenced=True, expect="", cancel=Event()), refs)
        return {copied.proof for copied in done}


def test_odd_keys_go_there_and_back(
    server: Server, home: tuple[Place, dict[str, list[str]]], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(monkeypatch, server.environment())
    (place, folders), abroad = home, new_place(server)
    again = new_place(place.server)
    keys = [key for some in folders.values() for key in some]
    there = Transfer(
        Endpoint(bucket=place.bucket, prefix="in/", endpoint_url=place.server.url),
        Endpoint(bucket=abroad.bucket, prefix="out/", endpoint_url=server.url),
        Options(strategy="stream"),
    )
    assert copy_all(make, server, there, folders) == {Proof.MD5}
    expected = [row_of("out/", key) for key in keys]
    assert rows(abroad, *(f"out/{name}" for name in folders)) == expected
    if server.can(Can.PAGES):
        assert rows(abroad, "") == expected

    back = Transfer(
        there.destination, msgspec.structs.replace(there.source, bucket=again.bucket), there.options
    )
    assert copy_all(make, server, back, folders) == {Proof.MD5}
    assert rows(again, "") == [row_of("in/", key) for key in keys]
