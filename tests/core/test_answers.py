"""S3's short answers, read."""

from __future__ import annotations

from xml.etree.ElementTree import ParseError

import pytest

from worker.core.answers import read_encryption, read_tags

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


RULE = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{}</SSEAlgorithm>{}</{}></Rule>"


@pytest.mark.parametrize("space", ["", f" {SPACE}"])
@pytest.mark.parametrize(
    ("algorithms", "more"),
    [(["AES256"], ""), (["aws:kms"], "<KMSMasterKeyID>arn:aws:kms:::key/1</KMSMasterKeyID>"), ([], "")],
)
def test_the_algorithms_of_a_bucket_are_read(space: str, algorithms: list[str], more: str) -> None:
    rules = "".join(RULE.format(name, more, "ApplyServerSideEncryptionByDefault") for name in algorithms)
    text = f"<ServerSideEncryptionConfiguration{space}>{rules}</ServerSideEncryptionConfiguration>"
    assert read_encryption(text.encode()) == set(algorithms)
