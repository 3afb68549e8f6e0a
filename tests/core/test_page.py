"""A page of a listing: rows as S3 and its look-alikes write them, and pages that contradict themselves."""

from __future__ import annotations

from urllib.parse import quote, quote_plus
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import keys, properly
from worker.core import page as module
from worker.core.errors import ListingError
from worker.core.lines import decode, written
from worker.core.model import ObjectRef
from worker.core.page import Cursor, parse_page

ROW = (
    "<Contents><Key>in/a</Key><LastModified>2015-10-29T06:40:00.000Z</LastModified>"
    "<ETag>&quot;174e902285547a333a8bc348cf62f88f&quot;</ETag><Size>1027979</Size>"
    "<StorageClass>GLACIER</StorageClass></Contents>"
)
SEEN = ObjectRef("in/a", 1_027_979, "174e902285547a333a8bc348cf62f88f", 1_446_100_800, "GLACIER")
NEXT = "<NextContinuationToken>n</NextContinuationToken>"
MORE = f"<IsTruncated>true</IsTruncated>{NEXT}"
LAST = "<IsTruncated>false</IsTruncated>"
CHECKSUMS = "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"


def page(
    *rows: str,
    encoded: bool = True,
    space: str = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"',
    end: str = MORE,
    count: int | None = None,
) -> bytes:
    parts = [
        f"<ListBucketResult{space}><Name>b</Name>",
        f"<KeyCount>{len(rows) if count is None else count}</KeyCount>",
        "<EncodingType>url</EncodingType>" if encoded else "",
        *rows,
        end,
    ]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{"".join(parts)}</ListBucketResult>'.encode()


def row(key: str) -> str:
    return ROW.replace("in/a", quote_plus(key))


FAST = [
    pytest.param(ROW, id="as S3 writes it"),
    pytest.param(ROW.replace("<Size>", f"{CHECKSUMS}<Size>"), id="as S3 writes it today"),
    pytest.param(
        ROW.replace("<Size>", f"<ChecksumAlgorithm>SHA1</ChecksumAlgorithm>{CHECKSUMS}<Size>"),
        id="with several checksums",
    ),
]
SLOW = [
    pytest.param(ROW.replace("06:40:00.000Z", "06:40:00Z"), id="no milliseconds"),
    pytest.param(ROW.replace("&quot;", ""), id="no quotes"),
    pytest.param(ROW.replace("&quot;", '"'), id="quotes as they are"),
    pytest.param(ROW.replace("&quot;", "&#34;"), id="as radosgw and Go write quotes"),
    pytest.param(ROW.replace("><", ">\n  <"), id="indented"),
    pytest.param(ROW.replace("06:40:00.000Z", "07:40:00.000+01:00"), id="another time zone"),
    pytest.param(ROW.replace("in/a", "i&#110;/a"), id="a key with an entity"),
    pytest.param(
        ROW.replace("<StorageClass>", "<Owner><ID>i</ID><DisplayName>d</DisplayName></Owner><StorageClass>"),
        id="with an owner",
    ),
    pytest.param(
        "<Contents><StorageClass>GLACIER</StorageClass><Size>1027979</Size>"
        '<ETag>"174e902285547a333a8bc348cf62f88f"</ETag>'
        "<LastModified>2015-10-29T06:40:00.000Z</LastModified><Key>in/a</Key></Contents>",
        id="in another order",
    ),
    pytest.param(ROW.replace("<Size>", "<Size a='b'>"), id="with an attribute"),
]


@pytest.mark.parametrize("text", [*FAST, *SLOW])
def test_a_row(text: str) -> None:
    assert parse_page(page(text)).refs() == [SEEN]
    assert parse_page(page(text, space="")).refs() == [SEEN]
    assert decode(written(parse_page(page(text)).lines())) == SEEN


@pytest.mark.parametrize("text", FAST)
def test_a_row_of_s3_needs_no_xml_parser(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module, "_parse_slowly")
    assert parse_page(page(text, text)).refs() == [SEEN, SEEN]


@pytest.mark.parametrize("text", SLOW)
def test_one_unusual_row_among_others_costs_none_of_them(text: str) -> None:
    assert parse_page(page(ROW, text, ROW)).refs() == [SEEN] * 3


def test_a_row_without_a_storage_class() -> None:
    [ref] = parse_page(page(ROW.replace("<StorageClass>GLACIER</StorageClass>", ""))).refs()
    assert ref.storage_class == "STANDARD"


def test_a_page_without_rows() -> None:
    assert parse_page(page()).refs() == []
    assert parse_page(page()).token == "n"  # noqa: S105 - a page's
    assert parse_page(page(end=LAST)).token is None


def test_a_server_may_leave_out_how_many_there_are() -> None:
    assert parse_page(page(ROW).replace(b"<KeyCount>1</KeyCount>", b"")).refs() == [SEEN]


