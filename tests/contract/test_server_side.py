"""Copies within S3: what they cost, what fences them, and what becomes of what S3 refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Event
from uuid import uuid4

import msgspec
import pytest

from tests.cloud import Cloud
from tests.contract import KEY, SEED, STREAMED, Make, Pair, adopt, needs, new_place
from tests.keys import KEYS, fitted
from tests.servers import Can, Server, embedded
from worker.core import errors
from worker.core.model import Kind, ObjectRef, Outcome, Proof
from worker.core.options import Options
from worker.core.transferrer import Copied
from worker.flow.copy import copy_object

AUTO, WITHIN = Options(), Options(strategy="server-side")
# Whether conditions are heeded is found out by the first copy to what is not AWS.
FOUND_OUT = 2
ASKED_ONCE = {"s3:GetBucketWebsite": 1, "s3:GetObjectLockConfiguration": 1}


def pair_of(cloud: Cloud, make: Make, options: Options) -> Pair:
    """Two buckets, and a transferrer between them that does as it is told."""
    return Pair(new_place(embedded(cloud)), new_place(embedded(cloud)), make, options)


@pytest.fixture
def pair(cloud: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two buckets between which S3 copies, or nobody."""
    adopt(monkeypatch, cloud.environment())
    yield pair_of(cloud, make, WITHIN)
    cloud.clear_faults()


