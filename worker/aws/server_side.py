"""Copies within S3, over our own wire: no byte of an object comes through the worker.

Each is signed with the destination's credentials, fenced by the source's ETag and version, and as conditional
on the destination as any other write. Whether S3 can do it is learnt from the first of them that is really
wanted; nothing is written to find out. With the strategy `auto`, what it refuses comes through the worker:

| refused | then |
|---|---|
| denied or not offered, before any copy has succeeded | no more copies within S3 by this process |
| otherwise | this object comes through the worker |
| a condition does not hold, no answer, a failure after `200 OK` | raised as for any other write |

An endpoint that is not AWS may take no notice of fences and conditions. So the first copy to one is asked for
under each that cannot hold, before it is under those that must; one that copies all the same has copied what
was to be copied anyway, and is trusted with no other.

A copy costs one request. Only where the source bucket is a website, has Object Lock or does not tell, and for
empty objects, which is how redirects are made, a HEAD comes first: S3 copies neither redirects nor locks.
"""

from __future__ import annotations

import html
import re
import threading

import msgspec

from worker.aws import session
from worker.aws.exchange import Body, Request
from worker.aws.http import Buffers, Limits, Watch
from worker.aws.wire import COPY_SOURCE, Reply, Site
from worker.core.compare import KMS
from worker.core.errors import (
    ConfigurationError,
    DestinationChangedError,
    ObjectDeniedError,
    ObjectError,
    ObjectGoneError,
    ObjectRefusedError,
    ProofRefusedError,
    SourceChangedError,
    UnsupportedError,
)
from worker.core.headers import PAYER, beside, seen
from worker.core.message import Upload
from worker.core.model import ObjectRef, Proof, Transfer, is_md5
from worker.core.parts import Part
from worker.core.sigv4 import spell
from worker.core.transferrer import Cancellation, Copied

_SLOWEST = 16 * 1024**2
"""Bytes a second that S3 copies at the least; it may be silent until it is done."""

_FENCE = f"{COPY_SOURCE}-if-match"
_IMPOSSIBLE = f'"{"0" * 32}"'
"""An ETag that no object has."""

_ETAG = re.compile(rb"<ETag>([^<]*)</ETag>")


