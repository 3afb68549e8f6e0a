"""An object's tags, as S3 answers with them (S3 API Reference, GetObjectTagging)."""

from __future__ import annotations

from xml.etree import ElementTree as ET


def read_tags(text: bytes) -> list[tuple[str, str]]:
    """Key and value of each tag of an answer to GetObjectTagging.

    Raises:
        xml.etree.ElementTree.ParseError: it is no such answer.
    """
    root = ET.fromstring(text)  # noqa: S314 - by the same parser as botocore's
    tags = root.find("{*}TagSet")
    if tags is None:
        raise ET.ParseError("the answer holds no set of tags")
    return [(tag.findtext("{*}Key") or "", tag.findtext("{*}Value") or "") for tag in tags]
