"""Packing objects into tasks that fit a message, a worker's half minute, and a small transfer's fleet.

Limits of one task: 61,440 bytes of message (SQS bills each 64 KiB), 1,000 objects, 1 GiB, about half a
minute of work; an object above them goes alone, and one whose parts many workers are to copy is a task of its
own kind. Early tasks are smaller still, so that a transfer of a few
hundred objects spreads over several workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from worker.core.message import CopyTask, LargeTask, Task, common_prefix, encode, to_ascii_json
from worker.core.model import ObjectRef
from worker.core.parts import is_large

MESSAGE_BYTES = 61_440
_encoder = msgspec.json.Encoder()
_ENVELOPE_BYTES = len(encode(CopyTask("0" * 16, (), 9_999)))


class Limits(msgspec.Struct, frozen=True):
    """What one task may hold.

    Attributes:
        objects: at most.
        bytes: of the objects together.
        seconds: of estimated work.
        message_bytes: of the encoded message.
        object_seconds, bytes_per_second: what the estimate assumes of a worker.
        first_objects: objects in the first tasks; grows with what has been packed, see `_ceiling`.
    """

    objects: int = 1_000
    bytes: int = 1024**3
    seconds: float = 30.0
    message_bytes: int = MESSAGE_BYTES
    object_seconds: float = 0.02
    bytes_per_second: float = 50e6
    first_objects: int = 16


DEFAULT_LIMITS = Limits()


def _ceiling(limits: Limits, packed: int) -> int:
    """Objects that the next task may hold once `packed` are packed: a thirty-second of those."""
    return min(limits.objects, max(limits.first_objects, packed // 32))


def _row_bytes(ref: ObjectRef) -> int:
    """Bytes of an object's row within a message, with its comma."""
    row = _encoder.encode(ref)
    return 1 + (len(row) if row.isascii() else len(to_ascii_json(ref)))


def _text_bytes(text: str) -> int:
    """Bytes of a text within a message."""
    return len(to_ascii_json(text)) - 2


def pack(transfer: str, refs: Iterable[ObjectRef], limits: Limits = DEFAULT_LIMITS) -> Iterator[Task]:
    """Tasks that hold `refs`, each object exactly once, in the order given; constant memory."""
    task: list[ObjectRef] = []
    packed, size, message_bytes = 0, 0, 0
    prefix, prefix_bytes, ceiling = "", 0, 0
    # Every object of a bucket comes through here: all is at hand.
    most_bytes, most_message_bytes = limits.bytes, limits.message_bytes
    most_seconds, object_seconds, rate = limits.seconds, limits.object_seconds, limits.bytes_per_second
    for ref in refs:
        if is_large(ref):
            if task:
                packed += len(task)
                yield CopyTask(transfer, tuple(task))
                task = []
            yield LargeTask(transfer, ref)
            continue
        row_bytes = _row_bytes(ref)
        if task:
            # In key order, the prefix that all share is nearly always that of those before.
            shared, shared_bytes = prefix, prefix_bytes
            if not ref.key.startswith(prefix):
                shared = common_prefix([prefix, ref.key])
                shared_bytes = _text_bytes(shared)
            objects, size, message_bytes = len(task) + 1, size + ref.size, message_bytes + row_bytes
            if (
                objects <= ceiling
                and size <= most_bytes
                and objects * object_seconds + size / rate <= most_seconds
                and message_bytes - (objects - 1) * shared_bytes <= most_message_bytes
            ):
                task.append(ref)
                prefix, prefix_bytes = shared, shared_bytes
                continue
            packed += len(task)
            yield CopyTask(transfer, tuple(task))
        task, size, message_bytes = [ref], ref.size, _ENVELOPE_BYTES + row_bytes
        prefix, prefix_bytes, ceiling = ref.key, _text_bytes(ref.key), _ceiling(limits, packed)
    if task:
        yield CopyTask(transfer, tuple(task))
