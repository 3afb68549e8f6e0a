"""The contract of `core.transferrer.Transferrer`, for each implementation, against the embedded AWS."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from threading import Event
from typing import Any
from uuid import uuid4

import boto3
import msgspec
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.cloud import REGION, ROOT, Cloud, Keys, checksums
from tests.keys import KEYS
from worker.aws import session
from worker.aws.transfer import WireTransferrer
from worker.aws.wire import trust
from worker.core import errors
from worker.core.compare import Seen
from worker.core.model import Endpoint, ObjectRef, Proof, Transfer
from worker.core.transferrer import Cancellation, Copied, Transferrer

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261122"))
MIB = 1024**2
KEY = "in/a key"
Make = Callable[[Transfer], Transferrer]


def wire_transferrer(transfer: Transfer) -> Transferrer:
    return WireTransferrer(transfer, connections=8, context=trust(None))


IMPLEMENTATIONS: dict[str, Make] = {"wire": wire_transferrer}


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


@dataclass
class Pair:
    """A source and a destination bucket, and the implementation under test between them."""

    cloud: Cloud
    make: Make
    source: str
    destination: str
    s3: Any = field(repr=False)
    made: Transferrer | None = None

    @property
    def transfer(self) -> Transfer:
        """From `in/` of the one to `out/` of the other."""
        return Transfer(
            Endpoint(bucket=self.source, prefix="in/", endpoint_url=self.cloud.url),
            Endpoint(bucket=self.destination, prefix="out/", endpoint_url=self.cloud.url),
        )

    @property
    def transferrer(self) -> Transferrer:
        """The implementation under test, made once: making clients takes longer than most tests."""
        self.made = self.made or self.make(self.transfer)
        return self.made

    def without(self, side: str) -> Pair:
        """The same with a bucket that does not exist on one side."""
        missing = f"missing-{uuid4().hex}"
        if side == "source":
            return replace(self, source=missing, made=None)
        return replace(self, destination=missing, made=None)

    def empty(self) -> None:
        """Delete all objects."""
        for bucket in (self.source, self.destination):
            for row in self.s3.list_objects_v2(Bucket=bucket).get("Contents", []):
                self.s3.delete_object(Bucket=bucket, Key=row["Key"])

    def put(self, body: bytes, key: str = KEY, **attributes: object) -> ObjectRef:
        """Put a source object; the reference that a listing would give of it."""
        self.s3.put_object(Bucket=self.source, Key=key, Body=body, **attributes)
        return self.ref(key)

    def ref(self, key: str = KEY) -> ObjectRef:
        """The reference that a listing would give of a source object now."""
        answer = self.s3.head_object(Bucket=self.source, Key=key)
        when = int(answer["LastModified"].timestamp())
        return ObjectRef(key, answer["ContentLength"], answer["ETag"].strip('"'), when)

    def put_older(self, body: bytes = b"older", key: str = KEY) -> str:
        """Put a destination object; its ETag."""
        answer = self.s3.put_object(
            Bucket=self.destination, Key=self.transfer.destination_key(key), Body=body
        )
        return str(answer["ETag"]).strip('"')

    def copy(
        self, ref: ObjectRef, *, fenced: bool = True, expect: str = "", cancel: Cancellation | None = None
    ) -> Copied:
        """Copy one object."""
        return self.transferrer.copy(ref, fenced=fenced, expect=expect, cancel=cancel or Event())

    def copied(self, key: str = KEY) -> dict[str, Any]:
        """The destination object, its body read."""
        answer: dict[str, Any] = self.s3.get_object(
            Bucket=self.destination, Key=self.transfer.destination_key(key), ChecksumMode="ENABLED"
        )
        return answer | {"Body": answer["Body"].read()}

    def visible(self) -> list[str]:
        """Keys of the destination."""
        return [row["Key"] for row in self.s3.list_objects_v2(Bucket=self.destination).get("Contents", [])]


def adopt(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    """Give this process a subprocess's environment, as far as boto3 reads it, and forget who it was."""
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    session._session.cache_clear()  # noqa: SLF001 - one process, many identities


@pytest.fixture(params=IMPLEMENTATIONS, scope="module")
def make(request: pytest.FixtureRequest) -> Make:
    """The implementation under test."""
    return IMPLEMENTATIONS[request.param]


