"""A refusal of S3's, and what about the next request would cure it.

A request is repeated only where something about it has changed, and once for each of these; waiting and
trying the same again is `flow.copy`'s alone.
"""

from __future__ import annotations

import enum
import html
import re
from collections.abc import Mapping

import msgspec

from worker.core.http import Head

LONGEST_BODY = 65_536
"""Bytes of an error's body that are looked at."""

_FIELD = re.compile(r"<(Code|Message|Region|Header|Condition)>([^<]*)</\1>")
_BAD, _FORBIDDEN = 400, 403
_REDIRECTS = frozenset({301, 302, 307})
_ELSEWHERE = "AuthorizationHeaderMalformed"


class Refusal(msgspec.Struct, frozen=True):
    """What S3 answered instead of what was asked for.

    Attributes:
        head: of the answer.
        code: S3's, or `HTTP <status>` where the body has none.
        message: S3's.
        region: where the bucket is, as far as the answer tells.
        header: the request's header that S3 does not know, with `NotImplemented`.
        condition: the request's header that did not hold, with `PreconditionFailed`.
    """

    head: Head
    code: str
    message: str = ""
    region: str = ""
    header: str = ""
    condition: str = ""


class Cure(enum.Enum):
    """What to change about a request that was refused."""

    REGION = "sign for, and go to, the bucket's region"
    LOCATION = "go where the answer points, this once"
    CLOCK = "take the time from the answer's Date"
    KEYS = "read the credentials again"
    NO_TRAILER = "send the body without a trailer"
    NO_CONDITION = "write without a condition"


OLD_KEYS = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
)
"""Codes of refusals that credentials meet once they have been replaced."""

_CONDITIONS = frozenset({"if-match", "if-none-match"})


def refusal(head: Head, body: bytes) -> Refusal:
    """What an answer that is no success says; a body without XML is no error of its own."""
    fields = {name: html.unescape(text) for name, text in _FIELD.findall(body.decode("utf-8", "replace"))}
    return Refusal(
        head,
        fields.get("Code") or f"HTTP {head.status}",
        fields.get("Message", ""),
        head.headers.get("x-amz-bucket-region") or fields.get("Region", ""),
        fields.get("Header", "").lower(),
        fields.get("Condition", "").lower(),
    )


def cure(refused: Refusal, region: str, *, trailer: bool) -> Cure | None:
    """What would cure a refusal of a request that was signed for `region`, with a trailer or without."""
    status, code = refused.head.status, refused.code
    if code == "RequestTimeTooSkewed":
        return Cure.CLOCK
    if code in OLD_KEYS:
        return Cure.KEYS
    if refused.region not in {"", region} and (status in _REDIRECTS or code == _ELSEWHERE):
        return Cure.REGION
    if status in _REDIRECTS and "location" in refused.head.headers:
        return Cure.LOCATION
    if code == "NotImplemented" and refused.header in _CONDITIONS:
        return Cure.NO_CONDITION
    return Cure.NO_TRAILER if code == "NotImplemented" and trailer else None


def advice(refused: Refusal, headers: Mapping[str, str]) -> str:
    """Which option may help, where an attribute among the request's headers may be what S3 minds."""
    status = refused.head.status
    match refused.code:
        case "InvalidStorageClass":
            return "Choose one with --storage-class"
        case "AccessControlListNotSupported":
            return "The bucket's owner owns what is in it: leave --acl out"
    if status in {_BAD, _FORBIDDEN} and any(name.startswith("x-amz-object-lock-") for name in headers):
        return "Its lock takes a bucket with Object Lock, and permission to lock; else --object-lock ignore"
    if status == _FORBIDDEN and "x-amz-acl" in headers:
        return "An ACL takes s3:PutObjectAcl"
    if status == _FORBIDDEN and "x-amz-tagging" in headers:
        return "Its tags take s3:PutObjectTagging; else --tags ignore"
    return ""
