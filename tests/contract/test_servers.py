"""The servers are as their table says: each ability is there where it is claimed, and only there."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests import processes
from tests.cloud import ROOT, Keys, checksums
from tests.contract import Place, md5, new_place
from tests.servers import REAL, Can, Server, missing

WRONG_MD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
OTHER_ETAG = f'"{"0" * 32}"'


def put(place: Place, key: str = "k", **more: Any) -> str:  # noqa: ANN401
    """Put one byte; its ETag."""
    return str(place.s3.put_object(Bucket=place.bucket, Key=key, Body=b"x", **more)["ETag"])


def refused(place: Place, key: str = "k", **more: object) -> bool:
    """Whether a PUT is refused."""
    try:
        put(place, key, **more)
    except ClientError:
        return True
    return False


def checks_checksums(place: Place) -> bool:
    return all(
        refused(place, **{f"Checksum{name}": checksums.encoded(name, b"y")}) for name in checksums.ALGORITHMS
    )


def replaces(place: Place) -> bool:
    etag = put(place)
    return refused(place, IfMatch=OTHER_ETAG) and not refused(place, IfMatch=etag)


def keeps(place: Place) -> bool:
    put(place)
    assert refused(place, ContentMD5=WRONG_MD5)
    body = place.s3.get_object(Bucket=place.bucket, Key="k")["Body"]
    # A server that has lost the bytes promises them, and is silent.
    body.set_socket_timeout(2)
    try:
        return bool(body.read() == b"x")
    except BotoCoreError:
        return False


def keeps_names(place: Place) -> bool:
    put(place, Metadata={"a_b": "c"})
    return bool(place.s3.head_object(Bucket=place.bucket, Key="k")["Metadata"] == {"a_b": "c"})


def counts_tags(place: Place) -> bool:
    enabled = {"Status": "Enabled"}
    place.s3.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration=enabled)
    put(place)
    put(place, Tagging="a=b")
    return bool(place.s3.get_object(Bucket=place.bucket, Key="k").get("TagCount") == 1)


def lists_pages(place: Place) -> bool:
    keys = ["\x01", "\u00e9", "\U0001f600"]
    for key in keys:
        put(place, key)
    pages = place.s3.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, MaxKeys=1)
    try:
        return [row["Key"] for page in pages for row in page.get("Contents", [])] == keys
    except ClientError:
        return False


def encrypts(place: Place) -> bool:
    return not refused(place, ServerSideEncryption="aws:kms")


def is_opaque(place: Place) -> bool:
    return encrypts(place) and put(place, ServerSideEncryption="aws:kms") != put(place, "other")


def copies(place: Place, **put_with: Any) -> dict[str, Any]:  # noqa: ANN401
    """What is shown of a copy with a storage class and a redirect of its own; empty where it lacks them."""
    put(place, **put_with)
    source, said = {"Bucket": place.bucket, "Key": "k"}, {"WebsiteRedirectLocation": "/x"}
    try:
        place.s3.copy_object(
            Bucket=place.bucket, Key="copy", CopySource=source, StorageClass="STANDARD_IA", **said
        )
    except ClientError:
        return {}
    shown: dict[str, Any] = place.s3.head_object(Bucket=place.bucket, Key="copy")
    return shown if shown.get("StorageClass") == "STANDARD_IA" and said.items() <= shown.items() else {}


def copies_whole(place: Place) -> bool:
    kept = {"Expires": datetime(2031, 2, 3, tzinfo=UTC), "Metadata": {"name": "=?UTF-8?B?w6k=?="}}
    shown = copies(place, **kept)
    return {name: shown.get(name) for name in kept} == kept


def locks(place: Place) -> bool:
    locked = new_place(place.server, lock=True)
    put(locked, ContentMD5=md5(b"x"), ObjectLockLegalHoldStatus="ON")
    head = locked.s3.head_object(Bucket=locked.bucket, Key="k")
    return bool(head.get("ObjectLockLegalHoldStatus") == "ON")


def grants(place: Place) -> bool:
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    with suppress(ClientError):
        place.s3.put_bucket_ownership_controls(Bucket=place.bucket, OwnershipControls=rules)
    if refused(place, ACL="public-read"):
        return False
    found = place.s3.get_object_acl(Bucket=place.bucket, Key="k")["Grants"]
    return "READ" in {grant["Permission"] for grant in found}


def refuses(place: Place) -> bool:
    put(place)
    server = place.server
    others = (
        Keys(server.keys.access_key_id, "wrong"),
        Keys("AKIANOSUCHKEY0000000", "wrong"),
        server.stranger,
    )
    for keys in others:
        try:
            server.client(keys).get_object(Bucket=place.bucket, Key="k")
        except ClientError:
            continue
        return False
    return True


PROBES: dict[Can, Callable[[Place], bool]] = {
    Can.CHECKSUMS: checks_checksums,
    Can.REPLACE: replaces,
    Can.KEEP: keeps,
    Can.NAMES: keeps_names,
    Can.COUNT: counts_tags,
    Can.PAGES: lists_pages,
    Can.ENCRYPTION: encrypts,
    Can.OPAQUE: is_opaque,
    Can.ARCHIVE: lambda place: not refused(place, StorageClass="DEEP_ARCHIVE"),
    Can.SERVER_SIDE: lambda place: bool(copies(place)),
    Can.WHOLE: copies_whole,
    Can.LOCK: locks,
    Can.ACL: grants,
    Can.REFUSE: refuses,
}


@pytest.mark.parametrize("ability", Can)
def test_a_server_can_what_is_said_of_it(server: Server, ability: Can) -> None:
    assert PROBES[ability](new_place(server)) == server.can(ability)


def test_every_server_refuses_a_wrong_digest(server: Server) -> None:
    place = new_place(server)
    assert refused(place, ContentMD5=WRONG_MD5)
    assert place.keys() == []


def test_every_server_makes_only_what_is_absent(server: Server) -> None:
    place = new_place(server)
    assert not refused(place, IfNoneMatch="*")
    assert refused(place, IfNoneMatch="*")


HOLDER = """
import sys, time
from tests.servers import running
with running(sys.argv[1]) as server:
    print(server.certificate.parent, flush=True)
    time.sleep(3600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in REAL])
def test_a_server_ends_with_a_killed_parent(name: str) -> None:
    if reason := missing(name):
        pytest.skip(reason)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, name], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip())
    (keeper,) = processes.children(holder.pid)
    below = processes.children(keeper)
    assert below
    assert folder.is_dir()
    holder.kill()
    holder.communicate()
    until = time.monotonic() + 30
    while any(processes.alive(pid) for pid in (keeper, *below)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in (keeper, *below) if processes.alive(pid)]
    assert not folder.exists()
