"""What S3 is asked to do only under a condition: reads, writes, and the source of a copy."""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

from datetime import datetime
from typing import Any

from moto.core.utils import str_to_rfc_1123_datetime

from tests.cloud.asked import Refused
from tests.cloud.web import Response

SOURCE = "x-amz-copy-source-"


def failed(condition: str) -> Refused:
    """Return S3's 412, which names the condition."""
    message = "At least one of the pre-conditions you specified did not hold"
    return Refused(412, "PreconditionFailed", message, Condition=condition)


def conflict(condition: str, key: str) -> Refused:
    """Return S3's 409 to a completion that another write came before."""
    message = "The conditional request cannot succeed due to a conflicting operation against this resource."
    return Refused(409, "ConditionalRequestConflict", message, Condition=condition, Key=key)


def missing() -> Refused:
    """Return S3's 404."""
    return Refused(404, "NoSuchKey", "The specified key does not exist.")


def same_etag(header: str, etag: str) -> bool:
    """Whether a condition's ETag is an object's; both with quotes or without."""
    return header == "*" or header.strip('"') == etag.strip('"')


def check_read(key: Any, headers: dict[str, str]) -> Response | None:
    """Return the 304 of a read, or None to go on.

    Raises:
        Refused: 412.
    """
    modified = key.last_modified.replace(microsecond=0)
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    since, unmodified = headers.get("if-modified-since"), headers.get("if-unmodified-since")
    if match is not None:
        if not same_etag(match, key.etag):
            raise failed("If-Match")
    elif unmodified is not None and modified > _time(unmodified):
        raise failed("If-Unmodified-Since")
    if none_match is not None:
        return Response(304, {"ETag": key.etag}) if same_etag(none_match, key.etag) else None
    if since is not None and modified <= _time(since):
        return Response(304, {"ETag": key.etag})
    return None


def check_write(present: Any, headers: dict[str, str]) -> None:
    """Raise `Refused` where a write's condition does not hold of the object that is there, None for none."""
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if none_match is not None and (none_match != "*" or match is not None):
        text = "A header you provided implies functionality that is not implemented"
        raise Refused(501, "NotImplemented", text, Header="If-None-Match")
    if none_match is not None and present is not None:
        raise failed("If-None-Match")
    if match is not None and present is None:
        raise missing()
    if match is not None and not same_etag(match, present.etag):
        raise failed("If-Match")


def check_source(key: Any, headers: dict[str, str]) -> None:
    """Raise `Refused` where a copy's source is not as `x-amz-copy-source-if-...` has it."""
    modified = key.last_modified.replace(microsecond=0)
    match, none_match = headers.get(f"{SOURCE}if-match"), headers.get(f"{SOURCE}if-none-match")
    since, unmodified = headers.get(f"{SOURCE}if-modified-since"), headers.get(f"{SOURCE}if-unmodified-since")
    if match is not None:
        if not same_etag(match, key.etag):
            raise failed(f"{SOURCE}If-Match")
    elif unmodified is not None and modified > _time(unmodified):
        raise failed(f"{SOURCE}If-Unmodified-Since")
    if none_match is not None:
        if same_etag(none_match, key.etag):
            raise failed(f"{SOURCE}If-None-Match")
    elif since is not None and modified <= _time(since):
        raise failed(f"{SOURCE}If-Modified-Since")


def _time(header: str) -> datetime:
    time: datetime = str_to_rfc_1123_datetime(header)
    return time
