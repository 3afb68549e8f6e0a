"""Copies in parts over the real wire: ETags, proofs, fences, what is left behind, and what it costs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from random import Random
from threading import Event

import pytest

from tests.cloud import Cloud, checksums
from tests.contract import KEY, MIB, SEED, CancelAfter, Make, Pair, Place, adopt, needs, new_place, wire
from tests.servers import Can, Server, embedded
from worker.aws import bodies
from worker.core import errors, retry
from worker.core.message import LargeTask, PartTask, Task, decode
from worker.core.model import Kind, ObjectRef, Outcome, Proof
from worker.core.options import Options
from worker.core.parts import count
from worker.core.settle import settle
from worker.flow import large
from worker.flow.copy import copy_object
from worker.flow.in_parts import InParts
from worker.flow.large import Large

PART = 5 * MIB
THERE = "out/a key"


@pytest.fixture
def pair(shared_pair: Pair) -> Pair:
    """Both buckets empty."""
    for place in (shared_pair.source, shared_pair.destination):
        place.empty()
    return shared_pair


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again without a pause."""
    monkeypatch.setattr(retry, "pause", lambda _tries, _random: 0.0)


def copier(pair: Pair) -> InParts:
    return InParts(wire(pair), wire(pair).multipart, Random(SEED))


def put(pair: Pair, sizes: Iterable[int], **create: object) -> ObjectRef:
    """Put a source object in parts of these sizes; each starts with bytes of its own."""
    s3, at = pair.source.s3, {"Bucket": pair.source.bucket, "Key": KEY}
    upload = s3.create_multipart_upload(**at, **create)["UploadId"]
    algorithm = str(create.get("ChecksumAlgorithm", ""))
    random, rows = Random(SEED), []
    for number, size in enumerate(sizes, 1):
        body = (random.randbytes(min(size, 64)) + bytes(size))[:size]
        said = {f"Checksum{algorithm}": checksums.encoded(algorithm, body)} if algorithm else {}
        answer = s3.upload_part(**at, UploadId=upload, PartNumber=number, Body=body, **said)
        rows.append({"PartNumber": number, "ETag": answer["ETag"], **said})
    s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": rows})
    return pair.ref()


def digest(place: Place, key: str) -> str:
    answer = place.s3.get_object(Bucket=place.bucket, Key=key)
    total = hashlib.sha256()
    for piece in answer["Body"].iter_chunks(MIB):
        total.update(piece)
    return total.hexdigest()


def unfinished(pair: Pair) -> list[str]:
    """Keys of the destination's unfinished uploads."""
    answer = pair.destination.s3.list_multipart_uploads(Bucket=pair.destination.bucket)
    return [row["Key"] for row in answer.get("Uploads", [])]


def same(pair: Pair, ref: ObjectRef) -> bool:
    """Whether the copy has the source's bytes and ETag, and nothing else is left."""
    assert digest(pair.destination, THERE) == digest(pair.source, KEY)
    assert unfinished(pair) == []
    head = pair.destination.s3.head_object(Bucket=pair.destination.bucket, Key=THERE)
    return bool(head["ETag"].strip('"') == ref.etag)


def uniform(part: int, size: int) -> list[int]:
    return [min(part, size - first) for first in range(0, size, part)]


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize(
    ("part", "size"),
    [
        pytest.param(PART, 100, id="one small part"),
        pytest.param(PART, PART, id="one whole part"),
        pytest.param(PART, 3 * PART, id="exactly three parts"),
        pytest.param(PART, 2 * PART + 1, id="a byte more than two parts"),
        pytest.param(PART + 77, 2 * PART + 1_000, id="odd part size"),
        pytest.param(8 * MIB, 17 * MIB - 1, id="8 MiB"),
        pytest.param(16 * MIB, 33 * MIB, id="16 MiB"),
        pytest.param(64 * MIB, 65 * MIB, id="64 MiB", marks=pytest.mark.slow),
    ],
)
def test_an_object_of_parts_of_one_size_keeps_its_etag(pair: Pair, part: int, size: int) -> None:
    ref = put(pair, uniform(part, size))
    copied = copier(pair).copy(ref, fenced=True, expect="", cancel=Event())
    assert (copied.bytes, copied.proof) == (size, Proof.MD5)
    assert same(pair, ref)


