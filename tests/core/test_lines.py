"""Our own listings' lines: what is written is read again, and what is no line says why."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given

from tests.core import objects, properly
from worker.core.errors import ListingError
from worker.core.lines import LARGEST, decode, encode
from worker.core.model import ObjectRef

LINE = (
    '{"Key":"in/a","Size":1027979,"ETag":"174e902285547a333a8bc348cf62f88f",'
    '"LastModified":"2015-10-29T06:40:00.000Z","StorageClass":"GLACIER"}'
)
SEEN = ObjectRef("in/a", 1_027_979, "174e902285547a333a8bc348cf62f88f", 1_446_100_800, "GLACIER")


def test_a_line_is_as_documented() -> None:
    assert encode(SEEN) == LINE.encode() + b"\n"


@properly
@given(objects())
def test_what_is_written_is_read_again(ref: ObjectRef) -> None:
    assume(ref.size <= LARGEST)
    assume(abs(ref.last_modified) < 2**35)  # within the years that a date may have
    assume('"' not in ref.etag)
    assert decode(encode(ref)) == msgspec.structs.replace(ref, destination_etag=None)
    assert encode(ref).count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        LINE + "\n",
        LINE.replace('"174e902285547a333a8bc348cf62f88f"', '"\\"174e902285547a333a8bc348cf62f88f\\""'),
        LINE.replace("06:40:00.000Z", "07:40:00+01:00"),
        LINE.replace("{", '{"ChecksumAlgorithm":["CRC64NVME"],"Owner":{"ID":"x"},'),
    ],
)
def test_a_line_of_others_is_read(line: str) -> None:
    assert decode(line.encode()) == SEEN


def test_a_line_without_a_storage_class() -> None:
    assert decode(LINE.replace(',"StorageClass":"GLACIER"', "").encode()).storage_class == "STANDARD"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (LINE[:-30], "truncated"),
        (LINE.replace('"Key":"in/a",', ""), "`Key`"),
        (LINE.replace("in/a", ""), "length >= 1"),
        (LINE.replace("1027979", "-1"), ">= 0"),
        (LINE.replace("1027979", '"1027979"'), "Expected `int`"),
        (LINE.replace("2015-10-29T", "2015-13-29T"), "Invalid RFC3339"),
        (LINE.replace(".000Z", ""), "timezone"),
        ("[]", "Expected `object`"),
        ("", "truncated"),
    ],
)
def test_what_is_no_line_says_why(line: str, why: str) -> None:
    with pytest.raises(ListingError, match=why):
        decode(line.encode())


def test_text_that_is_no_utf_8_is_no_line() -> None:
    with pytest.raises(ListingError, match="no line of a listing"):
        decode(LINE.encode().replace(b"in/a", b"in/\xff"))
