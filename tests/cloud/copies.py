"""CopyObject and UploadPartCopy: S3 reads the source itself, for whom both sides let.

The asker was let write the destination before; that he may read the source, and its tags where they go along,
is seen here. No byte is copied: the new object or part holds the pieces of the old.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.cloud import attributes, conditions, multipart, requester_pays
from tests.cloud.asked import Ask, Refused, denied, element, iso_time, xml_answer
from tests.cloud.attributes import KMS, Attributes
from tests.cloud.content import Content
from tests.cloud.multipart import Part
from tests.cloud.objects import check_readable
from tests.cloud.web import Response

MAX_COPY_BYTES = 5 * 1024**3
DIRECTIVES = (None, "COPY", "REPLACE")


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be copied, read for who asks."""

    bucket: Any
    name: str
    version: str | None
    key: Any


def source_of(ask: Ask) -> Source:
    """Return the source that a request names.

    Raises:
        Refused: it is not there, not his to read, archived, or not as the request's conditions have it.
    """
    path, _, query = ask.headers["x-amz-copy-source"].partition("?")
    bucket, _, name = unquote(path.replace("+", " ")).removeprefix("/").partition("/")
    version = dict(parse_qsl(query)).get("versionId")
    if not name:
        text = "Invalid copy source object key"
        raise Refused(400, "InvalidArgument", text, ArgumentName="x-amz-copy-source")
    source = ask.backend.get_bucket(bucket)
    if not ask.may("s3:GetObjectVersion" if version else "s3:GetObject", bucket, name):
        raise denied()
    requester_pays.check_bucket(ask, source)
    key = attributes.found_object(ask, bucket, name, version)
    check_readable(key)
    conditions.check_source(key, ask.headers)
    return Source(source, name, version, key)


def copy_object(ask: Ask) -> Response:
    """Answer CopyObject."""
    source = source_of(ask)
    if source.key.size > MAX_COPY_BYTES:
        text = "The specified copy source is larger than the maximum allowable size for a copy source:"
        raise Refused(400, "InvalidRequest", f"{text} {MAX_COPY_BYTES}")
    conditions.check_write(ask.backend.get_object(ask.call.bucket, ask.call.key), ask.headers)
    said = _inherited(ask, source, attributes.read(ask))
    _check_change(ask, source, said)
    content: Content = source.key.content
    checksum = _checksum(ask, source.key)
    key = attributes.store(ask, said, content, _etag(source.key, said.encryption))
    attributes.set_checksum(key, *checksum)
    return _answer("CopyObjectResult", source, _fields(key), attributes.written(key))


def _inherited(ask: Ask, source: Source, said: Attributes) -> Attributes:
    """Return the attributes of the copy: of the source's only metadata and tags, unless they are replaced."""
    metadata = ask.headers.get("x-amz-metadata-directive")
    tagging = ask.headers.get("x-amz-tagging-directive")
    if metadata not in DIRECTIVES or tagging not in DIRECTIVES:
        raise Refused(400, "InvalidArgument", "Unknown metadata or tagging directive.")
    if metadata != "REPLACE":
        said = replace(said, metadata=dict(source.key.metadata))
    if tagging != "REPLACE":
        tags = ask.backend.tagger.get_tag_dict_for_resource(source.key.arn)
        action = "s3:GetObjectVersionTagging" if source.version else "s3:GetObjectTagging"
        if tags and not ask.may(action, source.bucket.name, source.name):
            raise denied()
        if tags:
            ask.must("s3:PutObjectTagging")
        said = replace(said, tags=tags)
    return said


def _check_change(ask: Ask, source: Source, said: Attributes) -> None:
    """Refuse a copy of an object to itself that changes nothing."""
    changes = (
        "x-amz-storage-class" in ask.headers,
        attributes.SSE in ask.headers,
        ask.headers.get("x-amz-metadata-directive") == "REPLACE",
        said.redirect is not None,
        said.encryption in KMS,
        source.version is not None,
    )
    if (source.bucket.name, source.name) == (ask.call.bucket, ask.call.key) and not any(changes):
        text = (
            "This copy request is illegal because it is trying to copy an object to itself without changing"
        )
        what = "the object's metadata, storage class, website redirect location or encryption attributes."
        raise Refused(400, "InvalidRequest", f"{text} {what}")


