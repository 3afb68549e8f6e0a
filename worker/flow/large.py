"""One large object, copied by many workers: its owner's steps and the hints', as `core.large` decides.

Every step may be taken twice, cut off anywhere, or come late. What holds nevertheless:

 - each upload is of one version: its hints read no other (`If-Match`), and only its owner completes it;
 - before the owner looks at the source it looks at the destination, and what it saw there is the condition
   of Complete: a newer copy is never replaced by an older one;
 - a message is followed by its successor before it is deleted, so that an object always has an owner;
 - whoever ends an object's way aborts what uploads it has left, and looks again once no part that was under
   way can still arrive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from random import Random

import msgspec

from worker.core.compare import Comparison, compare
from worker.core.errors import (
    DestinationChangedError,
    FleetcopyError,
    InterruptedTransferError,
    ObjectArchivedError,
    ObjectGoneError,
    ProofRefusedError,
    SourceChangedError,
    StalledError,
    UploadGoneError,
    WriteConflictError,
)
from worker.core.large import MOST_HINTS, Move, decide, hints, lateness, next_look
from worker.core.message import MOST_PARTS, LargeTask, PartTask, Stage, Task, Upload, encode
from worker.core.model import UNTOUCHED, Kind, ObjectRef, Outcome
from worker.core.parts import Part, own_part_size, part_size, parts_in, prove
from worker.core.retry import again
from worker.core.settle import Send, Step, is_final
from worker.core.transferrer import Cancellation, Multipart, Original
from worker.flow import log
from worker.flow.in_parts import are_of_one_size, sweep

replace = msgspec.structs.replace


class Large:
    """Carries out the tasks `large` and `part`.

    Args:
        multipart: takes the single steps.
        random: for the jitter of pauses.
    """

    def __init__(self, multipart: Multipart, random: Random) -> None:
        self._multipart = multipart
        self._random = random

    def own(self, task: LargeTask, cancel: Cancellation) -> Step:
        """Take an owner's next step; never raises one of our errors."""
        act: Callable[[LargeTask, Cancellation], Step] = {
            Stage.START: self._start,
            Stage.UPLOAD: self._oversee,
            Stage.ABORT: self._abort,
            Stage.CLEAN: self._clean,
        }[task.stage]
        try:
            return act(task, cancel)
        except InterruptedTransferError:
            return Step(UNTOUCHED)
        except FleetcopyError as error:
            return self._failed(task, error)

    def hint(self, task: PartTask, cancel: Cancellation) -> Step:
        """Upload the parts of a hint that are not there; never raises one of our errors."""
        moved = 0
        try:
            there = self._multipart.parts(task.ref, task.upload, task.first, task.last)
            missing = set(range(task.first, task.last + 1)) - {part.number for part in there}
            for number in sorted(missing):
                put = partial(self._multipart.put, task.ref, task.upload, number, cancel)
                moved += again(put, cancel, self._random).size
        except InterruptedTransferError:
            return Step(Outcome(Kind.UNTOUCHED, moved))
        except (SourceChangedError, ObjectGoneError, ObjectArchivedError):
            pass  # its owner will see, and start over
        except UploadGoneError:
            # A part that arrived after an abort lets it look alive to its owner: this is how that learns.
            with contextlib.suppress(FleetcopyError):
                self._multipart.abort(task.ref, task.upload.id)
        except FleetcopyError as error:
            return Step(Outcome(Kind.FAILED, moved, error=error))
        return Step(Outcome(Kind.HANDED_ON, moved))

    # The owner's stages.

    def _start(self, task: LargeTask, cancel: Cancellation) -> Step:
        """Create an upload of what the source holds now, unless the destination holds it already."""
        seen = self._multipart.destination(task.ref, cancel)
        try:
            original = self._multipart.look(task.ref, fenced=False, cancel=cancel)
        except ObjectGoneError:
            return self._end(task, Outcome(Kind.GONE))
        except ObjectArchivedError as error:
            return self._end(task, Outcome(Kind.ARCHIVED, error=error))
        if seen and compare(original.seen, seen) is Comparison.EQUAL:
            return self._end(task, Outcome(Kind.SKIPPED))
        original = replace(original, ref=replace(original.ref, destination_etag=seen.etag if seen else ""))
        try:
            upload = self._create(original, cancel, refused=task.refusals > 0)
        except (SourceChangedError, ObjectGoneError):
            return _hand_on(task)
        return self._send_hints(replace(task, stage=Stage.UPLOAD, ref=original.ref, upload=upload), [])

    def _create(self, original: Original, cancel: Cancellation, *, refused: bool) -> Upload:
        """Create an upload in the original's own parts, where they are of one size.

        Args:
            original: what is to be copied.
            cancel: stops it.
            refused: whether an earlier try may have shown that they are not, so that each is asked about.
        """
        ref, seen, own = original.ref, original.seen, None
        if seen.digest and parts_in(seen.etag):
            first = self._multipart.look(ref, fenced=True, cancel=cancel, part=1)
            own = own_part_size(seen, first.part_size)
        if own and not are_of_one_size(self._multipart, ref, own, cancel, last_alone=not refused):
            own = None
        size = own or part_size(seen.size)
        return self._multipart.create(original, size, own=own is not None, cancel=cancel)

    def _oversee(self, task: LargeTask, cancel: Cancellation) -> Step:
        """Look at source and upload, and do what `core.large` says."""
        assert task.upload
        parts: list[Part] | None = None
        original = self._present(task.ref, cancel)
        with contextlib.suppress(UploadGoneError):
            parts = self._multipart.parts(task.ref, task.upload, 1, MOST_PARTS)
        match decide(task, original.ref if original else None, parts):
            case Move.ABORT:
                return self._abort(task, cancel)
            case Move.START_OVER:
                return _hand_on(_afresh(task))
            case Move.COMPLETE:
                assert original
                assert parts
                return self._complete(task, original, parts, cancel)
            case Move.HINT:
                return self._send_hints(task, parts or [])
            case Move.HINT_AGAIN:
                again_from = replace(task.upload, hinted=0, looks=0, stalls=task.upload.stalls + 1)
                return self._send_hints(replace(task, upload=again_from), parts or [])
            case Move.GIVE_UP:
                raise StalledError(f"{task.ref.key!r}: no part of it arrives; see the log for its hints")
            case Move.WAIT:
                return self._wait(task, parts or [])

    def _present(self, ref: ObjectRef, cancel: Cancellation) -> Original | None:
        try:
            return self._multipart.look(ref, fenced=False, cancel=cancel)
        except (ObjectGoneError, ObjectArchivedError):
            return None

    def _complete(self, task: LargeTask, original: Original, parts: list[Part], cancel: Cancellation) -> Step:
        """Prove, publish, and leave no other upload behind."""
        upload, ref = task.upload, task.ref
        assert upload
        expect, combine = ref.destination_etag or "", self._multipart.combine
        try:
            whole = prove(original.seen, parts, algorithm=upload.checksum, own=upload.own, combine=combine)
            self._multipart.complete(ref, upload, parts, whole, expect=expect, cancel=cancel)
        except (DestinationChangedError, WriteConflictError):
            return self._abort(task, cancel)
        except UploadGoneError:
            return _hand_on(_afresh(task))
        except ProofRefusedError as error:
            if is_final(task.refusals, error):
                raise
            log.warning("large object", key=ref.key, stage=task.stage, why=str(error))
            return self._abort(replace(task, refusals=task.refusals + 1), cancel)
        return self._end(task, Outcome(Kind.COPIED, proof=whole.proof))

    def _abort(self, task: LargeTask, cancel: Cancellation) -> Step:
        """Abort until the upload is gone, then start over: parts under way may arrive after an abort."""
        del cancel
        upload = task.upload
        assert upload
        self._multipart.abort(task.ref, upload.id)
        task = replace(task, stage=Stage.ABORT, late=max(task.late, upload.part_size))
        try:
            self._multipart.parts(task.ref, upload, 1, 1)
        except UploadGoneError:
            return _hand_on(_afresh(task))
        looks = replace(upload, looks=upload.looks + 1)
        return _hand_on(replace(task, upload=looks), next_look(0, looks.looks))

    def _clean(self, task: LargeTask, cancel: Cancellation) -> Step:
        del cancel
        return self._end(task, Outcome(Kind.HANDED_ON))

    def _end(self, task: LargeTask, outcome: Outcome) -> Step:
        """Abort what uploads of the object there are; look again, where parts of one may be under way."""
        late = task.late if task.stage is not Stage.CLEAN else 0
        try:
            left = sweep(self._multipart, task.ref) > 0
        except FleetcopyError as error:
            if task.stage is Stage.CLEAN:
                raise
            log.warning("unfinished uploads", key=task.ref.key, why=str(error))
            left = error.retryable
        if left:
            late = max(task.late, part_size(task.ref.size))
        if not late:
            return Step(outcome)
        clean = LargeTask(task.transfer, task.ref, stage=Stage.CLEAN, late=late)
        return Step(outcome, (_send(clean, lateness(late)),))

    # What they have in common.

    def _send_hints(self, task: LargeTask, there: list[Part]) -> Step:
        """Send the next hints, and then the owner's next message."""
        assert task.upload
        sent: list[PartTask] = []
        for hint in hints(task, {part.number for part in there}):
            if len(sent) == MOST_HINTS:
                break
            sent.append(hint)
        hinted = sent[-1].last if len(sent) == MOST_HINTS else MOST_PARTS
        waiting = self._wait(replace(task, upload=replace(task.upload, hinted=hinted)), there)
        return Step(waiting.outcome, (*map(_send, sent), *waiting.sends))

    def _wait(self, task: LargeTask, there: list[Part]) -> Step:
        upload = task.upload
        assert upload
        if len(there) > upload.arrived:
            upload = replace(upload, arrived=len(there), looks=0, stalls=0)
        else:
            upload = replace(upload, looks=upload.looks + 1)
        left = task.ref.size - sum(part.size for part in there)
        return _hand_on(replace(task, upload=upload), next_look(left, max(0, upload.looks - 1)))

    def _failed(self, task: LargeTask, error: FleetcopyError) -> Step:
        """Leave no upload behind where nobody will come back to it."""
        log.warning("large object", key=task.ref.key, stage=task.stage, why=str(error))
        failed = Outcome(Kind.FAILED, error=error)
        if error.blames_endpoint or not is_final(task.attempt, error):
            return Step(failed)
        if task.stage is Stage.CLEAN:
            return Step(Outcome(Kind.HANDED_ON))  # the object itself is done
        late = _afresh(task).late
        clean = LargeTask(task.transfer, task.ref, stage=Stage.CLEAN, late=late)
        return Step(failed, (_send(clean),) if late else ())


def _afresh(task: LargeTask) -> LargeTask:
    """The same object from the start; what was seen of it counts no more."""
    late = max(task.late, task.upload.part_size if task.upload else 0)
    return replace(task, stage=Stage.START, upload=None, late=late)


def _hand_on(task: LargeTask, delay: int = 0) -> Step:
    """The owner's next message: this step has not failed."""
    return Step(Outcome(Kind.HANDED_ON), (_send(replace(task, attempt=0), delay),))


def _send(task: Task, delay: int = 0) -> Send:
    return Send(encode(task), delay)
