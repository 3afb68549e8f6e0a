"""The tasks and their codec: message version 1, ASCII-only JSON.

    {"v":1,"kind":"copy","transfer":"9f2c41d07be3a8c5","attempt":0,"common_prefix":"1991/",
     "objects":[["06/05/KTLX/KTLX19910605_162126.gz",1027979,"174e…",1446069400,"STANDARD",null,""]]}

| kind | asks a worker to |
|---|---|
| copy | copy a pack of objects |
| large | own one large object; `core.large` |
| part | upload some parts of one, as its owner hints |
| list | list a range of keys, and send tasks for what the destination lacks |

SQS refuses some characters that S3 keys may hold (it takes XML's), hence ASCII only. Messages name keys,
never a bucket, an endpoint or a credential, and a key outside the source's prefix is refused: who can send
to the queue still cannot make a worker read or write elsewhere. A `list` message names nothing, and may leave
the transfer out, for whichever the worker carries out: a stack, which cannot hash, begins its own with one.
"""

from __future__ import annotations

import enum
import json
import os.path
import re
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from worker.core.compare import Criterion
from worker.core.errors import MessageError
from worker.core.filters import EVERYTHING, Filters
from worker.core.model import ObjectRef, Transfer

VERSION: Literal[1] = 1

MOST_PARTS = 10_000
"""Parts of one upload at most (S3 User Guide, "Amazon S3 multipart upload limits")."""

_NON_ASCII = re.compile(r"[^\x00-\x7f]+")


class CopyTask(msgspec.Struct, frozen=True):
    """Copy these objects. `attempt` counts deliveries that failed, never interruptions."""

    transfer: str
    objects: tuple[ObjectRef, ...]
    attempt: int = 0


class Stage(enum.StrEnum):
    """What the owner of a large object is about."""

    START = "start"
    """It has no upload."""
    UPLOAD = "upload"
    """Parts arrive in its upload."""
    ABORT = "abort"
    """Its upload is to be no more; then it starts over."""
    CLEAN = "clean"
    """The object is done; parts of aborted uploads may still arrive, and are to go."""


class Upload(msgspec.Struct, frozen=True):
    """A multipart upload at the destination, as its owner knows it.

    Attributes:
        id: S3's.
        part_size: bytes of each part but the last.
        checksum: algorithm of the checksum that each part carries; empty where they carry none.
        own: whether its parts are the source's own, and the ETags of both are made of MD5 digests.
        hinted: number of the last part that a hint has been sent for.
        arrived: parts that were there at the last look.
        looks: since a part arrived, or the hints were sent again.
        stalls: times that the hints were sent again since a part arrived.
    """

    id: str
    part_size: int
    checksum: str = ""
    own: bool = False
    hinted: int = 0
    arrived: int = 0
    looks: int = 0
    stalls: int = 0


class LargeTask(msgspec.Struct, frozen=True):
    """Own one large object.

    Attributes:
        ref: once there is an upload, the version that it is of.
        attempt: steps that have failed since one has not.
        late: bytes of the largest part that may still arrive in an upload that was aborted; 0 for none.
        refusals: uploads whose parts proved to be something else.
    """

    transfer: str
    ref: ObjectRef
    attempt: int = 0
    stage: Stage = Stage.START
    upload: Upload | None = None
    late: int = 0
    refusals: int = 0

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """What its delivery waits for."""
        return (self.ref,)


class PartTask(msgspec.Struct, frozen=True):
    """A hint: upload those parts from `first` to `last`, inclusive, of this version that are not there."""

    transfer: str
    ref: ObjectRef
    upload: Upload
    first: int
    last: int
    attempt: int = 0

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """What its delivery waits for."""
        return (self.ref,)


class ListTask(msgspec.Struct, frozen=True):
    """List the source's keys after `start_after` up to `end_at`, inclusive; None for the last there is.

    Attributes:
        filters: which objects the transfer is about.
        by: what makes two objects equal.
    """

    transfer: str
    start_after: str = ""
    end_at: str | None = None
    attempt: int = 0
    filters: Filters = EVERYTHING
    by: Criterion = Criterion.ETAG

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """What its delivery waits for: one thing, named by where the range starts."""
        return (ObjectRef(self.start_after, 0, "", 0),)


Task = CopyTask | LargeTask | PartTask | ListTask


class _Envelope(msgspec.Struct):
    v: object = None
    kind: object = None
    transfer: object = None


class _CopyMessage(msgspec.Struct):
    v: Literal[1]
    kind: Literal["copy"]
    transfer: str
    attempt: int
    common_prefix: str
    objects: list[ObjectRef]


class _LargeMessage(msgspec.Struct):
    v: Literal[1]
    kind: Literal["large"]
    transfer: str
    attempt: int
    object: ObjectRef
    stage: Stage
    upload: Upload | None
    late: int
    refusals: int = 0


class _PartMessage(msgspec.Struct):
    v: Literal[1]
    kind: Literal["part"]
    transfer: str
    attempt: int
    object: ObjectRef
    upload: Upload
    first: int
    last: int


class _ListMessage(msgspec.Struct):
    v: Literal[1]
    kind: Literal["list"]
    transfer: str = ""
    attempt: int = 0
    start_after: str = ""
    end_at: str | None = None
    filters: Filters = EVERYTHING
    by: Criterion = Criterion.ETAG


_Message = TypeVar("_Message")

_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(_Envelope)
_copy = msgspec.json.Decoder(_CopyMessage)
_large = msgspec.json.Decoder(_LargeMessage)
_part = msgspec.json.Decoder(_PartMessage)
_list = msgspec.json.Decoder(_ListMessage)


