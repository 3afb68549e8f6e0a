"""The demo, `python -m tests.demo`: a bucket moves to another region, and one of three workers dies.

Everything is real but the AWS, which is the embedded one: the commands are run as they are shown, the worker
is killed as an instance dies, the verdict is `fleetcopy verify`'s. `DEMO_OBJECTS` sets how many objects there
are. Exit status 0 means that all of them were proven after a worker had died with tasks in its hands, and
that nothing was given up; 1 that this is not so, and why; 128 and the signal's number that a signal ended it.
However it ends, no process and no file is left. Needs Linux's /proc, no root, no network but loopback.

The story is told by a thread, so that the main thread is free for signals at any moment.
"""

# ruff: noqa: E402 - signals are minded before the imports

from __future__ import annotations

import os
import signal
from types import FrameType


def end_at_once(number: int, _frame: FrameType | None) -> None:
    """Mind a signal while there is nothing yet to be ended but this process."""
    os.write(1, ended_by(number).encode())
    os._exit(128 + number)


def ended_by(number: int) -> str:
    """Return the last line that is seen of a demo which a signal ends; it takes a terminal's ^C away."""
    start = "\r\x1b[K" if os.isatty(1) else ""
    return f"{start}The demo is ended by {signal.Signals(number).name}; nothing of it is left.\n"


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
if __name__ == "__main__":
    # Before the imports below, which take most of a second.
    for _number in SIGNALS:
        signal.signal(_number, end_at_once)

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests import archive, guard
from tests.cloud import Cloud, Queues
from tests.processes import children, end_tree
from tests.screen import Screen
from worker.core import cost

FLEETCOPY = Path(sys.executable).with_name("fleetcopy")
SEED = 1991
OBJECTS = 600
FEWEST_OBJECTS = 100
FILLERS = 4

SOURCE, SOURCE_REGION = "radar", "us-east-1"
DESTINATION, DESTINATION_REGION = "radar-copy", "eu-west-1"
SIDES = [f"s3://{SOURCE}", f"s3://{DESTINATION}", "--destination-region", DESTINATION_REGION]

OCEAN_SECONDS = 0.08
"""By how much each write to the other region is delayed, since loopback knows no distance."""

WORKERS = 3
LEASE_SECONDS = 5
WORK = [
    *["work", *SIDES, "--processes", "1", "--streams", "4", "--visibility-seconds", str(LEASE_SECONDS)],
    *["--until-empty", "--empty-seconds", "1", "--log-level", "debug"],
]
EARLY_OBJECTS = 8
"""A task has 16 objects at least; one of which so few are copied is still in its worker's hands."""

TICK_SECONDS = 0.1


class DemoError(Exception):
    """The demo cannot go on, or has not shown what it promises; the text says why."""


