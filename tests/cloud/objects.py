"""GetObject, HeadObject and PutObject on moto's state: the calls that tests make most.

Written anew where moto's own answers are wrong in many places and cost milliseconds each; so are listings,
multipart uploads and copies, each in a module of its own. All else is moto's, by the same buckets and keys.
Every handler runs under the server's S3 lock, so that a condition and the write it guards are one step.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import re
from typing import Any

from moto.s3.utils import ARCHIVE_STORAGE_CLASSES

from tests.cloud import attributes, conditions
from tests.cloud.asked import Ask, Refused
from tests.cloud.content import Content
from tests.cloud.web import Response


def get_object(ask: Ask) -> Response:
    """Answer GetObject and HeadObject."""
    parameters = ask.request.parameters()
    bucket, name = str(ask.call.bucket), str(ask.call.key)
    key = attributes.found_object(ask, bucket, name, parameters.get("versionId"))
    if ask.request.method == "GET":
        check_readable(key)
    unchanged = conditions.check_read(key, ask.headers)
    if unchanged is not None:
        return unchanged
    headers = attributes.shown(ask, key)
    part = int(parameters.get("partNumber", 0))
    checked = ask.headers.get("x-amz-checksum-mode") == "ENABLED"
    if checked and not part:
        headers.update(attributes.checksum_headers(key))
    response = _part(key, headers, part) if part else _range(key, headers, ask.headers.get("range"))
    if part and checked and part in key.parts and key.checksum_type == "COMPOSITE":
        response.headers[f"x-amz-checksum-{key.checksum_algorithm.lower()}"] = key.parts[part].checksum
        response.headers["x-amz-checksum-type"] = "COMPOSITE"
    if ask.request.method == "HEAD":
        response.content = None
    return response


def check_readable(key: Any) -> None:
    """Refuse to read what is archived, unless it is restored."""
    restored = 'ongoing-request="false"' in key.response_dict.get("x-amz-restore", "")
    if key.storage_class in ARCHIVE_STORAGE_CLASSES and not restored:
        text = "The operation is not valid for the object's storage class"
        raise Refused(403, "InvalidObjectState", text, StorageClass=key.storage_class)


def _part(key: Any, headers: dict[str, str], number: int) -> Response:
    """Return one of the parts that an object was put together from, by its number then."""
    if number != 1 and number not in key.parts:
        raise Refused(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
    if not key.parts:
        return _cut(key, headers, 0, key.size - 1)
    first = sum(part.content.size for at, part in key.parts.items() if at < number)
    headers["x-amz-mp-parts-count"] = str(len(key.parts))
    return _cut(key, headers, first, first + key.parts[number].content.size - 1)


def _range(key: Any, headers: dict[str, str], asked: str | None) -> Response:
    bounds = byte_range(asked, key.size) if asked is not None else None
    if bounds is None:
        headers["content-length"] = str(key.size)
        return Response(200, headers, content=key.content)
    if bounds[0] > bounds[1]:
        raise Refused(416, "InvalidRange", "The requested range is not satisfiable")
    return _cut(key, headers, *bounds)


def _cut(key: Any, headers: dict[str, str], first: int, last: int) -> Response:
    if key.size:
        headers["Content-Range"] = f"bytes {first}-{last}/{key.size}"
    if last - first + 1 < key.size:
        headers = {name: value for name, value in headers.items() if "-checksum-" not in name}
    headers["content-length"] = str(last - first + 1)
    return Response(206, headers, content=key.content.cut(first, last))


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


def put_object(ask: Ask) -> Response:
    """Answer PutObject; the digests of the body have been checked."""
    conditions.check_write(ask.backend.get_object(ask.call.bucket, ask.call.key), ask.headers)
    said = attributes.read(ask)
    if said.locked:
        attributes.require_digest(ask, "Put Object")
    content = Content([ask.request.body])
    etag = attributes.opaque_etag() if said.encryption in attributes.KMS else ask.request.md5()
    key = attributes.store(ask, said, content, etag)
    algorithm, value = attributes.declared_checksum(ask.headers)
    if ask.settings.default_checksum and not value:
        algorithm, value = "CRC64NVME", content.checksum("CRC64NVME")
    attributes.set_checksum(key, algorithm, value)
    return Response(200, {"ETag": key.etag} | attributes.written(key) | attributes.checksum_headers(key))
