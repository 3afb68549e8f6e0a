"""The benchmark's S3: just what a copy needs, in memory, as lean as Python goes, on one core.

One event loop over TLS; every object is held, every ETag is a true MD5, every declared digest is checked, and
every request is counted by operation, the endpoints apart. What it does not do: signatures, permissions,
versions. It prints its two ports, and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import itertools
import json
import re
import ssl
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

import uvloop
from awscrt import checksums

PIECE = 1 << 20
PAGE = 1000
CONTROL = "/_bench/"
MODIFIED = "Wed, 01 Jan 2025 00:00:00 GMT"
LISTED = "2025-01-01T00:00:00.000Z"
META = b"x-amz-meta-"


@dataclass(slots=True)
class Stored:
    """One object: its bytes, its ETag without quotes, its user metadata as it came."""

    body: bytes
    etag: str
    metadata: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class Request:
    """One request, its body whole and decoded."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[bytes, bytes]
    body: bytes


class Store:
    """Both endpoints' buckets, and what was asked of them."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.orders: dict[str, list[str]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.upload_metadata: dict[str, list[tuple[bytes, bytes]]] = {}
        self.numbers = itertools.count()
        self.counts: Counter[str] = Counter()
        self.delay = 0.0
        """Seconds by which the answer to each write is held back, for distance."""

    def order(self, bucket: str) -> list[str]:
        """The bucket's keys in key order; sorted anew only when their number has changed."""
        keys = self.orders.get(bucket)
        objects = self.buckets.get(bucket, {})
        if keys is None or len(keys) != len(objects):
            keys = self.orders[bucket] = sorted(objects, key=str.encode)
        return keys


Answer = tuple[int, list[tuple[bytes, bytes]], bytes | memoryview]


