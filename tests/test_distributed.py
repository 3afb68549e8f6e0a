"""The fleet lists its own bucket: by three workers, one of which is killed while they list.

Set FLEETCOPY_TEST_SEED to repeat a run, FLEETCOPY_TEST_OBJECTS for a larger bucket.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.cloud import ROOT, Cloud
from tests.processes import end_tree
from tests.transfers import Trial, wait_for

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261126"))
OBJECTS = int(os.environ.get("FLEETCOPY_TEST_OBJECTS", "2000"))
MOST_KEYS = max(100, OBJECTS // 20)
"""Of one task, in the place of 20,000, so that there are many."""

IN_HAND = 200
"""Objects of packs that the killed worker had received."""

FEWER_KEYS = f"""
import runpy
runpy.run_path({str(ROOT / "tests" / "guard" / "sitecustomize.py")!r})
import sys
if "worker.flow.child" in sys.orig_argv:
    from worker.flow.list_task import Lister
    Lister.__init__.__kwdefaults__["most"] = {MOST_KEYS}
"""


@pytest.mark.slow
def test_a_fleet_lists_its_bucket_and_loses_a_worker_meanwhile(tmp_path: Path) -> None:
    random = Random(SEED)
    (tmp_path / "sitecustomize.py").write_text(FEWER_KEYS)
    with Cloud() as cloud:
        trial = Trial.fill(cloud, random, OBJECTS, (10,))
        path = f"{tmp_path}{os.pathsep}{trial.command.environment['PYTHONPATH']}"
        trial.command.environment["PYTHONPATH"] = path
        done = trial.command("submit", *trial.ends, "--queue", trial.queue.url, "--distributed")
        assert done.returncode == 0, done.stderr
        cloud.clear_journal()
        cloud.fault("s3:ListObjectsV2", "delay", times=None, seconds=0.1)
        workers = [trial.start("--until-empty", "--empty-seconds", "3") for _ in range(3)]
        moment, lost = random.randrange(5, 40), 0
        try:
            wait_for(lambda: cloud.counts().get("s3:ListObjectsV2", 0) >= moment, 60, f"{moment} pages")
            end_tree(random.choice(workers).pid)
            for worker in workers:
                _, err = worker.communicate(timeout=120 + OBJECTS / 50)
                assert worker.returncode in {0, -signal.SIGKILL}, err
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        reads = Counter(
            row["key"]
            for row in cloud.journal()
            if (row["operation"], row["status"]) == ("s3:GetObject", 200)
        )
        written = Counter(trial.written())
        listed = cloud.counts()["s3:ListObjectsV2"]
        assert trial.verify() == f"verdict: equal {OBJECTS}, different 0, missing 0, extra 0, unproven 0"
        assert trial.dead_letters() == 0
        # On a busy machine a lease may lapse: whoever held it still sends what followed from the step.
        assert sum(trial.messages().values()) <= lost
    again = reads.total() - OBJECTS
    print(f"seed {SEED}: killed at page {moment} of {listed}; {again} objects read again, {lost} leases lost")
    assert reads.keys() == {f"in/{number:05}" for number in range(OBJECTS)}
    assert set(written.values()) == {1}  # whoever comes second finds it there
    assert again <= MOST_KEYS + IN_HAND
