"""The demo keeps its word: its archive is the same each time, it ends well, and a signal ends all of it."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from uuid import uuid4

import pytest

from tests import archive

ROOT = Path(__file__).resolve().parents[1]
MARK = "FLEETCOPY_TEST_DEMO"
STARTUP_SECONDS = 10
LONGEST_SECONDS = 400
# A signal may come before the embedded AWS answers, while instances boot, at work, after the kill.
RANDOM = random.Random(1991)
MOMENTS = [0.0, *sorted(RANDOM.uniform(0, 60) for _ in range(3))]


def objects(count: int = 2000, seed: int = 7) -> list[archive.ArchivedObject]:
    return list(archive.generate(count, seed))


def test_the_archive_is_the_same_for_the_same_seed() -> None:
    assert objects() == objects()
    assert [found.body() for found in objects(150)] == [found.body() for found in objects(150)]


def test_another_seed_makes_another_archive() -> None:
    one, other = objects(seed=1), objects(seed=2)
    assert [found.size for found in one] != [found.size for found in other]


def test_a_larger_archive_has_as_many_objects_as_asked_for() -> None:
    assert [len(objects(count)) for count in (0, 1, 2, 99, 5000)] == [0, 1, 2, 99, 5000]


def test_keys_are_unique_and_in_order() -> None:
    keys = [found.key.encode() for found in objects()]
    assert keys == sorted(set(keys))


def test_keys_have_the_real_archive_s_shape() -> None:
    for found in objects():
        if found.key.endswith("/"):
            assert date(1991, 1, 1) <= date.fromisoformat(found.key[:-1].replace("/", "-")) < date(1991, 3, 1)
            continue
        year, month, day, station, name = found.key.split("/")
        assert station in archive.STATIONS
        stamp = f"{station}{year}{month}{day}_"
        assert name.startswith(stamp)
        assert name.endswith(".gz")
        assert len(name) == len(stamp) + len("162126.gz")


def test_folder_keys_are_there_and_empty() -> None:
    folders = [found for found in objects() if found.key.endswith("/")]
    assert folders[0].key == "1991/01/01/"
    assert len(folders) == 40
    assert {found.size for found in folders} == {0}
    assert len(objects(5000)) - sum(not found.key.endswith("/") for found in objects(5000)) == 59


def test_sizes_follow_the_real_percentiles() -> None:
    sizes = sorted(
        found.size for found in archive.generate(20_000, 3, scale=1) if not found.key.endswith("/")
    )
    for percentile, size in archive.PERCENTILES[1:-1]:
        assert sizes[len(sizes) * percentile // 100] == pytest.approx(size, rel=0.1)
    assert sizes[-1] <= 65_601_024


def test_known_percentiles_are_exact_and_there_are_no_others() -> None:
    assert [(at, archive.size_at(at)) for at, _ in archive.PERCENTILES] == list(archive.PERCENTILES)
    with pytest.raises(ValueError, match="101"):
        archive.size_at(101)


def test_bodies_have_their_size_and_differ() -> None:
    scans = [found for found in objects(200) if found.size > 100]
    bodies = [found.body() for found in scans]
    assert [len(body) for body in bodies] == [found.size for found in scans]
    assert len({body[:100] for body in bodies}) == len(scans)


def test_some_objects_have_a_content_type_and_some_have_metadata() -> None:
    scans = [found for found in objects() if not found.key.endswith("/")]
    typed = sum(found.content_type == "application/gzip" for found in scans)
    described = sum("station" in found.metadata for found in scans)
    assert typed / len(scans) == pytest.approx(0.5, abs=0.05)
    assert described / len(scans) == pytest.approx(0.2, abs=0.05)


class Demo:
    """One run of the demo, known by a mark in the environment of each of its processes."""

    def __init__(self, temporary: Path, **environment: str) -> None:
        self._mark = uuid4().hex
        self._temporary = temporary
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.demo"],
            cwd=ROOT,
            env=os.environ | {MARK: self._mark, "TMPDIR": str(temporary), "COLUMNS": "100"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As a shell starts it, in a process group of its own.
            process_group=0,
        )
        self.out = self.err = ""

    def await_handlers(self) -> None:
        """Wait until it minds SIGTERM; before that it is a Python that starts."""
        until(lambda: bool(self._caught() >> (signal.SIGTERM - 1) & 1), STARTUP_SECONDS)

    def _caught(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))

    def signal(self, number: int, *, group: bool) -> None:
        """Send it a signal, or all of its process group as a terminal does."""
        (os.killpg if group else os.kill)(self._process.pid, number)

    def end(self) -> int:
        """Wait for its end; its exit status. Nothing of it may be left, at once."""
        try:
            self.out, self.err = self._process.communicate(timeout=LONGEST_SECONDS)
        finally:
            left = self.processes()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            self._process.wait()
        assert left == []
        assert list(self._temporary.iterdir()) == []
        return self._process.returncode

    def processes(self) -> list[int]:
        """Its processes that are left."""
        mark = f"{MARK}={self._mark}".encode()
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if mark in environ(pid)]


def environ(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def without_figures(text: str) -> set[str]:
    """The lines of an output, whatever its figures, widths and the name that AWS gave to the secret."""
    text = re.sub(r"(secret:radar-writer-)\w+", r"\1", text)
    return {" ".join(re.sub(r"\d[\d.,]*", "0", line).split()) for line in text.splitlines()}


@pytest.mark.slow
def test_the_demo_ends_well(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    assert demo.end() == 0, demo.out + demo.err
    lines = [line.strip() for line in demo.out.splitlines()]
    assert "verdict: equal 2500, different 0, missing 0, extra 0, unproven 0" in lines
    assert lines[-1].endswith("Done: two instances lost, no object lost.")
    assert "a Spot interruption notice" in demo.out
    assert "vanishes without a notice" in demo.out
    assert "A task came back" in demo.out
    assert "No queue, no instance and no process of it is left." in demo.out
    assert demo.err == ""
    shown = (ROOT / "README.md").read_text().split("<!-- demo -->\n```text\n")[1].split("```")[0]
    # What comes before is prose that wraps by its figures.
    assert without_figures(shown[shown.index("Verify:") :]) <= without_figures(
        demo.out[demo.out.index("Verify:") :]
    )
    assert "\r" not in demo.out


def test_the_demo_refuses_what_is_no_number_of_objects(tmp_path: Path) -> None:
    demo = Demo(tmp_path, DEMO_OBJECTS="many")
    assert demo.end() == 1
    assert "FAILED: DEMO_OBJECTS=many is not a number of objects" in demo.out
    assert demo.err == ""


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(len(MOMENTS)), ids=lambda moment: f"{MOMENTS[moment]:.1f}s")
def test_an_interrupt_ends_all_of_it(tmp_path: Path, moment: int) -> None:
    # By turns to the demo alone, and to its process group as a terminal's Ctrl-C.
    ended_by(signal.SIGINT, tmp_path, MOMENTS[moment], group=moment % 2 == 1)


@pytest.mark.slow
def test_a_termination_ends_all_of_it(tmp_path: Path) -> None:
    ended_by(signal.SIGTERM, tmp_path, 6.0, group=False)


def ended_by(number: signal.Signals, temporary: Path, seconds: float, *, group: bool) -> None:
    demo = Demo(temporary)
    demo.await_handlers()
    time.sleep(seconds)
    demo.signal(number, group=group)
    assert demo.end() == 128 + number, demo.out + demo.err
    assert demo.out.splitlines()[-1] == f"The demo is ended by {number.name}; nothing of it is left."
    assert "Traceback" not in demo.out + demo.err
    assert demo.err == ""
