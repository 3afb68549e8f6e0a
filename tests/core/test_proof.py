"""The truth table of `core.proof`, row by row."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.core import ONE_MD5
from worker.core.compare import Seen
from worker.core.model import Proof
from worker.core.proof import Digest, choose

MD5 = Digest(Proof.MD5, "MD5", "F06QIoVUejM6i8NIz2L4jw==")
CRC = Digest(Proof.CHECKSUM, "CRC64NVME", "crc=")
NOTHING = Digest(Proof.TRANSPORT)
STORED = {"CRC64NVME": "crc="}


@pytest.mark.parametrize(
    ("etag", "digest", "checksums", "chosen"),
    [
        # an ETag that is an MD5 digest
        (ONE_MD5, True, {}, MD5),
        (ONE_MD5, True, STORED, MD5),
        # a stored full-object checksum
        (ONE_MD5, False, STORED, CRC),
        (f"{ONE_MD5}-2", True, STORED, CRC),
        ("", True, STORED, CRC),
        (f"{ONE_MD5}-2", True, {"SHA256": "sha=", "CRC64NVME": "crc="}, CRC),
        # neither
        (ONE_MD5, False, {}, NOTHING),
        (f"{ONE_MD5}-2", True, {}, NOTHING),
        (ONE_MD5.upper(), True, {}, NOTHING),
        ("", False, {}, NOTHING),
    ],
)
def test_the_strongest_proof_is_chosen(
    etag: str, checksums: dict[str, str], chosen: Digest, *, digest: bool
) -> None:
    assert choose(Seen(1, etag, digest, checksums)) == chosen


@pytest.mark.parametrize("body", [b"", b"hello", b"\x00" * 1_000])
def test_the_declared_md5_is_what_the_header_wants_of_these_bytes(body: bytes) -> None:
    md5 = hashlib.md5(body, usedforsecurity=False)
    declared = choose(Seen(len(body), md5.hexdigest()))
    assert base64.b64decode(declared.value) == md5.digest()
