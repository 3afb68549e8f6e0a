"""Who refuses what: wrong bytes are S3's to refuse, and so are wrong signatures; nothing is visible then."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.cloud import Cloud, Keys, checksums
from tests.contract import KEY, MIB, SEED, Make, Pair, adopt, needs, new_place, wire
from tests.servers import Can, Server, embedded
from worker.core import errors
from worker.core.model import Proof
from worker.core.transferrer import Copied


@pytest.fixture(scope="session")
def shared_spoilt(server: Server, cloud: Cloud, make: Make) -> Pair:
    """Two buckets for all tests here."""
    return Pair(new_place(embedded(cloud)), new_place(server), make)


@pytest.fixture
def pair(shared_spoilt: Pair, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """From an empty bucket of the embedded AWS, which spoils its answers on demand, to one of each server."""
    adopt(monkeypatch, shared_spoilt.destination.server.environment())
    yield shared_spoilt
    cloud.clear_faults()
    shared_spoilt.source.empty()
    shared_spoilt.destination.empty()


# --- wrong bytes


@pytest.mark.parametrize("size", [1, 1000, 3 * MIB])
def test_a_wrong_byte_is_refused_by_its_digest(pair: Pair, cloud: Cloud, size: int) -> None:
    ref = pair.put(Random(SEED).randbytes(size))
    cloud.fault("s3:GetObject", "flip", bucket=pair.source.bucket)
    with pytest.raises(errors.ProofRefusedError, match=r"out/a key.*BadDigest"):
        pair.copy(ref)
    assert pair.visible() == []
    assert pair.copy(ref) == Copied(size, Proof.MD5)


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize("size", [1, 3 * MIB])
@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_a_wrong_byte_is_refused_by_its_checksum(pair: Pair, cloud: Cloud, algorithm: str, size: int) -> None:
    body = Random(SEED).randbytes(size)
    declared = {f"Checksum{algorithm}": checksums.encoded(algorithm, body)}
    ref = pair.put(body, ServerSideEncryption="aws:kms", **declared)
    wire(pair)._writer.capabilities.trailers = True  # noqa: SLF001 - what it checks is not checked here
    cloud.fault("s3:GetObject", "flip", bucket=pair.source.bucket)
    with pytest.raises(errors.ProofRefusedError, match=r"out/a key.*BadDigest"):
        pair.copy(ref)
    assert pair.visible() == []
    assert pair.copy(ref) == Copied(size, Proof.CHECKSUM)
    assert pair.copied()["Body"] == body


@needs(Can.REPLACE, Can.KEEP)
def test_a_wrong_byte_leaves_the_older_object(pair: Pair, cloud: Cloud) -> None:
    older, ref = pair.put_older(), pair.put(b"newer")
    cloud.fault("s3:GetObject", "flip", bucket=pair.source.bucket)
    with pytest.raises(errors.ProofRefusedError):
        pair.copy(ref, expect=older)
    assert pair.copied()["Body"] == b"older"


@pytest.mark.parametrize("size", [2, 1000, 3 * MIB])
def test_a_body_cut_short_is_never_published(pair: Pair, cloud: Cloud, size: int) -> None:
    ref = pair.put(b"x" * size)
    cloud.fault("s3:GetObject", "truncate", bucket=pair.source.bucket, times=None)
    with pytest.raises(errors.ServiceUnavailableError, match=KEY):
        pair.copy(ref)
    assert pair.visible() == []
    cloud.clear_faults()
    assert pair.copy(ref).bytes == size


# --- wrong signatures


@needs(Can.REFUSE)
@pytest.mark.parametrize("forged", [False, True], ids=["unknown-key", "forged-secret"])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_wrong_credentials_are_refused_and_not_told(
    server: Server, pair: Pair, monkeypatch: pytest.MonkeyPatch, *, side: str, forged: bool
) -> None:
    ref = pair.put(b"x")
    source = pair.source if side == "destination" else new_place(server)
    source.s3.put_object(Bucket=source.bucket, Key=KEY, Body=b"x")
    wrong = Keys(server.keys.access_key_id if forged else "AKIANOSUCHKEY0000000", "wrong-secret-0123456789")
    adopt(monkeypatch, server.environment(wrong))
    with pytest.raises(errors.ConfigurationError, match=f"{side}.*a key") as raised:
        Pair(source, pair.destination, pair.make).copy(ref)
    assert raised.value.blames_endpoint
    assert wrong.secret_access_key not in str(raised.value)
    assert pair.visible() == []


@needs(Can.REFUSE)
def test_a_stranger_is_denied(server: Server, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = pair.put(b"x")
    adopt(monkeypatch, server.environment(server.stranger))
    with pytest.raises(errors.ObjectDeniedError, match="out/a key") as raised:
        Pair(pair.source, pair.destination, pair.make).copy(ref)
    assert raised.value.side == "destination"
    assert pair.visible() == []
