"""ListParts and ListMultipartUploads, in pages and spelt as S3 spells them."""

from __future__ import annotations

from itertools import islice

from tests.cloud.asked import Ask, Refused, element, iso_time, xml_answer, xml_escaped
from tests.cloud.listing import url_encoded
from tests.cloud.multipart import Part, Upload, find, uploads_of
from tests.cloud.web import Response

MAX_ROWS = 1000
OWNER = element("ID", "embedded") + element("DisplayName", "embedded")


def list_parts(ask: Ask) -> Response:
    """Answer ListParts."""
    upload, parameters = find(ask), ask.request.parameters()
    marker, limit = _number(parameters, "part-number-marker", 0), _limit(parameters, "max-parts")
    following = (upload.parts[number] for number in sorted(upload.parts) if number > marker)
    rows = list(islice(following, limit + 1))
    shown = rows[:limit]
    fields = {
        "Bucket": ask.call.bucket,
        "Key": upload.key,
        "UploadId": upload.id,
        "PartNumberMarker": marker,
        "NextPartNumberMarker": shown[-1].number if shown else 0,
        "MaxParts": limit,
        "IsTruncated": str(len(rows) > limit).lower(),
        "StorageClass": upload.attributes.storage_class,
        "ChecksumAlgorithm": upload.algorithm or None,
        "ChecksumType": upload.kind or None,
    }
    content = "".join(element(name, value) for name, value in fields.items())
    content += f"<Initiator>{OWNER}</Initiator><Owner>{OWNER}</Owner>"
    content += "".join(f"<Part>{_part_xml(upload, part)}</Part>" for part in shown)
    return xml_answer("ListPartsResult", content)


def _part_xml(upload: Upload, part: Part) -> str:
    fields = {
        "PartNumber": part.number,
        "LastModified": iso_time(part.modified),
        "ETag": f'"{part.etag}"',
        "Size": part.content.size,
    }
    if upload.algorithm:
        fields[f"Checksum{part.algorithm}"] = part.checksum
    return "".join(element(name, value) for name, value in fields.items())


def list_uploads(ask: Ask) -> Response:
    """Answer ListMultipartUploads: by key, and by age where several are of one key."""
    parameters = ask.request.parameters()
    limit = _limit(parameters, "max-uploads")
    rows = list(islice(_following(ask, parameters), limit + 1))
    shown = rows[:limit]
    spell = url_encoded if parameters.get("encoding-type") == "url" else xml_escaped
    last = shown[-1] if len(rows) > limit else None
    name, upload = (last[0], last[1].id if last[1] else "") if last else ("", "")
    fields = {
        "Bucket": ask.call.bucket,
        "MaxUploads": limit,
        "IsTruncated": str(len(rows) > limit).lower(),
        "UploadIdMarker": parameters.get("upload-id-marker", ""),
        "NextUploadIdMarker": upload,
        "EncodingType": parameters.get("encoding-type"),
    }
    spelt = {
        "KeyMarker": parameters.get("key-marker", ""),
        "NextKeyMarker": name,
        "Prefix": parameters.get("prefix", ""),
        "Delimiter": parameters.get("delimiter", ""),
    }
    content = "".join(element(field, value) for field, value in fields.items())
    content += "".join(f"<{field}>{spell(value)}</{field}>" for field, value in spelt.items())
    content += "".join(
        f"<Upload>{_upload_xml(spell(key), row)}</Upload>"
        if row
        else f"<CommonPrefixes><Prefix>{spell(key)}</Prefix></CommonPrefixes>"
        for key, row in shown
    )
    return xml_answer("ListMultipartUploadsResult", content)


def _following(ask: Ask, parameters: dict[str, str]) -> list[tuple[str, Upload | None]]:
    """Return all rows after the markers: a key and its upload, or a common prefix and None."""
    prefix, delimiter = parameters.get("prefix", ""), parameters.get("delimiter", "")
    marker, after = parameters.get("key-marker", ""), parameters.get("upload-id-marker", "")
    rows: list[tuple[str, Upload | None]] = []
    for upload in sorted(uploads_of(ask.bucket).live.values(), key=lambda one: (one.key, one.id)):
        beyond = upload.key > marker or (after and upload.key == marker and upload.id > after)
        if not upload.key.startswith(prefix) or (marker and not beyond):
            continue
        cut = upload.key.find(delimiter, len(prefix)) if delimiter else -1
        group = upload.key[: cut + len(delimiter)]
        if cut < 0:
            rows.append((upload.key, upload))
        elif marker != group and (not rows or rows[-1] != (group, None)):
            rows.append((group, None))
    return rows


def _upload_xml(spelt: str, upload: Upload) -> str:
    fields = {
        "UploadId": upload.id,
        "Initiated": iso_time(upload.initiated),
        "StorageClass": upload.attributes.storage_class,
        "ChecksumAlgorithm": upload.algorithm or None,
        "ChecksumType": upload.kind or None,
    }
    content = "".join(element(name, value) for name, value in fields.items())
    return f"<Key>{spelt}</Key>{content}<Initiator>{OWNER}</Initiator><Owner>{OWNER}</Owner>"


def _limit(parameters: dict[str, str], name: str) -> int:
    return min(_number(parameters, name, MAX_ROWS), MAX_ROWS) or MAX_ROWS


def _number(parameters: dict[str, str], name: str, default: int) -> int:
    text = parameters.get(name) or str(default)
    if not text.isdecimal():
        raise Refused(400, "InvalidArgument", f"Provided {name} not an integer or within integer range")
    return int(text)
