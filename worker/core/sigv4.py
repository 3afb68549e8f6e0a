"""AWS Signature Version 4 as S3 takes it: text in, text out.

Rules: S3 API Reference, "Authenticating Requests: Using the Authorization Header". Whoever sends a request
chooses the headers, the time and what is said of the payload; here they become one header. Keys are spelt by
`spell` once, and never normalised: for S3 `a//b`, `.` and `..` are names like any other.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from urllib.parse import quote

import msgspec

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()
TRAILED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

_ALGORITHM = "AWS4-HMAC-SHA256"
_BLANKS = re.compile(r"[ \t]+")
_BLANKS_OUTSIDE = re.compile(r"^([^:]*:) | $", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z0-9\-._~/]*")


class Keys(msgspec.Struct, frozen=True):
    """Credentials as a request needs them; what is secret never shows in their text."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Keys({self.access_key_id!r})"


def spell(path: str) -> str:
    """A path as S3 wants it in URL and signature: UTF-8, all but `A-Za-z0-9-._~/` percent-encoded."""
    # Most keys are spelt as they are, and to see that costs a quarter of `quote`.
    return path if _PLAIN.fullmatch(path) else quote(path, safe="/~")


def spell_query(parameters: Iterable[tuple[str, str]]) -> str:
    """A query in the one spelling and order that is both sent and signed."""
    spelt = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in parameters)
    return "&".join([f"{name}={value}" for name, value in spelt])


class Signer:
    """Signs for one set of keys in one region. The key of the day is derived once.

    Each signature is made by a copy of the key's HMAC: `hmac.digest` would begin with the key again, and let
    another thread have the interpreter meanwhile, which costs more than the signature.
    """

    def __init__(self, keys: Keys, region: str) -> None:
        self.keys = keys
        self._region = region
        self._day = ("", hmac.new(b"", digestmod="sha256"))

    def authorization(  # noqa: PLR0917 - the lines of a canonical request, in their order
        self, method: str, path: str, query: str, lines: str, names: str, payload: str, date: str
    ) -> str:
        """The Authorization header.

        Args:
            method: upper case.
            path: as `spell` gives it.
            query: as `spell_query` gives it.
            lines: the headers that are to be signed, `host` and `x-amz-date` among them, as `name:value` and
                a newline each; names in lower case, and sorted. Characters stand for bytes (ISO 8859-1).
            names: theirs, with semicolons between.
            payload: as in `x-amz-content-sha256`.
            date: `YYYYMMDDTHHMMSSZ`, as in `x-amz-date`.
        """
        # Hardly ever; a regular expression to find out would cost as much as the rest.
        if "  " in lines or "\t" in lines or ": " in lines or " \n" in lines:
            lines = _BLANKS_OUTSIDE.sub(r"\1", _BLANKS.sub(" ", lines))
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}".encode("latin-1")
        scope = f"{date[:8]}/{self._region}/s3/aws4_request"
        text = f"{_ALGORITHM}\n{date}\n{scope}\n{hashlib.sha256(request).hexdigest()}"
        signature = self._begun(date[:8]).copy()
        signature.update(text.encode())
        return (
            f"{_ALGORITHM} Credential={self.keys.access_key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature.hexdigest()}"
        )

    def _begun(self, day: str) -> hmac.HMAC:
        """The HMAC of the day's key, of nothing yet."""
        known, begun = self._day
        if known != day:
            key = f"AWS4{self.keys.secret_access_key}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            begun = hmac.new(key, digestmod="sha256")
            self._day = (day, begun)
        return begun
