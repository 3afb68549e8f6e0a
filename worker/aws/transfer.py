"""The `Transferrer`: a copy within S3 where that reaches, else one streamed GET into one conditional PUT.

An object that is not small streams through after the destination has said that it wants it (`100 Continue`):
its bytes cannot be sent twice, and are not sent at all for a write that is refused. A body that ends early
is incomplete to S3 and published by nobody. S3 compares what it received with the digest that the source
already has; the bytes are summed here only where there is none, or where an endpoint may not compare it.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from worker.aws.bodies import CRC64NVME, body, can_trail
from worker.aws.exchange import Request
from worker.aws.http import Buffers, Limits, ThreadBuffers, Watch
from worker.aws.multipart import WireMultipart
from worker.aws.s3 import sides
from worker.aws.server_side import ServerSide
from worker.aws.wire import Site
from worker.core.compare import Seen
from worker.core.errors import (
    AttributeLostError,
    InterruptedTransferError,
    ObjectRefusedError,
)
from worker.core.headers import WITH_CHECKSUMS, attributes, seen
from worker.core.http import Head
from worker.core.model import LARGEST_PUT, ObjectRef, Proof, Transfer
from worker.core.proof import Digest, choose
from worker.core.transferrer import Cancellation, Copied

_PIECES = 8 * 1024**2
_SMALLEST_PIECE, _LARGEST_PIECE = 131_072, 524_288
"""Bytes of one thread's buffer, out of `_PIECES` for all. Large ones make fewer calls of the kernel and of
TLS, which holds as much again for each connection."""


class WireTransferrer:
    """Implements `core.transferrer.Transferrer`.

    Args:
        transfer: what is copied where.
        streams: threads that copy at most; they share what memory there is for buffers.
        context: whom to trust; see `wire.trust`.
        limits: how long anything may take.

    Attributes:
        source, destination: the two sides, for what is not the data path.
        multipart: the steps of a copy in parts.
    """

    def __init__(
        self, transfer: Transfer, *, streams: int, context: ssl.SSLContext, limits: Limits | None = None
    ) -> None:
        self.source, self.destination = sides(transfer, connections=streams)
        self._transfer = transfer
        self._limits = limits = limits or Limits()
        payer = transfer.options.request_payer
        self._reader = Site(transfer.source, "source", context=context, limits=limits, payer=payer)
        self._writer = Site(transfer.destination, "destination", context=context, limits=limits)
        self._server_side = ServerSide(transfer, reader=self._reader, writer=self._writer, limits=limits)
        self._buffers = ThreadBuffers(min(max(_PIECES // streams, _SMALLEST_PIECE), _LARGEST_PIECE))
        self.multipart = WireMultipart(
            transfer,
            source=self.source,
            destination=self.destination,
            reader=self._reader,
            writer=self._writer,
            server_side=self._server_side,
            buffers=self._buffers,
            attributes=self._attributes,
            condition=self._condition,
            limits=limits,
        )

    def copy(self, ref: ObjectRef, *, fenced: bool, expect: str, cancel: Cancellation) -> Copied:
        """See `Transferrer.copy`."""
        if cancel.is_set():
            raise InterruptedTransferError(f"{self.source.where('read', ref.key).what}: cancelled")
        buffers, condition = self._buffers(), self._condition(expect)
        if self._server_side.reaches:
            if not fenced:
                ref, fenced = self._server_side.present(ref, buffers, Watch(cancel, self._limits)), True
            if copied := self._server_side.copy(ref, condition, buffers, cancel):
                return copied
        return self._stream(ref, condition, buffers, Watch(cancel, self._limits), fenced=fenced)

    def _stream(
        self, ref: ObjectRef, condition: dict[str, str], buffers: Buffers, watch: Watch, *, fenced: bool
    ) -> Copied:
        """Copy one object through here."""
        answer = self._reader.get(_get(ref, buffers, watch, fenced=fenced))
        try:
            got = answer.head
            size = _size(got, ref, fenced=fenced)
            digest = choose(seen(got.headers, size))
            headers = self._attributes(got, ref) | _declared(digest) | condition
            trailed = CRC64NVME if digest.proof is Proof.TRANSPORT and can_trail(self._writer) else ""
            may_go_unchecked = digest.proof is Proof.CHECKSUM and not self._writer.capabilities.trailers
            unchecked = (digest.algorithm, digest.value) if may_go_unchecked else None
            sent = body(self._reader, answer, size, headers, trailed=trailed, unchecked=unchecked)
            key = self._transfer.destination_key(ref.key)
            self._writer.put(Request("PUT", key, headers, buffers, watch, body=sent))
        finally:
            answer.close()
        return Copied(size, digest.proof)

    def look(self, ref: ObjectRef) -> tuple[Seen | None, Seen | None]:
        """See `Transferrer.look`."""
        return self.source.head(ref.key), self.destination.head(self._transfer.destination_key(ref.key))

    def probe(self) -> None:
        """Make sure that both buckets are there and may be listed.

        Raises:
            ConfigurationError: one is not.
        """
        self.source.probe()
        self.destination.probe()

    def _attributes(self, got: Head, ref: ObjectRef) -> dict[str, str]:
        """The PUT's headers that carry the object's attributes over."""
        options = self._transfer.options
        tags: Sequence[tuple[str, str]] = ()
        if options.tags == "copy" and got.headers.get("x-amz-tagging-count", "0") != "0":
            tags = self.source.tags(ref.key, got.headers.get("x-amz-version-id"))
        try:
            return attributes(got.headers, tags, options)
        except AttributeLostError as error:
            raise AttributeLostError(f"{ref.key!r}: {error}") from None

    def _condition(self, expect: str) -> dict[str, str]:
        if not self._writer.capabilities.conditions:
            return {}
        return {"if-match": f'"{expect}"'} if expect else {"if-none-match": "*"}


def _get(ref: ObjectRef, buffers: Buffers, watch: Watch, *, fenced: bool) -> Request:
    request = Request("GET", ref.key, dict(WITH_CHECKSUMS), buffers, watch)
    if fenced:
        request.headers["if-match"] = f'"{ref.etag}"'
        if ref.version_id:
            request.query = (("versionId", ref.version_id),)
    return request


def _size(got: Head, ref: ObjectRef, *, fenced: bool) -> int:
    # A PUT must say how long it is; an answer in chunks does not, but the listing may.
    size = ref.size if got.length is None and fenced else got.length
    if size is None:
        raise ObjectRefusedError(f"{ref.key!r}: the source does not say how long the object is")
    if size > LARGEST_PUT:
        raise ObjectRefusedError(f"{ref.key!r}: {size} bytes, more than the {LARGEST_PUT} that one PUT takes")
    return size


def _declared(digest: Digest) -> dict[str, str]:
    """The PUT's header that declares the bytes' digest."""
    if not digest.algorithm:
        return {}
    name = "content-md5" if digest.algorithm == "MD5" else f"x-amz-checksum-{digest.algorithm.lower()}"
    return {name: digest.value}
