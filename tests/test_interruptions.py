"""A fleet interrupted again and again: each drain in time, its rest soon another's, nothing sent twice.

Two workers are always at work; at random moments one is given notice by its own metadata service, and at once
replaced. The two minutes of a real notice are twelve seconds here; up to five of them pass before it is seen.

A worker looks for a notice every five seconds from its start, so that it sees each of these when it is five
seconds old. What a drain then finds in hand is random because each PUT takes a time of its own: were all the
same, every worker would drain at one and the same point of a task, which may be where nothing is left to hand
over.

Set FLEETCOPY_TEST_SEED to repeat a run, FLEETCOPY_TEST_INTERRUPTIONS for more or fewer of them.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Self

import pytest

from tests.cloud import Cloud
from tests.cloud.metadata import ACTION, Metadata
from tests.test_work import Worker, send, tasks_of
from tests.transfers import Trial, wait_for

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261122"))
INTERRUPTIONS = int(os.environ.get("FLEETCOPY_TEST_INTERRUPTIONS", "100"))
FLEETS = 4
"""Share the interruptions, one test each, so that they can be had at the same time."""

OBJECTS = 1000
"""Of one transfer; another follows until a fleet had enough interruptions."""

TASK_OBJECTS = 10
STREAMS = 4
PUT_SECONDS = (0.5, 1.0, 1.5)
"""Each as often as the others; a task lasts more than two seconds, so that there is one in hand."""

MOST_COPIED = 8
"""Objects that a worker has copied before it is given notice, less one."""

RESERVE = 20
"""Tasks that are left when the last notice is given, so that there is work for all until it is seen."""

NOTICE_SECONDS = 12
REMAINDER_SECONDS = 10
"""Until a remainder is in other hands, on a busy machine too; a lease that lapses takes two minutes."""


class Instance:
    """A worker with a metadata service of its own."""

    def __init__(self, trial: Trial, options: Iterable[str] = ()) -> None:
        self.noticed_at = 0.0
        self.drain_seconds: float | None = None
        self._metadata = Metadata()
        self._trial = trial
        self._options = options

    def __enter__(self) -> Self:
        self._metadata.__enter__()
        environment = {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self._metadata.url,
        }
        self.worker = Worker(
            self._trial.command.start(
                *["work", *self._trial.ends, "--queue", self._trial.queue.url, "--processes", "1"],
                *["--streams", str(STREAMS), "--log-level", "debug", "--spot-notices", "on"],
                **environment,
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.__exit__()
        self._metadata.__exit__(None, None, None)

    @property
    def is_ready(self) -> bool:
        """Whether its worker process works."""
        return any('"event":"ready"' in line for line in list(self.worker.lines))

    @property
    def copied(self) -> int:
        """Objects that it has copied so far."""
        return sum('"outcome":"copied"' in line for line in list(self.worker.lines))

    def interrupt(self) -> None:
        """Give it notice, and take the time until it has ended."""
        at = datetime.now(UTC) + timedelta(seconds=NOTICE_SECONDS)
        self._metadata.values[ACTION] = json.dumps(
            {"action": "terminate", "time": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
        )
        self.noticed_at = time.monotonic()
        threading.Thread(target=self._await_end, daemon=True).start()

    def _await_end(self) -> None:
        self.worker.process.wait()
        self.drain_seconds = time.monotonic() - self.noticed_at


class Feeder:
    """Keeps one task visible, so that a remainder need not queue behind tasks that nobody has begun."""

    def __init__(self, trial: Trial, tasks: list[str]) -> None:
        self.left = tasks
        self._trial = trial
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.1) and self.left:
            if self._trial.messages()["visible"] == 0:
                send(self._trial, self.left.pop())

    @property
    def ends_soon(self) -> bool:
        """Whether a worker that is given notice now might see it with nothing in hand."""
        return len(self.left) < RESERVE

    def finish(self) -> None:
        """Send all that is left at once."""
        self._stop.set()
        self._thread.join()
        send(self._trial, *self.left)


def delay_puts(trial: Trial, random: Random) -> None:
    """Let each PUT take one of the times, whichever."""
    for number, seconds in enumerate(PUT_SECONDS):
        trial.cloud.fault(
            "s3:PutObject",
            "delay",
            bucket=trial.destination,
            times=None,
            probability=1 / (len(PUT_SECONDS) - number),  # of those that the rules before this one let pass
            seed=random.randrange(1 << 30),
            seconds=seconds,
        )


def seconds_of(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["ts"]).timestamp()


def waits_of_remainders(logs: list[list[dict[str, Any]]]) -> list[float]:
    """Seconds from each hand-over to the moment when another worker received what it then copied."""
    rows = [(number, line) for number, lines in enumerate(logs) for line in lines if line["event"] == "task"]

    def pack(line: dict[str, Any]) -> int:
        return int(line["task"][-5:]) // TASK_OBJECTS

    waits = []
    for giver, given in [(number, line) for number, line in rows if line.get("untouched")]:
        began = [
            seconds_of(line) - line["ms"] / 1000 - seconds_of(given)
            for taker, line in rows
            if taker != giver and pack(line) == pack(given) and line.get("copied")
        ]
        # A few milliseconds before its giver has logged it, a remainder may be another's.
        waits.append(min((max(wait, 0.0) for wait in began if wait > -0.2), default=float("inf")))
    return waits


def sent_again(trial: Trial) -> list[str]:
    """Keys that were written once more after they had been written in full."""
    finished: set[str] = set()
    again = []
    for row in trial.cloud.journal():
        if row["operation"] == "s3:PutObject" and row["bucket"] == trial.destination:
            if row["key"] in finished:
                again.append(row["key"])
            if row["status"] == 200:
                finished.add(row["key"])
    return again


def run_transfer(cloud: Cloud, random: Random, most: int) -> tuple[list[float], list[float]]:
    """One transfer to its end, with `most` interruptions or as many as there is work for.

    Returns the seconds of each drain, and those until each remainder was in other hands.
    """
    trial = Trial.fill(cloud, random, OBJECTS)
    tasks = tasks_of(trial, OBJECTS)
    cloud.clear_journal()
    delay_puts(trial, random)
    with ExitStack() as instances:

        def launch() -> Instance:
            return instances.enter_context(Instance(trial))

        feeder = Feeder(trial, tasks)
        at_work = [launch(), launch()]
        interrupted: list[Instance] = []
        while len(interrupted) < most:
            (victim, other), moment = at_work, random.randrange(MOST_COPIED)
            wait_for(reached(victim, moment, other, feeder), 60, f"{moment} objects, and another at work")
            if feeder.ends_soon:
                break
            victim.interrupt()
            interrupted.append(at_work.pop(0))
            at_work.append(launch())
        for victim in interrupted:
            assert victim.worker.ended(NOTICE_SECONDS + 10) == 0, victim.worker.lines[-3:]
        cloud.clear_faults()
        feeder.finish()
        wait_for(lambda: sum(trial.messages().values()) == 0, 60, "the queue empty")
        for instance in at_work:
            instance.worker.process.terminate()
            assert instance.worker.ended() == 0
        waits = waits_of_remainders([instance.worker.log for instance in (*interrupted, *at_work)])
        wait_for(lambda: all(victim.drain_seconds for victim in interrupted), 5, "the times taken")
        drains = [victim.drain_seconds or 0.0 for victim in interrupted]
    assert sent_again(trial) == []
    assert trial.verify() == f"verdict: equal {OBJECTS}, different 0, missing 0, extra 0, unproven 0"
    assert trial.dead_letters() == 0
    return drains, waits


def reached(victim: Instance, copied: int, other: Instance, feeder: Feeder) -> Callable[[], bool]:
    """Whether it is time to interrupt a worker, another being at work; or it is too late to."""
    return lambda: (other.is_ready and victim.copied >= copied) or feeder.ends_soon


def figures(name: str, seconds: list[float]) -> str:
    return (
        f"{name}: {len(seconds)}, seconds min {min(seconds):.1f}, "
        f"median {statistics.median(seconds):.1f}, max {max(seconds):.1f}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("fleet", range(FLEETS))
def test_interruptions_at_many_moments(fleet: int) -> None:
    share = len(range(fleet, INTERRUPTIONS, FLEETS))
    drains: list[float] = []
    waits: list[float] = []
    for seed in itertools.count(SEED + fleet, FLEETS):
        began = time.monotonic()
        with Cloud() as cloud:  # its memory holds every object of a transfer
            some = run_transfer(cloud, Random(seed), share - len(drains))
        drains += some[0]
        waits += some[1]
        print(f"seed {seed}: {len(some[0])} interruptions in {time.monotonic() - began:.0f} s", flush=True)
        if len(drains) >= share:
            break
    # A worker asks for more as soon as fewer than four are in hand, and then has ten that wait.
    assert len(waits) > share / 2
    print(figures("drains", drains), figures("remainders", waits), sep="\n", flush=True)
    assert max(drains) < NOTICE_SECONDS
    assert max(waits) < REMAINDER_SECONDS