@needs(Can.CHECKSUMS)
def test_an_object_of_parts_of_many_sizes_is_copied_as_a_whole(pair: Pair) -> None:
    ref = put(pair, [PART, PART + 1, 5])
    copied = copier(pair).copy(ref, fenced=True, expect="", cancel=Event())
    assert copied.proof in {Proof.TRANSPORT, Proof.CHECKSUM}
    assert not same(pair, ref)


# Over many workers, played by one.


def play(pair: Pair, ref: ObjectRef, *, hinter: Pair | None = None) -> tuple[list[Outcome], Counter[str]]:
    """Carry out a large object's tasks until none is left: how its owner's steps ended, and tasks by kind."""
    one, queue, ends = Large(wire(pair).multipart, Random(SEED)), [_task(pair, ref)], []
    other = Large(wire(hinter).multipart, Random(SEED)) if hinter else one
    kinds: Counter[str] = Counter()
    while queue:
        task = queue.pop(0)
        kinds[type(task).__name__] += 1
        if isinstance(task, PartTask):
            step = other.hint(task, Event())
            assert step.outcome.kind is Kind.HANDED_ON, step.outcome.error
        else:
            assert isinstance(task, LargeTask)
            step = one.own(task, Event())
            ends.append(step.outcome)
        settled = settle(task, [(task.ref, step.outcome)], Random(SEED), sends=step.sends)
        assert not settled.dead_letters
        queue += [decode(send.body, pair.transfer) for send in settled.sends]
    return ends, kinds


def _task(pair: Pair, ref: ObjectRef) -> Task:
    return LargeTask(pair.transfer.id, ref)


@needs(Can.CHECKSUMS)
def test_a_large_object_of_parts_of_one_size_keeps_its_etag(pair: Pair) -> None:
    ref = put(pair, uniform(PART, 3 * PART + 1))
    ends, _ = play(pair, ref)
    assert (ends[-1].kind, ends[-1].proof) == (Kind.COPIED, Proof.MD5)
    assert same(pair, ref)


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([PART, PART + 1, PART + 2, 5], id="the last part tells"),
        pytest.param([PART + 10, PART + 12, PART + 8, 5], id="the ETag alone tells"),
    ],
)
def test_parts_that_only_seem_to_be_of_one_size_are_found_out(pair: Pair, sizes: list[int]) -> None:
    ref = put(pair, sizes)
    copied = copier(pair).copy(ref, fenced=True, expect="", cancel=Event())
    assert copied.proof is not Proof.MD5
    assert not same(pair, ref)
    pair.destination.empty()
    ends, _ = play(pair, ref)
    assert ends[-1].kind is Kind.COPIED or ends[-1].kind is Kind.HANDED_ON
    assert not same(pair, ref)


