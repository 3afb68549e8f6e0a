"""One page of a bucket's listing: S3's XML to columns, at a hundredth of what botocore's parser takes.

A regular expression takes the rows out as S3 writes them, and counts as read only if it found them all; any
other page, of a look-alike or of a future S3, goes through an XML parser. Either way a page must be what it
says it is, and go on where the one before it ended: a listing that skips, repeats or ends early would have
a transfer call itself complete when it is not.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

import msgspec

from worker.core.errors import ListingError
from worker.core.lines import Line
from worker.core.model import ObjectRef

MOST_KEYS = 1000
"""Rows of one page at most (S3 API Reference, "ListObjectsV2": MaxKeys)."""

# Classes of all but one character, and possessive, cost a third of what others do.
_ROW = re.compile(
    r"<Contents><Key>([^<]++)</Key>"
    r"<LastModified>(\d\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ)</LastModified>"
    r"<ETag>&quot;([^&]*+)&quot;</ETag>(?:<Checksum[^>]*+>[^<]*+</Checksum[^>]*+>)*+"
    r"<Size>(\d++)</Size><StorageClass>([^<]++)</StorageClass></Contents>",
    re.ASCII,
)
_END = "</Contents>"
_KNOWN = 4096
_ESCAPES = re.compile("(?:%[0-9A-Fa-f]{2})+")


class Page(msgspec.Struct, frozen=True):
    """The rows of one page, column by column, in key order, and the token of the next page, if any.

    Attributes:
        keys: decoded.
        sizes: bytes.
        etags: without their quotes.
        modified: as S3 spells times.
        classes: storage classes.
        token: opaque; None where the listing ends.
    """

    keys: Sequence[str]
    sizes: Sequence[int]
    etags: Sequence[str]
    modified: Sequence[str]
    classes: Sequence[str]
    token: str | None

    def lines(self, count: int | None = None) -> Iterator[Line]:
        """The first `count` rows, or all, as the lines of a saved listing."""
        rows = map(Line, self.keys, self.sizes, self.etags, self.modified, self.classes)
        return islice(rows, count)

    def refs(self) -> list[ObjectRef]:
        """The rows as objects.

        Raises:
            ListingError: a time is none.
        """
        try:
            times = [int(datetime.fromisoformat(text).timestamp()) for text in self.modified]
        except ValueError as error:
            raise ListingError(f"a row of the listing cannot be read: {error!r}") from None
        return list(map(ObjectRef, self.keys, self.sizes, self.etags, times, self.classes))


_Columns = tuple[Sequence[str], Sequence[int], Sequence[str], Sequence[str], Sequence[str]]


def parse_page(body: bytes | bytearray) -> Page:
    """Read the answer to ListObjectsV2 (S3 API Reference); keys may be URL-encoded, a space as `+`.

    Raises:
        ListingError: it contradicts itself, or a row lacks something or holds what is no number or time.
        xml.etree.ElementTree.ParseError: it is no XML, or cut short.
    """
    try:
        text = body.decode()
        rows = _ROW.findall(text)
        if not rows:
            return _parse_slowly(body)
        frame = ET.fromstring(_frame(text))  # noqa: S314 - by the same parser as botocore's
        names, modified, etags, sizes, classes = zip(*rows, strict=True)
        joined = "\n".join(names)
        if _text(frame, "KeyCount") != str(len(rows)) or "&" in joined:
            return _parse_slowly(body)
        keys = _decoded(names, joined) if _text(frame, "EncodingType") == "url" else names
    except UnicodeError as error:
        raise ListingError(f"a key of the listing is no UTF-8: {error}") from None
    return _page(frame, (keys, list(map(int, sizes)), etags, modified, classes))


def _frame(text: str) -> bytes:
    """What stands around a page's rows."""
    end = text.rindex(_END) + len(_END)
    return (text[: text.index("<Contents>")] + text[end:]).encode()


