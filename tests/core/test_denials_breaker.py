"""The tables of `core.denials` and `core.breaker`, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import properly
from worker.core.breaker import Breaker, BreakerState
from worker.core.denials import MANY, Denials

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def denials(*ended: float) -> Denials[str]:
    """Denials that ended then, each named by when."""
    waiting: Denials[str] = Denials()
    for when in ended:
        waiting.add(f"at {when}", when)
    return waiting


@pytest.mark.parametrize(
    ("began", "decided"),
    [
        pytest.param(5.0, [], id="a copy begun before any denial says nothing"),
        pytest.param(10.0, ["at 10.0"], id="begun as the first ended"),
        pytest.param(15.0, ["at 10.0"], id="begun between them"),
        pytest.param(25.0, ["at 10.0", "at 20.0"], id="begun after both"),
    ],
)
def test_a_copy_begun_after_a_denial_makes_it_the_objects_own(began: float, decided: list[str]) -> None:
    waiting = denials(10.0, 20.0)
    assert waiting.copied(began) == decided
    assert len(waiting) == 2 - len(decided)
    assert waiting.copied(began) == []


@pytest.mark.parametrize(
    ("count", "blamed"), [(0, False), (1, False), (MANY - 1, False), (MANY, True), (99, True)]
)
def test_many_denials_and_no_copy_are_the_endpoints(count: int, *, blamed: bool) -> None:
    assert denials(*[1.0] * count).blame_endpoint is blamed


def test_a_copy_between_denials_keeps_the_endpoint_from_blame() -> None:
    waiting = denials(*[1.0] * (MANY - 1))
    assert len(waiting.copied(2.0)) == MANY - 1
    waiting.add("later", 3.0)
    assert not waiting.blame_endpoint


def test_with_nothing_else_to_try_all_are_taken_once() -> None:
    waiting = denials(1.0, 2.0)
    assert waiting.take_all() == ["at 1.0", "at 2.0"]
    assert waiting.take_all() == []
    assert len(waiting) == 0


@properly
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_each_denial_gets_one_verdict(steps: list[tuple[bool, int]]) -> None:
    waiting: Denials[int] = Denials()
    decided: list[int] = []
    for number, (denied, when) in enumerate(steps):
        if denied:
            waiting.add(number, when)
        else:
            decided += waiting.copied(when)
    decided += waiting.take_all()
    assert sorted(decided) == [number for number, (denied, _) in enumerate(steps) if denied]


def test_a_breaker_starts_closed() -> None:
    breaker = Breaker()
    assert (breaker.state, breaker.failing_for(9)) == (CLOSED, 0)


def story(*steps: str, breaker: Breaker | None = None) -> Breaker:
    """A breaker after `fault@TIME`, `probed` and `copied`; without a time, at that of the step before."""
    breaker = breaker or Breaker(first=5, longest=60)
    now = 0.0
    for step in steps:
        word, _, when = step.partition("@")
        now = float(when) if when else now
        match word:
            case "fault":
                breaker.trip(now)
            case "probed":
                breaker.probed(now)
            case "copied":
                breaker.copied()
    return breaker


@pytest.mark.parametrize(
    ("steps", "state", "pause", "probe_at"),
    [
        # closed
        ("copied", CLOSED, 0, 0),
        ("probed", CLOSED, 0, 0),
        ("fault@100", OPEN, 5, 105),
        # open: copies that were under way neither close it nor lengthen its pause
        ("fault@100 fault@101 fault@104.9", OPEN, 5, 105),
        ("fault@100 copied", OPEN, 5, 105),
        # open: a probe fails
        ("fault@100 fault@105", OPEN, 10, 115),
        ("fault@100 fault@105 fault@110", OPEN, 10, 115),
        ("fault@100 fault@105 fault@115 fault@135 fault@175 fault@235", OPEN, 60, 295),
        # half open
        ("fault@100 probed", HALF_OPEN, 5, 105),
        ("fault@100 probed probed", HALF_OPEN, 5, 105),
        ("fault@100 probed copied", CLOSED, 0, 105),
        ("fault@100 probed fault@106", OPEN, 10, 116),
        ("fault@100 probed fault@101", OPEN, 10, 111),
        # closed again: the next fault starts from the first pause
        ("fault@100 probed copied fault@200", OPEN, 5, 205),
    ],
)
def test_a_breaker_moves_by_its_table(steps: str, state: BreakerState, pause: float, probe_at: float) -> None:
    breaker = story(*steps.split())
    assert (breaker.state, breaker.pause, breaker.probe_at) == (state, pause, probe_at)


@pytest.mark.parametrize(
    ("steps", "now", "seconds"),
    [
        ("fault@100", 130, 30),
        ("fault@100 fault@105 probed@110 fault@116", 130, 30),
        ("fault@100 probed@110", 130, 0),
        ("fault@100 probed@110 copied fault@120", 130, 10),
        # half open for as long as the longest pause: what comes then is another fault
        ("fault@100 probed@110 fault@169", 200, 100),
        ("fault@100 probed@110 fault@170", 200, 30),
    ],
)
def test_the_time_without_a_copy_counts_while_open(steps: str, now: float, seconds: float) -> None:
    assert story(*steps.split()).failing_for(now) == seconds


def test_another_fault_starts_from_the_first_pause() -> None:
    assert story("fault@100", "probed@110", "fault@169").pause == 10
    assert story("fault@100", "probed@110", "fault@170").pause == 5


@properly
@given(st.lists(st.sampled_from(["fault", "probed", "copied"]), max_size=30))
def test_a_breaker_pauses_no_longer_than_its_longest(steps: list[str]) -> None:
    breaker = Breaker(first=5, longest=60)
    for now, step in enumerate(steps):
        story(f"{step}@{now * 10}", breaker=breaker)
        assert breaker.pause <= 60
        assert breaker.failing_for(now * 10) >= 0
