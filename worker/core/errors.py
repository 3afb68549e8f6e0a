"""The one error tree. Each class says by itself whether trying again may help and whose fault it is.

Messages are written for the person who meets them: what happened, to which key or resource, what to do
now. Exit codes are given in one place, `worker.__main__.exit_code`.
"""

from __future__ import annotations

from typing import Literal

Side = Literal["source", "destination"]


class FleetcopyError(Exception):
    """Root of every error that fleetcopy raises on purpose."""

    retryable = False
    """Whether the same step may succeed later, with nothing changed by a person."""

    blames_endpoint = False
    """Whether the error says nothing about the task at hand: it would meet any other task as well."""

    @property
    def reason(self) -> str:
        """A stable word for logs and dead letters: the class name without `Error`."""
        return type(self).__name__.removesuffix("Error")


class UsageError(FleetcopyError):
    """The command line or a setting asks for what cannot be."""


class ListingError(UsageError):
    """A listing cannot be trusted: unreadable, cut short, malformed or out of order."""


class ReleaseError(UsageError):
    """A checkout or a release is not what it must be: incomplete, altered, or in the way of another."""


class ConfigurationError(FleetcopyError):
    """Credentials, permissions, a bucket, a queue or a key are not as they must be."""

    blames_endpoint = True


class ServiceUnavailableError(FleetcopyError):
    """A service answered 5xx, throttled, timed out or dropped the connection."""

    retryable = True


class WriteConflictError(ServiceUnavailableError):
    """Another write of the same key was under way (409)."""


class EndpointUnreachableError(ServiceUnavailableError):
    """No connection to an endpoint could be made at all: a name that does not resolve, a closed port."""

    blames_endpoint = True


class MessageError(FleetcopyError):
    """A message that no worker of this configuration can carry out; it goes to the dead-letter queue."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def reason(self) -> str:
        """The code given at the raise, such as `UnknownVersion`."""
        return self.code


class ObjectError(FleetcopyError):
    """Something about one object; says nothing about others."""


class ObjectGoneError(ObjectError):
    """The source object no longer exists."""


class ObjectArchivedError(ObjectError):
    """The source object is in an archive tier and must be restored before it can be read."""


class ObjectRefusedError(ObjectError):
    """S3 refused this one object with an answer that repeating will not change."""


class UnsupportedError(ObjectRefusedError):
    """The endpoint does not offer what was asked of it."""


class AttributeLostError(ObjectRefusedError):
    """An attribute of the object cannot be carried over unchanged."""


class ObjectDeniedError(ObjectError):
    """S3 denied access (403) to one object; whether to it alone, `core.denials` decides."""

    def __init__(self, side: Side, message: str) -> None:
        super().__init__(message)
        self.side: Side = side


class SourceChangedError(ObjectError):
    """The source answered 412: it no longer has the ETag that was expected."""


class DestinationChangedError(ObjectError):
    """The destination refused a conditional write: it is no longer as it was last seen."""


class UploadGoneError(ObjectError):
    """The destination knows no such multipart upload: it was completed or aborted."""


class ProofRefusedError(ObjectError):
    """The destination refused the bytes: they do not match the source's digest. Nothing was published."""

    retryable = True


class ContendedError(ObjectError):
    """Source and destination kept changing under the copy."""

    retryable = True


class StalledError(ObjectError):
    """No part of a large object has arrived for very long, though hints were sent again and again."""


class InterruptedTransferError(ObjectError):
    """The transfer was cancelled from this side, by a drain; no failure of anybody."""

    retryable = True


class UnexpectedError(ObjectError):
    """A fault of this program, met at one object; the log holds its traceback."""

    retryable = True


class WorkerCrashedError(FleetcopyError):
    """Worker processes die as fast as they are started."""
