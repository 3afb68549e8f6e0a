"""The `Transferrer` that boto3 carries: one streamed GET into one conditional PUT.

Bytes pass through in pieces of a few KiB; nothing is hashed here, S3 compares what it received with the
digest that the source already has. A PUT whose body ends early is incomplete to S3 and published by nobody.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC
from email.utils import format_datetime
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from worker.aws.errors import Where, translated
from worker.aws.s3 import Bucket, seen
from worker.aws.session import s3_client
from worker.core.compare import Seen
from worker.core.errors import (
    AttributeLostError,
    FleetcopyError,
    InterruptedTransferError,
    ObjectRefusedError,
    ServiceUnavailableError,
)
from worker.core.model import LARGEST_PUT, ObjectRef, Transfer
from worker.core.proof import Digest, choose
from worker.core.transferrer import Cancellation, Copied

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

_ATTRIBUTES = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
    "WebsiteRedirectLocation",
)


class _Relay:
    """The GET's body as the PUT's: stops between pieces when cancelled, and remembers why it stopped.

    Once all bytes are out, the destination alone decides: nothing here may fail then.
    """

    def __init__(
        self, body: StreamingBody, size: int, bucket: Bucket, key: str, cancel: Cancellation
    ) -> None:
        self.error: FleetcopyError | None = None
        self._body = body
        self._left = size
        self._where = bucket.where("read", key)
        self._cancel = cancel

    def read(self, size: int = -1) -> bytes:
        """The next piece; raises what has gone wrong at the source, as ours."""
        if not self._left:
            return b""
        try:
            _stop_if(self._cancel, self._where)
            with translated(self._where):
                piece = self._body.read(None if size < 0 else size)
        except FleetcopyError as error:
            self.error = error
            raise
        self._left -= len(piece)
        return piece


class Boto3Transferrer:
    """Implements `core.transferrer.Transferrer`.

    Attributes:
        source, destination: the two sides, for what is not the data path.
    """

    def __init__(self, transfer: Transfer, *, connections: int) -> None:
        self.source = Bucket(transfer.source, "source", connections=connections)
        self.destination = Bucket(transfer.destination, "destination", connections=connections)
        self._transfer = transfer
        # A stream cannot be sent twice: tries are the caller's.
        self._reader = s3_client(transfer.source, connections=connections, tries=1)
        self._writer = s3_client(transfer.destination, connections=connections, tries=1)

    def copy(self, ref: ObjectRef, *, fenced: bool, expect: str, cancel: Cancellation) -> Copied:
        """See `Transferrer.copy`."""
        _stop_if(cancel, self.source.where("read", ref.key))
        got = self._get(ref, fenced=fenced)
        with closing(got["Body"]) as body:
            source = seen(got)
            if source.size > LARGEST_PUT:
                raise ObjectRefusedError(
                    f"{ref.key!r}: {source.size} bytes, more than the {LARGEST_PUT} that one PUT takes"
                )
            attributes = self._attributes(got, ref)
            digest = choose(source)
            relay = _Relay(body, source.size, self.source, ref.key, cancel)
            self._put(ref, relay, source.size, expect, attributes | _declared(digest))
        return Copied(source.size, digest.proof)

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

    def _get(self, ref: ObjectRef, *, fenced: bool) -> GetObjectOutputTypeDef:
        fence: dict[str, Any] = {"IfMatch": f'"{ref.etag}"'} if fenced else {}
        if fenced and ref.version_id:
            fence["VersionId"] = ref.version_id
        with translated(self.source.where("read", ref.key)):
            return self._reader.get_object(
                Bucket=self._transfer.source.bucket, Key=ref.key, ChecksumMode="ENABLED", **fence
            )

    def _put(self, ref: ObjectRef, relay: _Relay, size: int, expect: str, parameters: dict[str, Any]) -> None:
        key = self._transfer.destination_key(ref.key)
        condition: dict[str, Any] = {"IfMatch": f'"{expect}"'} if expect else {"IfNoneMatch": "*"}
        try:
            with translated(self.destination.where("write", key)):
                self._writer.put_object(
                    Bucket=self._transfer.destination.bucket,
                    Key=key,
                    Body=cast("IO[bytes]", relay),
                    ContentLength=size,
                    **condition,
                    **parameters,
                )
        except ServiceUnavailableError:
            # What the body raised reaches us wrapped as a failure of the destination's connection.
            if relay.error is not None:
                raise relay.error from None
            raise

    def _attributes(self, got: GetObjectOutputTypeDef, ref: ObjectRef) -> dict[str, Any]:
        """The PUT's parameters that carry the object's attributes over."""
        if got.get("MissingMeta"):
            raise AttributeLostError(f"{ref.key!r}: S3 withholds {got['MissingMeta']} metadata entries")
        attributes = {name: got[name] for name in _ATTRIBUTES if got.get(name)}  # type: ignore[literal-required]
        if raw := got.get("ExpiresString"):
            expires = got.get("Expires")
            if expires is None or format_datetime(expires.astimezone(UTC), usegmt=True) != raw:
                raise AttributeLostError(f"{ref.key!r}: Expires {raw!r} is no HTTP date")
            attributes["Expires"] = expires
        if got.get("TagCount"):
            attributes["Tagging"] = self._tags(got, ref)
        return attributes

    def _tags(self, got: GetObjectOutputTypeDef, ref: ObjectRef) -> str:
        version: dict[str, Any] = {"VersionId": got["VersionId"]} if got.get("VersionId") else {}
        with translated(self.source.where("read the tags of", ref.key)):
            answer = self.source.client.get_object_tagging(
                Bucket=self._transfer.source.bucket, Key=ref.key, **version
            )
        return urlencode([(tag["Key"], tag["Value"]) for tag in answer["TagSet"]])


def _stop_if(cancel: Cancellation, where: Where) -> None:
    if cancel.is_set():
        raise InterruptedTransferError(f"{where.what}: cancelled")


def _declared(digest: Digest) -> dict[str, str]:
    """The PUT's parameters that declare the bytes' digest."""
    if not digest.algorithm:
        return {}
    name = "ContentMD5" if digest.algorithm == "MD5" else f"Checksum{digest.algorithm}"
    return {name: digest.value}
