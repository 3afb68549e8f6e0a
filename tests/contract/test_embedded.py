"""What the contract says of requests, permissions and faults, which the embedded AWS alone can show."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from random import Random
from threading import Event
from typing import Any, cast
from uuid import uuid4

import msgspec
import pytest

from tests.cloud import Cloud, Keys, checksums
from tests.contract import KEY, MIB, SEED, CancelAfter, Make, Pair, adopt, new_place, wire
from tests.servers import embedded
from worker.aws import session
from worker.aws.transfer import WireTransferrer
from worker.core import errors
from worker.core.compare import Seen
from worker.core.model import ObjectRef, Proof
from worker.core.transferrer import Copied


@pytest.fixture(scope="module")
def shared(cloud: Cloud, make: Make) -> Pair:
    """Two buckets for all tests that leave the buckets' settings alone."""
    return Pair(new_place(embedded(cloud)), new_place(embedded(cloud)), make)


@pytest.fixture
def pair(shared: Pair, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two empty buckets; no fault is left in force."""
    adopt(monkeypatch, cloud.environment())
    yield shared
    cloud.clear_faults()
    cloud.default_checksums(on=False)
    shared.source.empty()
    shared.destination.empty()


# --- bytes and attributes


def test_a_plain_copy_is_one_get_and_one_put(pair: Pair, cloud: Cloud) -> None:
    ref = pair.put(b"x" * 1000)
    cloud.clear_journal()
    pair.copy(ref)
    get, put = cloud.journal()
    assert (get["operation"], get["bucket"], get["key"]) == ("s3:GetObject", pair.source.bucket, KEY)
    assert (put["operation"], put["bucket"], put["key"]) == (
        "s3:PutObject",
        pair.destination.bucket,
        "out/a key",
    )


def test_tags_cost_one_request_more(pair: Pair, cloud: Cloud) -> None:
    ref = pair.put(b"x", Tagging="a=b&c=d")
    cloud.clear_journal()
    pair.copy(ref)
    assert cloud.counts() == {"s3:GetObject": 1, "s3:GetObjectTagging": 1, "s3:PutObject": 1}
    assert pair.copied()["TagCount"] == 2


def with_header(cloud: Cloud, pair: Pair, name: str, value: str) -> ObjectRef:
    """Put a source object with a header that boto3 would not send."""
    client = cloud.client("s3")

    def spoil(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        request.headers[name] = value

    client.meta.events.register("before-sign.s3.PutObject", spoil)
    client.put_object(Bucket=pair.source.bucket, Key=KEY, Body=b"x")
    return pair.ref()


def test_an_expires_that_is_no_date_is_not_lost_in_silence(pair: Pair, cloud: Cloud) -> None:
    ref = with_header(cloud, pair, "Expires", "in a while")
    with pytest.raises(errors.AttributeLostError, match="in a while"):
        pair.copy(ref)
    assert pair.visible() == []


def test_metadata_outside_ascii_is_carried_or_refused(pair: Pair, cloud: Cloud) -> None:
    ref = with_header(cloud, pair, "x-amz-meta-name", "=?UTF-8?Q?caf=C3=A9?=")
    pair.copy(ref)
    assert pair.copied()["Metadata"] == {"name": "=?UTF-8?Q?caf=C3=A9?="}


# --- proof


@pytest.mark.parametrize(("stored", "proof"), [(False, Proof.TRANSPORT), (True, Proof.CHECKSUM)])
def test_an_etag_under_kms_is_no_digest(pair: Pair, cloud: Cloud, *, stored: bool, proof: Proof) -> None:
    cloud.default_checksums(on=stored)
    ref = pair.put(b"secret", ServerSideEncryption="aws:kms")
    assert len(ref.etag) == 32
    assert ref.etag != hashlib.md5(b"secret", usedforsecurity=False).hexdigest()
    assert pair.copy(ref) == Copied(6, proof)
    assert pair.copied()["Body"] == b"secret"


@pytest.mark.parametrize("proof", [Proof.MD5, Proof.CHECKSUM])
@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_a_wrong_byte_is_the_destinations_to_refuse(
    pair: Pair, cloud: Cloud, algorithm: str, proof: Proof
) -> None:
    """Also where the source stores a checksum: hashing here would cost what S3 does anyway."""
    encryption = {"ServerSideEncryption": "aws:kms"} if proof is Proof.CHECKSUM else {}
    body = Random(SEED).randbytes(100_000)
    ref = pair.put(body, **{f"Checksum{algorithm}": checksums.encoded(algorithm, body)}, **encryption)
    wire(pair)._writer.capabilities.trailers = True  # noqa: SLF001 - as once one such sum has been seen
    cloud.fault("s3:GetObject", "flip", bucket=pair.source.bucket, key=KEY)
    with pytest.raises(errors.ProofRefusedError, match="out/a key"):
        pair.copy(ref)
    assert pair.visible() == []
    assert pair.copy(ref) == Copied(100_000, proof)


# --- conditions


@pytest.mark.parametrize("size", [5, 3 * MIB])
def test_present_otherwise_is_left_alone(pair: Pair, size: int) -> None:
    pair.put_older()
    ref = pair.put(b"n" * size)
    with pytest.raises(errors.DestinationChangedError):
        pair.copy(ref, expect="0" * 32)
    assert pair.copied()["Body"] == b"older"


# --- faults on the way


@pytest.mark.parametrize("operation", ["s3:GetObject", "s3:PutObject"])
def test_a_reset_is_worth_another_try(pair: Pair, cloud: Cloud, operation: str) -> None:
    ref = pair.put(b"x" * 100_000)
    cloud.fault(operation, "reset", times=None)
    with pytest.raises(errors.ServiceUnavailableError, match="a key") as raised:
        pair.copy(ref)
    assert not raised.value.blames_endpoint
    assert pair.visible() == []
    cloud.clear_faults()
    assert pair.copy(ref).bytes == 100_000


def test_a_lost_answer_is_worth_another_try_which_finds_the_object(pair: Pair, cloud: Cloud) -> None:
    ref = pair.put(b"x")
    cloud.fault("s3:PutObject", "lose", bucket=pair.destination.bucket, times=None)
    with pytest.raises(errors.ServiceUnavailableError):
        pair.copy(ref)
    cloud.clear_faults()
    with pytest.raises(errors.DestinationChangedError):
        pair.copy(ref)
    assert pair.copied()["Body"] == b"x"


@pytest.mark.parametrize("operation", ["s3:GetObject", "s3:PutObject"])
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (500, "InternalError", errors.ServiceUnavailableError),
        (503, "SlowDown", errors.ServiceUnavailableError),
        (503, "ServiceUnavailable", errors.ServiceUnavailableError),
        (400, "RequestTimeout", errors.ServiceUnavailableError),
        (409, "ConditionalRequestConflict", errors.WriteConflictError),
        (409, "OperationAborted", errors.ServiceUnavailableError),
        (429, "SlowDown", errors.ServiceUnavailableError),
        (429, "TooManyRequests", errors.ServiceUnavailableError),
        (403, "ObjectNotInActiveTierError", errors.ObjectArchivedError),
        (403, "InvalidAccessKeyId", errors.ConfigurationError),
        (403, "SignatureDoesNotMatch", errors.ConfigurationError),
        (403, "RequestTimeTooSkewed", errors.ConfigurationError),
        (400, "ExpiredToken", errors.ConfigurationError),
        (400, "InvalidToken", errors.ConfigurationError),
        (400, "KMS.DisabledException", errors.ConfigurationError),
        (404, "NoSuchBucket", errors.ConfigurationError),
        (403, "AccessDenied", errors.ObjectDeniedError),
        (400, "InvalidRequest", errors.ObjectRefusedError),
        (400, "KeyTooLongError", errors.ObjectRefusedError),
        (501, "NotImplemented", errors.FleetcopyError),
    ],
)
def test_each_answer_has_its_error(  # noqa: PLR0917 - the columns of the table
    pair: Pair, cloud: Cloud, operation: str, status: int, code: str, kind: type[errors.FleetcopyError]
) -> None:
    ref = pair.put(b"x")
    cloud.fault(operation, "error", status=status, code=code, times=None)
    with pytest.raises(kind) as raised:
        pair.copy(ref)
    text = str(raised.value)
    side = "source" if operation == "s3:GetObject" else "destination"
    assert code in text
    assert side in text
    assert ("in/a key" if side == "source" else "out/a key") in text
    assert cloud.keys.secret_access_key not in text
    if isinstance(raised.value, errors.ObjectDeniedError):
        assert raised.value.side == side
    assert pair.visible() == []


@pytest.mark.parametrize("side", ["source", "destination"])
def test_nobody_listens(pair: Pair, side: str) -> None:
    ref = pair.put(b"x")
    with socket.socket() as unused:
        # Bound and not listening: nobody else can take the port meanwhile.
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        end = msgspec.structs.replace(getattr(pair.transfer, side), endpoint_url=url)
        transfer = msgspec.structs.replace(pair.transfer, **{side: end})
        transferrer = pair.make(transfer, pair.destination.server)
        with pytest.raises(errors.EndpointUnreachableError, match=f"{side}.*a key") as raised:
            transferrer.copy(ref, fenced=True, expect="", cancel=Event())
    assert raised.value.blames_endpoint
    assert raised.value.retryable


# --- credentials and permissions


WRONG = (
    Keys("AKIANOSUCHKEY0000000", "no-such-secret-0123456789"),
    Keys("", "forged-secret-0123456789"),
)


@pytest.mark.parametrize("wrong", WRONG, ids=["unknown-key", "forged-secret"])
def test_wrong_credentials_blame_the_endpoint_and_are_not_told(
    strict: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch, wrong: Keys
) -> None:
    pair = Pair(new_place(embedded(strict)), new_place(embedded(strict)), make)
    ref = pair.put(b"x")
    keys = Keys(wrong.access_key_id or strict.keys.access_key_id, wrong.secret_access_key)
    adopt(monkeypatch, strict.environment(keys))
    with pytest.raises(errors.ConfigurationError, match=KEY) as raised:
        pair.copy(ref)
    assert raised.value.blames_endpoint
    assert keys.secret_access_key not in str(raised.value)
    assert strict.keys.secret_access_key not in str(raised.value)
    assert pair.visible() == []


def test_no_credentials_at_all(pair: Pair, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = pair.put(b"x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    session._session.cache_clear()  # noqa: SLF001
    with pytest.raises(errors.ConfigurationError, match="credentials"):
        Pair(pair.source, pair.destination, make).copy(ref)


@pytest.mark.parametrize(
    ("side", "action", "denied"),
    [("source", "s3:GetObject", KEY), ("destination", "s3:PutObject", "out/a key")],
)
def test_a_denied_key_is_denied_alone(  # noqa: PLR0917 - the columns of the table
    strict: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch, side: str, action: str, denied: str
) -> None:
    pair = Pair(new_place(embedded(strict)), new_place(embedded(strict)), make)
    bucket = (pair.source if side == "source" else pair.destination).bucket
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": action, "Resource": f"arn:aws:s3:::{bucket}/{denied}"},
    ]
    keys = strict.user(f"user-{uuid4().hex}", {"Statement": statements})
    adopt(monkeypatch, strict.environment(keys))
    with pytest.raises(errors.ObjectDeniedError, match=denied) as raised:
        pair.copy(pair.put(b"x"))
    assert raised.value.side == side
    assert not raised.value.blames_endpoint
    assert not raised.value.retryable
    assert pair.visible() == []
    assert pair.copy(pair.put(b"x", "in/another")).bytes == 1


def test_tags_that_may_not_be_read_are_not_lost_in_silence(
    strict: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(new_place(embedded(strict)), new_place(embedded(strict)), make)
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:GetObjectTagging", "Resource": "*"},
    ]
    pair.put(b"x", Tagging="a=b")
    adopt(monkeypatch, strict.environment(strict.user(f"user-{uuid4().hex}", {"Statement": statements})))
    # A read does not tell that there are any: to be asked before the first copy.
    with pytest.raises(errors.ConfigurationError, match="tags"):
        cast("WireTransferrer", pair.transferrer).source.probe_tags()


# --- cancellation and memory


@pytest.mark.parametrize("more", [1, 2, 10])
def test_cancelled_in_the_middle(pair: Pair, more: int) -> None:
    older, ref, cancel = pair.put_older(), pair.put(b"x" * 5 * MIB), CancelAfter(more)
    with pytest.raises(errors.InterruptedTransferError, match="/a key"):
        pair.copy(ref, expect=older, cancel=cancel)
    assert cancel.asked == more + 1
    assert pair.copied()["Body"] == b"older"
    # The connections that were given up are not used for what follows.
    transferrer = pair.transferrer
    with pytest.raises(errors.InterruptedTransferError):
        transferrer.copy(ref, fenced=True, expect=older, cancel=CancelAfter(more))
    assert transferrer.copy(ref, fenced=True, expect=older, cancel=Event()).bytes == 5 * MIB


# --- look


def test_look_sees_archived_objects(pair: Pair) -> None:
    ref = pair.put(b"abc", StorageClass="GLACIER")
    assert pair.transferrer.look(ref) == (Seen(3, ref.etag, storage_class="GLACIER"), None)
