"""The table of `flow.copy`: what is done next after each word of the transferrer's."""

from __future__ import annotations

from random import Random

import pytest

from tests.core import ONE_MD5, OTHER_MD5, ref
from worker.core.compare import Seen
from worker.core.errors import (
    AttributeLostError,
    ConfigurationError,
    ContendedError,
    DestinationChangedError,
    EndpointUnreachableError,
    FleetcopyError,
    InterruptedTransferError,
    ObjectArchivedError,
    ObjectDeniedError,
    ObjectGoneError,
    ObjectRefusedError,
    ProofRefusedError,
    ServiceUnavailableError,
    SourceChangedError,
)
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome, Proof
from worker.core.transferrer import Cancellation, Copied
from worker.flow.copy import copy_object

DONE = Copied(7, Proof.MD5)
COPIED = Outcome(Kind.COPIED, 7, Proof.MD5)
SKIPPED = Outcome(Kind.SKIPPED)
GONE = Outcome(Kind.GONE)

BUSY = ServiceUnavailableError("503")
WRONG = ProofRefusedError("BadDigest")
SOURCE_CHANGED = SourceChangedError("412")
DESTINATION_CHANGED = DestinationChangedError("412")

OLD, NEW = Seen(1, ONE_MD5), Seen(1, OTHER_MD5)

Look = tuple[Seen | None, Seen | None]


