"""What `aws s3api list-objects-v2 --output json` prints, read as a stream: its rows come in pieces.

Such a document may be larger than memory. Its members are walked one by one, and the arrays of rows are cut
where one row ends and the next begins, each piece to be decoded by itself. A cut is guessed by the text
around it, and proven by the decoding: what begins at a row and decodes was cut at a row's end. Only where
guesses fail are tokens counted.

Rows stand in `Contents`, or in `Keys`, as by `--query '{Keys: Contents, CommonPrefixes: CommonPrefixes}'`. A
document with `CommonPrefixes` was listed with a delimiter and lacks what lies below them: whoever reads it
must find that elsewhere. ijson would do the walking, at less than half the speed, and reads half a surrogate
pair as a question mark.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from worker.core.errors import ListingError
from worker.core.lines import LONGEST, UNREADABLE, Row

_T = TypeVar("_T")

_SPACE = b" \t\r\n"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NAME = re.compile(rb"[ \t\r\n]*(" + _STRING + rb")[ \t\r\n]*:[ \t\r\n]*", re.DOTALL)
# The last is the quote of a string that does not end.
_TOKEN = re.compile(_STRING + rb'|[\[\]{},]|"', re.DOTALL)
_LAST_ROW = re.compile(rb"\}[ \t\r\n]*\]")


class _Folder(msgspec.Struct, rename="pascal"):
    """A row of `CommonPrefixes`."""

    prefix: Annotated[str, msgspec.Meta(min_length=1)]


class Folders(msgspec.Struct, frozen=True):
    """Prefixes below which there are objects that the document leaves out."""

    prefixes: list[str]


class Truncated(msgspec.Struct, frozen=True):
    """The document says that there are more objects, behind its last."""


_MORE = {"IsTruncated", "NextContinuationToken", "NextToken"}
"""Members that say so, as S3 and the AWS CLI spell them."""


_FOLDERS = "CommonPrefixes"
_ROWS: dict[str, type[Row | _Folder]] = {"Contents": Row, "Keys": Row, _FOLDERS: _Folder}


def read(chunks: Iterable[bytes]) -> Iterator[list[Row] | Folders | Truncated]:
    """The rows of a document, in pieces of a chunk or so; each row whole and checked; `Truncated` last.

    Raises:
        ListingError: it is no such document, or ends before its end; says where, and why.
    """
    text = _Text(chunks)
    if not text.takes(b"{"):
        raise text.error("no `{`: a document begins with one")
    found, truncated, more = False, False, not text.takes(b"}")
    while more:
        name = text.name()
        found = found or name in _ROWS
        if name == "Contents" or (name in _ROWS and not text.takes(b"null")):
            yield from _array(text, name)
        elif name not in _ROWS:
            said = text.skip_value()
            truncated = truncated or (name in _MORE and bool(said))
        more = text.takes(b",")
        if not more and not text.takes(b"}"):
            raise text.error("neither `,` nor `}`")
    if not found:
        raise ListingError("it holds neither `Contents` nor `Keys`")
    text.end()
    if truncated:
        yield Truncated()


def _array(text: _Text, name: str) -> Iterator[list[Row] | Folders]:
    """The rows of the array that begins here."""
    if not text.takes(b"["):
        raise text.error(f"`{name}` is no array")
    closed, rows_before, decoders = text.takes(b"]"), 0, _Decoders(_ROWS[name])
    while not closed:
        piece = _guessed(text.held, decoders) or _counted(text, decoders, f"{name}[{{}}]", rows_before)
        if piece is not None:
            closed = piece.closed
            rows_before += len(piece.rows)
            text.drop(piece.end)
            yield Folders([row.prefix for row in piece.rows]) if name == _FOLDERS else piece.rows
        elif not text.more():
            raise text.error("it ends within a row")


class _Decoders:
    """Of the rows of an array: of many, and of one."""

    def __init__(self, row: type[Row | _Folder]) -> None:
        self.rows: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[row])  # type: ignore[valid-type]
        self.row: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row)


class _Piece(msgspec.Struct):
    """Rows, how many bytes they take with what ends them, and whether the array ends with them."""

    rows: list[Any]
    end: int
    closed: bool


def _guessed(text: bytes, decoders: _Decoders) -> _Piece | None:
    """The rows up to where the last whole one seems to end; None where a guess fails, or a row is bad."""
    cuts = []
    if (end := text.rfind(b"},") + 1) > 0:
        cuts.append((end, end + 1, False))
    if match := _LAST_ROW.search(text):
        cuts.append((match.start() + 1, match.end(), True))
    for cut, end, closed in cuts:
        with contextlib.suppress(*UNREADABLE):
            return _Piece(decoders.rows.decode(b"[" + text[:cut] + b"]"), end, closed)
    return None


def _counted(text: _Text, decoders: _Decoders, place: str, rows_before: int) -> _Piece | None:
    """All rows that are whole, one by one; None where there is none.

    Raises:
        ListingError: a row cannot be read.
    """
    piece = _Piece([], 0, closed=False)
    for end, token in _outermost(text.held):
        try:
            piece.rows.append(decoders.row.decode(text.held[piece.end : end]))
        except UNREADABLE as error:
            where = place.format(rows_before + len(piece.rows))
            raise text.error(f"{where}: {error}", piece.end) from None
        piece.end, piece.closed = end + 1, token == b"]"
        if token == b"}":
            raise text.error("`}` ends an array", end)
    return piece if piece.rows else None


class _Text:
    """The part of the document that is held, and its place."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.held = b""
        self.offset = 0

    def more(self) -> bool:
        """Hold another chunk; False at the end."""
        if len(self.held) > LONGEST:
            raise self.error(f"a value holds more than {LONGEST:,} bytes, which no listing's does")
        chunk = next(self._chunks, b"")
        self.held += chunk
        return bool(chunk)

    def drop(self, count: int) -> None:
        """Go on."""
        self.held = self.held[count:]
        self.offset += count

    def skip_space(self) -> None:
        """Go on to what is no white space."""
        while True:
            self.drop(len(self.held) - len(self.held.lstrip(_SPACE)))
            if self.held or not self.more():
                return

    def takes(self, expected: bytes) -> bool:
        """Go on behind `expected` if that comes next."""
        self.skip_space()
        while len(self.held) < len(expected) and self.more():
            pass
        if not self.held.startswith(expected):
            return False
        self.drop(len(expected))
        return True

    def name(self) -> str:
        """The name of the member that begins here; go on to its value."""
        while not (match := _NAME.match(self.held)):
            if not self.more():
                raise self.error("no member")
        self.drop(match.end())
        return self.decoded(match[1], str)

    def skip_value(self) -> object:
        """The value that begins here; go on behind it."""
        while not (place := next(_outermost(self.held), None)):
            if not self.more():
                raise self.error("it ends within a value")
        value = self.decoded(self.held[: place[0]], object)
        self.drop(place[0])
        return value

    def decoded(self, text: bytes, as_: type[_T]) -> _T:
        """Some JSON's value."""
        try:
            return msgspec.json.decode(text, type=as_)
        except UNREADABLE as error:
            raise self.error(str(error)) from None

    def end(self) -> None:
        """Make sure that nothing is left."""
        self.skip_space()
        if self.held:
            raise self.error("something stands behind its end")

    def error(self, reason: str, at: int = 0) -> ListingError:
        """What to say of something `at` bytes on from here."""
        return ListingError(f"at byte {self.offset + at:,}: {reason}")


def _outermost(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The commas, and the closing bracket, of the array or object that `text` begins within: their places."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in b"]}":
            if depth == 0:
                yield match.start(), token
                return
            depth -= 1
        elif token in b"[{":
            depth += 1
        elif token == b'"':
            return
        elif token == b"," and depth == 0:
            yield match.start(), token