def _escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def to_ascii_json(value: object) -> str:
    """Compact JSON in which everything outside ASCII is escaped."""
    text = _encoder.encode(value).decode()
    # Outside its strings, JSON is ASCII, so that each match stands within a string.
    return text if text.isascii() else _NON_ASCII.sub(_escape, text)


def common_prefix(keys: Sequence[str]) -> str:
    """The longest text, character by character, that all keys start with."""
    return os.path.commonprefix(keys)  # noqa: RUF071


def encode(task: Task) -> str:
    """The message body of a task."""
    match task:
        case CopyTask(transfer, objects, attempt):
            prefix = common_prefix([ref.key for ref in objects])
            rows = [msgspec.structs.replace(ref, key=ref.key[len(prefix) :]) for ref in objects]
            return to_ascii_json(_CopyMessage(VERSION, "copy", transfer, attempt, prefix, rows))
        case LargeTask(transfer, ref, attempt, stage, upload, late, refusals):
            return to_ascii_json(
                _LargeMessage(VERSION, "large", transfer, attempt, ref, stage, upload, late, refusals)
            )
        case PartTask(transfer, ref, upload, first, last, attempt):
            return to_ascii_json(_PartMessage(VERSION, "part", transfer, attempt, ref, upload, first, last))
        case ListTask(transfer, start_after, end_at, attempt, filters, by):
            return to_ascii_json(
                _ListMessage(VERSION, "list", transfer, attempt, start_after, end_at, filters, by)
            )


def decode(body: str, transfer: Transfer) -> Task:
    """The task in a message body.

    Raises:
        MessageError: not a task that a worker of this transfer can carry out; its `reason` is one of
            `NotJSON`, `UnknownVersion`, `UnknownKind`, `UnknownTransfer`, `Malformed`, `ForeignKey`.
    """
    try:
        envelope = _envelope.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MessageError("NotJSON", f"the message is not a JSON object: {error}") from None
    if envelope.v is True or envelope.v != VERSION:
        raise MessageError(
            "UnknownVersion",
            f"the message has version {envelope.v!r}, this worker reads {VERSION}: "
            "work with the release that submitted it",
        )
    read = _READERS.get(envelope.kind) if isinstance(envelope.kind, str) else None
    if read is None:
        raise MessageError(
            "UnknownKind",
            f"the message is of kind {envelope.kind!r}, this worker knows {', '.join(_READERS)}",
        )
    unnamed = envelope.kind == "list" and envelope.transfer is None
    if envelope.transfer != transfer.id and not unnamed:
        raise MessageError(
            "UnknownTransfer",
            f"the message belongs to transfer {envelope.transfer!r}, this worker carries out {transfer.id} "
            f"({transfer.source.uri} to {transfer.destination.uri}): give each transfer a queue of its own",
        )
    task = read(body)
    if task.attempt < 0:
        raise MessageError("Malformed", "the message has a negative attempt")
    if isinstance(task, ListTask):
        return msgspec.structs.replace(task, transfer=transfer.id)
    _check(task.objects, transfer)
    return task


def _check(refs: Sequence[ObjectRef], transfer: Transfer) -> None:
    for ref in refs:
        if not ref.key or ref.size < 0:
            raise MessageError("Malformed", f"the message has an object without key or with size {ref.size}")
        if not ref.key.startswith(transfer.source.prefix):
            raise MessageError("ForeignKey", f"key {ref.key!r} lies outside {transfer.source.uri}")


def _decoded(decoder: msgspec.json.Decoder[_Message], body: str, kind: str) -> _Message:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError("Malformed", f"the message is not a {kind} task: {error}") from None


def _read_copy(body: str) -> CopyTask:
    message = _decoded(_copy, body, "copy")
    refs = [msgspec.structs.replace(ref, key=message.common_prefix + ref.key) for ref in message.objects]
    refs = list({ref.key: ref for ref in refs}.values())  # a key named twice is one object
    if not refs:
        raise MessageError("Malformed", "the message names no object")
    return CopyTask(message.transfer, tuple(refs), message.attempt)


def _read_large(body: str) -> LargeTask:
    read = _decoded(_large, body, "large")
    is_bare = read.stage in {Stage.START, Stage.CLEAN}
    if (read.upload is None) != is_bare or min(read.late, read.refusals) < 0:
        raise MessageError("Malformed", f"the message is of stage {read.stage} with upload {read.upload}")
    if read.upload:
        _check_upload(read.upload)
    return LargeTask(
        read.transfer, read.object, read.attempt, read.stage, read.upload, read.late, read.refusals
    )


def _read_part(body: str) -> PartTask:
    read = _decoded(_part, body, "part")
    _check_upload(read.upload)
    if not 1 <= read.first <= read.last <= MOST_PARTS:
        raise MessageError("Malformed", f"the message names the parts {read.first} to {read.last}")
    return PartTask(read.transfer, read.object, read.upload, read.first, read.last, read.attempt)


def _check_upload(upload: Upload) -> None:
    if not upload.id or upload.part_size < 1:
        raise MessageError("Malformed", f"the message has an upload of parts of {upload.part_size} bytes")


def _read_list(body: str) -> ListTask:
    read = _decoded(_list, body, "list")
    return ListTask(read.transfer, read.start_after, read.end_at, read.attempt, read.filters, read.by)


_READERS: dict[str, Callable[[str], Task]] = {
    "copy": _read_copy,
    "large": _read_large,
    "part": _read_part,
    "list": _read_list,
}