def new_pair(cloud: Cloud, make: Make) -> Pair:
    """Two new buckets, and a client that stores no checksum that it is not told to."""
    name = uuid4().hex
    s3 = boto3.client(
        "s3",
        endpoint_url=cloud.url,
        region_name=REGION,
        aws_access_key_id=cloud.keys.access_key_id,
        aws_secret_access_key=cloud.keys.secret_access_key,
        config=Config(
            s3={"addressing_style": "path"}, request_checksum_calculation="when_required", proxies={}
        ),
    )
    source, destination = cloud.bucket(f"source-{name}"), cloud.bucket(f"destination-{name}")
    return Pair(cloud, make, source, destination, s3)


@pytest.fixture(scope="module")
def shared_pair(cloud: Cloud, make: Make) -> Pair:
    """Two buckets for all tests that leave the buckets' settings alone."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        adopt(monkeypatch, cloud.environment())
        pair = new_pair(cloud, make)
        pair.transferrer.look(ObjectRef(KEY, 0, "", 0))
    return pair


@pytest.fixture
def pair(shared_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two empty buckets; no fault is left in force."""
    adopt(monkeypatch, shared_pair.cloud.environment())
    yield shared_pair
    shared_pair.cloud.clear_faults()
    shared_pair.cloud.default_checksums(on=False)
    shared_pair.empty()


