"""What a finished delivery leaves behind: which messages to send before the received one is deleted.

| outcome of an object | goes to |
|---|---|
| copied, skipped, gone, archived | nowhere: it is done |
| untouched | a new task, attempt unchanged |
| failed, retryable, attempts left | a new task, attempt + 1, delayed |
| failed otherwise | the dead-letter queue, alone, with the reason; attempt 0, for a redrive |

A task of another kind than `copy` is a step: it has one outcome, and may lead to messages of its own, which
are sent whatever the outcome. A hint that has failed for good goes nowhere: the object's owner will notice.

The new messages are sent *before* the old one is deleted, so that dying in between costs a second delivery,
never an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from worker.core.errors import FleetcopyError, MessageError
from worker.core.message import CopyTask, LargeTask, PartTask, Task, encode, to_ascii_json
from worker.core.model import Kind, ObjectRef, Outcome
from worker.core.retry import ATTEMPTS, delay

SPLIT_ABOVE = 3
"""Receive count above which a task is split, so that an object that kills its worker ends up alone."""

_ATTRIBUTE_LENGTH = 8_192


class Send(msgspec.Struct, frozen=True):
    """A message for the queue: body, seconds of delay."""

    body: str
    delay: int = 0


class Step(msgspec.Struct, frozen=True):
    """What carrying out a task of another kind than `copy` has come to, and the messages it leads to."""

    outcome: Outcome
    sends: tuple[Send, ...] = ()


class DeadLetter(msgspec.Struct, frozen=True):
    """A message for the dead-letter queue: body, and attributes `Reason Detail Key Transfer`."""

    body: str
    attributes: dict[str, str]


class Settlement(msgspec.Struct, frozen=True):
    """All that must be sent before the received message may be deleted."""

    sends: tuple[Send, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()


def settle(
    task: Task,
    results: Sequence[tuple[ObjectRef, Outcome]],
    random: Random,
    *,
    sends: tuple[Send, ...] = (),
    hold_back: int = 0,
) -> Settlement:
    """Decide by the table above.

    Args:
        task: as received.
        results: one per object of the task.
        random: for the jitter of delays.
        sends: what a step has led to.
        hold_back: seconds for which untouched objects stay hidden, while an endpoint is out of order.
    """
    untouched = [ref for ref, outcome in results if outcome.kind is Kind.UNTOUCHED]
    failed: list[ObjectRef] = []
    dead: list[DeadLetter] = []
    for ref, outcome in results:
        if outcome.kind is not Kind.FAILED:
            continue
        if not is_final(task.attempt, outcome.error):
            failed.append(ref)
        elif not isinstance(task, PartTask):
            dead.append(_dead_object(task, ref, outcome.error))
    again = []
    if untouched:
        again.append(Send(encode(_part(task, untouched, task.attempt)), hold_back))
    if failed:
        attempt = task.attempt + 1
        again.append(Send(encode(_part(task, failed, attempt)), delay(attempt, random)))
    return Settlement((*sends, *again), tuple(dead))


def is_final(attempt: int, error: FleetcopyError | None) -> bool:
    """Whether an error is the last word about a task that had failed `attempt` times before."""
    return error is None or not error.retryable or attempt + 1 >= ATTEMPTS


def split(task: CopyTask) -> Settlement:
    """Hand over a task of several objects as two halves of itself, attempts unchanged."""
    assert len(task.objects) > 1
    middle = len(task.objects) // 2
    halves = (task.objects[:middle], task.objects[middle:])
    return Settlement(tuple(Send(encode(_part(task, half, task.attempt))) for half in halves))


def reject(body: str, error: MessageError, transfer: str) -> Settlement:
    """Hand a message that is no task of ours to the dead-letter queue, as it is."""
    return Settlement(dead_letters=(DeadLetter(body, _attributes(error, "", transfer)),))


def _part(task: Task, refs: Sequence[ObjectRef], attempt: int) -> Task:
    """The same task of these of its objects."""
    if isinstance(task, CopyTask):
        return CopyTask(task.transfer, tuple(refs), attempt)
    return msgspec.structs.replace(task, attempt=attempt)


def _dead_object(task: Task, ref: ObjectRef, error: FleetcopyError | None) -> DeadLetter:
    # A large object is begun anew: nothing of its upload is left.
    again = LargeTask(task.transfer, ref) if isinstance(task, LargeTask) else _part(task, [ref], 0)
    return DeadLetter(encode(again), _attributes(error, ref.key, task.transfer))


def _attributes(error: FleetcopyError | None, key: str, transfer: str) -> dict[str, str]:
    """Attribute values as SQS takes them: not empty, no control characters; JSON escapes see to those."""
    values = {
        "Reason": error.reason if error else "Unknown",
        "Detail": str(error),
        "Key": key,
        "Transfer": transfer,
    }
    return {name: to_ascii_json(value)[1:-1][:_ATTRIBUTE_LENGTH] for name, value in values.items() if value}
