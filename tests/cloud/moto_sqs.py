"""moto's SQS, made safe under threads, stricter, and quick on deep queues; standard queues only.

moto appends, filters and scans one list without a lock, so that a delete may lose a message sent meanwhile;
it computes every attribute, each a scan of the queue, for every message sent; and its long poll looks again
only once a second when a lease or a delay ends. Here one condition guards all queues, every SQS request is
answered under it, and waiting releases it.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import copy
import re
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from moto.sqs import exceptions, models
from moto.sqs.constants import MAXIMUM_MESSAGE_LENGTH

CHANGED = threading.Condition()
# What SQS accepts in a body is what XML 1.0 accepts; moto accepts anything.
REFUSED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MAX_DELAY = 900
MAX_VISIBILITY = 43_200


def apply() -> None:
    """Put the patches in place."""
    put(models, "generate_receipt_handle", lambda: secrets.token_hex(92))
    for method in (
        *(send_message, send_message_batch, receive_message),
        *(change_message_visibility, change_message_visibility_batch),
    ):
        put(models.SQSBackend, method.__name__, method)
    put(models.Queue, "delete_message", delete_message)
    visible = property(lambda queue: count(queue, "visible"))
    delayed = property(lambda queue: count(queue, "delayed"))
    in_flight = property(lambda queue: count(queue, "in flight"))
    put(models.Queue, "approximate_number_of_messages", visible)
    put(models.Queue, "approximate_number_of_messages_delayed", delayed)
    put(models.Queue, "approximate_number_of_messages_not_visible", in_flight)


def put(target: object, name: str, value: object) -> None:
    """Replace what must be there; a patch of something that moto renamed would patch nothing."""
    if not hasattr(target, name):
        raise AttributeError(f"moto has no {name} on {target}")
    setattr(target, name, value)


def _now() -> float:
    return time.time() * 1000


def _state(message: Any, now: float) -> str:
    if message.delayed_until > now:
        return "delayed"
    return "in flight" if message.visible_at > now else "visible"


def count(queue: Any, state: str) -> int:
    """Return how many messages of a queue are "visible", "delayed" or "in flight"."""
    now = _now()
    return sum(1 for message in queue._messages if _state(message, now) == state)  # noqa: SLF001


def _handles(queue: Any) -> dict[str, Any]:
    """Return the queue's messages by every receipt handle that was given out for them."""
    handles: dict[str, Any] = queue.__dict__.setdefault("receipts", {})
    return handles


def _refusal(queue: Any, body: str, attributes: dict[str, Any], delay: int) -> Exception | None:
    if not body:
        return exceptions.MissingParameter("MessageBody")
    if REFUSED.search(body):
        return exceptions.SQSException(
            "InvalidMessageContents",
            "Invalid characters found.",
        )
    size = message_size(body, attributes)
    if size > queue.maximum_message_size:
        return exceptions.InvalidParameterValue(
            "One or more parameters are invalid. Reason: Message must be shorter than "
            f"{queue.maximum_message_size} bytes."
        )
    if not 0 <= delay <= MAX_DELAY:
        return exceptions.InvalidParameterValue(
            f"Value {delay} for parameter DelaySeconds is invalid. Reason: must be between 0 and 900."
        )
    return None


def message_size(body: str, attributes: dict[str, Any]) -> int:
    """Return what counts against the limit: bytes, not characters as in moto, and the attributes too."""
    size = len(body.encode())
    for name, attribute in attributes.items():
        value = attribute.get("StringValue") or attribute.get("BinaryValue") or ""
        size += len(name) + len(attribute["DataType"])
        size += len(value.encode() if isinstance(value, str) else value)
    return size


def send_message(  # noqa: PLR0917 - as moto calls it
    self: Any,
    queue_name: str,
    message_body: str,
    message_attributes: dict[str, Any] | None = None,
    delay_seconds: int | None = None,
    system_attributes: dict[str, Any] | None = None,
    **_fifo: object,
) -> Any:
    """Send one message, as SQSBackend.send_message."""
    queue = self.get_queue(queue_name)
    delay = int(queue.delay_seconds if delay_seconds is None else delay_seconds)
    refusal = _refusal(queue, message_body, message_attributes or {}, delay)
    if refusal:
        raise refusal
    message = models.Message(str(uuid4()), message_body, system_attributes)
    message.message_attributes = message_attributes or {}
    message.mark_sent(delay_seconds=delay)
    _enqueue(queue, message)
    return message


def _enqueue(queue: Any, message: Any) -> None:
    with CHANGED:
        queue._messages.append(message)  # noqa: SLF001
        CHANGED.notify_all()


