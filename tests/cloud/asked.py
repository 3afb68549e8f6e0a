"""One S3 request as its handler sees it: moto's state, what was asked, and what the asker may do.

A handler returns its answer or raises `Refused`, S3's refusal; `moto_bridge` makes the requests and puts the
refusals in words.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.cloud.journal import Call
from tests.cloud.web import Request, Response

S3_MIN_PART_BYTES = 5 * 1024**2
NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Refused(Exception):  # noqa: N818 - it is an answer as good as any
    """An error answer; `details` are the elements that it has besides code and message."""

    def __init__(self, status: int, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


def denied() -> Refused:
    """Return S3's 403."""
    return Refused(403, "AccessDenied", "Access Denied")


@dataclass(slots=True)
class Settings:
    """What a test may change of S3.

    Attributes:
        default_checksum: an object that comes without a checksum gets a CRC64NVME, as since December 2024.
        min_part_bytes: of all parts but the last, seen at their completion.
    """

    default_checksum: bool = False
    min_part_bytes: int = S3_MIN_PART_BYTES


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `permits` is asked with an action and a resource, and says yes where nobody is asked."""

    backend: Any
    call: Call
    request: Request
    settings: Settings
    permits: Callable[[str, str], bool]

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers, names in lower case."""
        return self.request.headers

    @property
    def bucket(self) -> Any:
        """The bucket, as moto has it; it is there."""
        return self.backend.get_bucket(self.call.bucket)

    def may(self, action: str, bucket: str, key: str | None = None) -> bool:
        """Whether the asker may do this to a bucket or to an object."""
        return self.permits(action, f"arn:aws:s3:::{bucket}" + (f"/{key}" if key is not None else ""))

    def must(self, action: str) -> None:
        """Refuse an asker who may not do this to the object that is asked about."""
        if not self.may(action, str(self.call.bucket), self.call.key):
            raise denied()


def xml_answer(name: str, content: str, headers: dict[str, str] | None = None) -> Response:
    """Return an answer of one XML element; its content is XML already."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{NAMESPACE}">{content}</{name}>'
    return Response(200, {"Content-Type": "application/xml"} | (headers or {}), text.encode())


def iso_time(time: datetime) -> str:
    """Return a time of UTC as S3's XML and headers spell it."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def element(name: str, value: object) -> str:
    """Return an element of text, or nothing for None."""
    return "" if value is None else f"<{name}>{xml_escaped(str(value))}</{name}>"


def xml_escaped(text: str) -> str:
    """Return a name as S3 spells it without encoding-type; with some characters that is not XML, as there."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return NOT_XML.sub(lambda found: f"&#x{ord(found.group()):x};", text)
