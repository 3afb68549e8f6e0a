"""The end of a tree of processes, also of one whose root adopts the orphans below it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests import processes
from tests.transfers import wait_for

# Adopts orphans; its child starts a grandchild, and tells both.
ROOT_OF_TREE = """
import ctypes, subprocess, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
child = "import os, subprocess; print(os.getpid(), subprocess.Popen(['sleep', '600']).pid, flush=True)"
subprocess.Popen([sys.executable, "-c", child + "; import time; time.sleep(600)"])
import time; time.sleep(600)
"""


def test_what_is_orphaned_meanwhile_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", ROOT_OF_TREE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child, grandchild = map(int, process.stdout.readline().split())
    look = processes.children

    def look_while_the_child_ends(pid: int) -> list[int]:
        found = look(pid)
        if child in found:
            os.kill(child, signal.SIGKILL)
            wait_for(lambda: not processes.alive(child), 10, "the child's end")
        return found

    monkeypatch.setattr(processes, "children", look_while_the_child_ends)
    try:
        ended = processes.end_tree(process.pid)
        wait_for(lambda: not processes.alive(grandchild), 10, "the grandchild's end")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if processes.alive(grandchild):
            os.kill(grandchild, signal.SIGKILL)
    assert set(ended) == {process.pid, child, grandchild}
