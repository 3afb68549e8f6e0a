"""A byte that changes on its way to the destination, for each row of the proof table (`core.proof`).

The refusal is the server's own: LocalStack knows no other, and radosgw none but Content-MD5. The proxy ends
TLS, so that what arrives is a well-formed request with one wrong byte in its body.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from tests import tls
from tests.cloud import Cloud, checksums
from tests.contract import KEY, MIB, SEED, Make, Pair, adopt, needs, new_place
from tests.contract.proxied import behind, body_of
from tests.servers import Can, Server, embedded
from tests.wire.proxy import Fault, Proxy, Way
from worker.core import errors
from worker.core.model import Proof
from worker.core.transferrer import Copied

SIZES = [1, 1000, 3 * MIB]


@pytest.fixture(scope="session")
def line(
    server: Server, cloud: Cloud, make: Make, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Pair, Proxy]]:
    """From the embedded AWS to each server, through a proxy."""
    print(f"seed {SEED}")
    with behind(server, tls.authority(tmp_path_factory.mktemp("authority"))) as (proxied, proxy):
        there = new_place(server)
        yield Pair(new_place(embedded(cloud)), replace(there, server=proxied), make), proxy


@pytest.fixture
def pair(line: tuple[Pair, Proxy], monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two empty buckets; the client that looks into the destination does not pass the proxy."""
    pair, proxy = line
    adopt(monkeypatch, pair.destination.server.environment())
    yield pair
    proxy.begin()
    pair.source.empty()
    pair.destination.empty()


@pytest.fixture
def proxy(line: tuple[Pair, Proxy]) -> Proxy:
    """What the writes pass through."""
    return line[1]


def offsets(size: int) -> list[int]:
    """The first byte, the last, and some by the seed."""
    random = Random(f"{SEED} {size}")
    return sorted({0, size - 1, *(random.randrange(size) for _ in range(2))})


def refused(pair: Pair, proxy: Proxy, proof: Proof, size: int, expect: str = "") -> None:
    """A write with one wrong byte is refused, wherever that is; the same without is not."""
    ref = pair.ref()
    for at in offsets(size):
        before = {key: pair.copied()["Body"] for key in pair.visible()}
        proxy.begin(Fault(True, at, Way.SPOIL))
        with pytest.raises(errors.ProofRefusedError, match=r"write destination .*out/a key.*BadDigest"):
            pair.copy(ref, expect=expect)
        assert proxy.struck
        assert {key: pair.copied()["Body"] for key in pair.visible()} == before
    proxy.begin()
    assert pair.copy(ref, expect=expect) == Copied(size, proof)
    assert (
        pair.copied()["Body"] == pair.source.s3.get_object(Bucket=pair.source.bucket, Key=KEY)["Body"].read()
    )


@pytest.mark.parametrize("size", SIZES)
def test_content_md5(pair: Pair, proxy: Proxy, size: int) -> None:
    pair.put(body_of(Random(SEED), size))
    refused(pair, proxy, Proof.MD5, size)


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_a_stored_checksum(pair: Pair, proxy: Proxy, algorithm: str, size: int) -> None:
    body = body_of(Random(SEED), size)
    declared = {f"Checksum{algorithm}": checksums.encoded(algorithm, body)}
    pair.put(body, ServerSideEncryption="aws:kms", **declared)
    refused(pair, proxy, Proof.CHECKSUM, size)


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize("size", SIZES)
def test_a_trailing_crc64nvme(pair: Pair, proxy: Proxy, size: int) -> None:
    pair.put(body_of(Random(SEED), size), ServerSideEncryption="aws:kms")
    learn(pair)
    refused(pair, proxy, Proof.TRANSPORT, size)


def learn(pair: Pair) -> None:
    """Let the transferrer see that the server knows CRC64NVME, as any of its answers may show."""
    body = body_of(Random(SEED), 10)
    crc = checksums.encoded("CRC64NVME", body)
    pair.copy(pair.put(body, "in/another", ServerSideEncryption="aws:kms", ChecksumCRC64NVME=crc))
    pair.destination.empty()


@needs(Can.KEEP)
@pytest.mark.parametrize("size", SIZES)
def test_the_object_before_it_stays(pair: Pair, proxy: Proxy, size: int) -> None:
    pair.put(body_of(Random(SEED), size))
    older = pair.put_older()
    if not pair.destination.server.can(Can.REPLACE):
        pair.transferrer._writer.capabilities.conditions = False  # type: ignore[attr-defined]  # noqa: SLF001
    refused(pair, proxy, Proof.MD5, size, expect=older)
