"""Tags as S3 answers with them."""

from __future__ import annotations

from xml.etree.ElementTree import ParseError

import pytest

from worker.core.tagging import read_tags

SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
TWO = "<Tag><Key>a</Key><Value>b &amp; c</Value></Tag><Tag><Key>z\u00fc 1+2=3</Key><Value/></Tag>"
ANSWERS = [
    (f"<Tagging {SPACE}><TagSet/></Tagging>", []),
    (f"<Tagging {SPACE}><TagSet></TagSet></Tagging>", []),
    (
        f"<?xml version='1.0'?>\n<Tagging {SPACE}><TagSet>{TWO}</TagSet></Tagging>",
        [("a", "b & c"), ("z\u00fc 1+2=3", "")],
    ),
    ("<Tagging><TagSet><Tag><Value>v</Value><Key>k</Key></Tag></TagSet></Tagging>", [("k", "v")]),
]


@pytest.mark.parametrize(("text", "tags"), ANSWERS)
def test_tags_are_read(text: str, tags: list[tuple[str, str]]) -> None:
    assert read_tags(text.encode()) == tags


@pytest.mark.parametrize("text", ["", "an error", "<Tagging><TagSet><Tag>", "<Tagging/>", "<html></html>"])
def test_what_holds_no_tags_is_never_none(text: str) -> None:
    with pytest.raises(ParseError):
        read_tags(text.encode())
