"""The table of `core.lifecycle`: every pair of state and event."""

from __future__ import annotations

import itertools

import pytest

from worker.core.lifecycle import Event, State, advance

MOVES = """
    starting ready running
    starting drain draining
    starting done  stopped
    running  ready -
    running  drain draining
    running  done  stopped
    draining ready -
    draining drain draining
    draining done  stopped
    stopped  ready -
    stopped  drain -
    stopped  done  -
"""
ROWS = [tuple(line.split()) for line in MOVES.split("\n") if line.strip()]


def test_the_table_here_has_each_pair_once() -> None:
    assert [row[:2] for row in ROWS] == list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event", "following"), ROWS)
def test_a_worker_moves_by_the_table(state: str, event: str, following: str) -> None:
    if following == "-":
        with pytest.raises(ValueError, match=f"no move from {state} by {event}"):
            advance(State(state), Event(event))
    else:
        assert advance(State(state), Event(event)) is State(following)
