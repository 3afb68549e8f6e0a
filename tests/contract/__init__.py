"""The contract of `core.transferrer.Transferrer`, over every server that we have.

The embedded AWS takes part in every run, LocalStack and radosgw where they are installed, and always in CI.
A test names the abilities that it needs, and runs on no server that lacks one (`tests.servers.ABILITIES`);
what needs the embedded AWS's faults, journal and permissions is in `test_embedded`.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, TypeVar, cast
from uuid import uuid4

import pytest

from tests.cloud import checksums
from tests.servers import Can, Server
from worker.aws import session
from worker.aws.transfer import WireTransferrer
from worker.core.model import Endpoint, ObjectRef, Transfer
from worker.core.options import Options
from worker.core.transferrer import Cancellation, Copied, Transferrer

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261122"))
MIB = 1024**2
KEY = "in/a key"
STREAMED = Options(strategy="stream")
Make = Callable[[Transfer, Server], Transferrer]
Test = TypeVar("Test", bound=Callable[..., None])


@dataclass
class CancelAfter:
    """A cancellation that comes with the question after `more` have been answered with no."""

    more: int
    asked: int = 0

    def is_set(self) -> bool:
        """Whether the questions with the answer no are used up."""
        self.asked += 1
        return self.asked > self.more

    def wait(self, timeout: float) -> bool:
        """The same, at once."""
        del timeout
        return self.is_set()


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket of a server, and a client that reaches it without the code under test."""

    server: Server
    bucket: str
    s3: Any = field(repr=False)

    def keys(self) -> list[str]:
        """The bucket's keys, as it lists them."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [row["Key"] for page in pages for row in page.get("Contents", [])]

    def empty(self) -> None:
        """Delete all objects."""
        for key in self.keys():
            self.s3.delete_object(Bucket=self.bucket, Key=key)


def md5(body: bytes) -> str:
    """A body's digest, as its header says it."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def new_place(server: Server, *, lock: bool = False) -> Place:
    """A new bucket, with Object Lock or without."""
    place = Place(server, f"bucket-{uuid4().hex}", server.client())
    place.s3.create_bucket(Bucket=place.bucket, **({"ObjectLockEnabledForBucket": True} if lock else {}))
    return place


def wire(pair: Pair) -> WireTransferrer:
    """The pair's transferrer, for what is ours alone."""
    return cast("WireTransferrer", pair.transferrer)


@dataclass
class Pair:
    """A source and a destination bucket, and the transferrer under test between them."""

    source: Place
    destination: Place
    make: Make
    options: Options = STREAMED
    made: Transferrer | None = None

    @property
    def transfer(self) -> Transfer:
        """From `in/` of the one to `out/` of the other."""
        source, destination = self.source, self.destination
        return Transfer(
            Endpoint(bucket=source.bucket, prefix="in/", endpoint_url=source.server.url),
            Endpoint(bucket=destination.bucket, prefix="out/", endpoint_url=destination.server.url),
            self.options,
        )

    @property
    def transferrer(self) -> Transferrer:
        """The transferrer under test, made once: making clients takes longer than most tests."""
        self.made = self.made or self.make(self.transfer, self.destination.server)
        return self.made

    def put(self, body: bytes, key: str = KEY, **attributes: object) -> ObjectRef:
        """Put a source object; the reference that a listing would give of it."""
        self.source.s3.put_object(Bucket=self.source.bucket, Key=key, Body=body, **attributes)
        return self.ref(key)

    def ref(self, key: str = KEY) -> ObjectRef:
        """The reference that a listing would give of a source object now."""
        answer = self.source.s3.head_object(Bucket=self.source.bucket, Key=key)
        when = int(answer["LastModified"].timestamp())
        return ObjectRef(key, answer["ContentLength"], answer["ETag"].strip('"'), when)

    def two_parts(self, first: bytes, second: bytes, **create: object) -> ObjectRef:
        """Put a source object in two parts, with checksums as `create` says."""
        s3, at = self.source.s3, {"Bucket": self.source.bucket, "Key": KEY}
        upload = s3.create_multipart_upload(**at, **create)["UploadId"]
        algorithm = create.get("ChecksumAlgorithm")
        parts = []
        for number, body in enumerate((first, second), 1):
            declared = {f"Checksum{algorithm}": checksums.encoded(str(algorithm), body)} if algorithm else {}
            answer = s3.upload_part(
                **at, UploadId=upload, PartNumber=number, Body=body, ContentMD5=md5(body), **declared
            )
            parts.append({"PartNumber": number, "ETag": answer["ETag"], **declared})
        s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})
        return self.ref()

    def put_older(self, body: bytes = b"older", key: str = KEY) -> str:
        """Put a destination object; its ETag."""
        there = self.transfer.destination_key(key)
        answer = self.destination.s3.put_object(Bucket=self.destination.bucket, Key=there, Body=body)
        return str(answer["ETag"]).strip('"')

    def copy(
        self, ref: ObjectRef, *, fenced: bool = True, expect: str = "", cancel: Cancellation | None = None
    ) -> Copied:
        """Copy one object."""
        return self.transferrer.copy(ref, fenced=fenced, expect=expect, cancel=cancel or Event())

    def copied(self, key: str = KEY) -> dict[str, Any]:
        """The destination object, its body read."""
        there = self.transfer.destination_key(key)
        answer: dict[str, Any] = self.destination.s3.get_object(
            Bucket=self.destination.bucket, Key=there, ChecksumMode="ENABLED"
        )
        return answer | {"Body": answer["Body"].read()}

    def visible(self) -> list[str]:
        """Keys of the destination."""
        return self.destination.keys()


def needs(*abilities: Can) -> Callable[[Test], Test]:
    """Run a test only on servers with all these abilities."""

    def mark(test: Test) -> Test:
        test.needs = abilities  # type: ignore[attr-defined]
        return test

    return mark


def adopt(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Give this process a subprocess's environment, as far as boto3 reads it, and forget who it was."""
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    session._session.cache_clear()  # noqa: SLF001 - one process, many identities