@pytest.fixture
def own_pair(cloud: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Two buckets whose settings a test may change."""
    adopt(monkeypatch, cloud.environment())
    return new_pair(cloud, make)


@pytest.fixture(scope="module")
def strict() -> Iterator[Cloud]:
    """An embedded AWS that enforces signatures and policies."""
    with Cloud(auth=True) as running:
        yield running


def two_parts(pair: Pair, first: bytes, second: bytes, **create: object) -> ObjectRef:
    """Put a source object in two parts, with checksums as `create` says."""
    s3, at = pair.s3, {"Bucket": pair.source, "Key": KEY}
    upload = s3.create_multipart_upload(**at, **create)["UploadId"]
    algorithm = create.get("ChecksumAlgorithm")
    parts = []
    for number, body in enumerate((first, second), 1):
        declared = {f"Checksum{algorithm}": checksums.encoded(str(algorithm), body)} if algorithm else {}
        answer = s3.upload_part(**at, UploadId=upload, PartNumber=number, Body=body, **declared)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **declared})
    s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})
    return pair.ref()


# --- bytes and attributes


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 5 * MIB + 1])
def test_bytes_arrive(pair: Pair, size: int) -> None:
    body = Random(SEED).randbytes(size)
    ref = pair.put(body)
    assert pair.copy(ref) == Copied(size, Proof.MD5)
    answer = pair.copied()
    assert answer["Body"] == body
    assert answer["ETag"] == f'"{ref.etag}"'


def test_a_plain_copy_is_one_get_and_one_put(pair: Pair) -> None:
    ref = pair.put(b"x" * 1000)
    pair.cloud.clear_journal()
    pair.copy(ref)
    get, put = pair.cloud.journal()
    assert (get["operation"], get["bucket"], get["key"]) == ("s3:GetObject", pair.source, KEY)
    assert (put["operation"], put["bucket"], put["key"]) == ("s3:PutObject", pair.destination, "out/a key")


def test_odd_keys_are_read_and_written_as_they_are(pair: Pair) -> None:
    transferrer, cancel = pair.transferrer, Event()
    for name, key in KEYS.items():
        whole = f"in/{key}" if not name.startswith("longest") else f"in/{key}".encode()[:1000].decode(
            errors="ignore"
        )  # fmt: skip
        transferrer.copy(pair.put(name.encode(), whole), fenced=True, expect="", cancel=cancel)
        assert pair.copied(whole)["Body"] == name.encode()


def test_many_threads_share_one(pair: Pair) -> None:
    bodies = {f"in/{number}": Random(SEED + number).randbytes(20_000) for number in range(40)}
    refs = [pair.put(body, key) for key, body in bodies.items()]
    transferrer = pair.transferrer
    with ThreadPoolExecutor(16) as pool:
        done = pool.map(lambda ref: transferrer.copy(ref, fenced=True, expect="", cancel=Event()), refs)
        assert list(done) == [Copied(20_000, Proof.MD5)] * len(refs)
    assert {key: pair.copied(key)["Body"] for key in bodies} == bodies


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("ContentType", "text/csv; charset=iso-8859-1"),
        ("ContentType", "application/x-directory"),
        ("CacheControl", "max-age=3600, immutable"),
        ("ContentDisposition", "attachment; filename=\"a 'b' %E2%82%AC;.csv\""),
        ("ContentEncoding", "gzip"),
        ("ContentEncoding", "identity"),
        ("ContentLanguage", "de-CH, fr"),
        ("Expires", datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("WebsiteRedirectLocation", "/other?a=b#c"),
        ("Metadata", {"one": "1", "with-dash_and.dot": "a, b;c=d", "spaces": "a  b", "empty": ""}),
        ("Metadata", {f"name-{number}": "v" * 60 for number in range(25)}),
    ],
)
def test_attributes_arrive(pair: Pair, attribute: str, value: object) -> None:
    pair.copy(pair.put(b"x", KEY, **{attribute: value}))
    source = pair.s3.head_object(Bucket=pair.source, Key=KEY)
    copied = pair.copied()
    assert source[attribute] == value
    assert copied[attribute] == value
    others = {"ContentType", "ContentEncoding", "Metadata"} - {attribute}
    assert {name: copied.get(name) for name in others} == {name: source.get(name) for name in others}


def test_absent_attributes_stay_absent(pair: Pair) -> None:
    pair.copy(pair.put(b"x"))
    copied = pair.copied()
    assert copied["ContentType"] == "binary/octet-stream"
    assert copied["Metadata"] == {}
    absent = {"CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires"}
    assert not (absent | {"TagCount", "WebsiteRedirectLocation"}) & copied.keys()


def test_compressed_bytes_are_not_touched(pair: Pair) -> None:
    body = bytes.fromhex("1f8b08000000000002ff4b040043beb7e801000000")
    pair.copy(pair.put(body, ContentEncoding="gzip", ContentType="text/plain"))
    assert pair.copied()["Body"] == body


def test_tags_arrive_for_one_request_more(pair: Pair) -> None:
    ref = pair.put(b"x", Tagging="a%20b%2B=c%3D%2Bd&e.f_g-h=%2F%3A%40&empty=")
    tagged = pair.s3.get_object_tagging(Bucket=pair.source, Key=KEY)["TagSet"]
    assert {"Key": "a b+", "Value": "c=+d"} in tagged
    pair.cloud.clear_journal()
    pair.copy(ref)
    assert pair.cloud.counts() == {"s3:GetObject": 1, "s3:GetObjectTagging": 1, "s3:PutObject": 1}
    assert pair.s3.get_object_tagging(Bucket=pair.destination, Key="out/a key")["TagSet"] == tagged


def with_header(pair: Pair, name: str, value: str) -> ObjectRef:
    """Put a source object with a header that boto3 would not send."""
    client = pair.cloud.client("s3")

    def spoil(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's
        request.headers[name] = value

    client.meta.events.register("before-sign.s3.PutObject", spoil)
    client.put_object(Bucket=pair.source, Key=KEY, Body=b"x")
    return pair.ref()


def test_an_expires_that_is_no_date_is_not_lost_in_silence(pair: Pair) -> None:
    ref = with_header(pair, "Expires", "in a while")
    with pytest.raises(errors.AttributeLostError, match="in a while"):
        pair.copy(ref)
    assert pair.visible() == []


def test_metadata_outside_ascii_is_carried_or_refused(pair: Pair) -> None:
    ref = with_header(pair, "x-amz-meta-name", "=?UTF-8?Q?caf=C3=A9?=")
    pair.copy(ref)
    assert pair.copied()["Metadata"] == {"name": "=?UTF-8?Q?caf=C3=A9?="}


# --- proof


def test_multipart_etag_with_stored_checksum_is_proven_by_it(pair: Pair) -> None:
    first, second = Random(SEED).randbytes(5 * MIB), b"second"
    ref = two_parts(pair, first, second, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
    assert ref.etag.endswith("-2")
    assert pair.copy(ref) == Copied(5 * MIB + 6, Proof.CHECKSUM)
    copied = pair.copied()
    assert copied["Body"] == first + second
    assert copied["ChecksumCRC64NVME"] == checksums.encoded("CRC64NVME", first + second)


@pytest.mark.parametrize(
    "create",
    [{}, {"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE"}],
    ids=["no-checksum", "composite"],
)
def test_multipart_etag_without_whole_checksum_rests_on_transport(pair: Pair, create: dict[str, str]) -> None:
    first, second = Random(SEED).randbytes(5 * MIB), b"second"
    ref = two_parts(pair, first, second, **create)
    assert pair.copy(ref) == Copied(5 * MIB + 6, Proof.TRANSPORT)
    assert pair.copied()["Body"] == first + second


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_each_stored_checksum_will_do(pair: Pair, algorithm: str) -> None:
    value = checksums.encoded(algorithm, b"some bytes")
    declared = {f"Checksum{algorithm}": value}
    ref = pair.put(b"some bytes", ServerSideEncryption="aws:kms", **declared)
    assert pair.copy(ref) == Copied(10, Proof.CHECKSUM)
    assert pair.copied()[f"Checksum{algorithm}"] == value


@pytest.mark.parametrize(("stored", "proof"), [(False, Proof.TRANSPORT), (True, Proof.CHECKSUM)])
def test_an_etag_under_kms_is_no_digest(pair: Pair, *, stored: bool, proof: Proof) -> None:
    pair.cloud.default_checksums(on=stored)
    ref = pair.put(b"secret", ServerSideEncryption="aws:kms")
    assert len(ref.etag) == 32
    assert ref.etag != hashlib.md5(b"secret", usedforsecurity=False).hexdigest()
    assert pair.copy(ref) == Copied(6, proof)
    assert pair.copied()["Body"] == b"secret"


def test_a_bucket_that_encrypts_with_kms_is_written_with_the_proof(own_pair: Pair) -> None:
    pair = own_pair
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    pair.s3.put_bucket_encryption(
        Bucket=pair.destination, ServerSideEncryptionConfiguration={"Rules": [rule]}
    )
    assert pair.copy(pair.put(b"secret")) == Copied(6, Proof.MD5)
    assert pair.copied()["ETag"] != f'"{pair.ref().etag}"'


@pytest.mark.parametrize("size", [1, 1000, 3 * MIB])
def test_a_wrong_byte_is_refused_and_nothing_is_visible(pair: Pair, size: int) -> None:
    ref = pair.put(Random(SEED).randbytes(size))
    pair.cloud.fault("s3:GetObject", "flip", bucket=pair.source, key=KEY)
    with pytest.raises(errors.ProofRefusedError, match="out/a key"):
        pair.copy(ref)
    assert pair.visible() == []
    assert pair.copy(ref) == Copied(size, Proof.MD5)


@pytest.mark.parametrize("proof", [Proof.MD5, Proof.CHECKSUM])
@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_a_wrong_byte_is_the_destinations_to_refuse(pair: Pair, algorithm: str, proof: Proof) -> None:
    """Also where the source stores a checksum: hashing here would cost what S3 does anyway."""
    encryption = {"ServerSideEncryption": "aws:kms"} if proof is Proof.CHECKSUM else {}
    body = Random(SEED).randbytes(100_000)
    ref = pair.put(body, **{f"Checksum{algorithm}": checksums.encoded(algorithm, body)}, **encryption)
    pair.cloud.fault("s3:GetObject", "flip", bucket=pair.source, key=KEY)
    with pytest.raises(errors.ProofRefusedError, match="out/a key"):
        pair.copy(ref)
    assert pair.visible() == []
    assert pair.copy(ref) == Copied(100_000, proof)


def test_a_wrong_byte_leaves_the_older_object(pair: Pair) -> None:
    older, ref = pair.put_older(), pair.put(b"newer")
    pair.cloud.fault("s3:GetObject", "flip", bucket=pair.source)
    with pytest.raises(errors.ProofRefusedError):
        pair.copy(ref, expect=older)
    assert pair.copied()["Body"] == b"older"


# --- conditions


def test_absent_is_written(pair: Pair) -> None:
    pair.copy(pair.put(b"newer"), expect="")
    assert pair.copied()["Body"] == b"newer"


def test_present_is_not_absent(pair: Pair) -> None:
    pair.put_older()
    ref = pair.put(b"newer")
    with pytest.raises(errors.DestinationChangedError, match="out/a key"):
        pair.copy(ref, expect="")
    assert pair.copied()["Body"] == b"older"


def test_present_as_expected_is_overwritten(pair: Pair) -> None:
    older = pair.put_older()
    pair.copy(pair.put(b"newer"), expect=older)
    assert pair.copied()["Body"] == b"newer"


@pytest.mark.parametrize("size", [5, 3 * MIB])
def test_present_otherwise_is_left_alone(pair: Pair, size: int) -> None:
    pair.put_older()
    ref = pair.put(b"n" * size)
    with pytest.raises(errors.DestinationChangedError):
        pair.copy(ref, expect="0" * 32)
    assert pair.copied()["Body"] == b"older"


def test_gone_from_the_destination_is_a_change_of_it(pair: Pair) -> None:
    ref = pair.put(b"newer")
    with pytest.raises(errors.DestinationChangedError):
        pair.copy(ref, expect="0" * 32)
    assert pair.visible() == []


def test_fenced_stops_at_another_version(pair: Pair) -> None:
    stale = pair.put(b"listed")
    pair.put(b"overwritten")
    with pytest.raises(errors.SourceChangedError, match=KEY):
        pair.copy(stale, fenced=True)
    assert pair.visible() == []


def test_unfenced_takes_what_is_there(pair: Pair) -> None:
    stale = pair.put(b"listed")
    pair.put(b"overwritten", ContentType="text/plain")
    assert pair.copy(stale, fenced=False) == Copied(11, Proof.MD5)
    assert pair.copied()["Body"] == b"overwritten"
    assert pair.copied()["ContentType"] == "text/plain"


def versioned(pair: Pair) -> ObjectRef:
    """A reference to the first of two versions."""
    pair.s3.put_bucket_versioning(Bucket=pair.source, VersioningConfiguration={"Status": "Enabled"})
    ref = pair.put(b"first", Tagging="version=1")
    version = pair.s3.head_object(Bucket=pair.source, Key=KEY)["VersionId"]
    pair.put(b"second", Tagging="version=2")
    return msgspec.structs.replace(ref, version_id=version)


@pytest.mark.parametrize(("fenced", "body"), [(True, b"first"), (False, b"second")])
def test_a_version_is_copied_when_fenced(own_pair: Pair, *, fenced: bool, body: bytes) -> None:
    pair = own_pair
    pair.copy(versioned(pair), fenced=fenced)
    assert pair.copied()["Body"] == body
    tags = pair.s3.get_object_tagging(Bucket=pair.destination, Key="out/a key")["TagSet"]
    assert tags == [{"Key": "version", "Value": "1" if fenced else "2"}]


@pytest.mark.parametrize("fenced", [True, False])
def test_gone(pair: Pair, *, fenced: bool) -> None:
    ref = pair.put(b"x")
    pair.s3.delete_object(Bucket=pair.source, Key=KEY)
    with pytest.raises(errors.ObjectGoneError, match=KEY):
        pair.copy(ref, fenced=fenced)
    assert pair.visible() == []


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived(pair: Pair, storage_class: str) -> None:
    ref = pair.put(b"x", StorageClass=storage_class)
    with pytest.raises(errors.ObjectArchivedError, match=KEY):
        pair.copy(ref)
    assert pair.visible() == []


# --- faults on the way


@pytest.mark.parametrize("size", [2, 1000, 3 * MIB])
def test_a_body_cut_short_is_never_published(pair: Pair, size: int) -> None:
    ref = pair.put(b"x" * size)
    pair.cloud.fault("s3:GetObject", "truncate", bucket=pair.source)
    with pytest.raises(errors.ServiceUnavailableError, match=KEY):
        pair.copy(ref)
    assert pair.visible() == []
    assert pair.copy(ref).bytes == size


@pytest.mark.parametrize("operation", ["s3:GetObject", "s3:PutObject"])
def test_a_reset_is_worth_another_try(pair: Pair, operation: str) -> None:
    ref = pair.put(b"x" * 100_000)
    pair.cloud.fault(operation, "reset", times=None)
    with pytest.raises(errors.ServiceUnavailableError, match="a key") as raised:
        pair.copy(ref)
    assert not raised.value.blames_endpoint
    assert pair.visible() == []
    pair.cloud.clear_faults()
    assert pair.copy(ref).bytes == 100_000


def test_a_lost_answer_is_worth_another_try_which_finds_the_object(pair: Pair) -> None:
    ref = pair.put(b"x")
    pair.cloud.fault("s3:PutObject", "lose", bucket=pair.destination, times=None)
    with pytest.raises(errors.ServiceUnavailableError):
        pair.copy(ref)
    pair.cloud.clear_faults()
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
        (409, "ConditionalRequestConflict", errors.ServiceUnavailableError),
        (409, "OperationAborted", errors.ServiceUnavailableError),
        (429, "SlowDown", errors.ServiceUnavailableError),
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
def test_each_answer_has_its_error(
    pair: Pair, operation: str, status: int, code: str, kind: type[errors.FleetcopyError]
) -> None:
    ref = pair.put(b"x")
    pair.cloud.fault(operation, "error", status=status, code=code, times=None)
    with pytest.raises(kind) as raised:
        pair.copy(ref)
    text = str(raised.value)
    side = "source" if operation == "s3:GetObject" else "destination"
    assert code in text
    assert side in text
    assert ("in/a key" if side == "source" else "out/a key") in text
    assert pair.cloud.keys.secret_access_key not in text
    if isinstance(raised.value, errors.ObjectDeniedError):
        assert raised.value.side == side
    assert pair.visible() == []


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_missing_bucket_blames_the_endpoint(pair: Pair, side: str) -> None:
    ref = pair.put(b"x")
    with pytest.raises(errors.ConfigurationError, match=f"{side}.*missing-.*NoSuchBucket") as raised:
        pair.without(side).copy(ref)
    assert raised.value.blames_endpoint


@pytest.mark.parametrize("side", ["source", "destination"])
def test_nobody_listens(pair: Pair, side: str) -> None:
    ref = pair.put(b"x")
    with socket.socket() as unused:
        # Bound and not listening: nobody else can take the port meanwhile.
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        ends = {"source": pair.transfer.source, "destination": pair.transfer.destination}
        ends[side] = msgspec.structs.replace(ends[side], endpoint_url=url)
        transferrer = pair.make(Transfer(**ends))
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
    pair = new_pair(strict, make)
    ref = pair.put(b"x")
    keys = Keys(wrong.access_key_id or strict.keys.access_key_id, wrong.secret_access_key)
    adopt(monkeypatch, strict.environment(keys))
    with pytest.raises(errors.ConfigurationError, match=KEY) as raised:
        pair.copy(ref)
    assert raised.value.blames_endpoint
    assert keys.secret_access_key not in str(raised.value)
    assert strict.keys.secret_access_key not in str(raised.value)
    assert pair.visible() == []


def test_no_credentials_at_all(own_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = own_pair.put(b"x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    session._session.cache_clear()  # noqa: SLF001
    with pytest.raises(errors.ConfigurationError, match="credentials"):
        own_pair.copy(ref)


@pytest.mark.parametrize(
    ("side", "action", "denied"),
    [("source", "s3:GetObject", KEY), ("destination", "s3:PutObject", "out/a key")],
)
def test_a_denied_key_is_denied_alone(  # noqa: PLR0917 - the columns of the table
    strict: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch, side: str, action: str, denied: str
) -> None:
    pair = new_pair(strict, make)
    bucket = pair.source if side == "source" else pair.destination
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
    pair = new_pair(strict, make)
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:GetObjectTagging", "Resource": "*"},
    ]
    ref = pair.put(b"x", Tagging="a=b")
    adopt(monkeypatch, strict.environment(strict.user(f"user-{uuid4().hex}", {"Statement": statements})))
    with pytest.raises(errors.ObjectDeniedError, match="tags"):
        pair.copy(ref)
    assert pair.visible() == []


# --- cancellation and memory


@pytest.mark.parametrize("size", [0, 1, MIB])
def test_cancelled_before(pair: Pair, size: int) -> None:
    ref, cancel = pair.put(b"x" * size), Event()
    cancel.set()
    with pytest.raises(errors.InterruptedTransferError, match=KEY):
        pair.copy(ref, cancel=cancel)
    assert pair.visible() == []


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


MEMORY = """
import resource, sys
from threading import Event
import tests.test_transferrer as suite
from worker.core.model import ObjectRef, Transfer, Endpoint
name, source, destination, url, small, small_etag, large, large_etag, size = sys.argv[1:]
transferrer = suite.IMPLEMENTATIONS[name](
    Transfer(Endpoint(bucket=source, prefix="in/", endpoint_url=url),
             Endpoint(bucket=destination, prefix="out/", endpoint_url=url)))
def copy(key, etag, size):
    transferrer.copy(ObjectRef(key, size, etag, 0), fenced=True, expect="", cancel=Event())
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
copy(small, small_etag, 1000)
before = peak()
copy(large, large_etag, int(size))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_memory_does_not_grow_with_the_object(pair: Pair, name: str) -> None:
    size = 256 * MIB
    small, large = pair.put(b"x" * 1000, "in/small"), pair.put(bytes(size), "in/large")
    arguments = [name, pair.source, pair.destination, pair.cloud.url, small.key, small.etag]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments, large.key, large.etag, str(size)],
        env=pair.cloud.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kib = int(done.stdout)
    print(f"peak grew by {kib} KiB")
    assert kib < 64 * 1024
    head = pair.s3.head_object(Bucket=pair.destination, Key="out/large")
    assert (head["ContentLength"], head["ETag"]) == (size, f'"{large.etag}"')
    for bucket, key in ((pair.source, "in/large"), (pair.destination, "out/large")):
        pair.s3.delete_object(Bucket=bucket, Key=key)


