"""What a person sees of a copy, on a terminal and without one."""

from __future__ import annotations

import io

import pytest

from worker.core.progress import Pace, Progress, Tally
from worker.screen import Screen, sentence, summary

PLANNED = {"copy": 12_000, "equal": 345, "bytes": 4_500_000_000}


def at(done: int, *, listed_all: bool = True, failed: int = 0, stopping: bool = False) -> Progress:
    tally = Tally({"copied": done, "md5": done, "bytes": done * 1_000}, done * 1_000)
    return Progress(planned=PLANNED, listed_all=listed_all, tally=tally, failed=failed, stopping=stopping)


@pytest.mark.parametrize(
    ("progress", "pace", "expected"),
    [
        pytest.param(
            Progress(planned={}, listed_all=False, tally=Tally(), failed=0),
            Pace(),
            "listing, 0 objects so far",
            id="nothing yet",
        ),
        pytest.param(
            at(1_200, listed_all=False),
            Pace(120, 120_000),
            "1,200 of 12,000 objects, 1.14 MiB of 4.19 GiB, 120 objects/s, 117 KiB/s, "
            "listing, 12,345 objects so far",
            id="the total is not known yet",
        ),
        pytest.param(
            at(1_200),
            Pace(120, 120_000, 3_725),
            "1,200 of 12,000 objects, 1.14 MiB of 4.19 GiB, 120 objects/s, 117 KiB/s, 1:02:05 left",
            id="the total is known",
        ),
        pytest.param(
            at(1_200, failed=3),
            Pace(),
            "1,203 of 12,000 objects, 1.14 MiB of 4.19 GiB, 0 objects/s, 0 B/s, 3 failed",
            id="failures are told at once",
        ),
    ],
)
def test_a_moment_in_a_sentence(progress: Progress, pace: Pace, expected: str) -> None:
    assert sentence(progress, pace) == expected


def test_the_summary_counts_every_listed_object_once() -> None:
    planned = {"copy": 9, "equal": 3, "too large": 1, "unnameable": 0, "bytes": 100}
    counts = {"copied": 4, "skipped": 1, "gone": 1, "archived": 2, "failed": 7, "bytes": 50}
    tally = Tally(counts | {"md5": 3, "transport": 1}, 90)
    progress = Progress(planned=planned, listed_all=True, tally=tally, failed=1)
    assert summary(progress, 2.0).splitlines() == [
        "listed 13 objects: 4 copied, 3 equal, 1 failed, 1 skipped, 1 gone, 2 archived, 1 too large",
        "moved 50 bytes in 2.0 s: 2 objects/s, 25 B/s; proofs: 3 md5, 1 transport",
    ]


def test_a_summary_of_nothing() -> None:
    progress = Progress(planned={"equal": 5}, listed_all=True, tally=Tally(), failed=0)
    assert summary(progress, 0.5).splitlines() == [
        "listed 5 objects: 0 copied, 5 equal, 0 failed",
        "moved 0 bytes in 0.5 s: 0 objects/s, 0 B/s",
    ]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """See `io.IOBase`."""
        return True


def test_without_a_terminal_there_is_a_line_every_ten_seconds() -> None:
    stream = io.StringIO()
    screen = Screen(stream, lambda: at(1_200), lambda: 100.0)
    for now in (100.2, 109.9, 110.0, 110.2, 119.9, 120.1):
        screen.look(now)
    assert [line[:24] for line in stream.getvalue().splitlines()] == ["1,200 of 12,000 objects,"] * 2


def test_a_short_copy_without_a_terminal_shows_nothing() -> None:
    stream = io.StringIO()
    with Screen(stream, lambda: at(1_200), lambda: 100.0):
        pass
    assert stream.getvalue() == ""


def test_on_a_terminal_a_bar_moves_and_leaves_no_trace() -> None:
    stream = Terminal()
    moments = iter([at(0, listed_all=False), at(3_000), at(6_000)])
    with Screen(stream, lambda: next(moments, at(12_000)), lambda: 100.0) as screen:
        for now in (101.0, 102.0, 103.0):
            screen.look(now)
        screen.say("a line")
    frames = stream.getvalue().split("\r")
    assert any("listing, 12,345 objects so far" in frame and "|" not in frame for frame in frames)
    assert any("6,000 of 12,000 objects" in frame and "%" in frame and "|" in frame for frame in frames)
    assert any(frame.startswith("a line\n") for frame in frames)
    assert frames[-1] == ""
    assert not frames[-2].strip(), "the bar is wiped"


def test_a_stop_is_told_once() -> None:
    stream = io.StringIO()
    screen = Screen(stream, lambda: at(1, stopping=True), lambda: 100.0)
    screen.look(100.2)
    screen.look(100.4)
    [line] = stream.getvalue().splitlines()
    assert "Ctrl-C again stops at once" in line