class S3:
    """Answers requests of one endpoint."""

    def __init__(self, store: Store, side: str) -> None:
        self._store = store
        self._side = side

    def answer(self, request: Request) -> Answer:
        """Carry one request out."""
        if not request.key:
            return self._of_bucket(request)
        match request.method:
            case "GET" | "HEAD":
                return self._get(request)
            case "PUT" if "uploadId" in request.query:
                self._count("UploadPart")
                return self._checked(request, self._put_part)
            case "PUT":
                self._count("PutObject")
                return self._checked(request, self._put)
            case "POST":
                return self._multipart(request)
        return 405, [], b""

    def _count(self, operation: str) -> None:
        self._store.counts[f"{self._side}:{operation}"] += 1

    def _of_bucket(self, request: Request) -> Answer:
        if "encryption" in request.query:
            self._count("GetBucketEncryption")
            rule = "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
            rule += "</ApplyServerSideEncryptionByDefault></Rule>"
            return _xml("ServerSideEncryptionConfiguration", rule)
        if request.method == "PUT":
            self._count("CreateBucket")
            return 200, [], b""
        if request.method == "HEAD" or "list-type" not in request.query:
            self._count("HeadBucket")
            return 200, [], b""
        self._count("ListObjectsV2")
        return self._list(request)

    def _list(self, request: Request) -> Answer:
        objects = self._store.buckets.get(request.bucket, {})
        prefix = request.query.get("prefix", "")
        after = request.query.get("continuation-token") or request.query.get("start-after", "")
        keys = [key for key in self._store.order(request.bucket) if key > after and key.startswith(prefix)]
        delimiter = request.query.get("delimiter", "")
        folders: dict[str, None] = {}
        if delimiter:
            ends = {key: key.find(delimiter, len(prefix)) for key in keys}
            folders = dict.fromkeys(key[: end + 1] for key, end in ends.items() if end >= 0)
            keys = [key for key in keys if ends[key] < 0]
        page = keys[: min(PAGE, int(request.query.get("max-keys", PAGE)))]
        parts = [
            f"<CommonPrefixes><Prefix>{escape(quote(name))}</Prefix></CommonPrefixes>" for name in folders
        ]
        parts += [
            f"<Contents><Key>{escape(quote(key))}</Key><LastModified>{LISTED}</LastModified>"
            f"<ETag>&quot;{objects[key].etag}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
            f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{len(objects[key].body)}</Size>"
            f"<StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        ]
        more = len(keys) > len(page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return _xml(
            "ListBucketResult",
            f"<Name>{request.bucket}</Name><Prefix>{escape(prefix)}</Prefix><EncodingType>url</EncodingType>"
            f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            + "".join(parts),
        )

    def _get(self, request: Request) -> Answer:
        if "tagging" in request.query:
            self._count("GetObjectTagging")
            return _xml("Tagging", "<TagSet></TagSet>")
        self._count("GetObject" if request.method == "GET" else "HeadObject")
        stored = self._store.buckets.get(request.bucket, {}).get(request.key)
        if stored is None:
            return _error(404, "NoSuchKey")
        headers = [
            (b"ETag", f'"{stored.etag}"'.encode()),
            (b"Last-Modified", MODIFIED.encode()),
            (b"Accept-Ranges", b"bytes"),
            (b"Content-Type", b"application/octet-stream"),
            (b"x-amz-server-side-encryption", b"AES256"),
            *stored.metadata,
        ]
        body = memoryview(stored.body)
        span = re.fullmatch(rb"bytes=(\d+)-(\d*)", request.headers.get(b"range", b""))
        if span:
            first, last = int(span[1]), int(span[2] or len(body) - 1)
            headers.append((b"Content-Range", f"bytes {first}-{last}/{len(body)}".encode()))
            body = body[first : last + 1]
        return (206 if span else 200), headers, body

    def _checked(self, request: Request, put: Callable[[Request, str], Answer]) -> Answer:
        digest = hashlib.md5(request.body, usedforsecurity=False).digest()
        declared = request.headers.get(b"content-md5")
        if declared is not None and base64.b64decode(declared) != digest:
            return _error(400, "BadDigest")
        crc = request.headers.get(b"x-amz-checksum-crc64nvme")
        if crc is not None and base64.b64decode(crc) != _crc64(request.body):
            return _error(400, "BadDigest")
        return put(request, digest.hex())

    def _put(self, request: Request, digest: str) -> Answer:
        bucket = self._store.buckets.setdefault(request.bucket, {})
        if request.headers.get(b"if-none-match") == b"*" and request.key in bucket:
            return _error(412, "PreconditionFailed")
        bucket[request.key] = Stored(request.body, digest, _metadata(request))
        return 200, [(b"ETag", f'"{digest}"'.encode())], b""

    def _put_part(self, request: Request, digest: str) -> Answer:
        self._store.uploads[request.query["uploadId"]][int(request.query["partNumber"])] = request.body
        return 200, [(b"ETag", f'"{digest}"'.encode())], b""

    def _multipart(self, request: Request) -> Answer:
        if "uploads" in request.query:
            self._count("CreateMultipartUpload")
            upload = f"upload-{next(self._store.numbers)}"
            self._store.uploads[upload] = {}
            self._store.upload_metadata[upload] = _metadata(request)
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        self._count("CompleteMultipartUpload")
        upload = request.query["uploadId"]
        parts = [part for _, part in sorted(self._store.uploads.pop(upload).items())]
        digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
        stored = Stored(b"".join(parts), etag, self._store.upload_metadata.pop(upload))
        self._store.buckets.setdefault(request.bucket, {})[request.key] = stored
        return _xml("CompleteMultipartUploadResult", f"<ETag>&quot;{etag}&quot;</ETag>")


def _metadata(request: Request) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in request.headers.items() if name.startswith(META)]


def _crc64(body: bytes) -> bytes:
    return int(checksums.crc64nvme(body)).to_bytes(8, "big")


def _xml(root: str, inner: str) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{inner}</{root}>'.encode()
    return 200, [(b"Content-Type", b"application/xml")], body


def _error(status: int, code: str) -> Answer:
    return status, *_xml("Error", f"<Code>{code}</Code><Message>{code}</Message>")[1:]


def decoded(body: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The content and the trailers of an aws-chunked body (S3 API Reference, "Trailing checksums")."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        at = end + 2
        if not size:
            lines = [line.partition(b":") for line in body[at:].split(b"\r\n") if line]
            return b"".join(pieces), {name.lower(): value.strip() for name, _, value in lines}
        pieces.append(body[at : at + size])
        at += size + 2


class Connection(asyncio.Protocol):
    """One connection: bytes to Requests, Answers to bytes."""

    def __init__(self, s3: S3, store: Store) -> None:
        self._s3 = s3
        self._store = store
        self._received: list[bytes] = []
        self._size = 0
        self._head: tuple[str, str, dict[bytes, bytes], int] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._busy: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        """Hold back what is left of a large answer."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on with it."""
        self._writable.set()

    def connection_lost(self, _error: Exception | None) -> None:
        """Let a half-written answer end."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Collect; answer when a request is whole. Nobody pipelines here."""
        self._received.append(data)
        self._size += len(data)
        if self._head is None:
            raw = b"".join(self._received)
            end = raw.find(b"\r\n\r\n")
            if end < 0:
                self._received = [raw]
                return
            self._begin(raw[:end])
            self._received, self._size = [raw[end + 4 :]], len(raw) - end - 4
        assert self._head is not None
        if self._size >= self._head[3]:
            method, target, headers, _ = self._head
            body = b"".join(self._received)
            self._head, self._received, self._size = None, [], 0
            self._perform(method, target, headers, body)

    def _begin(self, head: bytes) -> None:
        line, *rest = head.split(b"\r\n")
        method, target, _ = line.decode().split(" ")
        headers = {}
        for field_ in rest:
            name, _, value = field_.partition(b":")
            headers[name.lower()] = value.strip()
        self._head = method, target, headers, int(headers.get(b"content-length", 0))
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _perform(self, method: str, target: str, headers: dict[bytes, bytes], body: bytes) -> None:
        path, _, query = target.partition("?")
        if path.startswith(CONTROL):
            self._write(method, control(self._store, path.removeprefix(CONTROL), body))
            return
        if b"aws-chunked" in headers.get(b"content-encoding", b""):
            body, trailers = decoded(body)
            headers |= trailers
        bucket, _, key = unquote(path).removeprefix("/").partition("/")
        parameters = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        answer = self._s3.answer(Request(method, bucket, key, parameters, headers, body))
        if self._store.delay and method == "PUT":
            asyncio.get_running_loop().call_later(self._store.delay, self._write, method, answer)
        else:
            self._write(method, answer)

    def _write(self, method: str, answer: Answer) -> None:
        status, headers, body = answer
        lines = [b"HTTP/1.1 %d OK" % status, b"Server: AmazonS3", b"Date: " + MODIFIED.encode()]
        lines += [name + b": " + value for name, value in headers]
        head = b"\r\n".join([*lines, b"Content-Length: %d\r\n\r\n" % len(body)])
        if method == "HEAD":
            self._transport.write(head)
        elif len(body) <= PIECE:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._busy = asyncio.get_running_loop().create_task(self._pump(memoryview(body)))

    async def _pump(self, body: memoryview) -> None:
        for at in range(0, len(body), PIECE):
            await self._writable.wait()
            if self._transport.is_closing():
                return
            self._transport.write(body[at : at + PIECE])


def control(store: Store, name: str, body: bytes) -> Answer:
    """Prepare a run, or tell what it did."""
    from tests.bench.workloads import fill  # noqa: PLC0415 - the benchmark's, not S3's

    arguments = json.loads(body) if body else {}
    result: object = None
    match name:
        case "fill":
            store.buckets = {"source": {}}
            store.orders.clear()
            for key, data in fill(arguments["workload"], arguments["scale"]):
                store.buckets["source"][key] = Stored(
                    data, hashlib.md5(data, usedforsecurity=False).hexdigest()
                )
            result = len(store.buckets["source"])
        case "begin":
            store.buckets["destination"] = {}
            store.orders.pop("destination", None)
            store.uploads.clear()
            store.counts.clear()
            store.delay = arguments["delay"]
        case "end":
            source, found = store.buckets["source"], store.buckets["destination"]
            wrong = [
                key for key, stored in source.items() if key not in found or found[key].body != stored.body
            ]
            result = {"wrong": len(wrong) + len(found.keys() - source.keys()), "requests": dict(store.counts)}
    return 200, [(b"Content-Type", b"application/json")], json.dumps(result).encode()


async def serve(certificate: str, key: str) -> None:
    """Serve both endpoints until standard input ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    store, loop = Store(), asyncio.get_running_loop()
    ports = []
    for side in ("source", "destination"):
        server = await loop.create_server(
            partial(Connection, S3(store, side), store), "127.0.0.1", 0, ssl=context, backlog=1024
        )
        ports.append(server.sockets[0].getsockname()[1])
    sys.stdout.write(" ".join(map(str, ports)) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.buffer.read)


def main() -> None:
    """Parse, and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server")
    parser.add_argument("certificate")
    parser.add_argument("key")
    options = parser.parse_args()
    uvloop.run(serve(options.certificate, options.key))


if __name__ == "__main__":
    main()
