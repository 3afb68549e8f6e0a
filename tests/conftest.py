"""What tests share: an embedded AWS for each process of a run, and the guard that keeps all on loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests import guard
from tests.cloud import Cloud, Queues

_SHARES_A_RUN = "PYTEST_XDIST_WORKER" in os.environ
"""Whether this process runs some of the tests of another, whose log it has inherited."""

if not _SHARES_A_RUN:
    os.environ[guard.LOG] = str(Path(tempfile.mkdtemp(prefix="fleetcopy-tests-")) / "refused.log")
_LOG = Path(os.environ[guard.LOG])
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
guard.install()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a process reached for what is not loopback, and a CI run that skipped a test."""
    if _SHARES_A_RUN:
        return
    refused = _LOG.read_text() if _LOG.exists() else ""
    shutil.rmtree(_LOG.parent, ignore_errors=True)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter and os.environ.get("CI") else []
    if refused:
        sys.stderr.write(f"\nthe guard refused connections:\n{refused}")
    if skipped:
        sys.stderr.write(f"\n{len(skipped)} tests were skipped, which CI does not allow\n")
    if refused or skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """The embedded AWS."""
    with Cloud() as running:
        yield running


@pytest.fixture
def faulty(cloud: Cloud) -> Iterator[Cloud]:
    """The embedded AWS, for a test that puts faults in force."""
    yield cloud
    cloud.clear_faults()


@pytest.fixture(scope="module")
def strict() -> Iterator[Cloud]:
    """An embedded AWS that enforces signatures and policies."""
    with Cloud(auth=True) as running:
        yield running


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    """A new bucket."""
    return cloud.bucket(f"bucket-{uuid4().hex}")


@pytest.fixture
def queue(cloud: Cloud) -> Queues:
    """A new queue and its dead-letter queue."""
    return cloud.queue(f"queue-{uuid4().hex}")


class Command:
    """Runs `fleetcopy` as a user would, against one embedded AWS."""

    def __init__(self, environment: dict[str, str]) -> None:
        # A run that is broken off leaves workers to drain against a queue that is gone: not for long.
        # Within one embedded AWS all could be copied without the way that is to be tested.
        self.environment = environment | {"FLEETCOPY_DRAIN_SECONDS": "10", "FLEETCOPY_STRATEGY": "stream"}

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start it, its output piped."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("fleetcopy"), *arguments],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, a minute at most."""
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def fleetcopy(cloud: Cloud) -> Command:
    """The command, in the embedded AWS's environment."""
    return Command(cloud.environment())
