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


def _shared(prefix: str, key: str) -> str:
    """The common prefix of both; in key order it is nearly always the first."""
    return prefix if key.startswith(prefix) else common_prefix([prefix, key])


def _text_bytes(text: str) -> int:
    """Bytes of a text within a message."""
    return len(to_ascii_json(text)) - 2


class _Pack:
    """The task being filled: its objects, and the size that its message has."""

    def __init__(self, ref: ObjectRef, row_bytes: int) -> None:
        self.refs = [ref]
        self.bytes = ref.size
        self._prefix = ref.key
        self._prefix_bytes = _text_bytes(ref.key)
        self._rows_bytes = row_bytes

    def takes(self, ref: ObjectRef, row_bytes: int, limits: Limits, ceiling: int) -> bool:
        """Add the object if the task stays within its limits."""
        objects = len(self.refs) + 1
        size = self.bytes + ref.size
        prefix = _shared(self._prefix, ref.key)
        prefix_bytes = self._prefix_bytes if prefix == self._prefix else _text_bytes(prefix)
        saved = (objects - 1) * prefix_bytes
        rows_bytes = self._rows_bytes + row_bytes
        if (
            objects > ceiling
            or size > limits.bytes
            or objects * limits.object_seconds + size / limits.bytes_per_second > limits.seconds
            or _ENVELOPE_BYTES + rows_bytes - saved > limits.message_bytes
        ):
            return False
        self.refs.append(ref)
        self.bytes, self._rows_bytes = size, rows_bytes
        self._prefix, self._prefix_bytes = prefix, prefix_bytes
        return True


def pack(transfer: str, refs: Iterable[ObjectRef], limits: Limits = DEFAULT_LIMITS) -> Iterator[Task]:
    """Tasks that hold `refs`, each object exactly once, in the order given; constant memory."""
    current: _Pack | None = None
    packed = 0
    for ref in refs:
        if is_large(ref):
            if current is not None:
                packed += len(current.refs)
                yield CopyTask(transfer, tuple(current.refs))
                current = None
            yield LargeTask(transfer, ref)
            continue
        row_bytes = len(to_ascii_json(ref)) + 1
        if current is None:
            current = _Pack(ref, row_bytes)
        elif not current.takes(ref, row_bytes, limits, _ceiling(limits, packed)):
            packed += len(current.refs)
            yield CopyTask(transfer, tuple(current.refs))
            current = _Pack(ref, row_bytes)
    if current is not None:
        yield CopyTask(transfer, tuple(current.refs))
