"""One object from its row to its outcome: look where needed, copy, try again, resolve refusals.

| the transferrer says | then |
|---|---|
| source changed since it was listed | copy what it holds now |
| destination not as expected | look at both: equal is done (perhaps our own timed-out write), else again |
| unavailable, proof refused | again after a pause, a few times, for a while; then the task's next delivery |
| gone, archived | an outcome |
| anything else | failed; the owner of the task decides whose fault it is |
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import msgspec

from worker.core.compare import Comparison, compare
from worker.core.errors import (
    ContendedError,
    DestinationChangedError,
    FleetcopyError,
    InterruptedTransferError,
    ObjectArchivedError,
    ObjectGoneError,
    SourceChangedError,
)
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome
from worker.core.retry import PATIENCE, TRIES, pause
from worker.core.transferrer import Cancellation, Copied, Transferrer

_STEPS = 12
"""Changes and failures that one delivery bears with one object."""


def copy_object(
    transferrer: Transferrer,
    ref: ObjectRef,
    cancel: Cancellation,
    random: Random,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Bring one object to the destination; never raises one of our errors."""
    try:
        return _copy(transferrer, ref, cancel, random, clock)
    except ObjectGoneError:
        return Outcome(Kind.GONE)
    except ObjectArchivedError as error:
        return Outcome(Kind.ARCHIVED, error=error)
    except InterruptedTransferError:
        return UNTOUCHED
    except FleetcopyError as error:
        return Outcome(Kind.FAILED, error=error)


def _copy(
    transferrer: Transferrer,
    ref: ObjectRef,
    cancel: Cancellation,
    random: Random,
    clock: Callable[[], float],
) -> Outcome:
    # Absence needs no look: the write itself is conditional on it.
    look = ref.destination_etag != ""
    fenced = True
    failures, until = 0, clock() + PATIENCE
    for _ in range(_STEPS):
        try:
            if look:
                return _look_and_copy(transferrer, ref, cancel)
            return _outcome(transferrer.copy(ref, fenced=fenced, expect="", cancel=cancel))
        except SourceChangedError:
            fenced = False
        except DestinationChangedError:
            look = True
        except InterruptedTransferError:
            raise
        except FleetcopyError as error:
            failures += 1
            wait = pause(failures, random)
            if not error.retryable or error.blames_endpoint or failures == TRIES or clock() + wait > until:
                raise
            if cancel.wait(wait):
                raise InterruptedTransferError(f"{ref.key!r}: cancelled between tries") from error
    raise ContendedError(f"{ref.key!r}: source or destination kept changing, {_STEPS} times")


def _look_and_copy(transferrer: Transferrer, ref: ObjectRef, cancel: Cancellation) -> Outcome:
    """Copy what the source holds now over what the destination holds now, unless they are equal."""
    source, destination = transferrer.look(ref)
    if source is None:
        return Outcome(Kind.GONE)
    if destination and compare(source, destination) is Comparison.EQUAL:
        return Outcome(Kind.SKIPPED)
    now = msgspec.structs.replace(
        ref, size=source.size, etag=source.etag, storage_class=source.storage_class, version_id=None
    )
    expect = destination.etag if destination else ""
    return _outcome(transferrer.copy(now, fenced=True, expect=expect, cancel=cancel))


def _outcome(copied: Copied) -> Outcome:
    return Outcome(Kind.COPIED, copied.bytes, copied.proof)