class Never:
    """A cancellation that does not come; records the pauses."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def is_set(self) -> bool:
        """See `Cancellation`."""
        return False

    def wait(self, timeout: float) -> bool:
        """See `Cancellation`."""
        self.pauses.append(timeout)
        return False


class AtFirstPause(Never):
    """A cancellation that comes during the first pause."""

    def wait(self, timeout: float) -> bool:
        """See `Cancellation`."""
        super().wait(timeout)
        return True


class Script:
    """A transferrer that says what its script says, and records what it was asked, a line a call."""

    def __init__(self, *script: Copied | Look | Exception) -> None:
        self.calls: list[str] = []
        self.cancels: set[Cancellation] = set()
        self._script = list(script)

    def copy(self, ref: ObjectRef, *, fenced: bool, expect: str, cancel: Cancellation) -> Copied:
        """See `Transferrer`."""
        fence = f"if {ref.etag[:4]} {ref.version_id or ''}".rstrip() if fenced else "as it is"
        self.calls.append(f"copy {ref.key} {fence}, over {expect[:4] or 'nothing'}")
        self.cancels.add(cancel)
        answer = self._next()
        assert isinstance(answer, Copied)
        return answer

    def look(self, ref: ObjectRef) -> Look:
        """See `Transferrer`."""
        self.calls.append(f"look {ref.key}")
        answer = self._next()
        assert isinstance(answer, tuple)
        return answer

    @property
    def finished(self) -> bool:
        """Whether all of the script has been said."""
        return not self._script

    def _next(self) -> Copied | Look:
        answer = self._script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def run(seen: str | None, script: Script, cancel: Cancellation | None = None) -> Outcome:
    return copy_object(script, ref("k", seen=seen), cancel or Never(), Random(1))


FENCED = "copy k if 174e, over nothing"
AS_IT_IS = "copy k as it is, over nothing"
LOOK = "look k"
OVER_OLD = "copy k if d41d, over 174e"
NEW_OVER_NOTHING = "copy k if d41d, over nothing"


@pytest.mark.parametrize(
    ("seen", "said", "asked", "outcome"),
    [
        pytest.param("", [DONE], [FENCED], COPIED, id="absent: no look"),
        pytest.param(None, [(NEW, None), DONE], [LOOK, NEW_OVER_NOTHING], COPIED, id="not looked: look"),
        pytest.param("old", [(NEW, OLD), DONE], [LOOK, OVER_OLD], COPIED, id="differed: look"),
        pytest.param("old", [(NEW, NEW)], [LOOK], SKIPPED, id="look: equal by now"),
        pytest.param("old", [(None, OLD)], [LOOK], GONE, id="look: source gone"),
        pytest.param(
            "",
            [SOURCE_CHANGED, DONE],
            [FENCED, AS_IT_IS],
            COPIED,
            id="source changed: copied as it is now",
        ),
        pytest.param(
            "",
            [DESTINATION_CHANGED, (OLD, OLD)],
            [FENCED, LOOK],
            SKIPPED,
            id="destination there by now, and equal",
        ),
        pytest.param(
            "",
            [DESTINATION_CHANGED, (NEW, OLD), DONE],
            [FENCED, LOOK, OVER_OLD],
            COPIED,
            id="destination there by now, and different",
        ),
        pytest.param(
            "",
            [DESTINATION_CHANGED, (NEW, None), DONE],
            [FENCED, LOOK, NEW_OVER_NOTHING],
            COPIED,
            id="destination gone again",
        ),
        pytest.param(
            "",
            [BUSY, DESTINATION_CHANGED, (OLD, OLD)],
            [FENCED, FENCED, LOOK],
            SKIPPED,
            id="our own timed-out write",
        ),
        pytest.param(
            "",
            [SOURCE_CHANGED, DESTINATION_CHANGED, (NEW, OLD), DONE],
            [FENCED, AS_IT_IS, LOOK, OVER_OLD],
            COPIED,
            id="both changed",
        ),
        pytest.param(
            "old",
            [(NEW, OLD), SOURCE_CHANGED, (NEW, OLD), DONE],
            [LOOK, OVER_OLD, LOOK, OVER_OLD],
            COPIED,
            id="source changed after the look: look again",
        ),
        pytest.param(
            "old",
            [(NEW, OLD), DESTINATION_CHANGED, (NEW, NEW)],
            [LOOK, OVER_OLD, LOOK],
            SKIPPED,
            id="destination changed after the look: look again",
        ),
        pytest.param("", [BUSY, BUSY, BUSY, DONE], [FENCED] * 4, COPIED, id="unavailable three times"),
        pytest.param("", [WRONG, DONE], [FENCED] * 2, COPIED, id="proof refused once"),
        pytest.param(
            "old",
            [BUSY, (NEW, OLD), BUSY, (NEW, OLD), DONE],
            [LOOK, LOOK, OVER_OLD, LOOK, OVER_OLD],
            COPIED,
            id="unavailable in look and copy",
        ),
        pytest.param("", [ObjectGoneError("404")], [FENCED], GONE, id="gone"),
    ],
)
def test_the_transferrers_words_decide_what_is_next(
    seen: str | None, said: list[Copied | Look | Exception], asked: list[str], outcome: Outcome
) -> None:
    script = Script(*said)
    assert run(seen, script) == outcome
    assert script.calls == asked
    assert script.finished


@pytest.mark.parametrize("error", [BUSY, WRONG])
def test_an_object_fails_at_the_fourth_failure_of_a_delivery(error: FleetcopyError) -> None:
    script, cancel = Script(*[error] * 9), Never()
    outcome = run("", script, cancel)
    assert (outcome.kind, outcome.error) == (Kind.FAILED, error)
    assert script.calls == [FENCED] * 4
    assert all(pause <= most for pause, most in zip(cancel.pauses, (0.4, 0.8, 1.6), strict=True))


@pytest.mark.parametrize(("seconds", "tries"), [(1, 4), (50, 3), (130, 1)])
def test_no_try_begins_when_the_first_is_long_ago(seconds: float, tries: int) -> None:
    now = [0.0]

    class Slow(Script):
        def _next(self) -> Copied | Look:
            now[0] += seconds
            return super()._next()

    script = Slow(*[BUSY] * 4)
    outcome = copy_object(script, ref("k", seen=""), Never(), Random(1), lambda: now[0])
    assert outcome == Outcome(Kind.FAILED, error=BUSY)
    assert len(script.calls) == tries


def test_changes_do_not_count_as_failures() -> None:
    script = Script(BUSY, SOURCE_CHANGED, BUSY, DESTINATION_CHANGED, (NEW, OLD), BUSY, (NEW, OLD), DONE)
    assert run("", script) == COPIED


@pytest.mark.parametrize(
    "error",
    [
        ObjectDeniedError("source", "403"),
        ObjectRefusedError("400"),
        AttributeLostError("x-amz-missing-meta"),
        ConfigurationError("no such bucket"),
        EndpointUnreachableError("no connection"),
    ],
)
def test_what_another_try_would_not_change_fails_at_once(error: FleetcopyError) -> None:
    script, cancel = Script(error), Never()
    assert run("", script, cancel) == Outcome(Kind.FAILED, error=error)
    assert script.calls == [FENCED]
    assert cancel.pauses == []


def test_an_archived_object_is_an_outcome_that_keeps_the_reason() -> None:
    error = ObjectArchivedError("GLACIER")
    assert run("", Script(error)) == Outcome(Kind.ARCHIVED, error=error)


@pytest.mark.parametrize(
    "said", [[InterruptedTransferError("cancelled")], [BUSY, InterruptedTransferError("c")]]
)
def test_a_cancelled_transfer_leaves_the_object_untouched(said: list[Exception]) -> None:
    assert run("", Script(*said)) == UNTOUCHED


def test_a_cancellation_during_a_pause_leaves_the_object_untouched() -> None:
    script = Script(BUSY, DONE)
    assert run("", script, AtFirstPause()) == UNTOUCHED
    assert script.calls == [FENCED]


@pytest.mark.parametrize(
    "said", [[SOURCE_CHANGED] * 20, [DESTINATION_CHANGED, *[(NEW, OLD), DESTINATION_CHANGED] * 20]]
)
def test_an_object_that_keeps_changing_is_left_to_the_next_delivery(said: list[Exception]) -> None:
    script = Script(*said)
    outcome = run("", script)
    assert outcome.kind is Kind.FAILED
    assert isinstance(outcome.error, ContendedError)
    assert outcome.error.retryable
    assert len([call for call in script.calls if call.startswith("copy")]) == 12


def test_the_listed_version_is_read_until_a_look_finds_the_present_one() -> None:
    script = Script(DESTINATION_CHANGED, (NEW, None), DONE)
    listed = ObjectRef("k", 1, ONE_MD5, 0, version_id="v1", destination_etag="")
    copy_object(script, listed, Never(), Random(1))
    assert script.calls == ["copy k if 174e v1, over nothing", "look k", "copy k if d41d, over nothing"]


def test_the_transferrer_is_given_the_cancellation() -> None:
    script, cancel = Script(BUSY, DONE), Never()
    run("", script, cancel)
    assert script.cancels == {cancel}


def test_a_fault_of_the_program_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        run("", Script(ZeroDivisionError()))
