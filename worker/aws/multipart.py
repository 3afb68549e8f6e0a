"""The steps of a copy in parts: implements `core.transferrer.Multipart`.

Parts, Create and Complete go over our own wire, so that attributes arrive as they came and a part costs what
a whole object costs; lists and aborts, which are few, are boto3's. Which step is taken when is `flow`'s.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

import msgspec

from worker.aws import bodies
from worker.aws.errors import translated
from worker.aws.exchange import Body, Request
from worker.aws.http import Buffers, Limits, Watch
from worker.aws.s3 import Bucket
from worker.aws.server_side import ServerSide
from worker.aws.wire import Reply, Site
from worker.core.compare import KMS, Seen
from worker.core.errors import (
    DestinationChangedError,
    ObjectArchivedError,
    ObjectGoneError,
    ObjectRefusedError,
    ProofRefusedError,
    ServiceUnavailableError,
    UploadGoneError,
)
from worker.core.headers import WITH_CHECKSUMS, is_archived, seen
from worker.core.http import Head
from worker.core.message import Upload
from worker.core.model import ObjectRef, Transfer
from worker.core.parts import Part, Whole, span
from worker.core.transferrer import Cancellation, Original

if TYPE_CHECKING:
    from datetime import datetime

_COMPLETION_SECONDS = 600.0
"""For which S3 may take to complete an upload; it says little meanwhile."""

_PAGE = 1_000
_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


class Attributes(Protocol):
    """Gives the headers that carry an object's attributes over."""

    def __call__(self, got: Head, ref: ObjectRef) -> dict[str, str]:
        """Headers of a PUT or Create."""
        ...


