"""The error tree: every class says what it is, whether trying again may help, and whose fault it is."""

from __future__ import annotations

import pytest

from worker.core import errors
from worker.core.errors import FleetcopyError, MessageError, ObjectDeniedError

# class: (retryable, blames the endpoint)
TABLE = {
    "FleetcopyError": (False, False),
    "UsageError": (False, False),
    "ListingError": (False, False),
    "ReleaseError": (False, False),
    "ConfigurationError": (False, True),
    "ServiceUnavailableError": (True, False),
    "EndpointUnreachableError": (True, True),
    "WriteConflictError": (True, False),
    "MessageError": (False, False),
    "ObjectError": (False, False),
    "ObjectGoneError": (False, False),
    "ObjectArchivedError": (False, False),
    "ObjectRefusedError": (False, False),
    "AttributeLostError": (False, False),
    "UnsupportedError": (False, False),
    "ObjectDeniedError": (False, False),
    "SourceChangedError": (False, False),
    "DestinationChangedError": (False, False),
    "UploadGoneError": (False, False),
    "ProofRefusedError": (True, False),
    "ContendedError": (True, False),
    "StalledError": (False, False),
    "InterruptedTransferError": (True, False),
    "UnexpectedError": (True, False),
    "WorkerCrashedError": (False, False),
}
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, Exception)
}


def test_the_table_here_has_every_class_of_the_tree() -> None:
    assert set(CLASSES) == set(TABLE)
    assert all(issubclass(one, FleetcopyError) for one in CLASSES.values())


@pytest.mark.parametrize("name", TABLE)
def test_each_class_is_documented_by_itself(name: str) -> None:
    text = CLASSES[name].__dict__["__doc__"]
    assert text
    assert text.strip().endswith(".")


@pytest.mark.parametrize(("name", "flags"), TABLE.items())
def test_each_class_says_whether_to_try_again_and_whom_to_blame(name: str, flags: tuple[bool, bool]) -> None:
    one = CLASSES[name]
    assert (getattr(one, "retryable", None), getattr(one, "blames_endpoint", None)) == flags


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"MessageError", "ObjectDeniedError"}))
def test_a_reason_is_the_class_name_without_error(name: str) -> None:
    error = CLASSES[name]("what happened")
    assert isinstance(error, FleetcopyError)
    assert f"{error.reason}Error" == name
    assert str(error) == "what happened"


def test_a_messages_reason_is_its_code() -> None:
    error = MessageError("NotJSON", "what happened")
    assert (error.reason, str(error)) == ("NotJSON", "what happened")


def test_a_denial_knows_its_side() -> None:
    error = ObjectDeniedError("destination", "what happened")
    assert (error.side, error.reason, str(error)) == ("destination", "ObjectDenied", "what happened")


def test_what_says_nothing_about_an_object_is_no_object_error() -> None:
    blaming = [one for name, one in CLASSES.items() if TABLE[name][1]]
    assert not any(issubclass(one, errors.ObjectError) for one in blaming)
