"""The task queue on SQS, a call a method. Sending again what one entry failed is `flow.outbox`'s."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from worker.aws.errors import Where, translated
from worker.aws.session import sqs_client
from worker.core.errors import ConfigurationError
from worker.core.tasks import BATCH_ENTRIES, Depth, Entry, Message, Refusal

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


class Queue:
    """Implements `core.tasks.TaskQueue`: one queue, by its URL; safe to call from many threads at once."""

    repeats = True

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
        """See `TaskQueue.dead_letters`: the queue's dead-letter queue."""
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
        """See `Sender.send`."""
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
        """See `TaskQueue.receive`."""
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
        """See `TaskQueue.extend`."""
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
        """See `TaskQueue.delete`."""
        with translated(self._where("delete from")):
            self._client.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)
