"""One page of a bucket's listing: S3's XML to object references, at a tenth of what botocore's parser takes.

The rows are taken out, and what is left, a few hundred bytes, is botocore's to read: it turns the pages.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from worker.core.errors import ListingError
from worker.core.model import ObjectRef


def take_rows(body: bytes) -> tuple[bytes, list[ObjectRef]]:
    """The page without its rows, and the rows.

    Args:
        body: the answer to ListObjectsV2 (S3 API Reference); keys may be URL-encoded, a space as `+`.

    Raises:
        ListingError: a row lacks something, or holds what is no number or time.
        xml.etree.ElementTree.ParseError: it is no XML.
    """
    root = ET.fromstring(body)  # noqa: S314 - by the same parser as botocore's
    space = root.tag.partition("ListBucketResult")[0]
    encoded = root.findtext(f"{space}EncodingType") == "url"
    elements = root.findall(f"{space}Contents")
    try:
        rows = [_row({field.tag: field.text for field in element}, space, encoded) for element in elements]
    except (KeyError, TypeError, ValueError) as error:
        raise ListingError(f"a row of the listing cannot be read: {error!r}") from None
    for element in elements:
        root.remove(element)
    # Written as it is, a carriage return would be read as a newline: another token, if a server's are keys.
    return ET.tostring(root).replace(b"\r", b"&#13;"), rows


def _row(fields: dict[str, str | None], space: str, encoded: bool) -> ObjectRef:  # noqa: FBT001
    key = fields[f"{space}Key"] or ""
    return ObjectRef(
        key=unquote_plus(key) if encoded else key,
        size=int(fields[f"{space}Size"] or ""),
        etag=(fields[f"{space}ETag"] or "").strip('"'),
        last_modified=int(datetime.fromisoformat(fields[f"{space}LastModified"] or "").timestamp()),
        storage_class=fields.get(f"{space}StorageClass") or "STANDARD",
    )