class WireMultipart:
    """Implements `core.transferrer.Multipart`.

    Args:
        transfer: what is copied where.
        source, destination: its sides, for what is boto3's.
        reader, writer: its sides on the wire.
        server_side: copies parts within S3, where that reaches.
        buffers: those of the calling thread.
        attributes: see there.
        condition: the headers of a write that expects an ETag, or `""` for absence.
        limits: how long anything may take.
    """

    combine = staticmethod(bodies.combine)

    def __init__(
        self,
        transfer: Transfer,
        *,
        source: Bucket,
        destination: Bucket,
        reader: Site,
        writer: Site,
        server_side: ServerSide,
        buffers: Callable[[], Buffers],
        attributes: Attributes,
        condition: Callable[[str], dict[str, str]],
        limits: Limits,
    ) -> None:
        self._transfer = transfer
        self._source = source
        self._destination = destination
        self._reader = reader
        self._writer = writer
        self._server_side = server_side
        self._buffers = buffers
        self._attributes = attributes
        self._condition = condition
        self._limits = limits

    def look(self, ref: ObjectRef, *, fenced: bool, cancel: Cancellation, part: int = 0) -> Original:
        """See `Multipart.look`."""
        request = self._request("HEAD", ref.key, {} if part else dict(WITH_CHECKSUMS), cancel)
        if part:
            request.query, request.partial = (("partNumber", str(part)),), True
        if fenced:
            _fence(request, ref)
        try:
            head = self._reader.head(request)
        except ObjectGoneError:
            self._source.probe()  # a HEAD's 404 does not tell whether the bucket is there
            raise
        return _original(ref, head)

    def destination(self, ref: ObjectRef, cancel: Cancellation) -> Seen | None:
        """See `Multipart.destination`."""
        try:
            head = self._writer.head(self._request("HEAD", self._key(ref), dict(WITH_CHECKSUMS), cancel))
        except DestinationChangedError:
            return None  # should the bucket be missing, Create will say so
        return seen(head.headers, head.length or 0)

    def create(self, original: Original, part_size: int, *, own: bool, cancel: Cancellation) -> Upload:
        """See `Multipart.create`."""
        ref, checksum = original.ref, self._checksum(original.seen)
        headers = self._attributes(Head(200, original.headers), ref)
        if checksum:
            headers |= {"x-amz-checksum-algorithm": checksum, "x-amz-checksum-type": "FULL_OBJECT"}
        request = self._request("POST", self._key(ref), headers, cancel)
        request.query, request.body = (("uploads", ""),), Body(0)
        reply = self._writer.put(request)
        found = _ID.search(reply.text)
        if found is None:
            raise ServiceUnavailableError(f"{self._writer.where(request).what}: an upload without an id")
        digests = reply.head.headers.get("x-amz-server-side-encryption") not in KMS
        return Upload(html.unescape(found[1].decode()), part_size, checksum, own and digests)

    def put(self, ref: ObjectRef, upload: Upload, number: int, cancel: Cancellation) -> Part:
        """See `Multipart.put`."""
        first, size = span(ref.size, upload.part_size, number)
        if self._server_side.reaches:
            copied = self._server_side.part(
                ref, upload, number, first=first, size=size, buffers=self._buffers(), cancel=cancel
            )
            if copied:
                return copied
        get = self._request("GET", ref.key, {"range": f"bytes={first}-{first + size - 1}"}, cancel)
        get.partial = True
        _fence(get, ref)
        # Where the destination checks no checksum, a part's ETag must do, at the price of a hash.
        md5 = None if upload.checksum or not upload.own else hashlib.md5(usedforsecurity=False)
        answer = self._reader.get(get)
        try:
            if answer.head.length != size:
                raise ObjectRefusedError(f"{self._reader.where(get).what}: the endpoint gives no ranges")
            put = self._request("PUT", self._key(ref), {}, cancel)
            put.query = (("partNumber", str(number)), ("uploadId", upload.id))
            put.body = bodies.body(
                self._reader, answer, size, put.headers, trailed=upload.checksum, digest=md5
            )
            reply = self._writer.put(put)
        finally:
            answer.close()
        part = _part(number, size, reply, upload.checksum)
        if md5 and md5.hexdigest() != part.etag:
            raise ProofRefusedError(f"{self._writer.where(put).what}: part {number} is not what was sent")
        return part

    def parts(self, ref: ObjectRef, upload: Upload, first: int, last: int) -> list[Part]:
        """See `Multipart.parts`."""
        found: list[Part] = []
        more: dict[str, Any] = {"PartNumberMarker": first - 1}
        with translated(self._destination.where("list the parts of", self._key(ref))):
            while more["PartNumberMarker"] < last:
                answer = self._destination.client.list_parts(
                    Bucket=self._transfer.destination.bucket,
                    Key=self._key(ref),
                    UploadId=upload.id,
                    MaxParts=min(_PAGE, last - more["PartNumberMarker"]),
                    **more,
                )
                rows = answer.get("Parts", [])
                found += [_listed(row, upload.checksum) for row in rows]
                if not answer.get("IsTruncated") or not rows:
                    break
                more = {"PartNumberMarker": rows[-1]["PartNumber"]}
        return [part for part in found if first <= part.number <= last]

    def complete(
        self,
        ref: ObjectRef,
        upload: Upload,
        parts: Sequence[Part],
        whole: Whole,
        *,
        expect: str,
        cancel: Cancellation,
    ) -> None:
        """See `Multipart.complete`."""
        text = _manifest(parts, upload.checksum).encode()
        headers = {"content-type": "application/xml", "x-amz-mp-object-size": str(ref.size)}
        headers |= self._condition(expect)
        if whole.checksum:
            headers[f"x-amz-checksum-{upload.checksum.lower()}"] = whole.checksum
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        limits = msgspec.structs.replace(self._limits, stretch=self._limits.stretch + _COMPLETION_SECONDS)
        request = self._request("POST", self._key(ref), headers, cancel, limits)
        request.query, request.body = (("uploadId", upload.id),), Body(len(text), held=(text,))
        self._writer.put(request)

    def abort(self, ref: ObjectRef, upload_id: str) -> None:
        """See `Multipart.abort`."""
        abort(self._destination, self._key(ref), upload_id)

    def uploads(self, ref: ObjectRef) -> list[str]:
        """See `Multipart.uploads`."""
        key, ids = self._key(ref), []
        for upload in unfinished(self._destination, key):
            if upload.key != key:
                break  # in key order, those of longer keys come after
            ids.append(upload.id)
        return ids

    def _key(self, ref: ObjectRef) -> str:
        return self._transfer.destination_key(ref.key)

    def _request(
        self,
        method: str,
        key: str,
        headers: dict[str, str],
        cancel: Cancellation,
        limits: Limits | None = None,
    ) -> Request:
        return Request(method, key, headers, self._buffers(), Watch(cancel, limits or self._limits))

    def _checksum(self, source: Seen) -> str:
        """The algorithm for the parts' checksums: the source's, where parts' sums make the whole's."""
        if not bodies.can_trail(self._writer):
            return ""
        stored = [algorithm for algorithm in bodies.COMBINED if algorithm in source.checksums]
        return (stored or [bodies.CRC64NVME])[0]