# --- look


def crc(body: bytes) -> str:
    return checksums.encoded("CRC64NVME", body)


def test_look_sees_both_sides(pair: Pair) -> None:
    ref, older = pair.put(b"newer!"), pair.put_older()
    source, destination = pair.transferrer.look(ref)
    assert (source, destination) == (Seen(6, ref.etag), Seen(5, older))


def test_look_sees_absence_on_either_side(pair: Pair) -> None:
    transferrer, ref = pair.transferrer, ObjectRef(KEY, 1, "e" * 32, 0)
    assert transferrer.look(ref) == (None, None)
    here = pair.put(b"x")
    assert transferrer.look(ref) == (Seen(1, here.etag), None)
    pair.s3.delete_object(Bucket=pair.source, Key=KEY)
    there = pair.put_older()
    assert transferrer.look(ref) == (None, Seen(5, there))


def test_look_sees_stored_checksums_of_the_whole(pair: Pair) -> None:
    ref = pair.put(b"abc", ChecksumCRC64NVME=crc(b"abc"))
    source, _ = pair.transferrer.look(ref)
    assert source == Seen(3, ref.etag, checksums={"CRC64NVME": crc(b"abc")})
    body = Random(SEED).randbytes(5 * MIB)
    whole = two_parts(pair, body, b"b", ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
    source, _ = pair.transferrer.look(whole)
    assert source == Seen(5 * MIB + 1, whole.etag, checksums={"CRC64NVME": crc(body + b"b")})
    parts = two_parts(pair, body, b"b", ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    source, _ = pair.transferrer.look(parts)
    assert source == Seen(5 * MIB + 1, parts.etag)


def test_look_knows_that_kms_has_no_digest(pair: Pair) -> None:
    ref = pair.put(b"abc", ServerSideEncryption="aws:kms")
    source, _ = pair.transferrer.look(ref)
    assert source == Seen(3, ref.etag, digest=False)


def test_look_sees_archived_objects(pair: Pair) -> None:
    ref = pair.put(b"abc", StorageClass="GLACIER")
    assert pair.transferrer.look(ref) == (Seen(3, ref.etag), None)


@pytest.mark.parametrize("side", ["source", "destination"])
def test_looking_into_a_missing_bucket_is_not_absence(pair: Pair, side: str) -> None:
    """HEAD's answers have no code: a 404 may be the bucket's."""
    ref = pair.put(b"x")
    with pytest.raises(errors.FleetcopyError):
        pair.without(side).transferrer.look(ref)


def test_the_server_refuses_as_this_suite_assumes(pair: Pair) -> None:
    wrong = base64.b64encode(bytes(16)).decode()
    with pytest.raises(ClientError, match="BadDigest"):
        pair.s3.put_object(Bucket=pair.destination, Key="k", Body=b"x", ContentMD5=wrong)
