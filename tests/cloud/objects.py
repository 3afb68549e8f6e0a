"""The four S3 calls that tests make most (GetObject, HeadObject, PutObject, ListObjectsV2), on moto's state.

Written anew where moto's own answers are wrong in many places (part numbers, checksum types, URL-encoded
listings) and cost milliseconds each. All else is moto's, by the same buckets and keys; every function here
runs under the server's S3 lock, so that a condition and the write it guards are one step.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import base64
import re
from bisect import bisect_left, bisect_right
from typing import Any
from urllib.parse import parse_qsl, quote_plus

from moto.core.utils import str_to_rfc_1123_datetime
from moto.s3.responses import S3Response
from moto.s3.utils import ARCHIVE_STORAGE_CLASSES
from requests.structures import CaseInsensitiveDict

from tests.cloud import checksums
from tests.cloud.faults import error_response
from tests.cloud.journal import Call
from tests.cloud.web import Request, Response

STORED_HEADERS = (
    "content-type",
    "content-language",
    "content-encoding",
    "content-disposition",
    "cache-control",
    "expires",
)
MAX_KEYS = 1000
NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")


def missing(code: str = "NoSuchKey", message: str = "The specified key does not exist.") -> Response:
    """Return S3's 404."""
    return error_response("s3", 404, code, message)


def precondition_failed() -> Response:
    """Return S3's 412."""
    return error_response(
        "s3", 412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
    )


def get_object(backend: Any, call: Call, request: Request) -> Response:
    """Answer GetObject and HeadObject."""
    parameters = request.parameters()
    version = parameters.get("versionId")
    key = backend.get_object(call.bucket, call.key, version_id=version)
    if key is None:
        return missing("NoSuchVersion", "The specified version does not exist.") if version else missing()
    headers = _object_headers(key)
    archived = key.storage_class in ARCHIVE_STORAGE_CLASSES
    if (
        archived
        and request.method == "GET"
        and 'ongoing-request="false"' not in headers.get("x-amz-restore", "")
    ):
        return error_response(
            "s3", 403, "InvalidObjectState", "The operation is not valid for the object's storage class"
        )
    refusal = _read_condition(key, request.headers)
    if refusal is not None:
        return refusal
    part = int(parameters.get("partNumber", 0))
    if request.headers.get("x-amz-checksum-mode") == "ENABLED" and not part:
        headers.update(_checksum_headers(key))
    return _cut(key, headers, request, part)


def _object_headers(key: Any) -> dict[str, str]:
    headers: dict[str, str] = dict(key.response_dict)
    headers.pop("x-amz-sdk-checksum-algorithm", None)
    headers.setdefault("x-amz-server-side-encryption", "AES256")
    headers["Accept-Ranges"] = "bytes"
    headers.update(key.metadata)
    return headers


def _checksum_headers(key: Any) -> dict[str, str]:
    if not key.checksum_algorithm or not key.checksum_value:
        return {}
    kind, value = key.checksum_type or "FULL_OBJECT", key.checksum_value
    if kind == "COMPOSITE":
        value = f"{value}-{key.checksum_parts}"
    return {f"x-amz-checksum-{key.checksum_algorithm.lower()}": value, "x-amz-checksum-type": kind}


def _same_etag(header: str, etag: str) -> bool:
    return header == "*" or header.strip('"') == etag.strip('"')


def _read_condition(key: Any, headers: dict[str, str]) -> Response | None:
    modified = key.last_modified.replace(microsecond=0)
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    since, unmodified = headers.get("if-modified-since"), headers.get("if-unmodified-since")
    if match is not None:
        if not _same_etag(match, key.etag):
            return precondition_failed()
    elif unmodified is not None and modified > str_to_rfc_1123_datetime(unmodified):
        return precondition_failed()
    if none_match is not None:
        return Response(304, {"ETag": key.etag}) if _same_etag(none_match, key.etag) else None
    if since is not None and modified <= str_to_rfc_1123_datetime(since):
        return Response(304, {"ETag": key.etag})
    return None


def _cut(key: Any, headers: dict[str, str], request: Request, part: int) -> Response:
    """Return the object, or the part or the range asked for."""
    size: int = key.size
    status, first, last = 200, 0, size - 1
    sizes = part_sizes(key)
    if part:
        if part > max(len(sizes), 1):
            return error_response(
                "s3", 416, "InvalidPartNumber", "The requested partnumber is not satisfiable"
            )
        if sizes:
            first = sum(sizes[: part - 1])
            last = first + sizes[part - 1] - 1
            headers["x-amz-mp-parts-count"] = str(len(sizes))
        status = 206
    elif "range" in request.headers:
        bounds = byte_range(request.headers["range"], size)
        if bounds is not None:
            first, last = bounds
            if first > last:
                return error_response("s3", 416, "InvalidRange", "The requested range is not satisfiable")
            status = 206
    if status == 206 and size:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        if last - first + 1 < size:
            headers = {name: value for name, value in headers.items() if "-checksum-" not in name}
    headers["content-length"] = str(last - first + 1)
    body = b"" if request.method == "HEAD" else key.value
    return Response(status, headers, body[first : last + 1] if status == 206 else body)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return first and last byte; first after last where unsatisfiable; None where not one range."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if not found or found.group(0).endswith("=-"):
        return None
    first, last = found.groups()
    if not first:
        return (max(size - int(last), 0), size - 1) if int(last) else (1, 0)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return (1, 0)
    return int(first), min(int(last), size - 1) if last else size - 1


