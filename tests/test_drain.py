"""SIGTERM at any moment: exit 0 within the budget, no message left invisible, nothing finished copied again.

Set FLEETCOPY_TEST_SEED to repeat a run, FLEETCOPY_TEST_ROUNDS for more or fewer rounds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from tests.cloud import Cloud
from tests.transfers import Trial, wait_for

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261122"))
ROUNDS = int(os.environ.get("FLEETCOPY_TEST_ROUNDS", "50"))
OBJECTS = 150
BUDGET = 10


def run_round(cloud: Cloud, random: Random) -> str:
    """One transfer drained at a random moment, and finished by a second worker."""
    trial = Trial.fill(cloud, random, OBJECTS)
    cloud.clear_journal()
    trial.submit()
    moment = random.randrange(1, OBJECTS)
    worker = trial.start("--drain-seconds", str(BUDGET), "--visibility-seconds", "120")
    try:
        trial.await_writes(moment)
        began = time.monotonic()
        worker.send_signal(random.choice((signal.SIGTERM, signal.SIGINT)))
        _, err = worker.communicate(timeout=BUDGET + 5)
        took = time.monotonic() - began
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0, err
    assert took < BUDGET
    assert trial.messages()["in_flight"] == 0
    finished = trial.written()
    second = trial.start("--until-empty", "--empty-seconds", "1")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    again = set(trial.written()[len(finished) :]) & set(finished)
    assert not again
    assert trial.verify() == f"verdict: equal {OBJECTS}, different 0, missing 0, extra 0, unproven 0"
    assert trial.dead_letters() == 0
    return f"drained at {moment} with {len(finished)} written, in {took:.1f} s"


def test_a_drain_leaves_nothing_undone_and_nothing_done_twice(cloud: Cloud) -> None:
    print(f"seed {SEED}", run_round(cloud, Random(SEED)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_drains_at_many_moments(seed: int) -> None:
    with Cloud() as cloud:  # its memory holds every object of a round
        print(f"seed {seed}:", run_round(cloud, Random(seed)))


def test_a_drain_stops_a_transfer_that_would_outlast_it(cloud: Cloud) -> None:
    """A slow destination: the object under way is stopped, handed over, and copied by the next worker."""
    trial = Trial.fill(cloud, Random(SEED), 3, sizes=[2_000_000])
    trial.submit()
    cloud.fault("s3:PutObject", "delay", bucket=trial.destination, times=3, seconds=20)
    worker = trial.start("--drain-seconds", "3", "--visibility-seconds", "120")
    try:
        wait_for(lambda: trial.messages()["in_flight"] > 0, 20, "a task in flight")
        worker.send_signal(signal.SIGTERM)
        _, err = worker.communicate(timeout=8)
    finally:
        cloud.clear_faults()
        worker.kill()
        worker.wait()
    assert worker.returncode == 0, err
    assert trial.messages() == {"visible": 1, "in_flight": 0, "delayed": 0}


def test_a_signal_that_another_thread_is_given_is_heard(cloud: Cloud) -> None:
    """The kernel gives a process's signal to any of its threads: the one that waits is not woken by it."""
    trial = Trial.fill(cloud, Random(SEED), 1)
    worker = trial.start()
    try:
        line = ""
        while '"ready"' not in line:
            assert worker.stderr
            line = worker.stderr.readline()
        threads = {int(entry.name) for entry in Path(f"/proc/{worker.pid}/task").iterdir()} - {worker.pid}
        send = ctypes.CDLL(None, use_errno=True).tgkill
        assert send(worker.pid, min(threads), signal.SIGTERM) == 0, ctypes.get_errno()
        worker.communicate(timeout=15)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0


def test_a_second_signal_ends_at_once(cloud: Cloud) -> None:
    trial = Trial.fill(cloud, Random(SEED), 3, sizes=[2_000_000])
    trial.submit()
    cloud.fault("s3:PutObject", "delay", bucket=trial.destination, times=3, seconds=20)
    worker = trial.start("--visibility-seconds", "120")
    try:
        wait_for(lambda: trial.messages()["in_flight"] > 0, 20, "a task in flight")
        worker.send_signal(signal.SIGINT)
        line = ""
        while "draining" not in line:
            assert worker.stderr
            line = worker.stderr.readline()
        worker.send_signal(signal.SIGINT)
        _, err = worker.communicate(timeout=5)
    finally:
        cloud.clear_faults()
        worker.kill()
        worker.wait()
    assert worker.returncode == 130
    assert "Traceback" not in err
