"""A page of a listing: rows as S3 and its look-alikes write them, and what is left for botocore."""

from __future__ import annotations

from urllib.parse import quote_plus
from xml.etree.ElementTree import ParseError, fromstring
from xml.sax.saxutils import escape

import pytest
from hypothesis import given

from tests.core import keys, properly
from worker.core.errors import ListingError
from worker.core.model import ObjectRef
from worker.core.page import take_rows

ROW = (
    "<Contents><Key>in/a</Key><LastModified>2015-10-29T06:40:00.000Z</LastModified>"
    "<ETag>&quot;174e902285547a333a8bc348cf62f88f&quot;</ETag><Size>1027979</Size>"
    "<StorageClass>GLACIER</StorageClass></Contents>"
)
SEEN = ObjectRef("in/a", 1_027_979, "174e902285547a333a8bc348cf62f88f", 1_446_100_800, "GLACIER")
OTHERS = "<Name>b</Name><KeyCount>1</KeyCount><IsTruncated>true</IsTruncated>"


def page(
    *rows: str, encoded: bool = True, space: str = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
) -> bytes:
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    parts = [
        f"<ListBucketResult{space}>",
        OTHERS,
        encoding,
        *rows,
        "<NextContinuationToken>n</NextContinuationToken>",
    ]
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{"".join(parts)}</ListBucketResult>'.encode()


def rows(body: bytes) -> list[ObjectRef]:
    return take_rows(body)[1]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(ROW, id="as S3 writes it"),
        pytest.param(ROW.replace("&quot;", "&#34;"), id="as radosgw and Go write quotes"),
        pytest.param(ROW.replace("&quot;", '"'), id="quotes as they are"),
        pytest.param(ROW.replace("&quot;", ""), id="no quotes"),
        pytest.param(ROW.replace("><", ">\n  <"), id="indented"),
        pytest.param(ROW.replace("06:40:00.000Z", "06:40:00Z"), id="no milliseconds"),
        pytest.param(ROW.replace("06:40:00.000Z", "07:40:00.000+01:00"), id="another time zone"),
        pytest.param(
            ROW.replace(
                "<Size>",
                "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
                "<ChecksumType>FULL_OBJECT</ChecksumType><Size>",
            ).replace(
                "<StorageClass>", "<Owner><ID>i</ID><DisplayName>d</DisplayName></Owner><StorageClass>"
            ),
            id="with more fields in between",
        ),
        pytest.param(
            "<Contents><StorageClass>GLACIER</StorageClass><Size>1027979</Size>"
            '<ETag>"174e902285547a333a8bc348cf62f88f"</ETag>'
            "<LastModified>2015-10-29T06:40:00.000Z</LastModified><Key>in/a</Key></Contents>",
            id="in another order",
        ),
    ],
)
def test_a_row(row: str) -> None:
    assert rows(page(row)) == [SEEN]
    assert rows(page(row, space="")) == [SEEN]


def test_a_row_without_a_storage_class() -> None:
    [row] = rows(page(ROW.replace("<StorageClass>GLACIER</StorageClass>", "")))
    assert row.storage_class == "STANDARD"


def test_what_is_left_has_no_rows_and_turns_the_page() -> None:
    rest, found = take_rows(page(*[ROW] * 1_000))
    assert len(found) == 1_000
    assert len(rest) < 1_000
    assert b"NextContinuationToken" in rest
    assert take_rows(rest)[1] == []


def test_a_token_that_is_a_key_is_left_as_it_is() -> None:
    whole = page(ROW).replace(b">n<", b">a&#13;&#10;b&amp;<")
    rest, _ = take_rows(whole)
    assert fromstring(rest).findtext("{*}NextContinuationToken") == "a\r\nb&"  # noqa: S314 - ours


@properly
@given(keys().filter(bool))
def test_any_key(key: str) -> None:
    assert [row.key for row in rows(page(ROW.replace("in/a", quote_plus(key))))] == [key]


@pytest.mark.parametrize("key", ["a+b", "a%2Fb", "a&b<c>", "\u00e9\U0001f600", " a "])
def test_a_server_that_does_not_encode_keys_is_taken_at_its_word(key: str) -> None:
    [row] = rows(page(ROW.replace("in/a", escape(key)), encoded=False))
    assert row.key == key


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<Key>in/a</Key>", ""),
        ("<Size>1027979</Size>", ""),
        ("1027979", "many"),
        ("1027979", ""),
        ("2015-10-29T06:40:00.000Z", "yesterday"),
        ("<ETag>&quot;174e902285547a333a8bc348cf62f88f&quot;</ETag>", ""),
    ],
)
def test_a_row_that_lacks_something_is_an_error(old: str, new: str) -> None:
    with pytest.raises(ListingError, match="row of the listing"):
        take_rows(page(ROW.replace(old, new)))


def test_what_is_no_xml_is_left_to_botocore() -> None:
    with pytest.raises(ParseError):
        take_rows(page(ROW)[:-30])
