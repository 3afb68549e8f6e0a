"""A worker's life as a table of allowed moves; an illegal move raises."""

from __future__ import annotations

import enum


class State(enum.StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class Event(enum.StrEnum):
    """What moves a worker on."""

    READY = "ready"
    DRAIN = "drain"
    DONE = "done"


_MOVES = {
    (State.STARTING, Event.READY): State.RUNNING,
    (State.STARTING, Event.DRAIN): State.DRAINING,
    (State.STARTING, Event.DONE): State.STOPPED,
    (State.RUNNING, Event.DRAIN): State.DRAINING,
    (State.RUNNING, Event.DONE): State.STOPPED,
    (State.DRAINING, Event.DRAIN): State.DRAINING,
    (State.DRAINING, Event.DONE): State.STOPPED,
}


def advance(state: State, event: Event) -> State:
    """The next state.

    Raises:
        ValueError: the table has no such move.
    """
    try:
        return _MOVES[state, event]
    except KeyError:
        raise ValueError(f"no move from {state} by {event}") from None
