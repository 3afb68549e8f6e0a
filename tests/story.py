"""The fleet's part of the demo: what its instances do, and what is done to them, told as it happens."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.cloud import Cloud
from tests.cloud.fleet import Event, Fleet, Instance
from tests.screen import Screen

LEASE_SECONDS = 5
NOTICE_SECONDS = 12.0
"""In the demo's short minutes."""

TICK_SECONDS = 0.1


class DemoError(Exception):
    """The demo cannot go on, or has not shown what it promises; the text says why."""


class Journals:
    """What the workers on all instances have logged so far, read as it grows."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._read: Counter[str] = Counter()

    def new(self) -> list[tuple[Instance, dict[str, Any]]]:
        """The lines since the last look, with the instance of each."""
        found = []
        for instance in self._fleet.instances():
            path = instance.root / "journal.log"
            if path.exists():
                with path.open("rb") as journal:
                    journal.seek(self._read[instance.id])
                    text = journal.read()
                whole = text[: text.rfind(b"\n") + 1]
                self._read[instance.id] += len(whole)
                found += [(instance, json.loads(line)) for line in whole.splitlines() if line[:1] == b"{"]
        return found


class Story:
    """The fleet's part of the story: what its instances do, and what is done to them, told as it happens."""

    def __init__(self, screen: Screen, cloud: Cloud, fleet: Fleet, queue_url: str) -> None:
        self.fleet = fleet
        self.looks = 0
        """How often the demo itself asked the queue, which is not on the bill."""
        self._screen = screen
        self._cloud = cloud
        self._queue_url = queue_url
        self._journals = Journals(fleet)
        self._told = 0
        self._draining: set[str] = set()
        self._stopped: dict[str, dict[str, Any]] = {}
        self._interrupted = self._killed = ""
        self._killed_at = 0.0
        self._came_back = 0

    @property
    def copied(self) -> int:
        """Writes to the destination so far."""
        return self._cloud.counts().get("s3:PutObject", 0)

    def is_empty(self) -> bool:
        """Whether the queue holds nothing, in flight neither."""
        self.looks += 1
        return depth(self._cloud, self._queue_url) == 0

    def running(self, count: int) -> bool:
        """Whether so many instances run, and no other is on its way up or down."""
        states = [one.state for one in self.fleet.instances() if one.state != "ended"]
        return states == ["running"] * count

    @property
    def draining(self) -> bool:
        """Whether the interrupted instance knows of it."""
        return self._interrupted in self._draining

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Tell what happens until a condition holds.

        Raises:
            DemoError: it does not, in so many seconds.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self._tick()
            if time.monotonic() > deadline:
                states = ", ".join(f"{one.id} {one.state}" for one in self.fleet.instances())
                raise DemoError(f"not in {seconds:.0f} s: {what}; {states}")
            time.sleep(TICK_SECONDS)
        self._tick()

    def interrupt(self) -> None:
        """Give the instance that has run longest a notice."""
        self._interrupted = self._oldest().id
        self._screen.say(
            f"EC2 wants {self._interrupted} back: a Spot interruption notice, and {NOTICE_SECONDS:.0f} s to "
            "live (two minutes, in the demo's short ones)."
        )
        self.fleet.interrupt(self._interrupted)

    def kill(self) -> None:
        """Let the instance that has run longest vanish."""
        self._killed, self._killed_at = self._oldest().id, time.monotonic()
        self._screen.say(
            f"{self._killed} vanishes without a notice: all of its processes at one stroke. Nobody hands its "
            f"tasks over; they come back when their leases end, in {LEASE_SECONDS} s at most."
        )
        self.fleet.kill(self._killed)

    def check(self) -> None:
        """Raise unless all that was to happen has happened."""
        if not self._came_back:
            raise DemoError("the instance that vanished held no task, so that none came back")
        if not self._stopped.get(self._interrupted):
            raise DemoError("the interrupted instance did not drain")

    def _oldest(self) -> Instance:
        return next(one for one in self.fleet.instances() if one.state == "running")

    def _tick(self) -> None:
        for instance, line in self._journals.new():
            self._hear(instance, line)
        events = self.fleet.events()
        for event in events[self._told :]:
            self._tell(event)
        self._told = len(events)
        self._screen.progress(self.copied)

    def _tell(self, event: Event) -> None:
        instance = event.instance
        match event.kind:
            case "booted" if instance.replaces:
                self._screen.say(f"The fleet launches {instance.id} in the place of {instance.replaces}.")
            case "ready":
                seconds = instance.ready - instance.launched
                self._screen.say(f"{instance.id} has installed the release and works, {seconds:.1f} s old.")
            case "ended" if instance.id != self._killed:
                copied = self._stopped.get(instance.id, {}).get("copied", 0)
                self._screen.say(f"{instance.id} has drained and powered off; it copied {copied:,} objects.")

    def _hear(self, instance: Instance, line: dict[str, Any]) -> None:
        match line["event"]:
            case "draining":
                self._draining.add(instance.id)
            case "stopped" if "copied" in line or instance.id not in self._stopped:
                self._stopped[instance.id] = line
            case "task" if line["received"] > 1 and self._killed_at:
                self._came_back += 1
                there, copied = line.get("skipped", 0), line.get("copied", 0)
                self._screen.say(
                    f"A task came back, {time.monotonic() - self._killed_at:.1f} s after that, and "
                    f"{instance.id} has done it: {there + copied} objects from {line['task']} on, {there} "
                    f"found in place, {copied} copied."
                )
            case event if line["level"] in ("warning", "error") and event != "interruption notice":
                self._screen.say(f"{instance.id} warns: {event}. {line.get('why', '')}")


def depth(cloud: Cloud, url: str) -> int:
    """How many messages a queue holds, in flight and delayed ones included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    names.append("ApproximateNumberOfMessagesDelayed")
    answer = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(answer["Attributes"][name]) for name in names)
