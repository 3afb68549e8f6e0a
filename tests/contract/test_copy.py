"""What a copy carries, proves and leaves alone, on every server."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from threading import Event
from uuid import uuid4

import msgspec
import pytest
from botocore.exceptions import ClientError

from tests.cloud import checksums
from tests.contract import KEY, MIB, SEED, CancelAfter, Pair, Place, needs
from tests.servers import Can
from worker.aws.s3 import Bucket
from worker.core import errors
from worker.core.compare import Seen
from worker.core.model import Kind, ObjectRef, Outcome, Proof
from worker.core.transferrer import Copied
from worker.flow.copy import copy_object

# --- bytes and attributes


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 5 * MIB + 1])
def test_bytes_arrive(pair: Pair, size: int) -> None:
    body = Random(SEED).randbytes(size)
    ref = pair.put(body)
    assert pair.copy(ref) == Copied(size, Proof.MD5)
    answer = pair.copied()
    assert answer["Body"] == body
    assert answer["ETag"] == f'"{ref.etag}"'


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
        ("Metadata", {"one": "1", "with-dash-and.dot": "a, b;c=d", "spaces": "a  b", "empty": ""}),
        ("Metadata", {f"name-{number}": "v" * 60 for number in range(25)}),
    ],
)
def test_attributes_arrive(pair: Pair, attribute: str, value: object) -> None:
    pair.copy(pair.put(b"x", KEY, **{attribute: value}))
    source = pair.source.s3.head_object(Bucket=pair.source.bucket, Key=KEY)
    copied = pair.copied()
    assert source[attribute] == value
    assert copied[attribute] == value
    others = {"ContentType", "ContentEncoding", "Metadata"} - {attribute}
    assert {name: copied.get(name) for name in others} == {name: source.get(name) for name in others}


@needs(Can.NAMES)
def test_names_of_metadata_arrive(pair: Pair) -> None:
    pair.copy(pair.put(b"x", Metadata={"with_line": "1", "with-dash": "2"}))
    assert pair.copied()["Metadata"] == {"with_line": "1", "with-dash": "2"}


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


def tags(place: Place, key: str) -> list[dict[str, str]]:
    """An object's tags, in the order of their names: servers sort them as they like."""
    answer = place.s3.get_object_tagging(Bucket=place.bucket, Key=key)["TagSet"]
    return sorted(answer, key=lambda tag: str(tag["Key"]))


def test_tags_arrive(pair: Pair) -> None:
    pair.copy(pair.put(b"x", Tagging="a%20b%2B=c%3D%2Bd&e.f_g-h=%2F%3A%40&empty="))
    tagged = [("a b+", "c=+d"), ("e.f_g-h", "/:@"), ("empty", "")]
    expected = [{"Key": key, "Value": value} for key, value in tagged]
    assert tags(pair.source, KEY) == expected
    assert tags(pair.destination, "out/a key") == expected


# --- proof