def test_a_token_that_is_a_key_is_left_as_it_is() -> None:
    found = parse_page(page(ROW).replace(b">n<", b">a&#13;&#10;b&amp;<"))
    assert found.token == "a\r\nb&"  # noqa: S105 - a page's


@properly
@given(st.lists(keys().filter(bool), min_size=1, max_size=5), st.sampled_from([quote, quote_plus]))
def test_any_keys(texts: list[str], spell: type[str]) -> None:
    rows = [ROW.replace("in/a", spell(text)) for text in texts]
    assert list(parse_page(page(*rows)).keys) == texts


@pytest.mark.parametrize("key", ["a+b", "a%2Fb", "a&b<c>", "\u00e9\U0001f600", " a "])
def test_a_server_that_does_not_encode_keys_is_taken_at_its_word(key: str) -> None:
    assert list(parse_page(page(ROW.replace("in/a", escape(key)), encoded=False)).keys) == [key]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<Key>in/a</Key>", ""),
        ("<Size>1027979</Size>", ""),
        ("1027979", "many"),
        ("1027979", ""),
        ("2015-10-29T06:40:00.000Z", "yesterday"),
        ("06:40:00.000Z", "06:40:00"),
        ("<ETag>&quot;174e902285547a333a8bc348cf62f88f&quot;</ETag>", ""),
    ],
)
def test_a_row_that_lacks_something_is_an_error(old: str, new: str) -> None:
    with pytest.raises(ListingError, match="row of the listing"):
        parse_page(page(ROW, ROW.replace(old, new), ROW))


def test_a_time_that_is_none_is_found_when_it_is_asked_for() -> None:
    with pytest.raises(ListingError, match="row of the listing"):
        parse_page(page(ROW.replace("2015-10", "2015-13"))).refs()


@pytest.mark.parametrize("key", ["in%FFa", "in/%C3"])
def test_a_key_that_is_no_utf_8_is_an_error(key: str) -> None:
    for text in (ROW, ROW.replace("><", "> <")):
        with pytest.raises(ListingError, match="no UTF-8"):
            parse_page(page(text.replace("in/a", key)))


def test_a_page_cut_short_is_no_xml() -> None:
    for length in (30, 200, len(ROW) + 10):
        with pytest.raises(ParseError):
            parse_page(page(ROW, ROW)[:-length])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (page(ROW, ROW, count=3), "holds 2 objects and says that it holds 3"),
        (page(ROW, ROW, count=1), "holds 2 objects and says that it holds 1"),
        (page(count=1), "holds 0 objects and says that it holds 1"),
        (page(ROW, end="<IsTruncated>true</IsTruncated>"), "more follows, and not where"),
        (page(ROW, end=LAST + NEXT), "nothing follows, and where to go on"),
        (page(ROW, end=""), "no page"),
        (page(ROW, end="<IsTruncated>maybe</IsTruncated>"), "no page"),
        (page(ROW).replace(b"ListBucketResult", b"Error"), "no page"),
        (b"<html></html>", "no page"),
    ],
)
def test_a_page_that_contradicts_itself_is_an_error(body: bytes, why: str) -> None:
    with pytest.raises(ListingError, match=why):
        parse_page(body)
    with pytest.raises(ListingError, match=why):
        parse_page(body.replace(b"><", b">\n<"))


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["p/a", "p/b"], "goes back"),
        (["p/b", "p/c"], "goes back"),
        (["p/c", "p/c"], "'p/c' stands after 'p/c'"),
        (["p/c", "p/e", "p/d"], "'p/d' stands after 'p/e'"),
        (["p/\U0001f600", "p/\uffff"], "out of order"),
        (["p/c", "q"], "'q' lies outside"),
        (["p0", "p1"], "'p0' lies outside"),
    ],
)
def test_a_page_that_does_not_follow_is_an_error(texts: list[str], why: str) -> None:
    cursor = Cursor("p/", "p/b", "m")
    with pytest.raises(ListingError, match=why):
        cursor.take(parse_page(page(*map(row, texts))))
    assert cursor == Cursor("p/", "p/b", "m")


def test_pages_that_follow() -> None:
    cursor = Cursor("p/", "p/b")
    cursor.take(parse_page(page(*map(row, ["p/c", "p/\uffff", "p/\U0001f600"]))))
    assert cursor == Cursor("p/", "p/\U0001f600", "n")
    # S3 skips what was deleted, and may find nothing else before it has looked long enough.
    cursor.take(parse_page(page(end=MORE.replace(">n<", ">o<"))))
    cursor.take(parse_page(page(row("p/\U0001f601"), end=LAST)))
    assert cursor == Cursor("p/", "p/\U0001f601", None, ended=True)


def test_empty_pages_that_go_round_are_an_error() -> None:
    cursor = Cursor("p/", "p/b")
    cursor.take(parse_page(page()))
    with pytest.raises(ListingError, match="goes round"):
        cursor.take(parse_page(page()))