def part_sizes(key: Any) -> list[int]:
    """Return the sizes of the parts an object was put together from; none where it was not."""
    if key.multipart is None or "-" not in key.etag:
        return []
    sizes: list[int] = key.multipart.completed_sizes
    return sizes


def put_object(backend: Any, call: Call, request: Request, *, default_checksum: bool) -> Response:
    """Answer PutObject; the digests of the body have been checked."""
    headers = request.headers
    refusal = _write_condition(backend, call, headers)
    if refusal is not None:
        return refusal
    algorithm, value = declared_checksum(headers)
    if default_checksum and not value:
        algorithm, value = "CRC64NVME", checksums.encoded("CRC64NVME", request.body)
    key = backend.put_object(
        call.bucket,
        call.key,
        request.body,
        storage=headers.get("x-amz-storage-class", "STANDARD"),
        encryption=headers.get("x-amz-server-side-encryption"),
        kms_key_id=headers.get("x-amz-server-side-encryption-aws-kms-key-id"),
        bucket_key_enabled=headers.get("x-amz-server-side-encryption-bucket-key-enabled"),
        checksum_value=value or None,
    )
    key.checksum_algorithm = algorithm or None
    key.set_metadata(stored_metadata(headers))
    key.website_redirect_location = headers.get("x-amz-website-redirect-location")
    if "x-amz-acl" in headers or any(name.startswith("x-amz-grant-") for name in headers):
        key.set_acl(S3Response()._acl_from_headers(headers))  # noqa: SLF001
    if headers.get("x-amz-tagging"):
        tags = dict(parse_qsl(headers["x-amz-tagging"], keep_blank_values=True))
        backend.put_object_tagging(key, tags)
    answer = {"ETag": key.etag, "x-amz-server-side-encryption": key.encryption or "AES256"}
    answer.update(_checksum_headers(key))
    if key.version_id != "null":
        answer["x-amz-version-id"] = key.version_id
    return Response(200, answer)


def declared_checksum(headers: dict[str, str]) -> tuple[str, str]:
    """Return the algorithm and value that a request states, or two empty strings."""
    for algorithm in checksums.ALGORITHMS:
        value = headers.get(f"x-amz-checksum-{algorithm.lower()}")
        if value:
            return algorithm, value
    return "", ""


def stored_metadata(headers: dict[str, str]) -> CaseInsensitiveDict[str]:
    """Return what S3 keeps of a write's headers."""
    kept: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    for name, value in headers.items():
        if name in STORED_HEADERS or name.startswith("x-amz-meta-"):
            kept["Content-Encoding" if name == "content-encoding" else name] = value
    return kept


def _write_condition(backend: Any, call: Call, headers: dict[str, str]) -> Response | None:
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is None and none_match is None:
        return None
    present = backend.get_object(call.bucket, call.key)
    if none_match is not None and none_match != "*":
        return error_response("s3", 501, "NotImplemented", "If-None-Match knows only * on a write")
    if none_match is not None and present is not None:
        return precondition_failed()
    if match is not None and present is None:
        return missing()
    if match is not None and not _same_etag(match, present.etag):
        return precondition_failed()
    return None


def complete_condition(backend: Any, call: Call, request: Request) -> Response | None:
    """Return the refusal of a conditional CompleteMultipartUpload; a repeated completion is not refused."""
    present = backend.get_object(call.bucket, call.key)
    upload = request.parameters().get("uploadId")
    if present is not None and present.multipart is not None and present.multipart.id == upload:
        return None
    return _write_condition(backend, call, request.headers)


def list_objects(backend: Any, call: Call, request: Request) -> Response:
    """Answer ListObjectsV2 from the bucket's sorted names."""
    bucket, parameters = backend.get_bucket(call.bucket), request.parameters()
    token = parameters.get("continuation-token")
    limit = min(int(parameters.get("max-keys", MAX_KEYS)), MAX_KEYS)
    after = _decode_token(token) if token is not None else ("k", parameters.get("start-after", ""))
    if after is None:
        return error_response("s3", 400, "InvalidArgument", "The continuation token provided is incorrect")
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
    return Response(
        200,
        {"Content-Type": "application/xml"},
        _listing_xml(bucket.name, parameters, limit, rows, groups, last if limit else None).encode(),
    )


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
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{"".join(fields)}</ListBucketResult>'
    )


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


def xml_escaped(text: str) -> str:
    """Return a name as S3 spells it without encoding-type; with some characters that is not XML, as there."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return NOT_XML.sub(lambda found: f"&#x{ord(found.group()):x};", text)
