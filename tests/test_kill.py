"""Killing any process at any moment costs time, never data; and every delivery may come twice.

Set FLEETCOPY_TEST_SEED to repeat a run, FLEETCOPY_TEST_ROUNDS for more or fewer rounds.
"""

from __future__ import annotations

import os
import signal
import subprocess
from random import Random

import pytest

from tests.cloud import Cloud
from tests.processes import children, end_tree
from tests.transfers import Trial, wait_for

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261122"))
ROUNDS = int(os.environ.get("FLEETCOPY_TEST_ROUNDS", "50"))
OBJECTS = 300


def kill_machine(worker: subprocess.Popen[str]) -> None:
    """Kill a supervisor and its worker processes as a lost machine would: none can act on another's end."""
    end_tree(worker.pid)


def kill_process(worker: subprocess.Popen[str]) -> None:
    """Kill a worker process alone, as the kernel does when memory runs out."""
    for child in children(worker.pid):
        os.kill(child, signal.SIGKILL)


def kill_supervisor(worker: subprocess.Popen[str]) -> None:
    """Kill a supervisor alone; its worker processes see their standard input end."""
    worker.kill()


KILLS = (kill_machine, kill_process, kill_supervisor)


def run_round(cloud: Cloud, random: Random) -> str:
    """One transfer with duplicated deliveries and a kill; a line that says how it went."""
    trial = Trial.fill(cloud, random, OBJECTS)
    cloud.clear_journal()
    trial.submit()
    cloud.fault(
        "sqs:ReceiveMessage", "duplicate", times=None, probability=0.2, seed=random.randrange(1 << 30)
    )
    workers = [trial.start("--until-empty", "--empty-seconds", "1") for _ in range(3)]
    try:
        kill, moment = random.choice(KILLS), random.randrange(OBJECTS * 9 // 10)
        trial.await_writes(moment)
        kill(random.choice(workers))
        for worker in workers:
            _, err = worker.communicate(timeout=60)
            assert worker.returncode in (0, -signal.SIGKILL), err
            assert '"outcome":"failed"' not in err
    finally:
        cloud.clear_faults()
        for worker in workers:
            worker.kill()
            worker.wait()
    # Worker processes whose supervisor was killed drain on; what they hold comes back or is done.
    wait_for(lambda: sum(trial.messages().values()) == 0, 30, "the queue empty")
    written = trial.written()
    assert trial.verify() == f"verdict: equal {OBJECTS}, different 0, missing 0, extra 0, unproven 0"
    assert trial.dead_letters() == 0
    return f"{kill.__name__} at {moment}, written again {len(written) - len(set(written))}"


def test_a_kill_costs_nothing_but_time(cloud: Cloud) -> None:
    print(f"seed {SEED}", run_round(cloud, Random(SEED)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
def test_kills_at_many_moments(seed: int) -> None:
    with Cloud() as cloud:  # its memory holds every object of a round
        print(f"seed {seed}:", run_round(cloud, Random(seed)))