def _parse_slowly(body: bytes | bytearray) -> Page:
    root = ET.fromstring(bytes(body))  # noqa: S314 - as above
    space = root.tag.partition("ListBucketResult")[0]
    encoded = _text(root, "EncodingType") == "url"
    elements = [{field.tag: field.text for field in row} for row in root.iter(f"{space}Contents")]
    try:
        rows = [_row(fields, space, encoded) for fields in elements]
    except UnicodeError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ListingError(f"a row of the listing cannot be read: {error!r}") from None
    keys, sizes, etags, modified, classes = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return _page(root, (keys, sizes, etags, modified, classes))


def _row(fields: dict[str, str | None], space: str, encoded: bool) -> tuple[str, int, str, str, str]:  # noqa: FBT001
    key = fields[f"{space}Key"] or ""
    modified = datetime.fromisoformat(fields[f"{space}LastModified"] or "")
    if modified.tzinfo is None:
        raise ValueError(f"{modified} without a time zone")
    return (
        unquote_plus(key, errors="strict") if encoded else key,
        int(fields[f"{space}Size"] or ""),
        (fields[f"{space}ETag"] or "").strip('"'),
        modified.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        fields.get(f"{space}StorageClass") or "STANDARD",
    )


def _decoded(keys: Sequence[str], joined: str) -> Sequence[str]:
    """Keys as they are: all of a page in one go, unless one of them holds what separates them here."""
    if "%" not in joined and "+" not in joined:
        return keys
    plain = _ESCAPES.sub(_unescaped, joined.replace("+", " ")).split("\n")
    return plain if len(plain) == len(keys) else [unquote_plus(key, errors="strict") for key in keys]


def _unescaped(escapes: re.Match[str]) -> str:
    return _characters(escapes[0])


@functools.lru_cache(_KNOWN)
def _characters(escapes: str) -> str:
    # Names of folders come again and again.
    return bytes.fromhex(escapes.replace("%", " ")).decode()


def _text(frame: ET.Element, name: str) -> str | None:
    return frame.findtext(f"{{*}}{name}")


def _page(frame: ET.Element, columns: _Columns) -> Page:
    """The page, if it is what it says it is."""
    count, told, truncated = len(columns[0]), _text(frame, "KeyCount"), _text(frame, "IsTruncated")
    token = _text(frame, "NextContinuationToken")
    if not frame.tag.endswith("ListBucketResult") or truncated not in {"true", "false"}:
        raise ListingError("the answer is no page of a listing")
    if told is not None and told != str(count):
        raise ListingError(f"a page of the listing holds {count} objects and says that it holds {told}")
    if truncated == "true" and not token:
        raise ListingError("a page of the listing says that more follows, and not where")
    if truncated == "false" and token:
        raise ListingError("a page of the listing says that nothing follows, and where to go on")
    return Page(*columns, token=token)


class Cursor(msgspec.Struct):
    """How far a walk through a listing's pages has come.

    Attributes:
        prefix: of all its keys.
        last: the last key seen, or the one after which the walk begins.
        token: of the next page; None before the first.
        ended: whether nothing follows.
    """

    prefix: str
    last: str
    token: str | None = None
    ended: bool = False

    def take(self, page: Page) -> None:
        """Go past a page.

        Raises:
            ListingError: it does not go on where the walk has come to, or is out of order.
        """
        if page.keys:
            _check(page.keys, self.prefix, self.last)
            self.last = page.keys[-1]
        elif page.token is not None and page.token == self.token:
            raise ListingError(f"the listing goes round: after {self.last!r} it points to where it was")
        self.token, self.ended = page.token, page.token is None


def _check(keys: Sequence[str], prefix: str, last: str) -> None:
    """Make sure that keys are in order, all under `prefix`, and come after the key `last`."""
    if keys[0] <= last:
        raise ListingError(
            f"the listing goes back: a page begins with key {keys[0]!r}, and {last!r} stands before it"
        )
    if not all(map(operator.lt, keys, islice(keys, 1, None))):
        at = next(at for at, key in enumerate(keys[1:]) if key <= keys[at])
        raise ListingError(
            f"key {keys[at + 1]!r} stands after {keys[at]!r}, out of order; directory buckets and some "
            "S3 look-alikes list so, and cannot be listed in ranges or compared"
        )
    # Keys with one prefix stand together.
    for key in (keys[0], keys[-1]):
        if not key.startswith(prefix):
            raise ListingError(f"key {key!r} lies outside prefix {prefix!r}")
