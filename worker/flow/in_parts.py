"""Objects that were uploaded in parts of one size are copied in the same parts, and so keep their ETag.

The parts of one object move one after the other, in its own stream. What fails is tried again part by part;
what was uploaded of an object that cannot be finished is aborted. Requests: two a part, and four. Where the
parts turn out to have been of several sizes, or ETags of the destination to be no digests, the object is
copied as a whole.
"""

from __future__ import annotations

import contextlib
from functools import partial
from random import Random

from worker.core.compare import Seen
from worker.core.errors import (
    DestinationChangedError,
    FleetcopyError,
    ProofRefusedError,
    UploadGoneError,
)
from worker.core.message import Upload
from worker.core.model import ObjectRef
from worker.core.parts import count, own_part_size, parts_in, prove, span
from worker.core.retry import again
from worker.core.transferrer import Cancellation, Copied, Multipart, Original, Transferrer
from worker.flow import log


class InParts:
    """A `Transferrer` that copies such objects in parts, and hands all others to another.

    Args:
        whole: copies whole objects.
        multipart: takes the steps of a copy in parts.
        random: for the jitter of pauses.
    """

    def __init__(self, whole: Transferrer, multipart: Multipart, random: Random) -> None:
        self._whole = whole
        self._multipart = multipart
        self._random = random
        self._keeps_etags = True

    def copy(self, ref: ObjectRef, *, fenced: bool, expect: str, cancel: Cancellation) -> Copied:
        """See `Transferrer.copy`."""
        if self._keeps_etags and parts_in(ref.etag):
            original = self._multipart.look(ref, fenced=fenced, cancel=cancel, part=1)
            part_size = own_part_size(original.seen, original.part_size)
            if part_size:
                try:
                    if copied := self._copy(original, part_size, expect, cancel):
                        return copied
                except ProofRefusedError:
                    if are_of_one_size(self._multipart, original.ref, part_size, cancel):
                        raise
        return self._whole.copy(ref, fenced=fenced, expect=expect, cancel=cancel)

    def look(self, ref: ObjectRef) -> tuple[Seen | None, Seen | None]:
        """See `Transferrer.look`."""
        return self._whole.look(ref)

    def _copy(self, original: Original, part_size: int, expect: str, cancel: Cancellation) -> Copied | None:
        """Copy an object in its own parts; None where its ETag could not tell that they arrived."""
        multipart, ref = self._multipart, original.ref
        upload = multipart.create(original, part_size, own=True, cancel=cancel)
        if not upload.own:
            self._keeps_etags = False
            self._abort(ref, upload)
            return None
        try:
            parts = [
                again(partial(multipart.put, ref, upload, number, cancel), cancel, self._random)
                for number in range(1, count(ref.size, part_size) + 1)
            ]
            whole = prove(
                original.seen, parts, algorithm=upload.checksum, own=upload.own, combine=multipart.combine
            )
            complete = partial(multipart.complete, ref, upload, parts, whole, expect=expect, cancel=cancel)
            again(complete, cancel, self._random)
        except UploadGoneError as error:
            # Completed by a request whose answer was lost, or aborted by another owner: a look tells.
            raise DestinationChangedError(str(error)) from error
        except BaseException:
            self._abort(ref, upload)
            raise
        try:
            sweep(multipart, ref)
        except FleetcopyError as error:
            log.warning("unfinished uploads", key=ref.key, why=str(error))
        return Copied(ref.size, whole.proof)

    def _abort(self, ref: ObjectRef, upload: Upload) -> None:
        with contextlib.suppress(FleetcopyError):  # the next copy of this object sweeps
            self._multipart.abort(ref, upload.id)


def are_of_one_size(
    multipart: Multipart,
    ref: ObjectRef,
    part_size: int,
    cancel: Cancellation,
    *,
    last_alone: bool = False,
) -> bool:
    """Whether the parts that an object was uploaded in are really of this size, the last of what is left.

    Costs a request for each, or one.
    """
    last = count(ref.size, part_size)
    return all(
        multipart.look(ref, fenced=True, cancel=cancel, part=number).part_size
        == span(ref.size, part_size, number)[1]
        for number in range(last if last_alone else 1, last + 1)
    )


def sweep(multipart: Multipart, ref: ObjectRef) -> int:
    """Abort whatever uploads there are of an object that is done; how many there were.

    Raises:
        FleetcopyError: there may be more.
    """
    orphans = multipart.uploads(ref)
    for upload_id in orphans:
        multipart.abort(ref, upload_id)
    return len(orphans)
