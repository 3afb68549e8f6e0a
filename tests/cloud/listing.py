"""ListObjectsV2, from the names that a bucket keeps in order, spelt as S3 spells them."""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import base64
from bisect import bisect_left, bisect_right
from typing import Any
from urllib.parse import quote_plus

from tests.cloud.asked import Ask, Refused, xml_answer, xml_escaped
from tests.cloud.web import Response

MAX_KEYS = 1000


def list_objects(ask: Ask) -> Response:
    """Answer ListObjectsV2 from the bucket's sorted names."""
    bucket, parameters = ask.bucket, ask.request.parameters()
    token = parameters.get("continuation-token")
    limit = min(int(parameters.get("max-keys", MAX_KEYS)), MAX_KEYS)
    after = _decode_token(token) if token is not None else ("k", parameters.get("start-after", ""))
    if after is None:
        raise Refused(400, "InvalidArgument", "The continuation token provided is incorrect")
    rows: list[tuple[str, Any]] = []
    groups: list[tuple[str, Any]] = []
    last: tuple[str, str] | None = None
    for kind, name, key in _entries(
        bucket, parameters.get("prefix", ""), parameters.get("delimiter", ""), after
    ):
        if len(rows) + len(groups) == limit:
            break
        last = (kind, name)
        (rows if kind == "k" else groups).append((name, key))
    else:
        last = None
    content = _listing_xml(bucket.name, parameters, limit, rows, groups, last if limit else None)
    return xml_answer("ListBucketResult", content)


def sorted_names(bucket: Any) -> list[str]:
    """Return the bucket's key names in order: by code point, which is by UTF-8 byte."""
    order: list[str] | None = getattr(bucket.keys, "order", None)
    if order is None:
        order = bucket.keys.order = sorted(dict.keys(bucket.keys))
    return order


def _entries(bucket: Any, prefix: str, delimiter: str, after: tuple[str, str]) -> Any:
    names = sorted_names(bucket)
    at = max(bisect_left(names, prefix), bisect_right(names, after[1]) if after[1] else 0)
    while at < len(names) and (name := names[at]).startswith(prefix):
        at += 1
        key = bucket.keys.get(name)
        if not hasattr(key, "contentsize"):
            continue
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            yield "k", name, key
            continue
        group = name[: cut + len(delimiter)]
        while at < len(names) and names[at].startswith(group):
            at += 1
        if after != ("p", group):
            yield "p", group, None


def _decode_token(token: str) -> tuple[str, str] | None:
    try:
        text = base64.urlsafe_b64decode(token).decode("utf-8", "surrogatepass")
    except ValueError:
        return None
    return (text[0], text[1:]) if text else None


def _listing_xml(  # noqa: PLR0917 - one call, one template
    name: str, parameters: dict[str, str], limit: int, rows: list[Any], groups: list[Any], last: Any
) -> str:
    spell = url_encoded if parameters.get("encoding-type") == "url" else xml_escaped
    token = parameters.get("continuation-token")
    fields = [
        f"<Name>{name}</Name><Prefix>{spell(parameters.get('prefix', ''))}</Prefix>",
        f"<MaxKeys>{limit}</MaxKeys><KeyCount>{len(rows) + len(groups)}</KeyCount>",
        f"<IsTruncated>{str(last is not None).lower()}</IsTruncated>",
    ]
    if "encoding-type" in parameters:
        fields.append(f"<EncodingType>{xml_escaped(parameters['encoding-type'])}</EncodingType>")
    if parameters.get("delimiter"):
        fields.append(f"<Delimiter>{spell(parameters['delimiter'])}</Delimiter>")
    if token is not None:
        fields.append(f"<ContinuationToken>{xml_escaped(token)}</ContinuationToken>")
    if parameters.get("start-after"):
        fields.append(f"<StartAfter>{spell(parameters['start-after'])}</StartAfter>")
    if last is not None:
        following = base64.urlsafe_b64encode("".join(last).encode("utf-8", "surrogatepass")).decode()
        fields.append(f"<NextContinuationToken>{following}</NextContinuationToken>")
    owner = "<Owner><ID>embedded</ID></Owner>" if parameters.get("fetch-owner") == "true" else ""
    fields.extend(_row_xml(spell(key_name), key, owner) for key_name, key in rows)
    fields.extend(f"<CommonPrefixes><Prefix>{spell(group)}</Prefix></CommonPrefixes>" for group, _ in groups)
    return "".join(fields)


def _row_xml(spelt: str, key: Any, owner: str) -> str:
    checksum = ""
    if key.checksum_algorithm:
        kind = key.checksum_type or "FULL_OBJECT"
        checksum = (
            f"<ChecksumAlgorithm>{key.checksum_algorithm}</ChecksumAlgorithm>"
            f"<ChecksumType>{kind}</ChecksumType>"
        )
    etag = key.etag.replace('"', "&quot;")
    return (
        f"<Contents><Key>{spelt}</Key><LastModified>{key.last_modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
        f"<ETag>{etag}</ETag>{checksum}<Size>{key.size}</Size>{owner}"
        f"<StorageClass>{key.storage_class}</StorageClass></Contents>"
    )


def url_encoded(text: str) -> str:
    """Return a name as S3 spells it for encoding-type=url: a space is a plus, a slash stays."""
    return quote_plus(text, safe="/*", errors="surrogatepass").replace("~", "%7E")
