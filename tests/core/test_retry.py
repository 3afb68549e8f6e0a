"""Pauses and delays: within their bounds, spread over them, and growing."""

from __future__ import annotations

from random import Random

import pytest

from worker.core.retry import ATTEMPTS, delay, pause

SEEDS = range(300)


@pytest.mark.parametrize(
    ("tries", "ceiling"), [(1, 0.4), (2, 0.8), (3, 1.6), (4, 3.2), (5, 6.4), (6, 10.0), (7, 10.0), (60, 10.0)]
)
def test_a_pause_is_a_draw_below_a_doubling_ceiling(tries: int, ceiling: float) -> None:
    draws = [pause(tries, Random(seed)) for seed in SEEDS]
    assert 0 <= min(draws) < ceiling * 0.1
    assert ceiling * 0.9 < max(draws) <= ceiling


def test_a_pause_has_the_base_and_cap_that_are_asked_for() -> None:
    assert max(pause(1, Random(seed), base=3, cap=100) for seed in SEEDS) == pytest.approx(6, rel=0.1)
    assert max(pause(9, Random(seed), base=3, cap=5) for seed in SEEDS) == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize(
    ("attempt", "least", "most"),
    [(1, 2, 5), (2, 10, 20), (3, 40, 80), (4, 160, 320), (5, 450, 900), (50, 450, 900)],
)
def test_a_delay_is_whole_seconds_in_the_upper_half_of_a_growing_range(
    attempt: int, least: int, most: int
) -> None:
    draws = {delay(attempt, Random(seed)) for seed in SEEDS}
    assert all(isinstance(one, int) for one in draws)
    assert least <= min(draws)
    assert max(draws) <= most
    assert len(draws) >= min(3, most - least + 1)


def test_all_delays_of_a_task_are_within_what_sqs_takes() -> None:
    assert all(0 < delay(attempt, Random(seed)) <= 900 for attempt in range(1, ATTEMPTS) for seed in SEEDS)


def test_the_same_seed_gives_the_same_times() -> None:
    assert pause(3, Random(7)) == pause(3, Random(7))
    assert delay(3, Random(7)) == delay(3, Random(7))
