"""Processes as /proc shows them, and their end at one stroke; Linux only."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def stat(pid: int | str) -> tuple[str, int]:
    """A process's state and its parent; "Z" and 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "Z", 0
    return fields[0], int(fields[1])


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    return stat(pid)[0] != "Z"


def children(pid: int) -> list[int]:
    """The processes whose parent is `pid`, those left out that have ended."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [child for child in pids if stat(child)[1] == pid and alive(child)]


def end_tree(pid: int) -> list[int]:
    """Kill a process and all below it at one stroke, as the end of their machine does; which they were.

    A supervisor would replace a worker process that dies, and a worker process would drain politely once its
    supervisor is gone. So each parent is frozen before its children are killed, and never wakes.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        while stat(pid)[0] not in "TtZX":
            time.sleep(0.001)
        ended = {pid: None}
        # Until there are none: what a child leaves behind as it ends comes to us, where we adopt orphans.
        while found := children(pid):
            ended |= dict.fromkeys(below for child in found for below in end_tree(child))
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        return list(ended)
    return []
