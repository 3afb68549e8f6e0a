"""Small real transfers for the tests: fill, submit, start workers, look at what is left."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from uuid import uuid4

from tests.cloud import Cloud, Queues
from tests.conftest import Command

SIZES = (0, 1, 100, 5_000, 40_000, 300_000)
"""Bytes of the objects of a mixed transfer, about equally often."""


def wait_for(condition: Callable[[], bool], seconds: float, what: str, *, pause: float = 0.01) -> None:
    """Return once `condition` holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)


@dataclass
class Trial:
    """One transfer on the embedded AWS, from a bucket in one region to a bucket in another."""

    cloud: Cloud
    command: Command
    source: str
    destination: str
    queue: Queues

    @classmethod
    def fill(cls, cloud: Cloud, random: Random, objects: int, sizes: Iterable[int] = SIZES) -> Trial:
        """Make buckets and a queue, and put objects of mixed sizes into the source."""
        name = uuid4().hex
        trial = cls(
            cloud,
            Command(cloud.environment()),
            cloud.bucket(f"source-{name}", "us-east-1"),
            cloud.bucket(f"destination-{name}", "eu-west-1"),
            cloud.queue(f"tasks-{name}"),
        )
        s3, choices = cloud.client("s3"), tuple(sizes)
        for number in range(objects):
            body = random.randbytes(random.choice(choices))
            s3.put_object(Bucket=trial.source, Key=f"in/{number:05}", Body=body)
        return trial

    @property
    def ends(self) -> list[str]:
        """SOURCE, DESTINATION and their options, as the commands take them."""
        regions = ["--source-region", "us-east-1", "--destination-region", "eu-west-1"]
        return [*regions, f"s3://{self.source}/in/", f"s3://{self.destination}/out/"]

    def submit(self) -> None:
        """Queue the tasks."""
        done = self.command("submit", *self.ends, "--queue", self.queue.url)
        assert done.returncode == 0, done.stderr

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start a worker with one process and short leases."""
        defaults = ["--processes", "1", "--visibility-seconds", "2"]
        return self.command.start("work", *self.ends, "--queue", self.queue.url, *defaults, *options)

    def verify(self) -> str:
        """The last line that `fleetcopy verify` prints."""
        return self.command("verify", *self.ends).stdout.splitlines()[-1]

    def written(self) -> list[str]:
        """Keys of the destination that were written in full, once for each time."""
        return [
            row["key"]
            for row in self.cloud.journal()
            if row["operation"] == "s3:PutObject"
            and row["bucket"] == self.destination
            and row["status"] == 200
        ]

    def await_writes(self, number: int) -> None:
        """Wait until so many writes were tried since the journal was cleared."""
        wait_for(lambda: self.cloud.counts().get("s3:PutObject", 0) >= number, 60, f"{number} writes")

    def messages(self, url: str | None = None) -> dict[str, int]:
        """Messages of the queue: visible, in flight, delayed."""
        counts = self.cloud.client("sqs").get_queue_attributes(
            QueueUrl=url or self.queue.url, AttributeNames=["All"]
        )["Attributes"]
        names = {"visible": "", "in_flight": "NotVisible", "delayed": "Delayed"}
        return {name: int(counts[f"ApproximateNumberOfMessages{part}"]) for name, part in names.items()}

    def dead_letters(self) -> int:
        """Messages in the dead-letter queue."""
        return sum(self.messages(self.queue.dead_letter_url).values())
