"""What is read of S3's short answers (S3 API Reference, by the operation's name)."""

from __future__ import annotations

from xml.etree import ElementTree as ET


def read_tags(text: bytes) -> list[tuple[str, str]]:
    """Key and value of each tag of an answer to GetObjectTagging.

    Raises:
        xml.etree.ElementTree.ParseError: it is no such answer.
    """
    tags = _read(text).find("{*}TagSet")
    if tags is None:
        raise ET.ParseError("the answer holds no set of tags")
    return [(tag.findtext("{*}Key") or "", tag.findtext("{*}Value") or "") for tag in tags]


def read_encryption(text: bytes) -> set[str]:
    """The algorithms of an answer to GetBucketEncryption: `AES256`, `aws:kms`, ...; Ceph's may have none.

    Raises:
        xml.etree.ElementTree.ParseError: it is no such answer.
    """
    return {found.text or "" for found in _read(text).findall(".//{*}SSEAlgorithm")}


def _read(text: bytes) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - by the same parser as botocore's
