"""Documents are read row by row, however spelt and wherever chunks end, or refused with the place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import keys, properly
from worker.core import document, lines
from worker.core.document import Folders
from worker.core.errors import ListingError
from worker.core.model import ObjectRef

Row = dict[str, Any]


def row(key: str, **fields: object) -> Row:
    """A row as the AWS CLI prints it, with these fields changed."""
    return {
        "Key": key,
        "LastModified": "2015-10-28T22:23:24+00:00",
        "ETag": '"174e902285547a333a8bc348cf62f88f"',
        "Size": 10,
        "StorageClass": "STANDARD",
    } | fields


def chunks(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def read(content: bytes, size: int = 65_536) -> tuple[list[str], list[str]]:
    """Keys and folders of a document."""
    names: list[str] = []
    folders: list[str] = []
    for piece in document.read(chunks(content, size)):
        if isinstance(piece, Folders):
            folders += piece.prefixes
        elif isinstance(piece, list):
            names += [one.key for one in lines.refs(piece)]
    return names, folders


def text(*rows: Row, indent: int | None = 4, **others: object) -> bytes:
    return json.dumps(
        {"Contents": rows, "RequestCharged": None, "Prefix": ""} | others, indent=indent
    ).encode()


def test_a_row_becomes_an_object() -> None:
    [piece] = document.read([text(row("1991/k"))])
    assert isinstance(piece, list)
    assert lines.refs(piece) == [
        ObjectRef("1991/k", 10, "174e902285547a333a8bc348cf62f88f", 1_446_071_004, "STANDARD")
    ]


ROWS = [
    row("a"),
    row('b"},{', Owner={"ID": "}]", "DisplayName": "\\"}),
    row("},{" * 9),
    row("\\", X=[{}, {}]),
]
KEYS = [one["Key"] for one in ROWS]
DOCUMENTS = {
    "CLI": text(*ROWS),
    "compact": text(*ROWS, indent=None),
    "no spaces": json.dumps({"Contents": ROWS}, separators=(",", ":")).encode(),
    "old CLI": text(*ROWS).replace(b",\n", b", \n"),
    "spaced": text(*ROWS)
    .replace(b"},\n", b"} \r\n\t,\n")
    .replace(b"}\n    ]", b"}\r\n]")
    .replace(b'":', b'" :'),
    "boto3": json.dumps(
        {"ResponseMetadata": {"a": [{"}": "]"}]}, "N": -1.5e3, "é": True, "Contents": ROWS}
    ).encode(),
    "Keys": json.dumps({"Keys": ROWS, "CommonPrefixes": None}).encode(),
    "split": json.dumps({"Contents": ROWS[:2], "Name": "Contents", "Keys": ROWS[2:]}).encode(),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_rows_are_read_wherever_chunks_end(name: str) -> None:
    for size in (*range(1, 80), 1_000, 65_536):
        assert read(DOCUMENTS[name], size) == (KEYS, []), size


def test_folders_are_told_before_and_after_the_rows() -> None:
    folders = [{"Prefix": "b/"}, {"Prefix": "},{"}]
    for content in (
        {"CommonPrefixes": folders, "Keys": ROWS},
        {"Contents": ROWS, "CommonPrefixes": folders},
    ):
        for size in (1, 7, 100, 65_536):
            assert read(json.dumps(content).encode(), size) == (KEYS, ["b/", "},{"])


@pytest.mark.parametrize(
    "content", [{"Contents": []}, {"Keys": None, "CommonPrefixes": []}, {"CommonPrefixes": None}]
)
def test_a_document_may_hold_no_row(content: object) -> None:
    assert read(json.dumps(content).encode()) == ([], [])


@properly
@given(
    st.lists(keys().filter(bool), max_size=8), st.integers(1, 700), st.booleans(), st.sampled_from([None, 4])
)
def test_any_keys_are_read_as_they_were(
    names: list[str], size: int, ascii_only: object, indent: int | None
) -> None:
    content = json.dumps(
        {"Contents": [row(name) for name in names]},
        ensure_ascii=bool(ascii_only),
        indent=indent,
    )
    assert read(content.encode(), size) == (names, [])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_cut_anywhere_is_refused(name: str) -> None:
    whole = DOCUMENTS[name]
    for end in range(len(whole)):
        with pytest.raises(ListingError):
            read(whole[:end])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "at byte 0: no `{`"),
        (b"[]", "at byte 0: no `{`"),
        (b"null", "at byte 0: no `{`"),
        (b"2015-10-28 22:23:24  10 k\n", "at byte 0"),
        (b"<ListBucketResult/>", "at byte 0"),
        (b"\xff\xfe{\0}\0", "at byte 0"),
        (b"\xef\xbb\xbf{}", "at byte 0"),
        (b"{}", "neither `Contents` nor `Keys`"),
        (b'{"Versions":[]}', "neither `Contents` nor `Keys`"),
        (b'{"Contents":null}', "at byte 12: `Contents` is no array"),
        (b'{"Contents":{}}', "at byte 12: `Contents` is no array"),
        (b'{"Contents":[]}{}', "at byte 15: something stands behind"),
        (b'{"Contents":[],}', "at byte 15: no member"),
        (b'{"Contents":[],"a":}', "at byte 19: .*truncated"),
        (b'{"Contents":[],"a":[1}', "at byte 19: it ends within a value"),
        (b'{"Contents":[] "a":1}', "at byte 15: neither `,` nor `}`"),
        (b'{"Contents":["k"]}', r"at byte 13: Contents\[0\]: Expected `object`"),
        (b'{"Contents":[null]}', r"Contents\[0\]: Expected `object`, got `null`"),
        (b'{"Contents":[{}}', r"Contents\[0\]: .*missing required field `Key`"),
        (b'{"Keys":["k"]}', r"Keys\[0\]: Expected `object`, got `str`"),
        (b'{"CommonPrefixes":[{"Prefix":""}]}', r"CommonPrefixes\[0\]: .*length >= 1"),
        (b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b',"Contents":[]}', "recursion"),
    ],
)
def test_what_is_no_such_document_is_refused_with_the_place(content: bytes, complaint: str) -> None:
    with pytest.raises(ListingError, match=complaint):
        read(content)


BAD_ROWS: dict[str, tuple[Row, str]] = {
    "no size": ({"Key": "k"}, "missing required field"),
    "size text": (row("k", Size="10"), "Expected `int`"),
    "size fraction": (row("k", Size=1.5), "Expected `int`"),
    "size null": (row("k", Size=None), "Expected `int`, got `null`"),
    "size negative": (row("k", Size=-5), ">= 0"),
    "size beyond belief": (row("k", Size=10**30), "Expected `int`|<= 9223372036854775807|out of range"),
    "key null": (row("k", Key=None), "Expected `str`, got `null`"),
    "key empty": (row(""), "length >= 1"),
    "ETag null": (row("k", ETag=None), "Expected `str`"),
    "class null": (row("k", StorageClass=None), "Expected `str`"),
    "time": (row("k", LastModified="yesterday"), "Invalid RFC3339"),
    "time null": (row("k", LastModified=None), "Expected `datetime`"),
    "time a number": (row("k", LastModified=1), "Expected `datetime`"),
    "no zone": (row("k", LastModified="2020-01-01T00:00:00"), "timezone"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
@pytest.mark.parametrize("size", [50, 65_536])
def test_a_bad_row_is_refused_with_its_number_and_place(name: str, size: int) -> None:
    bad, complaint = BAD_ROWS[name]
    content = text(*[row(f"{number}") for number in range(30)], bad, row("z"), indent=None)
    with pytest.raises(ListingError, match=complaint) as caught:
        read(content, size)
    place = content.index(json.dumps(bad).encode())
    assert str(caught.value).startswith(f"at byte {place - 1:,}: Contents[30]: ")


@pytest.mark.parametrize("key", [b"\xe9", rb"\ud800", b"\xed\xa0\x80", b"\x01"])
def test_text_that_is_none_is_refused(key: bytes) -> None:
    with pytest.raises(ListingError, match=r"Contents\[1\]"):
        read(text(row("a"), row("@")).replace(b"@", key))


def test_a_value_without_end_is_refused_before_it_fills_memory() -> None:
    def endless(start: bytes) -> Iterable[bytes]:
        yield start
        for _ in range(100):
            yield b"x" * 65_536

    for start in (b'{"Contents":[{"Key":"', b'{"Prefix":"', b'{"', b'{"Prefix":"","Contents":[{"Key":['):
        with pytest.raises(ListingError, match="1,048,576 bytes"):
            list(document.read(endless(start)))


def test_pieces_are_no_longer_than_chunks() -> None:
    content = text(*[row(f"{number:09}") for number in range(5_000)])
    assert max(len(piece) for piece in document.read(chunks(content, 4_096)) if isinstance(piece, list)) < 50
