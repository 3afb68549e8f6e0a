"""What fails a whole run: reaching for what is not loopback, and, in CI, a skipped test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud import ROOT

REACHES_OUT = """
import contextlib, socket
def test_passes_by_itself():
    with contextlib.suppress(OSError):
        socket.create_connection(("169.254.169.254", 80), 1)
"""
STARTS_ONE_THAT_REACHES_OUT = """
import subprocess, sys
def test_passes_by_itself():
    code = "import socket; socket.create_connection(('169.254.169.254', 80), 1)"
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 1
"""
SKIPS = "import pytest\ndef test_skips(): pytest.skip('no reason')\n"
PASSES = "def test_passes(): pass\n"


def run(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one test file under the rules of `tests.conftest`."""
    (folder / "test_it.py").write_text(text)
    kept = {name: value for name, value in os.environ.items() if name != "CI" and "XDIST" not in name}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "guard")])
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            "test_it.py",
        ],
        cwd=folder,
        env=kept | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("text", [REACHES_OUT, STARTS_ONE_THAT_REACHES_OUT], ids=["itself", "a subprocess"])
def test_a_run_that_reaches_for_the_metadata_address_fails(tmp_path: Path, text: str) -> None:
    done = run(tmp_path, text)
    assert "1 passed" in done.stdout
    assert done.returncode == 1
    assert "169.254.169.254" in done.stderr


def test_a_skip_fails_a_run_in_ci(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPS).returncode == 0
    done = run(tmp_path, SKIPS, CI="true")
    assert done.returncode == 1
    assert "CI does not allow" in done.stderr


@pytest.mark.parametrize("text", [REACHES_OUT, STARTS_ONE_THAT_REACHES_OUT], ids=["itself", "a subprocess"])
def test_the_processes_of_a_run_are_under_its_rules(tmp_path: Path, text: str) -> None:
    done = run(tmp_path, text, PYTEST_ADDOPTS="-n 2")
    assert "1 passed" in done.stdout
    assert done.returncode == 1
    assert "169.254.169.254" in done.stderr


def test_a_skip_in_a_process_of_a_run_fails_it_in_ci(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPS, CI="true", PYTEST_ADDOPTS="-n 2").returncode == 1


def test_a_good_run_passes(tmp_path: Path) -> None:
    assert run(tmp_path, PASSES, CI="true").returncode == 0