class Processes:
    """The commands that the demo runs; none is started once it is closed, and none survives that."""

    def __init__(self, screen: Screen) -> None:
        self.environment: dict[str, str] = {}
        self._screen = screen
        self._lock = threading.Lock()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the demo is being ended."""
        return self._closed

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `fleetcopy`, its output piped."""
        with self._lock:
            if self._closed:
                raise DemoError("it is being ended")
            return subprocess.Popen(
                [FLEETCOPY, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # A terminal's Ctrl-C is for the demo alone.
                process_group=0,
            )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Show a command, run it to its end, show its output; its exit status and output."""
        self._screen.command(["fleetcopy", *arguments])
        process = self.start(*arguments)
        out, err = process.communicate()
        self._screen.show((out + err).rstrip("\n"))
        return process.returncode, out

    def close(self) -> None:
        """End all processes below this one, the embedded AWS included."""
        with self._lock:
            self._closed = True
        for pid in children(os.getpid()):
            end_tree(pid)


class Worker:
    """One `fleetcopy work`, and what its log has told so far."""

    def __init__(
        self, number: int, process: subprocess.Popen[str], lines: queue.SimpleQueue[tuple[Worker, str]]
    ) -> None:
        self.name = f"Worker {number}"
        self.process = process
        self.killed = False
        self.in_hand = 0
        """Objects copied of tasks that are not settled."""
        self._lines = lines
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put((self, line.rstrip("\n")))

    @property
    def ended(self) -> bool:
        """Whether its process has ended."""
        return self.process.poll() is not None


class Fleet:
    """The workers at work: tells what their logs tell, and kills one of them."""

    def __init__(
        self, screen: Screen, processes: Processes, cloud: Cloud, queues: Queues, total: int
    ) -> None:
        self.looks = 0
        """How often the demo itself asked the queue, which is not on the bill."""
        self.came_back = 0
        self._screen = screen
        self._processes = processes
        self._cloud = cloud
        self._queues = queues
        self._total = total
        self._lines: queue.SimpleQueue[tuple[Worker, str]] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self._killed_at = 0.0

    def run(self) -> None:
        """Work until the queue is empty and every worker has ended."""
        self._screen.command(["fleetcopy", *WORK])
        for number in range(1, WORKERS + 1):
            self._workers.append(Worker(number, self._processes.start(*WORK), self._lines))
        deadline = time.monotonic() + 60 + self._total / 10
        with self._screen.bar("copied", self._total):
            while not all(worker.ended for worker in self._workers):
                self._tick()
                if time.monotonic() > deadline:
                    raise DemoError("the workers have not ended in the time that was more than enough")
            self._tick()

    def check(self) -> None:
        """Raise unless one worker was killed in the middle of its work, and all others ended well."""
        for worker in self._workers:
            expected = -signal.SIGKILL if worker.killed else 0
            if worker.process.returncode != expected:
                raise DemoError(f"{worker.name.lower()} ended with status {worker.process.returncode}")
        if not self._killed_at:
            raise DemoError("the work was done before a worker could be killed; set DEMO_OBJECTS higher")
        if not self.came_back:
            raise DemoError("the killed worker held no task, so that none came back")

    def _tick(self) -> None:
        time.sleep(TICK_SECONDS)
        with contextlib.suppress(queue.Empty):
            while True:
                self._hear(*self._lines.get_nowait())
        copied = min(self._total, self._cloud.counts().get("s3:PutObject", 0))
        self._screen.progress(copied)
        if not self._killed_at and copied >= self._total / 3:
            busy = [worker for worker in self._workers if 0 < worker.in_hand <= EARLY_OBJECTS]
            if busy:
                self._kill(busy[-1], copied)

    def _kill(self, worker: Worker, copied: int) -> None:
        if worker.ended:
            return
        pids = end_tree(worker.process.pid)
        self._killed_at, worker.killed = time.monotonic(), True
        waiting, leased = self._depth()
        self._screen.say(
            f"{worker.name} is killed after {copied:,} of {self._total:,} objects, as if its instance "
            f"vanished: SIGKILL to its {len(pids)} processes at once, in the middle of a task."
        )
        self._screen.say(
            f"The queue holds {waiting} waiting tasks and {leased} leased ones. Nobody settles those of "
            f"{worker.name.lower()}: they come back when their leases end, in {LEASE_SECONDS} s at most."
        )

    def _depth(self) -> tuple[int, int]:
        self.looks += 1
        return depth(self._cloud, self._queues.url)

    def _hear(self, worker: Worker, line: str) -> None:
        """Take in one line of a worker's log; tell what a person wants to know."""
        try:
            log = json.loads(line)
        except ValueError:
            self._screen.show(f"{worker.name.lower()}: {line}")
            return
        match log["event"]:
            case "ready":
                self._screen.say(f"{worker.name} is ready, {log['streams']} objects at a time.")
            case "object" if log["outcome"] == "copied":
                worker.in_hand += 1
            case "task":
                worker.in_hand -= log.get("copied", 0)
                if log["received"] > 1:
                    self._tell_returned(worker, log)
            case "stopped":
                copied, proven = log.get("copied", 0), log.get("md5", 0)
                self._screen.say(
                    f"{worker.name} ends, the queue being empty: {copied:,} objects copied, "
                    f"{proven:,} proven by their MD5."
                )
            case event if log["level"] in ("warning", "error"):
                self._screen.say(f"{worker.name} warns: {event}. {log.get('why', '')}")

    def _tell_returned(self, worker: Worker, log: dict[str, Any]) -> None:
        """A task was received before: from the killed worker, or from one that lost its lease."""
        after = ""
        if self._killed_at:
            self.came_back += 1
            after = f", {time.monotonic() - self._killed_at:.1f} s after the kill"
        there, copied = log.get("skipped", 0), log.get("copied", 0)
        self._screen.say(
            f"{worker.name} has done a task that came back{after}: {log['task']} and "
            f"{there + copied - 1} more, {there} found in place, {copied} copied."
        )


def depth(cloud: Cloud, url: str) -> tuple[int, int]:
    """How many messages of a queue wait, and how many are leased."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return int(answer["Attributes"][names[0]]), int(answer["Attributes"][names[1]])


def tell(screen: Screen, processes: Processes, total: int) -> None:
    """Tell the whole story.

    Raises:
        DemoError: it did not come to its good end.
    """
    screen.say("The embedded AWS starts ...")
    with Cloud() as cloud:
        screen.say(f"It answers at {cloud.url}, as {SOURCE_REGION} and as {DESTINATION_REGION}.")
        queues = prepare(screen, cloud, total)
        processes.environment = environment(cloud, queues)
        screen.say("Submit: both sides are listed, and a task is queued for whatever the destination lacks.")
        screen.command(["export", f"FLEETCOPY_QUEUE_URL={queues.url}"])
        if processes.run("submit", *SIDES)[0]:
            raise DemoError("submit failed")
        screen.say(f"Work: {WORKERS} workers, each as on an instance of its own.")
        fleet = Fleet(screen, processes, cloud, queues, total)
        fleet.run()
        screen.say("Verify: both sides are listed again, and compared object by object.")
        status, out = processes.run("verify", *SIDES)
        screen.show(f"(exit status {status})")
        counts = Counter(cloud.counts())
        counts["sqs:GetQueueAttributes"] -= fleet.looks
        tell_bill(screen, +counts, total)
        dead = sum(depth(cloud, queues.dead_letter_url))
        screen.say(f"The dead-letter queue holds {dead} messages.")
        check_verdict(status, out, total)
        if dead:
            raise DemoError(f"{dead} messages are in the dead-letter queue")
        fleet.check()


def check_verdict(status: int, out: str, total: int) -> None:
    """Raise unless verify proved every object."""
    verdict = f"verdict: equal {total}, different 0, missing 0, extra 0, unproven 0"
    if status or out.splitlines()[-1:] != [verdict]:
        raise DemoError("verify has not proven every object")


def environment(cloud: Cloud, queues: Queues) -> dict[str, str]:
    """Return what the commands shall know: this AWS and this queue, no setting of the user's own."""
    kept = {
        name: value
        for name, value in cloud.environment(region=SOURCE_REGION).items()
        if not name.startswith("FLEETCOPY_") or name == guard.LOG
    }
    return kept | {"FLEETCOPY_QUEUE_URL": queues.url}


def prepare(screen: Screen, cloud: Cloud, total: int) -> Queues:
    """Make buckets and queues, and fill the source."""
    screen.say(
        f"Bucket {SOURCE} in {SOURCE_REGION} gets {total:,} objects shaped like the NEXRAD radar archive of "
        f"{SEED}, sizes 1/{archive.SCALE} of the real ones (seed {SEED})."
    )
    cloud.bucket(SOURCE, SOURCE_REGION)
    cloud.bucket(DESTINATION, DESTINATION_REGION)
    objects = list(archive.generate(total, SEED))
    fill(screen, cloud, objects)
    empty = sum(1 for found in objects if found.key.endswith("/"))
    size = sum(found.size for found in objects)
    screen.say(
        f"It holds {size / 1e6:.1f} MB, {objects[-1].key} for one, and {empty} empty folder keys such as "
        f"{objects[0].key}. Bucket {DESTINATION} in {DESTINATION_REGION} is empty."
    )
    screen.say(f"Each write to {DESTINATION} shall take {OCEAN_SECONDS * 1000:.0f} ms more, for the ocean.")
    cloud.fault("s3:PutObject", "delay", bucket=DESTINATION, times=None, seconds=OCEAN_SECONDS)
    queues = cloud.queue("radar-tasks", region=SOURCE_REGION)
    cloud.clear_journal()
    return queues


def fill(screen: Screen, cloud: Cloud, objects: Sequence[archive.ArchivedObject]) -> None:
    """Put the objects, a few at a time."""
    s3 = cloud.client("s3", SOURCE_REGION)

    def put(found: archive.ArchivedObject) -> None:
        kind = {"ContentType": found.content_type} if found.content_type else {}
        s3.put_object(Bucket=SOURCE, Key=found.key, Body=found.body(), Metadata=dict(found.metadata), **kind)

    pool = ThreadPoolExecutor(FILLERS)
    try:
        with screen.bar("filled", len(objects)):
            for done, _ in enumerate(pool.map(put, objects), start=1):
                screen.progress(done)
    finally:
        pool.shutdown(cancel_futures=True)


def tell_bill(screen: Screen, counts: Counter[str], total: int) -> None:
    """Show what AWS would bill for the requests of submit, work and verify."""
    screen.say(f"The bill of submit, work and verify, at the prices of {cost.PRICES_AS_OF}:")
    width = max(map(len, counts))
    by_price = sorted(counts, key=lambda kind: (-cost.dollars({kind: counts[kind]}), kind))
    for kind in by_price:
        screen.show(f"{kind:{width}} {counts[kind]:7,}   ${cost.dollars({kind: counts[kind]}):.7f}")
    dollars = cost.dollars(counts)
    screen.show(f"{'all requests':{width}} {counts.total():7,}   ${dollars:.7f}")
    screen.show(f"which would be ${dollars / total * 1_000_000:.2f} for a million objects")


def objects_wanted() -> int:
    """Read `DEMO_OBJECTS`.

    Raises:
        DemoError: it is no such number.
    """
    text = os.environ.get("DEMO_OBJECTS") or str(OBJECTS)
    if not text.isdecimal() or int(text) < FEWEST_OBJECTS:
        raise DemoError(f"DEMO_OBJECTS={text} is not a number of objects: give {FEWEST_OBJECTS} or more")
    return int(text)


def perform(screen: Screen, processes: Processes, ends: queue.SimpleQueue[int]) -> None:
    """Tell the story, and tell the main thread its exit status."""
    status = 1
    try:
        tell(screen, processes, objects_wanted())
    except DemoError as error:
        if not processes.closed:
            screen.say(f"FAILED: {error}.")
    except BrokenPipeError:
        pass  # the reader of our output is gone, and there is nobody to tell
    except Exception:  # noqa: BLE001 - a bug must end the demo too
        if not processes.closed:
            screen.say(f"FAILED: a bug.\n{traceback.format_exc()}")
    else:
        screen.say("Done: one worker lost, no object lost.")
        status = 0
    ends.put(status)


def isolate() -> None:
    """Know nothing of the user's AWS, and speak to loopback only."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    guard.install()


def main() -> int:
    """Run the demo to its end or to a signal; the exit status."""
    # By whoever is first to know: a signal's handler, which does no more than that, or the story's thread.
    ends: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: ends.put(128 + number))
    isolate()
    screen = Screen()
    processes = Processes(screen)
    story = threading.Thread(target=perform, args=(screen, processes, ends), daemon=True)
    story.start()
    status = ends.get()
    screen.close()
    processes.close()
    # What the story waited for is gone now, so that it ends too; it may just have started the embedded AWS.
    story.join(2)
    processes.close()
    with contextlib.suppress(OSError):  # the reader of our output is gone
        if status > 128:
            sys.stdout.write(ended_by(status - 128))
        sys.stdout.flush()
    return status


if __name__ == "__main__":
    # Threads of a story that was cut short may hang in a socket, and Python would wait for them.
    os._exit(main())
