"""The interface behind which bytes move. `tests/contract/` is its contract.

An implementation moves one whole object at a time in bounded memory, tries once, and lets S3 itself refuse
wrong bytes before they are visible. Trying again, and what to do about a refusal, is `flow.copy`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from worker.core.compare import Seen
from worker.core.message import Upload
from worker.core.model import ObjectRef, Proof
from worker.core.parts import Part, Whole


class Cancellation(Protocol):
    """What a transfer asks, between pieces, whether to go on; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether to stop now."""
        ...

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for the word to stop; whether it came."""
        ...


class Copied(msgspec.Struct, frozen=True):
    """An object that the destination has accepted: bytes moved, and why they are right."""

    bytes: int
    proof: Proof


class Transferrer(Protocol):
    """Moves objects of one transfer; safe to call from many threads at once."""

    def copy(self, ref: ObjectRef, *, fenced: bool, expect: str, cancel: Cancellation) -> Copied:
        """Copy one object with its attributes.

        Args:
            ref: the object, named by its source key.
            fenced: copy only the version that `ref` names (its ETag and version id), else whatever the
                source holds now.
            expect: ETag that the destination must have for the write to count; `""` for absent.
            cancel: stops the transfer; nothing is published then.

        Raises:
            SourceChangedError: fenced, and the source holds another version.
            DestinationChangedError: the destination is not as expected.
            ObjectGoneError, ObjectArchivedError, ObjectDeniedError, ObjectRefusedError, AttributeLostError:
                about this object.
            ProofRefusedError: the destination received other bytes than the source's digest declares.
            ServiceUnavailableError: worth another try.
            ConfigurationError: not this object's fault.
            InterruptedTransferError: cancelled.
        """
        ...

    def look(self, ref: ObjectRef) -> tuple[Seen | None, Seen | None]:
        """What S3 says of the object at the source and at the destination now; None where it is absent."""
        ...


class Original(msgspec.Struct, frozen=True):
    """An object as a HEAD of the source shows it.

    Attributes:
        ref: what it is now.
        seen: what is known of its bytes; no checksums, where a part was asked for.
        headers: its attributes.
        part_size: bytes of the part that was asked for; of all, where none was.
    """

    ref: ObjectRef
    seen: Seen
    headers: dict[str, str]
    part_size: int


class Multipart(Protocol):
    """Takes the steps of copying one object in parts, each once; safe to call from many threads.

    All raise what `Transferrer.copy` does, and `UploadGoneError` where an upload is no more.
    """

    def look(self, ref: ObjectRef, *, fenced: bool, cancel: Cancellation, part: int = 0) -> Original:
        """What the source holds, one HEAD.

        Args:
            ref: the object.
            fenced: no other version than this.
            cancel: stops it.
            part: number of the part to ask about; 0 for none.

        Raises:
            ObjectArchivedError: it must be restored before it can be read.
        """
        ...

    def destination(self, ref: ObjectRef, cancel: Cancellation) -> Seen | None:
        """What the destination holds; None where it is absent."""
        ...

    def create(self, original: Original, part_size: int, *, own: bool, cancel: Cancellation) -> Upload:
        """Create an upload that gives the copy the original's attributes.

        Args:
            original: what is to be copied.
            part_size: bytes of each part but the last.
            own: whether those are the original's own parts.
            cancel: stops it.
        """
        ...

    def put(self, ref: ObjectRef, upload: Upload, number: int, cancel: Cancellation) -> Part:
        """Copy one part of exactly this version."""
        ...

    def parts(self, ref: ObjectRef, upload: Upload, first: int, last: int) -> list[Part]:
        """The parts that are there, from one number to another, in order."""
        ...

    def complete(
        self,
        ref: ObjectRef,
        upload: Upload,
        parts: Sequence[Part],
        whole: Whole,
        *,
        expect: str,
        cancel: Cancellation,
    ) -> None:
        """Publish the object, if the destination is as expected; see `Transferrer.copy`."""
        ...

    def abort(self, ref: ObjectRef, upload_id: str) -> None:
        """Abort an upload; one that is no more is no error."""
        ...

    def uploads(self, ref: ObjectRef) -> list[str]:
        """The ids of all uploads of exactly this object's key."""
        ...

    def combine(self, algorithm: str, sums: Iterable[tuple[str, int]]) -> str:
        """See `core.parts.Combine`."""
        ...
