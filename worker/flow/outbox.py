"""Sending messages until SQS has taken every one of them.

`SendMessageBatch` answers 200 although single entries failed. Each entry is accounted for here; what SQS
refuses for good is an error, never a shrug. Sending an entry twice is harmless: every task is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from random import Random

from worker.core.errors import ConfigurationError, ServiceUnavailableError
from worker.core.retry import pause
from worker.core.tasks import BATCH_BYTES, BATCH_ENTRIES, Entry, Sender


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries in batches that one request takes."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == BATCH_ENTRIES or size + entry.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch


def send_batch(
    queue: Sender, batch: list[Entry], random: Random, wait: Callable[[float], object], *, tries: int
) -> None:
    """Send one batch until every entry of it is taken; `batch` keeps only those that are not.

    Args:
        queue: where to.
        batch: as `batches` yields it.
        random: for the jitter of pauses.
        wait: called with seconds between tries.
        tries: at most.

    Raises:
        ConfigurationError: SQS refuses an entry for good.
        ServiceUnavailableError: an entry still failed at the last try.
    """
    for number in range(1, tries + 1):
        refusals = queue.send(batch)
        batch[:] = [refusal.entry for refusal in refusals]
        if not batch:
            return
        final = next((refusal for refusal in refusals if refusal.final), None)
        if final:
            raise ConfigurationError(f"queue {queue.url} refuses a message: {final.code}")
        if number < tries:
            wait(pause(number, random))
    raise ServiceUnavailableError(
        f"queue {queue.url} did not take {len(batch)} messages in {tries} tries: {refusals[0].code}"
    )