def _etag(key: Any, encryption: str | None) -> str:
    """Return the copy's ETag: the MD5 of the bytes, also of a source that came in parts; but under KMS."""
    if encryption in KMS:
        return attributes.opaque_etag()
    if key.encryption in KMS or "-" in key.etag:
        return str(key.content.md5())
    return str(key.etag.strip('"'))


def _checksum(ask: Ask, key: Any) -> tuple[str, str]:
    """Return algorithm and value for the copy: as asked, else the source's, of the whole in any case."""
    wanted = ask.headers.get("x-amz-checksum-algorithm", "").upper()
    default = "CRC64NVME" if ask.settings.default_checksum else ""
    algorithm = wanted or key.checksum_algorithm or default
    if not algorithm:
        return "", ""
    if algorithm == key.checksum_algorithm and key.checksum_type != "COMPOSITE":
        return algorithm, key.checksum_value
    return algorithm, key.content.checksum(algorithm)


def _fields(key: Any) -> dict[str, str]:
    fields = {"LastModified": iso_time(key.last_modified), "ETag": key.etag}
    checksum = attributes.checksum_of(key)
    if checksum is not None:
        fields |= {f"Checksum{checksum[0]}": checksum[1], "ChecksumType": checksum[2]}
    return fields


def _answer(name: str, source: Source, fields: dict[str, str], headers: dict[str, str]) -> Response:
    if source.key.version_id != "null":
        headers["x-amz-copy-source-version-id"] = source.key.version_id
    return xml_answer(name, "".join(element(field, value) for field, value in fields.items()), headers)


def upload_part_copy(ask: Ask) -> Response:
    """Answer UploadPartCopy."""
    source = source_of(ask)
    upload, number = multipart.find(ask), multipart.part_number(ask)
    first, last = _range(ask.headers.get("x-amz-copy-source-range"), source.key.size)
    if last - first + 1 > MAX_COPY_BYTES:
        text = "The specified copy source is larger than the maximum allowable size for a copy source:"
        raise Refused(400, "InvalidRequest", f"{text} {MAX_COPY_BYTES}")
    content = source.key.content.cut(first, last)
    algorithm = upload.algorithm
    checksum = content.checksum(algorithm) if algorithm else ""
    etag = multipart.part_etag(upload, _part_md5(source.key, first, content))
    upload.parts[number] = Part(number, content, etag, algorithm, checksum)
    fields = {"LastModified": iso_time(datetime.now(UTC)), "ETag": f'"{etag}"'}
    if algorithm:
        fields[f"Checksum{algorithm}"] = checksum
    return _answer("CopyPartResult", source, fields, multipart.encryption_of(upload))


def _range(header: str | None, size: int) -> tuple[int, int]:
    """Return first and last byte; of a part's source S3 is stricter than of a read."""
    if header is None:
        return 0, size - 1
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", header)
    if found is None or int(found.group(1)) > int(found.group(2)):
        text = (
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are"
        )
        raise Refused(
            400, "InvalidArgument", f"{text} the zero-based offsets of the first and last bytes to copy"
        )
    first, last = int(found.group(1)), int(found.group(2))
    if first >= size:
        text = "The specified copy range is invalid for the source object size"
        raise Refused(400, "InvalidRequest", text)
    if last >= size:
        text = f"Range specified is not valid for source object of size: {size}"
        raise Refused(400, "InvalidArgument", text)
    return first, last


def _part_md5(key: Any, first: int, content: Content) -> str:
    """Return the MD5 of some of an object's bytes; known already where they are one of its parts."""
    if key.encryption not in KMS:
        if not key.parts and content.size == key.size:
            return str(key.etag.strip('"'))
        start = 0
        for part in key.parts.values():
            if start == first and part.content.size == content.size:
                return str(part.etag)
            start += part.content.size
    return content.md5()
