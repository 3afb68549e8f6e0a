"""An object written as it comes about, part by part; it appears when it is whole, or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from worker.aws.errors import Where, translated
from worker.aws.session import s3_client
from worker.core.model import Endpoint

_PART = 16 * 1024**2
"""Bytes; ten thousand parts make 156 GiB. One at a time is in memory."""


class _Blocks(io.RawIOBase):
    """Blocks as a file to be read; what they raise, reading it raises."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        view = memoryview(buffer)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def upload(endpoint: Endpoint, key: str, blocks: Iterator[bytes]) -> None:
    """Write an object of these blocks.

    Raises:
        FleetcopyError: the bucket refuses, or one of the blocks'; nothing is there then.
    """
    from boto3.s3.transfer import TransferConfig  # noqa: PLC0415 - see aws.session

    client = s3_client(endpoint, connections=2)
    config = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, use_threads=False)
    with translated(Where(f"write s3://{endpoint.bucket}/{key}")):
        client.upload_fileobj(io.BufferedReader(_Blocks(blocks)), endpoint.bucket, key, Config=config)
