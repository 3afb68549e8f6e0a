"""Multipart uploads: CreateMultipartUpload, UploadPart, CompleteMultipartUpload and AbortMultipartUpload.

An upload is kept with its bucket; its parts stay as they came, and become the object without being joined.
`multipart_listing` lists uploads and parts, `copies` makes parts of objects. The order of the refusals and
their words are those of LocalStack's S3, whose tests were recorded on AWS.
"""

# ruff: noqa: ANN401, S314 - moto's objects are taken as they come; the XML is a test's own

from __future__ import annotations

import hashlib
import itertools
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

from moto.core.utils import utcnow

from tests.cloud import attributes, checksums, conditions
from tests.cloud.asked import Ask, Refused, element, xml_answer
from tests.cloud.attributes import Attributes
from tests.cloud.content import Content, joined
from tests.cloud.web import Response

MAX_PARTS = 10_000
KINDS = ("FULL_OBJECT", "COMPOSITE")
# An abort ends the wait of a part that is to outlive it.
ABORTED = threading.Condition()
_order = itertools.count()


@dataclass(frozen=True, slots=True)
class Part:
    """A part as it was uploaded; `checksum` as headers spell it, `""` for none."""

    number: int
    content: Content
    etag: str
    algorithm: str
    checksum: str
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True)
class Upload:
    """An upload in progress. `replaces`: whether there was an object when it began."""

    key: str
    attributes: Attributes
    algorithm: str
    kind: str
    replaces: bool
    initiated: datetime = field(default_factory=utcnow)
    # In the order in which they were begun, which is that of their listing.
    id: str = field(default_factory=lambda: f"{next(_order):010x}{secrets.token_hex(48)}")
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass(slots=True)
class Uploads:
    """A bucket's uploads by id, and those that were aborted, which a late part may bring back."""

    live: dict[str, Upload] = field(default_factory=dict)
    aborted: dict[str, Upload] = field(default_factory=dict)


def uploads_of(bucket: Any) -> Uploads:
    """Return a bucket's uploads; they go with it."""
    if not hasattr(bucket, "uploads"):
        bucket.uploads = Uploads()
    found: Uploads = bucket.uploads
    return found


def find(ask: Ask) -> Upload:
    """Return the upload that a request names.

    Raises:
        Refused: 404; it is not, or no longer, or of another key.
    """
    number = ask.request.parameters().get("uploadId", "")
    upload = uploads_of(ask.bucket).live.get(number)
    if upload is None or upload.key != ask.call.key:
        text = "The specified upload does not exist. The upload ID may be invalid, or the upload"
        raise Refused(404, "NoSuchUpload", f"{text} may have been aborted or completed.", UploadId=number)
    return upload


