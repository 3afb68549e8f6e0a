"""One process tree, run to its end on one core and weighed: CPU seconds, wall seconds, peak memory."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import children

SAMPLE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Weight:
    """What one run took: seconds, and MiB at the peak; and what it printed."""

    cpu: float
    wall: float
    memory: float
    printed: str


class RunFailedError(Exception):
    """The tool did not end well."""


def run(command: Sequence[str | Path], environment: Mapping[str, str], core: int) -> Weight:
    """Run a command on one core.

    CPU is the user and system time of the process and of all its descendants that were waited for. Memory is
    the largest sum of proportional set sizes (`/proc/PID/smaps_rollup`) at samples a tenth of a second apart.

    Raises:
        RunFailedError: its exit status is not 0; with the end of what it printed.
    """
    begun = time.monotonic()
    with _on(core):
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    peak = [0]
    over = threading.Event()
    watch = threading.Thread(target=_sample, args=(process.pid, over, peak))
    watch.start()
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    over.set()
    watch.join()
    if process.returncode:
        raise RunFailedError(
            f"{command[0]} ended with {process.returncode}: {printed[-2000:].decode(errors='replace')}"
        )
    return Weight(usage.ru_utime + usage.ru_stime, wall, peak[0] / 1024, printed.decode(errors="replace"))


@contextmanager
def _on(core: int) -> Iterator[None]:
    """Let what is started within, and only that, run on one core: affinity is inherited."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def _sample(pid: int, over: threading.Event, peak: list[int]) -> None:
    while not over.wait(SAMPLE_SECONDS):
        peak[0] = max(peak[0], _memory(pid))


def _memory(pid: int) -> int:
    """KiB of a process and all below it."""
    return _pss(pid) + sum(_memory(child) for child in children(pid))


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
