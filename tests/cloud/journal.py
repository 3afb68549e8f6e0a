"""What the embedded AWS was asked: every request by its API name, for tests to count and to read.

`classify` is pure; `Journal` is the one mutable record, served as JSON under `/_cloud/`.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict, dataclass
from urllib.parse import unquote

from tests.cloud.web import Request, Response

# The first name found in the query decides; "" stands for none of them. Order matters where two may meet.
OBJECT_OPERATIONS: dict[str, dict[str, str]] = {
    "GET": {
        "uploadId": "ListParts",
        "tagging": "GetObjectTagging",
        "acl": "GetObjectAcl",
        "attributes": "GetObjectAttributes",
        "retention": "GetObjectRetention",
        "legal-hold": "GetObjectLegalHold",
        "": "GetObject",
    },
    "HEAD": {"": "HeadObject"},
    "PUT": {
        "uploadId": "UploadPart",
        "tagging": "PutObjectTagging",
        "acl": "PutObjectAcl",
        "retention": "PutObjectRetention",
        "legal-hold": "PutObjectLegalHold",
        "": "PutObject",
    },
    "POST": {
        "uploads": "CreateMultipartUpload",
        "uploadId": "CompleteMultipartUpload",
        "restore": "RestoreObject",
        "select": "SelectObjectContent",
        "": "PostObject",
    },
    "DELETE": {
        "uploadId": "AbortMultipartUpload",
        "tagging": "DeleteObjectTagging",
        "": "DeleteObject",
    },
}
BUCKET_OPERATIONS: dict[str, dict[str, str]] = {
    "GET": {
        "list-type": "ListObjectsV2",
        "uploads": "ListMultipartUploads",
        "versions": "ListObjectVersions",
        "location": "GetBucketLocation",
        "versioning": "GetBucketVersioning",
        "encryption": "GetBucketEncryption",
        "policy": "GetBucketPolicy",
        "tagging": "GetBucketTagging",
        "acl": "GetBucketAcl",
        "object-lock": "GetObjectLockConfiguration",
        "website": "GetBucketWebsite",
        "ownershipControls": "GetBucketOwnershipControls",
        "requestPayment": "GetBucketRequestPayment",
        "": "ListObjects",
    },
    "HEAD": {"": "HeadBucket"},
    "PUT": {
        "versioning": "PutBucketVersioning",
        "encryption": "PutBucketEncryption",
        "policy": "PutBucketPolicy",
        "tagging": "PutBucketTagging",
        "acl": "PutBucketAcl",
        "object-lock": "PutObjectLockConfiguration",
        "website": "PutBucketWebsite",
        "ownershipControls": "PutBucketOwnershipControls",
        "requestPayment": "PutBucketRequestPayment",
        "": "CreateBucket",
    },
    "POST": {"delete": "DeleteObjects", "": "PostObject"},
    "DELETE": {
        "encryption": "DeleteBucketEncryption",
        "policy": "DeleteBucketPolicy",
        "tagging": "DeleteBucketTagging",
        "": "DeleteBucket",
    },
}
COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}


@dataclass(frozen=True, slots=True)
class Call:
    """Which API call a request is: `operation` as `service:Name`, and whom it concerns; `part` by number."""

    service: str
    operation: str
    bucket: str | None = None
    key: str | None = None
    part: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One request and how it was answered; `status` 0 means the connection was reset instead."""

    sequence: int
    service: str
    operation: str
    bucket: str | None
    key: str | None
    part: int | None
    status: int
    bytes_in: int
    bytes_out: int


def service_of(request: Request) -> str:
    """Return the service that the signature names; an unsigned request is S3's unless it names a target."""
    scope = request.headers.get("authorization", "")
    if "Credential=" not in scope and "X-Amz-Credential=" in request.query:
        scope = unquote(request.query)
    fields = scope.partition("Credential=")[2].split(",")[0].split("&")[0].split("/")
    if len(fields) >= 4:
        return fields[3].lower()
    target = request.headers.get("x-amz-target", "")
    return "sqs" if target.startswith("AmazonSQS.") else "s3"


def classify(request: Request) -> Call:
    """Return the API call that a request makes."""
    service = service_of(request)
    if service == "s3":
        return _classify_s3(request)
    target = request.headers.get("x-amz-target", "")
    name = target.rpartition(".")[2]
    if not name and request.body.startswith((b"Action=", b"Version=")):
        fields = request.body.decode("utf-8", "replace").split("&")
        name = next((value[7:] for value in fields if value.startswith("Action=")), "")
    return Call(service, f"{service}:{name or request.method}")


def _classify_s3(request: Request) -> Call:
    bucket, key = request.bucket_and_key()
    if not bucket:
        return Call("s3", "s3:ListBuckets")
    names = request.parameters()
    operations = (OBJECT_OPERATIONS if key else BUCKET_OPERATIONS).get(request.method, {})
    found = next((name for query, name in operations.items() if query in names or not query), request.method)
    if "x-amz-copy-source" in request.headers:
        found = COPIES.get(found, found)
    part = names.get("partNumber", "")
    return Call("s3", f"s3:{found}", bucket, key or None, int(part) if part.isdecimal() else None)


class Journal:
    """The record of requests, in the order in which they were answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._sequence = 0

    def add(self, call: Call, method: str, received: int, response: Response) -> None:
        """Record one answered request, of `received` body bytes."""
        sent = response.size if response.cut is None else response.cut
        status, sent = (0, 0) if response.reset else (response.status, sent)
        sent = 0 if method == "HEAD" else sent
        with self._lock:
            self._sequence += 1
            self._rows.append(
                Row(
                    self._sequence,
                    call.service,
                    call.operation,
                    call.bucket,
                    call.key,
                    call.part,
                    status,
                    received,
                    sent,
                )
            )

    def rows(self) -> list[dict[str, object]]:
        """Return all rows since the last clear, as JSON has them."""
        with self._lock:
            rows = list(self._rows)
        return [asdict(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Return how often each operation was asked for since the last clear."""
        with self._lock:
            return dict(Counter(row.operation for row in self._rows))

    def clear(self) -> None:
        """Forget the rows; the sequence goes on."""
        with self._lock:
            self._rows.clear()