@needs(Can.CHECKSUMS)
@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32"])
def test_parts_of_many_sizes_are_proven_by_the_sum_of_their_sums(
    pair: Pair, server: Server, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    """S3 compares each part's sum, and the whole's, with what it received; over plain HTTP it cannot."""
    monkeypatch.setattr(large, "part_size", lambda _size: PART)
    wire(pair)._writer.capabilities.trailers = True  # noqa: SLF001 - as once one such sum has been seen
    ref = put(pair, [PART, PART + 1, 5], ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
    ends, _ = play(pair, ref)
    trailed = server.certificate is not None
    assert (ends[-1].kind, ends[-1].proof) == (Kind.COPIED, Proof.CHECKSUM if trailed else Proof.TRANSPORT)
    assert not same(pair, ref)
    if trailed:
        ask = {"ChecksumMode": "ENABLED"}
        heads = [
            place.s3.head_object(Bucket=place.bucket, Key=key, **ask)
            for place, key in ((pair.source, KEY), (pair.destination, THERE))
        ]
        assert len({head[f"Checksum{algorithm}"] for head in heads}) == 1
        assert heads[1]["ChecksumType"] == "FULL_OBJECT"


@needs(Can.CHECKSUMS)
def test_a_large_object_that_is_there_is_skipped_and_one_that_is_gone_is_gone(pair: Pair) -> None:
    ref = put(pair, uniform(PART, 2 * PART))
    play(pair, ref)
    assert [end.kind for end in play(pair, ref)[0]] == [Kind.SKIPPED]
    pair.source.empty()
    assert [end.kind for end in play(pair, ref)[0]] == [Kind.GONE]


@needs(Can.CHECKSUMS, Can.REPLACE)
def test_a_large_object_replaces_what_it_has_seen_and_nothing_else(pair: Pair) -> None:
    ref = put(pair, uniform(PART, 2 * PART))
    older = pair.put_older()
    ends, _ = play(pair, ref)
    assert ends[-1].kind is Kind.COPIED
    assert same(pair, ref)
    assert older != ref.etag


# What goes wrong, on the embedded AWS alone: it has faults, and a journal.


@pytest.fixture
def summed(own: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Two buckets as over TLS, where what is sent can be summed; parts are small."""
    monkeypatch.setattr(bodies, "can_trail", lambda _writer: True)
    monkeypatch.setattr(large, "part_size", lambda _size: PART)
    return own


@pytest.mark.parametrize("denied", [True, False])
def test_parts_are_proven_whoever_brings_them(cloud: Cloud, summed: Pair, *, denied: bool) -> None:
    """One process creates the upload and believes in copies within S3; another has learnt that they fail."""
    pair = replace(summed, options=Options(strategy="auto"))
    ref = put(pair, [PART, PART + 1, 5], ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
    if denied:
        cloud.fault("s3:UploadPartCopy", "error", status=403, code="AccessDenied", times=None)
    cloud.fault("s3:GetObject", "flip", times=1)
    ends, _ = play(pair, ref, hinter=replace(pair))
    cloud.clear_faults()
    assert [end.proof for end in ends if end.kind is Kind.COPIED] == [Proof.CHECKSUM]
    assert digest(pair.destination, THERE) == digest(pair.source, KEY)


def test_a_bucket_of_kms_takes_objects_as_a_whole_and_that_is_learnt_once(cloud: Cloud, summed: Pair) -> None:
    encryption = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    summed.destination.s3.put_bucket_encryption(
        Bucket=summed.destination.bucket, ServerSideEncryptionConfiguration={"Rules": [encryption]}
    )
    ref = put(summed, uniform(PART, 2 * PART), ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
    copy = copier(summed)
    cloud.clear_journal()
    cloud.fault("s3:GetObject", "flip", times=1)
    with pytest.raises(errors.ProofRefusedError):
        copy.copy(ref, fenced=True, expect="", cancel=Event())
    assert summed.visible() == []
    assert copy.copy(ref, fenced=True, expect="", cancel=Event()).proof is Proof.CHECKSUM
    assert counted(cloud)["CreateMultipartUpload"] == 1
    assert not same(summed, ref)


def test_steps_that_fail_now_and_then_are_not_counted_together(cloud: Cloud, own: Pair) -> None:
    ref = put(own, uniform(PART, 8 * PART))
    one = Large(wire(own).multipart, Random(SEED))
    first = [
        decode(send.body, own.transfer) for send in one.own(LargeTask(own.transfer.id, ref), Event()).sends
    ]
    hints = [task for task in first if isinstance(task, PartTask)]
    [owner] = [task for task in first if isinstance(task, LargeTask)]
    for hint in hints:
        cloud.fault("s3:HeadObject", "error", status=503, code="SlowDown", times=1)
        for _ in ("fails", "succeeds"):
            step = one.own(owner, Event())
            settled = settle(owner, [(ref, step.outcome)], Random(SEED), sends=step.sends)
            assert not settled.dead_letters
            owner = next(
                task
                for task in (decode(send.body, own.transfer) for send in settled.sends)
                if isinstance(task, LargeTask)
            )
        assert owner.attempt == 0
        one.hint(hint, Event())
    assert one.own(owner, Event()).sends == ()
    assert same(own, ref)


@pytest.mark.parametrize(
    ("status", "code", "begun"), [(409, "ConditionalRequestConflict", 2), (400, "InvalidPart", 1)]
)
def test_a_complete_that_is_refused_for_what_has_passed_is_no_failure(
    cloud: Cloud, own: Pair, status: int, code: str, begun: int
) -> None:
    ref = put(own, uniform(PART, 2 * PART))
    cloud.clear_journal()
    cloud.fault("s3:CompleteMultipartUpload", "error", status=status, code=code, times=1)
    ends, _ = play(own, ref)
    assert Kind.COPIED in [end.kind for end in ends]
    assert same(own, ref)
    assert counted(cloud)["CreateMultipartUpload"] == begun


@pytest.fixture
def own(cloud: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch) -> Iterable[Pair]:
    """Two buckets of the embedded AWS; what it was asked is forgotten, as are its faults after that."""
    server = embedded(cloud)
    adopt(monkeypatch, server.environment())
    pair = Pair(new_place(server), new_place(server), make)
    yield pair
    cloud.clear_faults()


def counted(cloud: Cloud) -> dict[str, int]:
    return {name.removeprefix("s3:"): number for name, number in cloud.counts().items()}


def test_a_copy_in_parts_costs_two_requests_a_part_and_four(cloud: Cloud, own: Pair) -> None:
    ref = put(own, uniform(PART, 3 * PART))
    cloud.clear_journal()
    copier(own).copy(ref, fenced=True, expect="", cancel=Event())
    assert counted(cloud) == {
        "HeadObject": 1,
        "CreateMultipartUpload": 1,
        "GetObject": 3,
        "UploadPart": 3,
        "CompleteMultipartUpload": 1,
        "ListMultipartUploads": 1,
    }


def test_what_many_workers_ask_of_s3(cloud: Cloud, own: Pair) -> None:
    ref = put(own, uniform(PART, 4 * PART))
    cloud.clear_journal()
    _, kinds = play(own, ref)
    looks = kinds["LargeTask"] - 1
    assert (kinds["PartTask"], looks) == (4, 1)
    assert counted(cloud) == {
        "HeadObject": 4 + looks,
        "CreateMultipartUpload": 1,
        "ListParts": kinds["PartTask"] + looks,
        "GetObject": 4,
        "UploadPart": 4,
        "CompleteMultipartUpload": 1,
        "ListMultipartUploads": 1,
    }
    budget = 2 * 4 + 4 + 2 * kinds["PartTask"] + 2 * (1 + looks)
    assert sum(counted(cloud).values()) <= budget


@pytest.mark.parametrize("operation", ["s3:UploadPart", "s3:GetObject"])
def test_a_part_that_fails_is_sent_again_alone(cloud: Cloud, own: Pair, operation: str) -> None:
    ref = put(own, uniform(PART, 3 * PART))
    cloud.clear_journal()
    cloud.fault(operation, "error", times=2)
    copier(own).copy(ref, fenced=True, expect="", cancel=Event())
    assert same(own, ref)
    assert counted(cloud)["UploadPart"] <= 3 + 2


def test_a_flipped_byte_in_a_part_is_refused_and_that_part_alone_is_sent_again(
    cloud: Cloud, own: Pair
) -> None:
    ref = put(own, uniform(PART, 3 * PART))
    cloud.clear_journal()
    cloud.fault("s3:UploadPart", "flip", part=2)
    copier(own).copy(ref, fenced=True, expect="", cancel=Event())
    sent = [row["part"] for row in cloud.journal() if row["operation"] == "s3:UploadPart"]
    assert sent == [1, 2, 2, 3]
    assert same(own, ref)


def test_bytes_that_are_flipped_on_their_way_here_are_never_published(cloud: Cloud, own: Pair) -> None:
    ref = put(own, uniform(PART, 2 * PART))
    cloud.fault("s3:GetObject", "flip", times=1)
    with pytest.raises(errors.ProofRefusedError):
        copier(own).copy(ref, fenced=True, expect="", cancel=Event())
    assert own.visible() == []
    assert unfinished(own) == []
    outcome = copy_object(copier(own), ref, Event(), Random(SEED))
    assert (outcome.kind, outcome.proof) == (Kind.COPIED, Proof.MD5)


def test_a_large_object_whose_bytes_are_flipped_starts_over(cloud: Cloud, own: Pair) -> None:
    ref = put(own, uniform(PART, 2 * PART))
    cloud.fault("s3:GetObject", "flip", times=1)
    ends, _ = play(own, ref)
    assert Kind.COPIED in [end.kind for end in ends]
    assert same(own, ref)


def test_an_answer_to_complete_that_is_lost_costs_nothing_but_a_look(cloud: Cloud, own: Pair) -> None:
    ref = put(own, uniform(PART, 2 * PART))
    cloud.fault("s3:CompleteMultipartUpload", "lose")
    outcome = copy_object(copier(own), ref, Event(), Random(SEED))
    assert outcome.kind in {Kind.COPIED, Kind.SKIPPED}
    assert same(own, ref)


def test_a_source_that_changes_between_two_parts_is_never_mixed(own: Pair) -> None:
    ref = put(own, uniform(PART, 2 * PART))
    copy, multipart = copier(own), wire(own).multipart
    original = multipart.look(ref, fenced=True, cancel=Event(), part=1)
    upload = multipart.create(original, PART, own=True, cancel=Event())
    multipart.put(ref, upload, 1, Event())
    own.source.s3.put_object(Bucket=own.source.bucket, Key=KEY, Body=bytes(2 * PART))
    with pytest.raises(errors.SourceChangedError):
        multipart.put(ref, upload, 2, Event())
    with pytest.raises(errors.SourceChangedError):
        copy.copy(ref, fenced=True, expect="", cancel=Event())
    multipart.abort(ref, upload.id)
    assert unfinished(own) == []


def test_a_destination_that_is_not_as_expected_is_kept_and_no_upload_is_left(own: Pair) -> None:
    ref = put(own, uniform(PART, 2 * PART))
    own.put_older()
    for expect in ("", "0" * 32):
        with pytest.raises(errors.DestinationChangedError):
            copier(own).copy(ref, fenced=True, expect=expect, cancel=Event())
    assert own.copied()["Body"] == b"older"
    assert unfinished(own) == []


@pytest.mark.parametrize("more", [0, 3, 20])
def test_a_copy_in_parts_that_is_cancelled_leaves_nothing(own: Pair, more: int) -> None:
    ref = put(own, uniform(PART, 2 * PART))
    with pytest.raises(errors.InterruptedTransferError):
        copier(own).copy(ref, fenced=True, expect="", cancel=CancelAfter(more))
    assert own.visible() == []
    assert unfinished(own) == []


def test_uploads_of_exactly_this_key_are_swept_and_no_others(own: Pair) -> None:
    ref = put(own, uniform(PART, PART + 1))
    longer, other = f"{THERE}+\u00e9 b", "out/a"
    s3 = own.destination.s3
    for key in (THERE, THERE, longer, other):
        s3.create_multipart_upload(Bucket=own.destination.bucket, Key=key)
    copier(own).copy(ref, fenced=True, expect="", cancel=Event())
    assert sorted(unfinished(own)) == sorted([longer, other])


def test_an_archived_object_is_an_outcome_until_it_is_restored(own: Pair) -> None:
    ref = put(own, uniform(PART, PART + 1), StorageClass="GLACIER")
    assert copy_object(copier(own), ref, Event(), Random(SEED)).kind is Kind.ARCHIVED
    assert [end.kind for end in play(own, ref)[0]] == [Kind.ARCHIVED]
    own.source.s3.restore_object(Bucket=own.source.bucket, Key=KEY, RestoreRequest={"Days": 1})
    assert play(own, ref)[0][-1].kind is Kind.COPIED


def test_a_hint_uploads_what_is_not_there_and_gives_the_rest_back_when_it_is_cancelled(
    cloud: Cloud, own: Pair
) -> None:
    ref = put(own, uniform(PART, 3 * PART))
    multipart = wire(own).multipart
    upload = multipart.create(
        multipart.look(ref, fenced=True, cancel=Event(), part=1), PART, own=True, cancel=Event()
    )
    hint = PartTask(own.transfer.id, ref, upload, 1, 3)
    one = Large(multipart, Random(SEED))
    multipart.put(ref, upload, 2, Event())
    cancelled = Event()
    cancelled.set()
    assert one.hint(hint, cancelled).outcome.kind is Kind.UNTOUCHED
    cloud.clear_journal()
    assert one.hint(hint, Event()).outcome == Outcome(Kind.HANDED_ON, 2 * PART)
    sent = [row["part"] for row in cloud.journal() if row["operation"] == "s3:UploadPart"]
    assert sent == [1, 3]
    assert all(first < second for first, second in pairwise(sent))
    assert one.hint(hint, Event()).outcome == Outcome(Kind.HANDED_ON, 0)
    assert count(ref.size, PART) == len(multipart.parts(ref, upload, 1, 10))
    multipart.abort(ref, upload.id)
    assert one.hint(hint, Event()).outcome == Outcome(Kind.HANDED_ON, 0)
