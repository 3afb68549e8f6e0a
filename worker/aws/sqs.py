"""The task queue on SQS, a call a method. Sending again what one entry failed is `flow.outbox`'s."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from worker.aws.errors import Where, translated
from worker.aws.session import sqs_client
from worker.core.errors import ConfigurationError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BATCH_ENTRIES = 10
"""Entries of one batch request at most (SQS Developer Guide, "Message quotas")."""

BATCH_BYTES = 1024**2
"""Bytes of one batch request's bodies and attributes at most (same source)."""

LONGEST_LEASE = 12 * 3600
"""Seconds after which SQS ends a lease whatever its heartbeat ("Visibility timeout")."""


class Message(msgspec.Struct, frozen=True):
    """A received message: its body, the handle of this receipt, and how often it has been received."""

    body: str
    receipt: str
    receive_count: int


class Entry(msgspec.Struct, frozen=True):
    """A message to send: body, seconds of delay, text attributes."""

    body: str
    delay: int = 0
    attributes: Mapping[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes that SQS counts."""
        return len(self.body.encode()) + sum(len(n) + 6 + len(v.encode()) for n, v in self.attributes.items())


class Refusal(msgspec.Struct, frozen=True):
    """An entry of a batch that SQS did not take, why, and whether sending it again is pointless."""

    entry: Entry
    code: str
    final: bool


class Depth(msgspec.Struct, frozen=True):
    """Approximate numbers of messages: visible, in flight, delayed."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.in_flight + self.delayed


class Queue:
    """One queue, by its URL; safe to call from many threads at once."""

    def __init__(self, url: str, client: SQSClient | None = None) -> None:
        self.url = url
        self._client = client or sqs_client(url)

    def _where(self, action: str) -> Where:
        return Where(f"{action} queue {self.url}")

    def depth(self) -> Depth:
        """How many messages the queue holds.

        Raises:
            ConfigurationError: there is no such queue, or it may not be asked.
        """
        with translated(self._where("ask")):
            answer = self._client.get_queue_attributes(
                QueueUrl=self.url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )
        counts = answer["Attributes"]
        return Depth(
            int(counts["ApproximateNumberOfMessages"]),
            int(counts["ApproximateNumberOfMessagesNotVisible"]),
            int(counts["ApproximateNumberOfMessagesDelayed"]),
        )

    def dead_letters(self) -> Queue:
        """The queue's dead-letter queue.

        Raises:
            ConfigurationError: it has none.
        """
        with translated(self._where("ask")):
            answer = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["RedrivePolicy"])
            policy = answer.get("Attributes", {}).get("RedrivePolicy")
            if not policy:
                raise ConfigurationError(
                    f"queue {self.url} has no dead-letter queue: set its RedrivePolicy "
                    "(maxReceiveCount 50), so that what cannot succeed has a place to go"
                )
            name = json.loads(policy)["deadLetterTargetArn"].rpartition(":")[2]
        # It is in the same account and region (SQS Developer Guide, "Dead-letter queues"), so that its URL
        # differs by its name alone, and no further permission is needed to find it.
        return Queue(f"{self.url.rpartition('/')[0]}/{name}", self._client)

    def send(self, entries: Sequence[Entry]) -> list[Refusal]:
        """Send one batch; what SQS did not take of it.

        Args:
            entries: at most `BATCH_ENTRIES`, of `BATCH_BYTES` together.

        Raises:
            FleetcopyError: none of the batch is known to be taken.
        """
        with translated(self._where("send to")):
            answer = self._client.send_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {
                        "Id": str(number),
                        "MessageBody": entry.body,
                        "DelaySeconds": entry.delay,
                        "MessageAttributes": {
                            name: {"DataType": "String", "StringValue": value}
                            for name, value in entry.attributes.items()
                        },
                    }
                    for number, entry in enumerate(entries)
                ],
            )
        return [
            Refusal(entries[int(failed["Id"])], failed["Code"], failed["SenderFault"])
            for failed in answer.get("Failed", [])
        ]

    def receive(self, *, wait: int, visibility: int) -> Message | None:
        """At most one message, hidden from others for `visibility` seconds; None after `wait` seconds."""
        with translated(self._where("receive from")):
            answer = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=1,
                WaitTimeSeconds=wait,
                VisibilityTimeout=visibility,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        for message in answer.get("Messages", []):
            count = int(message["Attributes"]["ApproximateReceiveCount"])
            return Message(message["Body"], message["ReceiptHandle"], count)
        return None

    def extend(self, receipts: Sequence[str], visibility: int) -> list[str]:
        """Keep messages hidden for `visibility` seconds from now; the receipts for which that failed."""
        lost: list[str] = []
        for first in range(0, len(receipts), BATCH_ENTRIES):
            batch = receipts[first : first + BATCH_ENTRIES]
            with translated(self._where("extend a lease of")):
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=self.url,
                    Entries=[
                        {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": visibility}
                        for number, receipt in enumerate(batch)
                    ],
                )
            lost += [batch[int(failed["Id"])] for failed in answer.get("Failed", [])]
        return lost

    def delete(self, receipt: str) -> None:
        """Acknowledge a message.

        Raises:
            FleetcopyError: it is not known to be deleted.
        """
        with translated(self._where("delete from")):
            self._client.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)
