"""The interface behind which bytes move. `tests/contract/` is its contract.

An implementation moves one whole object at a time in bounded memory, tries once, and lets S3 itself refuse
wrong bytes before they are visible. Trying again, and what to do about a refusal, is `flow.copy`'s.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from worker.core.compare import Seen
from worker.core.model import ObjectRef, Proof


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