def send_message_batch(
    self: Any, queue_name: str, entries: dict[str, dict[str, Any]]
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Send up to ten messages; an entry that is refused fails by itself, where moto fails them all."""
    queue = self.get_queue(queue_name)
    ids = [entry["Id"] for entry in entries.values()]
    if any(not re.fullmatch(r"[\w-]{1,80}", name) for name in ids):
        raise exceptions.InvalidBatchEntryId
    if len(ids) > 10:
        raise exceptions.TooManyEntriesInBatchRequest(len(ids))
    if len(set(ids)) < len(ids):
        raise exceptions.BatchEntryIdsNotDistinct(next(name for name in ids if ids.count(name) > 1))
    total = sum(message_size(entry["MessageBody"], entry["MessageAttributes"]) for entry in entries.values())
    if total > MAXIMUM_MESSAGE_LENGTH:
        raise exceptions.BatchRequestTooLong(total)
    sent, failed = [], []
    for entry in entries.values():
        body, attributes = entry["MessageBody"], entry["MessageAttributes"]
        delay = int(queue.delay_seconds if entry["DelaySeconds"] is None else entry["DelaySeconds"])
        refusal: Any = _refusal(queue, body, attributes, delay)
        if refusal:
            failed.append(
                {"Id": entry["Id"], "SenderFault": True, "Code": refusal.code, "Message": refusal.message}
            )
            continue
        message = self.send_message(queue_name, body, attributes, delay)
        message.user_id = entry["Id"]
        sent.append(message)
    return sent, failed


def receive_message(  # noqa: PLR0917 - as moto calls it
    self: Any,
    queue_name: str,
    count: int,
    wait_seconds_timeout: int,
    visibility_timeout: int,
    message_attribute_names: list[str] | None = None,
) -> list[Any]:
    """Receive, waiting until a message is sent or becomes visible, or the time is up."""
    end = time.monotonic() + wait_seconds_timeout
    with CHANGED:
        while True:
            queue = self.get_queue(queue_name)
            taken = _take(queue, count, visibility_timeout)
            left = end - time.monotonic()
            if taken or left <= 0:
                break
            CHANGED.wait(min(left, _seconds_to_next(queue)))
        return [_delivered(message, message_attribute_names or []) for message in taken]


def _delivered(message: Any, attribute_names: list[str]) -> Any:
    delivered = copy.copy(message)
    models._filter_message_attributes(delivered, attribute_names)  # noqa: SLF001
    return delivered


def _take(queue: Any, count: int, visibility: int) -> list[Any]:
    now, taken, dead = _now(), [], []
    expired = now - queue.message_retention_period * 1000
    limit = queue.redrive_policy["maxReceiveCount"] if queue.dead_letter_queue else None
    for message in queue._messages:  # noqa: SLF001
        if message.visible_at > now or message.delayed_until > now or message.sent_timestamp < expired:
            continue
        if limit is not None and message.approximate_receive_count >= limit:
            dead.append(message)
            continue
        message.mark_received(visibility_timeout=visibility)
        message.received_at = now
        _handles(queue)[message.receipt_handle] = message
        taken.append(message)
        if len(taken) >= count:
            break
    for message in dead:
        queue._messages.remove(message)  # noqa: SLF001
        _enqueue(queue.dead_letter_queue, message)
    return taken


def _seconds_to_next(queue: Any) -> float:
    now = _now()
    ends = (max(message.visible_at, message.delayed_until) for message in queue._messages)  # noqa: SLF001
    return max(min((end - now for end in ends if end > now), default=3_600_000) / 1000, 0.001)


def delete_message(self: Any, receipt_handle: str) -> None:
    """Delete by any handle ever given out, as moto does, without a scan of the queue's handles."""
    message = _handles(self).get(receipt_handle)
    if message is None:
        raise exceptions.ReceiptHandleIsInvalid
    if message in self._messages:
        self._messages.remove(message)


def change_message_visibility(
    self: Any, queue_name: str, receipt_handle: str, visibility_timeout: int
) -> None:
    """Change a lease; twelve hours count from the receipt, where moto counts from the sending."""
    queue = self.get_queue(queue_name)
    message = _handles(queue).get(receipt_handle)
    if message is None:
        raise exceptions.ReceiptHandleIsInvalid
    now, seconds = _now(), int(visibility_timeout)
    in_flight = message in queue._messages and message.visible_at > now  # noqa: SLF001
    if not in_flight or message.receipt_handle != receipt_handle:
        raise exceptions.InvalidParameterValue(
            f"Value {receipt_handle} for parameter ReceiptHandle is invalid. "
            "Reason: Message does not exist or is not available for visibility timeout change."
        )
    if now + seconds * 1000 - message.received_at > MAX_VISIBILITY * 1000:
        raise exceptions.InvalidParameterValue(
            f"Value {seconds} for parameter VisibilityTimeout is invalid. "
            "Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
        )
    message.visible_at = now + seconds * 1000 if seconds else 0.0
    with CHANGED:
        CHANGED.notify_all()


def change_message_visibility_batch(
    self: Any, queue_name: str, entries: list[dict[str, Any]]
) -> tuple[list[str], list[dict[str, Any]]]:
    """Change leases, each by itself: moto fails the whole batch for one that has lapsed."""
    done, failed = [], []
    for entry in entries:
        try:
            change_message_visibility(self, queue_name, entry["ReceiptHandle"], entry["VisibilityTimeout"])
        except exceptions.SQSException as error:
            failed.append(
                {"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message}
            )
        else:
            done.append(entry["Id"])
    return done, failed


def _everywhere() -> Iterator[tuple[Any, Any]]:
    for account in models.sqs_backends.values():
        for backend in account.values():
            for queue in backend.queues.values():
                for message in queue._messages:  # noqa: SLF001
                    yield queue, message


def make_visible(message_id: str) -> None:
    """End a message's lease without its handle; for the fault "duplicate"."""
    with CHANGED:
        for _, message in _everywhere():
            if message.id == message_id:
                message.visible_at = 0.0
                CHANGED.notify_all()


def discard(message_id: str) -> None:
    """Remove a message as if it had never been sent; for the fault "fail_entries"."""
    with CHANGED:
        for queue, message in list(_everywhere()):
            if message.id == message_id:
                queue._messages.remove(message)  # noqa: SLF001