@needs(Can.CHECKSUMS)
def test_multipart_etag_with_stored_checksum_is_proven_by_it(pair: Pair) -> None:
    first, second = Random(SEED).randbytes(5 * MIB), b"second"
    ref = pair.two_parts(first, second, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
    assert ref.etag.endswith("-2")
    assert pair.copy(ref) == Copied(5 * MIB + 6, Proof.CHECKSUM)
    copied = pair.copied()
    assert copied["Body"] == first + second
    assert copied["ChecksumCRC64NVME"] == checksums.encoded("CRC64NVME", first + second)


@needs(Can.CHECKSUMS)
def test_a_checksum_of_checksums_proves_nothing(pair: Pair) -> None:
    first, second = Random(SEED).randbytes(5 * MIB), b"second"
    ref = pair.two_parts(first, second, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    assert pair.copy(ref) == Copied(5 * MIB + 6, Proof.TRANSPORT)
    assert pair.copied()["Body"] == first + second


def test_multipart_etag_without_checksum_rests_on_transport(pair: Pair) -> None:
    first, second = Random(SEED).randbytes(5 * MIB), b"second"
    ref = pair.two_parts(first, second)
    assert pair.copy(ref).bytes == 5 * MIB + 6
    assert pair.copied()["Body"] == first + second


@needs(Can.CHECKSUMS, Can.ENCRYPTION)
@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_each_stored_checksum_will_do(pair: Pair, algorithm: str) -> None:
    value = checksums.encoded(algorithm, b"some bytes")
    declared = {f"Checksum{algorithm}": value}
    ref = pair.put(b"some bytes", ServerSideEncryption="aws:kms", **declared)
    assert pair.copy(ref) == Copied(10, Proof.CHECKSUM)
    assert pair.copied()[f"Checksum{algorithm}"] == value


@needs(Can.OPAQUE)
def test_an_etag_under_kms_is_no_digest(pair: Pair) -> None:
    ref = pair.put(b"secret", ServerSideEncryption="aws:kms")
    assert len(ref.etag) == 32
    assert ref.etag != hashlib.md5(b"secret", usedforsecurity=False).hexdigest()
    assert pair.copy(ref) == Copied(6, Proof.TRANSPORT)
    assert pair.copied()["Body"] == b"secret"


@needs(Can.ENCRYPTION)
def test_a_bucket_that_encrypts_with_kms_is_written_with_the_proof(own_pair: Pair) -> None:
    pair = own_pair
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    pair.destination.s3.put_bucket_encryption(
        Bucket=pair.destination.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}
    )
    assert pair.copy(pair.put(b"secret")) == Copied(6, Proof.MD5)
    assert pair.copied()["ServerSideEncryption"] == "aws:kms"


# --- conditions


def test_present_is_not_overwritten_when_absence_was_expected(pair: Pair) -> None:
    pair.put_older()
    with pytest.raises(errors.DestinationChangedError, match="out/a key"):
        pair.copy(pair.put(b"newer"), expect="")
    assert pair.copied()["Body"] == b"older"


@needs(Can.REPLACE)
def test_what_was_expected_is_replaced(pair: Pair) -> None:
    older = pair.put_older()
    pair.copy(pair.put(b"newer"), expect=older)
    assert pair.copied()["Body"] == b"newer"


def test_another_than_was_expected_is_left_alone(pair: Pair) -> None:
    pair.put_older()
    with pytest.raises(errors.DestinationChangedError):
        pair.copy(pair.put(b"newer"), expect="0" * 32)
    assert pair.copied()["Body"] == b"older"


def test_gone_from_the_destination_is_a_change_of_it(pair: Pair) -> None:
    ref = pair.put(b"newer")
    with pytest.raises(errors.DestinationChangedError):
        pair.copy(ref, expect="0" * 32)
    assert pair.visible() == []


class Stall:
    """A cancellation that never comes, and holds up whoever asks for it once the source has answered."""

    def __init__(self) -> None:
        self.reached, self.go_on = Event(), Event()
        self._asked = 0

    def is_set(self) -> bool:
        """Asked before the copy, when the GET is sent, and when its answer comes; later ones pass."""
        self._asked += 1
        if self._asked == 3:
            self.reached.set()
            assert self.go_on.wait(20)
        return False

    def wait(self, timeout: float) -> bool:
        """Never."""
        del timeout
        return False


def test_a_stale_writer_is_refused(pair: Pair) -> None:
    """A has read version 1 and stalls; B copies version 2; then A writes."""
    pair.copy(pair.put(b"any", "in/another"))  # its connections are kept, and making them asks nothing more
    first, stall = pair.put(b"version 1"), Stall()
    with ThreadPoolExecutor(1) as pool:
        a = pool.submit(pair.copy, first, cancel=stall)
        assert stall.reached.wait(20)
        assert pair.visible() == ["out/another"]
        assert pair.copy(pair.put(b"version 2")) == Copied(9, Proof.MD5)
        stall.go_on.set()
        with pytest.raises(errors.DestinationChangedError):
            a.result(20)
    assert pair.copied()["Body"] == b"version 2"


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


def test_overwritten_since_the_plan_is_copied_whole_as_it_is_now(pair: Pair) -> None:
    planned = msgspec.structs.replace(pair.put(b"listed"), destination_etag="")
    pair.put(b"overwritten", ContentType="text/plain")
    outcome = copy_object(pair.transferrer, planned, Event(), Random(SEED))
    assert outcome == Outcome(Kind.COPIED, 11, Proof.MD5)
    assert (pair.copied()["Body"], pair.copied()["ContentType"]) == (b"overwritten", "text/plain")


def versioned(pair: Pair) -> ObjectRef:
    """A reference to the first of two versions."""
    at = pair.source
    at.s3.put_bucket_versioning(Bucket=at.bucket, VersioningConfiguration={"Status": "Enabled"})
    ref = pair.put(b"first", Tagging="version=1")
    version = at.s3.head_object(Bucket=at.bucket, Key=KEY)["VersionId"]
    pair.put(b"second", Tagging="version=2")
    return msgspec.structs.replace(ref, version_id=version)


def test_a_version_is_copied_when_fenced(own_pair: Pair) -> None:
    own_pair.copy(versioned(own_pair), fenced=True)
    assert own_pair.copied()["Body"] == b"first"
    assert tags(own_pair.destination, "out/a key") == [{"Key": "version", "Value": "1"}]


@needs(Can.COUNT)
def test_the_newest_version_is_copied_when_not(own_pair: Pair) -> None:
    own_pair.copy(versioned(own_pair), fenced=False)
    assert own_pair.copied()["Body"] == b"second"
    assert tags(own_pair.destination, "out/a key") == [{"Key": "version", "Value": "2"}]


# --- what cannot be copied


@pytest.mark.parametrize("fenced", [True, False])
def test_gone(pair: Pair, *, fenced: bool) -> None:
    ref = pair.put(b"x")
    pair.source.s3.delete_object(Bucket=pair.source.bucket, Key=KEY)
    with pytest.raises(errors.ObjectGoneError, match=KEY):
        pair.copy(ref, fenced=fenced)
    assert pair.visible() == []


@needs(Can.ARCHIVE)
@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived(pair: Pair, storage_class: str) -> None:
    ref = pair.put(b"x", StorageClass=storage_class)
    with pytest.raises(errors.ObjectArchivedError, match=KEY):
        pair.copy(ref)
    assert pair.visible() == []


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_missing_bucket_blames_the_endpoint(pair: Pair, side: str) -> None:
    ref = pair.put(b"x")
    nowhere = replace(getattr(pair, side), bucket=f"missing-{uuid4().hex}")
    broken = replace(pair, **{side: nowhere}, made=None)
    with pytest.raises(errors.ConfigurationError, match=f"{side}.*missing-.*NoSuchBucket") as raised:
        broken.copy(ref)
    assert raised.value.blames_endpoint
    with pytest.raises(errors.FleetcopyError):
        broken.transferrer.look(ref)


@pytest.mark.parametrize("size", [0, 1, MIB])
def test_cancelled_before(pair: Pair, size: int) -> None:
    ref, cancel = pair.put(b"x" * size), Event()
    cancel.set()
    with pytest.raises(errors.InterruptedTransferError, match=KEY):
        pair.copy(ref, cancel=cancel)
    assert pair.visible() == []


@pytest.mark.parametrize("more", [1, 2, 10])
def test_cancelled_in_the_middle(pair: Pair, more: int) -> None:
    ref, cancel = pair.put(b"x" * 5 * MIB), CancelAfter(more)
    with pytest.raises(errors.InterruptedTransferError, match="/a key"):
        pair.copy(ref, cancel=cancel)
    assert pair.visible() == []
    # The connections that were given up are not used for what follows.
    assert pair.copy(ref).bytes == 5 * MIB


# --- look


def sizes_and_etags(pair: Pair, ref: ObjectRef) -> tuple[tuple[int, str] | None, ...]:
    """What a look sees but for checksums, which some servers keep unasked."""
    return tuple((seen.size, seen.etag) if seen else None for seen in pair.transferrer.look(ref))


def test_look_sees_both_sides(pair: Pair) -> None:
    ref, older = pair.put(b"newer!"), pair.put_older()
    assert sizes_and_etags(pair, ref) == ((6, ref.etag), (5, older))


def test_look_sees_absence_on_either_side(pair: Pair) -> None:
    ref = ObjectRef(KEY, 1, "e" * 32, 0)
    assert sizes_and_etags(pair, ref) == (None, None)
    here = pair.put(b"x")
    assert sizes_and_etags(pair, ref) == ((1, here.etag), None)
    pair.source.s3.delete_object(Bucket=pair.source.bucket, Key=KEY)
    there = pair.put_older()
    assert sizes_and_etags(pair, ref) == (None, (5, there))


@needs(Can.CHECKSUMS)
def test_look_sees_stored_checksums_of_the_whole(pair: Pair) -> None:
    def crc(body: bytes) -> dict[str, str]:
        return {"CRC64NVME": checksums.encoded("CRC64NVME", body)}

    ref = pair.put(b"abc", ChecksumCRC64NVME=crc(b"abc")["CRC64NVME"])
    assert pair.transferrer.look(ref)[0] == Seen(3, ref.etag, checksums=crc(b"abc"))
    body = Random(SEED).randbytes(5 * MIB)
    whole = pair.two_parts(body, b"b", ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
    assert pair.transferrer.look(whole)[0] == Seen(5 * MIB + 1, whole.etag, checksums=crc(body + b"b"))
    parts = pair.two_parts(body, b"b", ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    assert pair.transferrer.look(parts)[0] == Seen(5 * MIB + 1, parts.etag)


@needs(Can.ENCRYPTION)
def test_look_knows_that_kms_has_no_digest(pair: Pair) -> None:
    source, _ = pair.transferrer.look(pair.put(b"abc", ServerSideEncryption="aws:kms"))
    assert source is not None
    assert not source.digest


def test_a_bucket_without_kms_has_digests_for_etags(pair: Pair) -> None:
    endpoint = pair.transfer.destination
    assert Bucket(endpoint, "destination").has_digest_etags()


# --- whose word the proof is


def test_the_server_refuses_as_this_suite_assumes(pair: Pair) -> None:
    with pytest.raises(ClientError, match="BadDigest"):
        pair.destination.s3.put_object(
            Bucket=pair.destination.bucket, Key="k", Body=b"x", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA=="
        )
