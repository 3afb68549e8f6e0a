"""Objects that hold listings, read as files: by ranges, so that a slow reader holds no connection open."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from worker.aws.errors import Where, translated
from worker.aws.session import s3_client
from worker.core.errors import ListingError
from worker.core.model import Endpoint

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

_RANGE = 4 * 1024**2
_TRIES = 5


class Blobs:
    """The bucket that an endpoint names; its prefix is not looked at."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.bucket = endpoint.bucket
        self.client: S3Client = s3_client(endpoint, connections=1)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with `prefix`.

        Raises:
            ConfigurationError: the bucket is missing or may not be listed.
            ServiceUnavailableError: S3 did not answer, after retries.
        """
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        with translated(Where(f"list s3://{self.bucket}/{prefix}")):
            for page in pages:
                yield from (row["Key"] for row in page.get("Contents", ()))


class Blob:
    """An object that can be opened again and again, and is the same one each time.

    Args:
        blobs: where it is.
        key: which it is.
    """

    def __init__(self, blobs: Blobs, key: str) -> None:
        self.blobs, self.key = blobs, key
        self._etag: str | None = None

    @property
    def name(self) -> str:
        """As the command line spells it."""
        return f"s3://{self.blobs.bucket}/{self.key}"

    def open(self) -> io.BufferedReader:
        """Open it for reading, at its start.

        Reading raises what this raises.

        Raises:
            ListingError: it is not there, or no longer what it was when it was first opened.
            ConfigurationError: S3 refuses: credentials, bucket, permission.
            ServiceUnavailableError: S3 did not answer, after retries.
        """
        answer = self._head()
        self._etag = self._etag or answer["ETag"]
        return io.BufferedReader(_Ranges(self, answer["ContentLength"]), _RANGE)

    def version(self) -> str:
        """Its ETag. Errors are those of `open`."""
        return self._head()["ETag"]

    def beside(self, name: str) -> Blob:
        """The object of that name in the same folder."""
        return Blob(self.blobs, self.key[: self.key.rfind("/") + 1] + name)

    def delivered(self, key: str) -> Blob:
        """The data file that this object, an inventory's manifest, names by its key: in the same bucket."""
        return Blob(self.blobs, key)

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`. Errors are those of `open`."""
        with translated(Where(f"read {self.name}")):
            for last in (*[False] * (_TRIES - 1), True):
                try:
                    return self._get(start, end)
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                    if last:
                        raise
        raise AssertionError

    def _head(self) -> HeadObjectOutputTypeDef:
        with translated(Where(f"look at {self.name}")):
            try:
                return self.blobs.client.head_object(Bucket=self.blobs.bucket, Key=self.key)
            except ClientError as error:
                if error.response["Error"].get("Code") in {"404", "NoSuchKey"}:
                    raise ListingError("no such object") from None
                raise

    def _get(self, start: int, end: int) -> bytes:
        try:
            answer = self.blobs.client.get_object(
                Bucket=self.blobs.bucket,
                Key=self.key,
                Range=f"bytes={start}-{end - 1}",
                IfMatch=self._etag or "*",
            )
        except ClientError as error:
            if error.response["Error"].get("Code") in {"PreconditionFailed", "NoSuchKey", "InvalidRange"}:
                raise ListingError("it changed while it was read: try again") from None
            raise
        return answer["Body"].read()


class _Ranges(io.RawIOBase):
    """An object's bytes as a file; `io.BufferedReader` decides how many at once."""

    def __init__(self, blob: Blob, size: int) -> None:
        self._blob, self._size, self._at = blob, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a buffer to write into
        view = memoryview(buffer).cast("B")
        end = min(self._at + len(view), self._size)
        if end <= self._at:
            return 0
        content = self._blob.read(self._at, end)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)