class ServerSide:
    """Copies of one transfer within S3; safe to use from many threads.

    Args:
        transfer: what is copied where, and how.
        reader, writer: its two sides on the wire.
        limits: how long anything may take that is no copy.
    """

    def __init__(self, transfer: Transfer, *, reader: Site, writer: Site, limits: Limits) -> None:
        self._transfer = transfer
        self._options = transfer.options
        self._reader = reader
        self._writer = writer
        self._limits = limits
        self._proven = self._options.strategy == "server-side"
        self._reaches = self._proven or (self._options.strategy == "auto" and self._same_place())
        self._asking = threading.Lock()
        self._told: bool | None = None
        self._is_aws = transfer.destination.endpoint_url is None
        self._heeded: dict[str, bool] = {}

    @property
    def reaches(self) -> bool:
        """Whether to try, as far as is known."""
        return self._reaches

    def present(self, ref: ObjectRef, buffers: Buffers, watch: Watch) -> ObjectRef:
        """The object as the source holds it now.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        head = self._reader.head(Request("HEAD", ref.key, {}, buffers, watch))
        return msgspec.structs.replace(
            ref,
            size=head.length or 0,
            etag=head.headers.get("etag", "").strip('"'),
            version_id=head.headers.get("x-amz-version-id"),
            storage_class=head.headers.get("x-amz-storage-class", "STANDARD"),
        )

    def copy(
        self, ref: ObjectRef, condition: dict[str, str], buffers: Buffers, cancel: Cancellation
    ) -> Copied | None:
        """Copy one object with its attributes by CopyObject.

        Args:
            ref: exactly this version, of at most `LARGEST_PUT` bytes.
            condition: headers that say what the destination must hold.
            buffers: of the thread.
            cancel: stops it before it has begun.

        Returns:
            What was copied; None where the object must come through the worker.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        attributes = self._attributes(ref, buffers, Watch(cancel, self._limits))
        headers = attributes | condition | self._fenced(ref)
        if self._options.tags == "ignore":
            headers["x-amz-tagging-directive"] = "REPLACE"
        key = self._transfer.destination_key(ref.key)
        watch = self._patient(cancel, ref.size)
        reply = self._made(Request("PUT", key, headers, buffers, watch, body=Body(0)))
        if reply is None:
            return None
        self._check(ref, reply, buffers, Watch(cancel, self._limits))
        return Copied(ref.size, Proof.SERVER_SIDE)

    def part(
        self,
        ref: ObjectRef,
        upload: Upload,
        number: int,
        *,
        first: int,
        size: int,
        buffers: Buffers,
        cancel: Cancellation,
    ) -> Part | None:
        """Copy `size` bytes of an object from `first` on into a part of an upload, by UploadPartCopy.

        Returns:
            The part; None where the bytes must come through the worker.

        Raises:
            FleetcopyError: see `core.transferrer`.
        """
        headers = self._fenced(ref)
        # S3 takes no range of an object of up to 5 MiB, which is a part as it is.
        if size < ref.size:
            headers["x-amz-copy-source-range"] = f"bytes={first}-{first + size - 1}"
        request = Request(
            "PUT",
            self._transfer.destination_key(ref.key),
            headers,
            buffers,
            self._patient(cancel, size),
            query=(("partNumber", str(number)), ("uploadId", upload.id)),
            body=Body(0),
        )
        reply = self._made(request)
        return None if reply is None else Part(number, _etag(reply), size, _checksum(reply, upload.checksum))

    def _same_place(self) -> bool:
        """Whether both sides are AWS in one partition, or one other service."""
        source, destination = self._transfer.source, self._transfer.destination
        if source.endpoint_url or destination.endpoint_url:
            return source.endpoint_url == destination.endpoint_url
        regions = {self._reader.region, self._writer.region}
        return len(regions) == 1 or len({session.partition(region) for region in regions}) == 1

    def _made(self, request: Request) -> Reply | None:
        """S3's answer to a request for a copy; None: refused, and there is another way. Learns from it."""
        try:
            self._check_conditions(request)
            reply = self._writer.put(request)
            _etag(reply)
        except (ObjectDeniedError, ObjectRefusedError, ConfigurationError) as error:
            if self._options.strategy == "server-side":
                raise
            if not self._proven and isinstance(error, ObjectDeniedError | UnsupportedError):
                self._reaches = False
            return None
        self._reaches = self._proven = True
        return reply

    def _check_conditions(self, request: Request) -> None:
        """Make sure that the endpoint heeds fence and condition of this copy, as far as it is not known.

        Raises:
            UnsupportedError: it does not.
            FleetcopyError: see `core.transferrer`.
        """
        if self._is_aws:
            return
        conditional = request.headers.keys() & {"if-match", "if-none-match"}
        with self._asking:
            for name in (_FENCE, "if-match") if conditional else (_FENCE,):
                if name not in self._heeded:
                    self._heeded[name] = self._refuses(request, name)
                if not self._heeded[name]:
                    what = self._writer.where(request).what
                    raise UnsupportedError(f"{what}: no {name} is heeded there; use --strategy stream")

    def _refuses(self, request: Request, name: str) -> bool:
        """Whether a copy is refused under a condition that cannot hold."""
        headers = request.headers | {name: _IMPOSSIBLE}
        if name == "if-match":
            headers.pop("if-none-match", None)
        try:
            self._writer.put(msgspec.structs.replace(request, headers=headers))
        except (SourceChangedError, DestinationChangedError):
            return True
        return False

    def _fenced(self, ref: ObjectRef) -> dict[str, str]:
        """The headers that name what is copied, and no other version."""
        version = f"?versionId={spell(ref.version_id)}" if ref.version_id else ""
        fenced = {
            COPY_SOURCE: f"/{self._transfer.source.bucket}/{spell(ref.key)}{version}",
            _FENCE: f'"{ref.etag}"',
        }
        return fenced | PAYER if self._options.request_payer else fenced

    def _attributes(self, ref: ObjectRef, buffers: Buffers, watch: Watch) -> dict[str, str]:
        """The headers for what S3 does not copy by itself."""
        if ref.size and not self._must_look(buffers, watch):
            return beside({"x-amz-storage-class": ref.storage_class}, self._options)
        request = Request("HEAD", ref.key, {"if-match": f'"{ref.etag}"'}, buffers, watch)
        if ref.version_id:
            request.query = (("versionId", ref.version_id),)
        return beside(self._reader.head(request).headers, self._options)

    def _must_look(self, buffers: Buffers, watch: Watch) -> bool:
        """Whether any object of the source may have a redirect or a lock; S3 is asked once."""
        with self._asking:
            if self._told is None:
                locks = self._options.object_lock == "copy" and self._may_have("object-lock", buffers, watch)
                self._told = locks or self._may_have("website", buffers, watch)
            return self._told

    def _may_have(self, what: str, buffers: Buffers, watch: Watch) -> bool:
        """Whether the source bucket is configured so; also where that may not be asked."""
        request = Request("GET", "", {}, buffers, watch, query=((what, ""),))
        try:
            self._reader.get(request).close()
        except (ObjectGoneError, UnsupportedError):
            return False
        except ObjectError:
            pass
        return True

    def _patient(self, cancel: Cancellation, size: int) -> Watch:
        """Patience with a copy of so many bytes."""
        stretch = self._limits.stretch + size / _SLOWEST
        return Watch(cancel, msgspec.structs.replace(self._limits, stretch=stretch))

    def _check(self, ref: ObjectRef, reply: Reply, buffers: Buffers, watch: Watch) -> None:
        """Compare the ETags of a copy and its source, where both are MD5 digests.

        Raises:
            ProofRefusedError: they differ.
        """
        etag = _etag(reply)
        if etag == ref.etag or not (is_md5(etag) and is_md5(ref.etag)):
            return
        if reply.head.headers.get("x-amz-server-side-encryption") in KMS:
            return
        try:
            head = self._reader.head(Request("HEAD", ref.key, {}, buffers, watch))
        except ObjectError:
            return
        now = seen(head.headers, ref.size)
        if now.etag == ref.etag and now.digest:
            raise ProofRefusedError(
                f"{ref.key!r}: S3 has made a copy with ETag {etag} of one with {ref.etag}"
            )


def _checksum(reply: Reply, algorithm: str) -> str:
    """That which S3 says it has made of a part; `""` where it does not say."""
    found = re.search(rf"<Checksum{algorithm}>([^<]+)<".encode(), reply.text) if algorithm else None
    return html.unescape(found[1].decode()) if found else ""


def _etag(reply: Reply) -> str:
    """The ETag of what S3 says it has made.

    Raises:
        UnsupportedError: it says nothing of a copy, so that it may have stored the empty body for the object.
    """
    found = _ETAG.search(reply.text)
    if found is None:
        raise UnsupportedError("the endpoint takes requests for copies for something else")
    return html.unescape(found[1].decode("utf-8", "replace")).strip('"')