class Unfinished(msgspec.Struct, frozen=True):
    """A multipart upload that is neither completed nor aborted."""

    key: str
    id: str
    initiated: datetime


def unfinished(bucket: Bucket, prefix: str) -> Iterable[Unfinished]:
    """All unfinished uploads of keys that begin so, in key order.

    Raises:
        FleetcopyError: see `aws.errors`.
    """
    more: dict[str, Any] = {}
    while True:
        with translated(bucket.where("list the unfinished uploads in")):
            answer = bucket.client.list_multipart_uploads(
                Bucket=bucket.endpoint.bucket, Prefix=prefix, EncodingType="url", **more
            )
        for row in answer.get("Uploads", []):
            yield Unfinished(unquote_plus(row["Key"]), row["UploadId"], row["Initiated"])
        if not answer.get("IsTruncated"):
            return
        more = {
            "KeyMarker": unquote_plus(answer["NextKeyMarker"]),
            "UploadIdMarker": answer["NextUploadIdMarker"],
        }


def abort(bucket: Bucket, key: str, upload_id: str) -> None:
    """Abort an upload; one that is no more is no error.

    Raises:
        FleetcopyError: see `aws.errors`.
    """
    try:
        with translated(bucket.where("abort an upload of", key)):
            bucket.client.abort_multipart_upload(Bucket=bucket.endpoint.bucket, Key=key, UploadId=upload_id)
    except UploadGoneError:
        return


def _fence(request: Request, ref: ObjectRef) -> None:
    request.headers["if-match"] = f'"{ref.etag}"'
    if ref.version_id:
        request.query += (("versionId", ref.version_id),)


def _original(ref: ObjectRef, head: Head) -> Original:
    """What a HEAD shows.

    Raises:
        ObjectArchivedError, ObjectRefusedError: it cannot be copied.
    """
    if is_archived(head.headers):
        raise ObjectArchivedError(f"{ref.key!r}: in {head.headers.get('x-amz-storage-class')}, not restored")
    if head.length is None:
        raise ObjectRefusedError(f"{ref.key!r}: the source does not say how long the object is")
    total = _TOTAL.fullmatch(head.headers.get("content-range", ""))
    what = seen(head.headers, int(total[1]) if total else head.length)
    same_version = head.headers.get("x-amz-version-id") == ref.version_id
    now = msgspec.structs.replace(
        ref, size=what.size, etag=what.etag, version_id=ref.version_id if same_version else None
    )
    return Original(now, what, head.headers, head.length)


def _part(number: int, size: int, reply: Reply, checksum: str) -> Part:
    headers = reply.head.headers
    return Part(
        number, headers["etag"].strip('"'), size, headers.get(f"x-amz-checksum-{checksum.lower()}", "")
    )


def _listed(row: Any, checksum: str) -> Part:  # noqa: ANN401 - boto3's row, its checksum's name computed
    return Part(row["PartNumber"], row["ETag"].strip('"'), row["Size"], row.get(f"Checksum{checksum}", ""))


def _manifest(parts: Sequence[Part], checksum: str) -> str:
    """The list of parts that CompleteMultipartUpload takes."""
    rows = []
    for part in parts:
        summed = f"<Checksum{checksum}>{escape(part.checksum)}</Checksum{checksum}>" if part.checksum else ""
        etag = escape(part.etag)
        rows.append(f'<Part><PartNumber>{part.number}</PartNumber><ETag>"{etag}"</ETag>{summed}</Part>')
    start = '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return f"{start}{''.join(rows)}</CompleteMultipartUpload>"
