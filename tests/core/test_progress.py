"""How far, how fast, how long: by the numbers."""

from __future__ import annotations

import pytest

from worker.core.progress import Meter, Pace, Progress, Tally

PLANNED = {"copy": 10, "equal": 3, "too large": 1, "unnameable": 2, "bytes": 1_000, "tasks": 4}


def at(done: int, *, listed_all: bool = True, failed: int = 0, of: int = 100) -> Progress:
    """A moment of a transfer of empty objects."""
    tally = Tally({"copied": done, "md5": done, "bytes": done * 7})
    return Progress(planned={"copy": of}, listed_all=listed_all, tally=tally, failed=failed)


def test_tallies_add_up() -> None:
    assert Tally({"copied": 1, "bytes": 5}, 5) + Tally({"copied": 2, "gone": 1}, 7) == Tally(
        {"copied": 3, "gone": 1, "bytes": 5}, 12
    )


@pytest.mark.parametrize(
    ("outcome", "done"),
    [(kind, 4) for kind in ("copied", "skipped", "gone", "archived")]
    + [(kind, 0) for kind in ("failed", "untouched", "md5", "bytes")],
)
def test_only_what_no_worker_has_to_touch_again_is_done(outcome: str, done: int) -> None:
    """A failed try is not: it comes again, or is a dead letter."""
    assert Tally({outcome: 4}).done == done


def test_every_listed_object_is_counted_once() -> None:
    progress = Progress(planned=PLANNED, listed_all=True, tally=Tally({"copied": 5, "failed": 9}), failed=2)
    assert (progress.listed, progress.to_copy, progress.done) == (16, 10, 7)


def test_work_is_estimated_as_the_packer_does() -> None:
    tally = Tally({"copied": 1}, 25_000_000)
    progress = Progress(planned={"copy": 2, "bytes": 50_000_000}, listed_all=True, tally=tally, failed=0)
    assert progress.work == pytest.approx(1.04)
    assert progress.work_done == pytest.approx(0.52)


def test_an_object_that_grew_does_not_exceed_the_work() -> None:
    grown = Tally({"copied": 1}, 99)
    progress = Progress(planned={"copy": 1, "bytes": 1}, listed_all=True, tally=grown, failed=0)
    assert progress.work_done == progress.work


def test_a_pace_takes_two_moments() -> None:
    meter = Meter()
    assert meter.pace(at(10), 100.0) == Pace()
    pace = meter.pace(at(30), 104.0)
    assert (pace.objects, pace.bytes) == (5.0, 35.0)
    assert pace.seconds_left == pytest.approx(14.0)


def test_the_time_before_the_first_object_is_no_pace() -> None:
    meter = Meter()
    meter.pace(at(0), 0.0)
    meter.pace(at(0), 9.0)
    assert meter.pace(at(10), 10.0).objects == 10.0


def test_old_moments_are_forgotten() -> None:
    meter = Meter()
    meter.pace(at(10), 0.0)
    meter.pace(at(10), 90.0)
    assert meter.pace(at(20), 95.0).objects == 2.0
    assert meter.pace(at(20), 200.0) == Pace()


def test_the_time_left_is_unknown_until_all_is_listed_or_while_nothing_moves() -> None:
    meter = Meter()
    meter.pace(at(10, listed_all=False), 0.0)
    assert meter.pace(at(20, listed_all=False), 1.0).seconds_left is None
    still = Meter()
    still.pace(at(10), 0.0)
    assert still.pace(at(10), 1.0).seconds_left is None


def test_a_worker_process_that_died_takes_progress_back_but_no_pace_is_negative() -> None:
    meter = Meter()
    meter.pace(at(20), 0.0)
    assert meter.pace(at(10), 1.0) == Pace()


def test_a_failed_object_is_done() -> None:
    meter = Meter()
    meter.pace(at(98, failed=0), 0.0)
    assert meter.pace(at(98, failed=2), 1.0).seconds_left == pytest.approx(0.0)