@pytest.fixture
def auto(cloud: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two buckets between which S3 copies, or the worker."""
    adopt(monkeypatch, cloud.environment())
    yield pair_of(cloud, make, AUTO)
    cloud.clear_faults()


@pytest.fixture(scope="module")
def strict() -> Iterator[Cloud]:
    """An embedded AWS that enforces policies."""
    with Cloud(auth=True) as running:
        yield running


def refs(pair: Pair, number: int) -> list[ObjectRef]:
    return [pair.put(b"x" * (1 + one), f"in/{one:03}") for one in range(number)]


# --- requests


def test_a_small_object_costs_one_request(pair: Pair, cloud: Cloud) -> None:
    some = refs(pair, 30)
    cloud.clear_journal()
    assert [pair.copy(ref) for ref in some] == [Copied(ref.size, Proof.SERVER_SIDE) for ref in some]
    assert cloud.counts() == {"s3:CopyObject": FOUND_OUT + 30} | ASKED_ONCE
    assert {row["bucket"] for row in cloud.journal() if row["operation"] == "s3:CopyObject"} == {
        pair.destination.bucket
    }


def test_what_only_a_head_shows_costs_a_head(pair: Pair, cloud: Cloud) -> None:
    empty = pair.put(b"", WebsiteRedirectLocation="/elsewhere")
    cloud.clear_journal()
    pair.copy(empty)
    assert cloud.counts() == {"s3:HeadObject": 1, "s3:CopyObject": FOUND_OUT + 1}
    assert pair.copied()["WebsiteRedirectLocation"] == "/elsewhere"


@pytest.mark.parametrize("asked", ["s3:GetBucketWebsite", "s3:GetObjectLockConfiguration"])
@pytest.mark.parametrize(("status", "code", "heads"), [(403, "AccessDenied", 3), (501, "NotImplemented", 0)])
def test_who_may_not_ask_looks(  # noqa: PLR0917 - the columns of the table
    pair: Pair, cloud: Cloud, asked: str, status: int, code: str, heads: int
) -> None:
    some = refs(pair, 3)
    cloud.fault(asked, "error", status=status, code=code, times=None)
    cloud.clear_journal()
    for ref in some:
        pair.copy(ref)
    assert cloud.counts().get("s3:HeadObject", 0) == heads


def test_locks_that_are_left_behind_are_not_asked_for(cloud: Cloud, pair: Pair) -> None:
    pair.options = Options(strategy="server-side", object_lock="ignore")
    ref = pair.put(b"x")
    cloud.clear_journal()
    pair.copy(ref)
    assert cloud.counts() == {"s3:GetBucketWebsite": 1, "s3:CopyObject": FOUND_OUT + 1}


# --- fences and conditions, on every server that copies


@pytest.fixture
def within(server: Server, make: Make, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Two buckets of any server, between which it copies."""
    adopt(monkeypatch, server.environment())
    return Pair(new_place(server), new_place(server), make, WITHIN)


@needs(Can.SERVER_SIDE)
def test_bytes_and_etag_are_the_same(within: Pair) -> None:
    ref = within.put(b"some bytes")
    assert within.copy(ref) == Copied(10, Proof.SERVER_SIDE)
    copied = within.copied()
    assert (copied["Body"], copied["ETag"]) == (b"some bytes", f'"{ref.etag}"')


@needs(Can.SERVER_SIDE)
def test_a_source_that_has_changed_is_not_copied(within: Pair) -> None:
    old = within.put(b"old")
    new = within.put(b"newer")
    with pytest.raises((errors.SourceChangedError, errors.DestinationChangedError)):
        within.copy(old)
    assert within.visible() == []
    assert within.copy(old, fenced=False) == Copied(5, Proof.SERVER_SIDE)
    assert within.copied()["ETag"] == f'"{new.etag}"'


@needs(Can.SERVER_SIDE, Can.REPLACE, Can.WHOLE)
def test_the_destination_must_be_as_expected(within: Pair) -> None:
    ref = within.put(b"newer")
    with pytest.raises(errors.DestinationChangedError):
        within.copy(ref, expect="0" * 32)
    older = within.put_older()
    with pytest.raises(errors.DestinationChangedError):
        within.copy(ref)
    with pytest.raises(errors.DestinationChangedError):
        within.copy(ref, expect="0" * 32)
    assert within.copied()["Body"] == b"older"
    within.copy(ref, expect=older)
    assert within.copied()["Body"] == b"newer"


def test_it_is_known_which_side_has_changed(pair: Pair) -> None:
    old = pair.put(b"old")
    pair.put(b"newer")
    with pytest.raises(errors.SourceChangedError, match="out/a key"):
        pair.copy(old)


def test_the_listed_version_is_copied_though_there_is_a_newer_one(pair: Pair) -> None:
    pair.source.s3.put_bucket_versioning(
        Bucket=pair.source.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    ref = pair.put(b"old", CacheControl="old")
    version = pair.source.s3.head_object(Bucket=pair.source.bucket, Key=KEY)["VersionId"]
    pair.put(b"newer", CacheControl="new")
    pair.copy(msgspec.structs.replace(ref, version_id=version))
    assert (pair.copied()["Body"], pair.copied()["CacheControl"]) == (b"old", "old")


def test_a_source_that_is_gone_is_an_outcome(pair: Pair) -> None:
    ref = msgspec.structs.replace(pair.put(b"x"), destination_etag="")
    pair.source.empty()
    assert copy_object(pair.transferrer, ref, Event(), Random(SEED)) == Outcome(Kind.GONE)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_odd_keys_are_spelt_as_s3_reads_them(odd: Pair, key: str) -> None:
    # The destination's prefix is longer by one byte.
    fit = fitted(key, "out/").replace("out/", "in/", 1)
    assert odd.copy(odd.put(b"odd", fit)) == Copied(3, Proof.SERVER_SIDE)
    assert odd.copied(fit)["Body"] == b"odd"


@pytest.fixture(scope="module")
def odd_pair(cloud: Cloud, make: Make) -> Pair:
    """One pair for all keys."""
    return pair_of(cloud, make, WITHIN)


@pytest.fixture
def odd(odd_pair: Pair, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """The same, with its credentials at hand."""
    adopt(monkeypatch, cloud.environment())
    return odd_pair


# --- failures


def test_a_failure_after_200_is_a_failure(pair: Pair, cloud: Cloud) -> None:
    ref = pair.put(b"x")
    cloud.fault("s3:CopyObject", "error", status=200, code="InternalError")
    with pytest.raises(errors.ServiceUnavailableError, match=r"copy within S3 to .*InternalError"):
        pair.copy(ref)
    assert pair.visible() == []
    assert pair.copy(ref).proof is Proof.SERVER_SIDE


def test_a_lost_answer_finds_the_copy(pair: Pair, cloud: Cloud) -> None:
    ref = msgspec.structs.replace(pair.put(b"x"), destination_etag="")
    pair.copy(pair.put(b"y", "in/before"))
    cloud.fault("s3:CopyObject", "lose")
    assert copy_object(pair.transferrer, ref, Event(), Random(SEED)).kind is Kind.SKIPPED


def test_an_archived_object_is_archived(pair: Pair) -> None:
    with pytest.raises(errors.ObjectArchivedError):
        pair.copy(pair.put(b"x", StorageClass="GLACIER"))


def test_what_kms_encrypts_is_no_false_alarm(pair: Pair) -> None:
    assert pair.copy(pair.put(b"x", ServerSideEncryption="aws:kms")) == Copied(1, Proof.SERVER_SIDE)


@needs(Can.REFUSE, Can.LOCK)
def test_a_server_that_heeds_no_conditions_is_not_trusted(
    server: Server, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Radosgw does not; nor does it say so."""
    adopt(monkeypatch, server.environment())
    pair = Pair(new_place(server), new_place(server), make, AUTO)
    first, second = pair.put(b"first", "in/first"), pair.put(b"second", "in/second")
    pair.put_older(key="in/second")
    outcome = copy_object(
        pair.transferrer, msgspec.structs.replace(first, destination_etag=""), Event(), Random(SEED)
    )
    assert outcome.kind is Kind.SKIPPED
    with pytest.raises(errors.DestinationChangedError):
        pair.copy(second)
    pair.options, pair.made = WITHIN, None
    with pytest.raises(errors.UnsupportedError, match="--strategy stream"):
        pair.copy(pair.put(b"third", "in/third"))


# --- the other way


def ways(cloud: Cloud) -> Counter[str]:
    """How often each way was tried."""
    return Counter({name: cloud.counts().get(f"s3:{name}", 0) for name in ("CopyObject", "PutObject")})


def test_denied_at_first_all_is_streamed(auto: Pair, cloud: Cloud) -> None:
    some = refs(auto, 4)
    cloud.fault("s3:CopyObject", "error", status=403, code="AccessDenied", times=None)
    cloud.clear_journal()
    assert [auto.copy(ref).proof for ref in some] == [Proof.MD5] * 4
    assert ways(cloud) == {"CopyObject": 1, "PutObject": 4}


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (405, "MethodNotAllowed")])
def test_what_is_not_offered_is_not_asked_for_again(auto: Pair, cloud: Cloud, status: int, code: str) -> None:
    some = refs(auto, 3)
    cloud.fault("s3:CopyObject", "error", status=status, code=code, times=None)
    cloud.clear_journal()
    assert [auto.copy(ref).proof for ref in some] == [Proof.MD5] * 3
    assert ways(cloud) == {"CopyObject": 1, "PutObject": 3}


def test_one_that_is_denied_later_is_streamed_alone(auto: Pair, cloud: Cloud) -> None:
    some = refs(auto, 4)
    cloud.fault("s3:CopyObject", "error", status=403, code="AccessDenied", key="out/001", times=None)
    cloud.clear_journal()
    assert [auto.copy(ref).proof for ref in some] == [
        Proof.SERVER_SIDE,
        Proof.MD5,
        Proof.SERVER_SIDE,
        Proof.SERVER_SIDE,
    ]
    assert ways(cloud) == {"CopyObject": FOUND_OUT + 4, "PutObject": 1}


@pytest.mark.parametrize(
    ("status", "code", "proofs"),
    [
        (400, "InvalidRequest", [Proof.MD5, Proof.SERVER_SIDE]),
        (404, "NoSuchBucket", [Proof.MD5, Proof.SERVER_SIDE]),
    ],
)
def test_one_that_is_refused_says_nothing_of_others(
    auto: Pair, cloud: Cloud, status: int, code: str, proofs: list[Proof]
) -> None:
    some = refs(auto, 2)
    cloud.fault("s3:CopyObject", "error", status=status, code=code)
    assert [auto.copy(ref).proof for ref in some] == proofs


def test_busy_is_no_refusal(auto: Pair, cloud: Cloud) -> None:
    ref = auto.put(b"x")
    cloud.fault("s3:CopyObject", "error", status=503, code="SlowDown")
    with pytest.raises(errors.ServiceUnavailableError):
        auto.copy(ref)
    assert auto.copy(ref).proof is Proof.SERVER_SIDE


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, "AccessDenied", errors.ObjectDeniedError),
        (501, "NotImplemented", errors.UnsupportedError),
        (400, "InvalidRequest", errors.ObjectRefusedError),
    ],
)
def test_server_side_never_streams(
    pair: Pair, cloud: Cloud, status: int, code: str, error: type[errors.FleetcopyError]
) -> None:
    some = refs(pair, 2)
    cloud.fault("s3:CopyObject", "error", status=status, code=code, times=2)
    cloud.clear_journal()
    for ref in some:
        with pytest.raises(error, match="copy within S3"):
            pair.copy(ref)
    assert ways(cloud) == {"CopyObject": 2, "PutObject": 0}
    assert pair.copy(some[0]).proof is Proof.SERVER_SIDE


def test_who_may_not_read_the_source_streams(
    strict: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As policies say it, and not a fault: one user reads, another writes."""
    pair = pair_of(strict, make, AUTO)
    ref = pair.put(b"x", Tagging="a=b")
    policies = {
        "reader": ("s3:Get*", "s3:List*", pair.source.bucket),
        "writer": ("s3:Put*", "s3:Get*", pair.destination.bucket),
    }
    lines = []
    for name, (*actions, bucket) in policies.items():
        where = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        policy = {"Statement": [{"Effect": "Allow", "Action": actions, "Resource": where}]}
        keys = strict.user(f"{name}-{uuid4().hex}", policy)
        lines += [f"[{name}]", f"aws_access_key_id={keys.access_key_id}"]
        lines += [f"aws_secret_access_key={keys.secret_access_key}", "region=us-east-1"]
    (tmp_path / "credentials").write_text("\n".join(lines))
    shared = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    kept = {name: value for name, value in strict.environment().items() if "KEY" not in name}
    adopt(monkeypatch, kept | shared)
    transfer = msgspec.structs.replace(
        pair.transfer,
        source=msgspec.structs.replace(pair.transfer.source, credentials="profile:reader"),
        destination=msgspec.structs.replace(pair.transfer.destination, credentials="profile:writer"),
    )
    strict.clear_journal()
    copied = make(transfer, embedded(strict)).copy(ref, fenced=True, expect="", cancel=Event())
    assert copied == Copied(1, Proof.MD5)
    assert ways(strict) == {"CopyObject": 1, "PutObject": 1}
    assert pair.copied()["TagCount"] == 1


# --- whose requester pays


@pytest.mark.parametrize("options", [STREAMED, WITHIN], ids=lambda options: options.strategy)
def test_the_requester_pays_if_told_to(pair: Pair, options: Options) -> None:
    pair.options = options
    ref = pair.put(b"x", Tagging="a=b")
    pair.source.s3.put_bucket_request_payment(
        Bucket=pair.source.bucket, RequestPaymentConfiguration={"Payer": "Requester"}
    )
    with pytest.raises(errors.ObjectDeniedError):
        pair.copy(ref)
    pair.options, pair.made = msgspec.structs.replace(options, request_payer=True), None
    assert pair.copy(ref).bytes == 1
    assert pair.copied()["TagCount"] == 1
