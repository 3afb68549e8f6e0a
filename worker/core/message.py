"""A task and its codec: message version 1, ASCII-only JSON.

    {"v":1,"kind":"copy","transfer":"9f2c41d07be3a8c5","attempt":0,"common_prefix":"1991/",
     "objects":[["06/05/KTLX/KTLX19910605_162126.gz",1027979,"174e…",1446069400,"STANDARD",null,""]]}

SQS refuses some characters that S3 keys may hold (it takes XML's), hence ASCII only. Messages name keys,
never a bucket, an endpoint or a credential, and a key outside the source's prefix is refused: who can send
to the queue still cannot make a worker read or write elsewhere.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from worker.core.errors import MessageError
from worker.core.model import ObjectRef, Transfer

VERSION: Literal[1] = 1

_NON_ASCII = re.compile(r"[^\x00-\x7f]+")


class CopyTask(msgspec.Struct, frozen=True):
    """Copy these objects. `attempt` counts deliveries that failed, never interruptions."""

    transfer: str
    objects: tuple[ObjectRef, ...]
    attempt: int = 0


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


_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(_Envelope)
_copy = msgspec.json.Decoder(_CopyMessage)


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


def encode(task: CopyTask) -> str:
    """The message body of a task."""
    prefix = common_prefix([ref.key for ref in task.objects])
    rows = [msgspec.structs.replace(ref, key=ref.key[len(prefix) :]) for ref in task.objects]
    return to_ascii_json(_CopyMessage(VERSION, "copy", task.transfer, task.attempt, prefix, rows))


def decode(body: str, transfer: Transfer) -> CopyTask:
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
    if envelope.kind != "copy":
        raise MessageError("UnknownKind", f"the message is of kind {envelope.kind!r}, this worker knows copy")
    if envelope.transfer != transfer.id:
        raise MessageError(
            "UnknownTransfer",
            f"the message belongs to transfer {envelope.transfer!r}, this worker carries out {transfer.id} "
            f"({transfer.source.uri} to {transfer.destination.uri}): give each transfer a queue of its own",
        )
    return _read_copy(body, transfer)


def _read_copy(body: str, transfer: Transfer) -> CopyTask:
    try:
        message = _copy.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MessageError("Malformed", f"the message is not a copy task: {error}") from None
    refs = [msgspec.structs.replace(ref, key=message.common_prefix + ref.key) for ref in message.objects]
    refs = list({ref.key: ref for ref in refs}.values())  # a key named twice is one object
    if not refs or message.attempt < 0:
        raise MessageError("Malformed", "the message names no object, or a negative attempt")
    for ref in refs:
        if not ref.key or ref.size < 0:
            raise MessageError("Malformed", f"the message has an object without key or with size {ref.size}")
        if not ref.key.startswith(transfer.source.prefix):
            raise MessageError("ForeignKey", f"key {ref.key!r} lies outside {transfer.source.uri}")
    return CopyTask(message.transfer, tuple(refs), message.attempt)
