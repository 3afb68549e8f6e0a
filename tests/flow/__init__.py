"""Tests of `worker.flow` without a network; here, the fakes that they share."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from worker.core.model import ObjectRef
from worker.core.tasks import Entry, Refusal


class RecordingQueue:
    """Takes and records what it is sent, but for what its script refuses.

    Args:
        script: for each call in turn, the bodies that it refuses, and whether for good; nothing after that.
            An error instead is raised.
    """

    def __init__(self, *script: Mapping[str, bool] | Exception) -> None:
        self.url = "https://queue.example/tasks"
        self.calls: list[list[str]] = []
        self.taken: list[Entry] = []
        self._script = list(script)
        self._lock = threading.Lock()

    def send(self, entries: Sequence[Entry]) -> list[Refusal]:
        """See `aws.sqs.Queue.send`."""
        with self._lock:
            self.calls.append([entry.body for entry in entries])
            refused = self._script.pop(0) if self._script else {}
        if isinstance(refused, Exception):
            raise refused
        self.taken += [entry for entry in entries if entry.body not in refused]
        return [
            Refusal(entry, "Code" + entry.body, refused[entry.body])
            for entry in entries
            if entry.body in refused
        ]


class Shelf:
    """A bucket's listing in memory, as S3 would give it; counts the rows that were read."""

    def __init__(self, refs: Iterable[ObjectRef] = ()) -> None:
        self.objects = {ref.key: ref for ref in refs}
        self.read = 0

    def list(self, start_after: str = "", prefix: str | None = None) -> Iterator[ObjectRef]:
        """See `aws.s3.Bucket.list`."""
        for key in sorted(self.objects, key=str.encode):
            if key.encode() > start_after.encode() and key.startswith(prefix or ""):
                self.read += 1
                yield self.objects[key]