def create(ask: Ask) -> Response:
    """Answer CreateMultipartUpload."""
    algorithm, kind = _checksum_asked(ask.headers)
    present = ask.backend.get_object(ask.call.bucket, ask.call.key)
    upload = Upload(str(ask.call.key), attributes.read(ask), algorithm, kind, present is not None)
    uploads_of(ask.bucket).live[upload.id] = upload
    headers = encryption_of(upload)
    if algorithm:
        headers |= {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    content = element("Bucket", ask.call.bucket) + element("Key", upload.key) + element("UploadId", upload.id)
    return xml_answer("InitiateMultipartUploadResult", content, headers)


def _checksum_asked(headers: dict[str, str]) -> tuple[str, str]:
    """Return algorithm and type, or two empty strings."""
    algorithm = headers.get("x-amz-checksum-algorithm", "").upper()
    kind = headers.get("x-amz-checksum-type", "").upper()
    if algorithm and algorithm not in checksums.ALGORITHMS:
        known = ", ".join(checksums.ALGORITHMS)
        text = "Checksum algorithm provided is unsupported. Please try again with any of the valid types:"
        raise Refused(400, "InvalidRequest", f"{text} [{known}]")
    if kind and not algorithm:
        text = "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
        raise Refused(400, "InvalidRequest", text)
    if kind and kind not in KINDS:
        raise Refused(400, "InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
    impossible = "COMPOSITE" if algorithm == "CRC64NVME" else "FULL_OBJECT" if algorithm[:3] == "SHA" else ""
    if kind and kind == impossible:
        text = f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        raise Refused(400, "InvalidRequest", text)
    if algorithm and not kind:
        kind = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
    return algorithm, kind


def encryption_of(upload: Upload) -> dict[str, str]:
    """Return the headers that tell how an upload is encrypted."""
    said = upload.attributes
    return attributes.encryption_headers(said.encryption, said.kms_key_id, said.bucket_key)


def part_number(ask: Ask) -> int:
    """Return the number of the part that is uploaded.

    Raises:
        Refused: S3 has no such part.
    """
    if ask.call.part is None or not 1 <= ask.call.part <= MAX_PARTS:
        text = f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive"
        raise Refused(400, "InvalidArgument", text, ArgumentName="partNumber")
    return ask.call.part


def part_etag(upload: Upload, md5: str) -> str:
    """Return a part's ETag: its MD5, but under KMS."""
    return attributes.opaque_etag() if upload.attributes.encryption in attributes.KMS else md5


def upload_part(ask: Ask) -> Response:
    """Answer UploadPart; the digests of the body have been checked."""
    revive(ask)
    upload, number = find(ask), part_number(ask)
    algorithm, value = attributes.declared_checksum(ask.headers)
    if upload.algorithm and algorithm != upload.algorithm:
        wanted, found = upload.algorithm.lower(), algorithm.lower() or "null"
        text = f"expected checksum Type: {wanted}, actual checksum Type: {found}"
        raise Refused(400, "InvalidRequest", f"Checksum Type mismatch occurred, {text}")
    if upload.attributes.locked:
        attributes.require_digest(ask, "Put Part")
    etag = part_etag(upload, ask.request.md5())
    upload.parts[number] = Part(number, Content([ask.request.body]), etag, algorithm, value)
    headers = {"ETag": f'"{etag}"'} | encryption_of(upload)
    if value:
        headers[f"x-amz-checksum-{algorithm.lower()}"] = value
    return Response(200, headers)


def await_abort(bucket: Any, upload: str, seconds: float) -> None:
    """Wait until an upload is aborted, not longer than this."""
    with ABORTED:
        ABORTED.wait_for(lambda: upload in uploads_of(bucket).aborted, seconds)


def revive(ask: Ask) -> None:
    """Bring an aborted upload back, without its parts, for one that was under way and is to outlive it."""
    uploads = uploads_of(ask.bucket)
    number = ask.request.parameters().get("uploadId", "")
    if ask.request.outlives and number in uploads.aborted:
        uploads.live[number] = uploads.aborted.pop(number)


def abort(ask: Ask) -> Response:
    """Answer AbortMultipartUpload."""
    upload = find(ask)
    uploads = uploads_of(ask.bucket)
    del uploads.live[upload.id]
    upload.parts = {}
    with ABORTED:
        uploads.aborted[upload.id] = upload
        ABORTED.notify_all()
    return Response(204)


def complete(ask: Ask) -> Response:
    """Answer CompleteMultipartUpload; once more the same where its object is still the one that is there."""
    present = ask.backend.get_object(ask.call.bucket, ask.call.key)
    number = ask.request.parameters().get("uploadId", "")
    if present is not None and number and present.upload_id == number:
        return _completed(ask, present)
    upload = find(ask)
    try:
        _check_condition(ask, upload, present)
    except Refused as refused:
        if refused.status == 409:
            del uploads_of(ask.bucket).live[upload.id]
        raise
    parts = list(_chosen(ask, upload))
    content = joined(part.content for part in parts)
    _check_size(ask, content.size)
    checksum = _checksum(ask, upload, parts)
    etags = b"".join(bytes.fromhex(part.etag) for part in parts)
    etag = f"{hashlib.md5(etags, usedforsecurity=False).hexdigest()}-{len(parts)}"
    key = attributes.store(ask, upload.attributes, content, etag)
    key.parts, key.upload_id = {part.number: part for part in parts}, upload.id
    attributes.set_checksum(key, *checksum)
    del uploads_of(ask.bucket).live[upload.id]
    return _completed(ask, key)


def _completed(ask: Ask, key: Any) -> Response:
    fields = {
        "Location": f"http://{ask.call.bucket}.s3.amazonaws.com/{key.name}",
        "Bucket": ask.call.bucket,
        "Key": key.name,
        "ETag": key.etag,
    }
    checksum = attributes.checksum_of(key)
    if checksum is not None:
        fields |= {f"Checksum{checksum[0]}": checksum[1], "ChecksumType": checksum[2]}
    content = "".join(element(name, value) for name, value in fields.items())
    return xml_answer("CompleteMultipartUploadResult", content, attributes.written(key))


def _check_condition(ask: Ask, upload: Upload, present: Any) -> None:
    """Refuse also where what the condition sees came about since the upload began."""
    conditions.check_write(present, ask.headers)
    if "if-none-match" in ask.headers and upload.replaces:
        raise conditions.conflict("If-None-Match", upload.key)
    if "if-match" in ask.headers and upload.initiated < present.last_modified:
        raise conditions.conflict("If-Match", upload.key)


def _chosen(ask: Ask, upload: Upload) -> Iterable[Part]:
    """Yield the parts that the request names, each as it says it is."""
    rows = _rows(ask.request.body)
    numbers = [int(row.get("PartNumber", 0)) for row in rows]
    if sorted(set(numbers)) != numbers:
        text = "The list of parts was not in ascending order. Parts must be ordered by part number."
        raise Refused(400, "InvalidPartOrder", text, UploadId=upload.id)
    for number, row in zip(numbers, rows, strict=True):
        part = upload.parts.get(number)
        if part is None or part.etag != row.get("ETag", "").strip('"'):
            raise _invalid_part(number, upload)
        _check_part_checksum(upload, part, row)
        minimum = ask.settings.min_part_bytes
        if number != numbers[-1] and part.content.size < minimum:
            text = "Your proposed upload is smaller than the minimum allowed size"
            sizes = {"MinSizeAllowed": minimum, "ProposedSize": part.content.size}
            raise Refused(400, "EntityTooSmall", text, PartNumber=number, ETag=part.etag, **sizes)
        yield part


def _rows(body: bytes) -> list[dict[str, str]]:
    malformed = Refused(400, "MalformedXML", "The XML you provided was not well-formed")
    try:
        root = ET.fromstring(body)
    except ET.ParseError:
        raise malformed from None
    rows = [{field.tag.rpartition("}")[2]: (field.text or "").strip() for field in row} for row in root]
    if not rows:
        raise malformed
    return rows


def _invalid_part(number: int, upload: Upload) -> Refused:
    text = "One or more of the specified parts could not be found. The part may not have been uploaded,"
    text += " or the specified entity tag may not match the part's entity tag."
    return Refused(400, "InvalidPart", text, PartNumber=number, UploadId=upload.id)


def _check_part_checksum(upload: Upload, part: Part, row: dict[str, str]) -> None:
    said = {name.removeprefix("Checksum"): value for name, value in row.items() if name[:8] == "Checksum"}
    if not upload.algorithm:
        # Of an upload without checksums a part may have one of its own.
        right = not said or said == {part.algorithm: part.checksum}
    elif upload.algorithm in said:
        right = said[upload.algorithm] == part.checksum
    elif upload.kind == "FULL_OBJECT" and not said:
        right = True
    elif said:
        text = f"The {next(iter(said)).lower()} you specified for part {part.number} did not match"
        raise Refused(400, "BadDigest", f"{text} what we received.")
    else:
        text = f"The upload was created using a {upload.algorithm.lower()} checksum. The complete request"
        text += " must include the checksum for each part."
        text += f" It was missing for part {part.number} in the request."
        raise Refused(400, "InvalidRequest", text)
    if not right:
        raise _invalid_part(part.number, upload)


def _check_size(ask: Ask, size: int) -> None:
    said = ask.headers.get("x-amz-mp-object-size")
    if said is not None and said != str(size):
        text = f"The provided 'x-amz-mp-object-size' header value {said} does not match"
        raise Refused(400, "InvalidRequest", f"{text} what was computed: {size}")


def _checksum(ask: Ask, upload: Upload, parts: list[Part]) -> tuple[str, str, str]:
    """Return algorithm, value and type of the object's checksum; with the one that the request states.

    Raises:
        Refused: what it states is another.
    """
    kind = ask.headers.get("x-amz-checksum-type", "").upper()
    if kind and kind != upload.kind:
        text = f"The upload was created using the {upload.kind or 'null'} checksum mode."
        raise Refused(400, "InvalidRequest", f"{text} The complete request must use the same checksum mode.")
    algorithm, said = attributes.declared_checksum(ask.headers)
    if not upload.algorithm:
        if not ask.settings.default_checksum:
            return "", "", ""
        computed = [(part.content.checksum("CRC64NVME"), part.content.size) for part in parts]
        return "CRC64NVME", checksums.combined("CRC64NVME", computed), "FULL_OBJECT"
    if upload.kind == "COMPOSITE":
        value = checksums.composite(upload.algorithm, (part.checksum for part in parts))
        right = said in ("", f"{value}-{len(parts)}", value)
    else:
        value = checksums.combined(upload.algorithm, ((part.checksum, part.content.size) for part in parts))
        # As recorded on AWS: a full-object checksum without its type is not believed.
        right = not said or (said == value and bool(kind))
    if not right or algorithm not in ("", upload.algorithm):
        text = f"The {upload.algorithm.lower()} you specified did not match the calculated checksum."
        raise Refused(400, "BadDigest", text)
    return upload.algorithm, value, upload.kind
