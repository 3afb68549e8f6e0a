"""The interface behind which tasks wait, and what passes through it.

`aws.sqs.Queue` is the fleet's queue, `flow.local_queue` that of a transfer on one machine. Whoever receives
a message holds a lease on it: the message is hidden from others until it is deleted or the lease ends, and
then comes back. Each message comes at least once, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

BATCH_ENTRIES = 10
"""Entries of one batch at most (SQS Developer Guide, "Message quotas")."""

BATCH_BYTES = 1024**2
"""Bytes of one batch's bodies and attributes at most (same source)."""

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
    """An entry of a batch that the queue did not take, why, and whether sending it again is pointless."""

    entry: Entry
    code: str
    final: bool


class Depth(msgspec.Struct, frozen=True):
    """Numbers of messages, approximate ones on SQS: visible, in flight, delayed."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.visible + self.in_flight + self.delayed


class Sender(Protocol):
    """What takes a batch of entries and answers with those it refused."""

    url: str

    def send(self, entries: Sequence[Entry]) -> list[Refusal]:
        """Send one batch; what the queue did not take of it.

        Args:
            entries: at most `BATCH_ENTRIES`, of `BATCH_BYTES` together.

        Raises:
            FleetcopyError: none of the batch is known to be taken.
        """
        ...


class TaskQueue(Sender, Protocol):
    """A queue as a worker process sees it; safe to call from many threads at once.

    Attributes:
        repeats: whether a message may be received again although whoever received it lives.
    """

    repeats: bool

    def receive(self, *, wait: int, visibility: int) -> Message | None:
        """At most one message, under a lease of `visibility` seconds; None after at most `wait` seconds."""
        ...

    def extend(self, receipts: Sequence[str], visibility: int) -> list[str]:
        """Renew leases for `visibility` seconds from now; the receipts whose lease is lost."""
        ...

    def delete(self, receipt: str) -> None:
        """Acknowledge a message.

        Raises:
            FleetcopyError: it is not known to be deleted.
        """
        ...

    def dead_letters(self) -> Sender:
        """Where what cannot succeed goes.

        Raises:
            ConfigurationError: nowhere.
        """
        ...
