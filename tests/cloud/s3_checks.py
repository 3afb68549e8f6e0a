"""What S3 refuses before it looks at a bucket: bodies that are not what their sender says they are.

moto takes any digest on trust. Here aws-chunked bodies are decoded, their trailers read, and every declared
digest and length is compared with what came; `admit` returns the refusal or leaves a plain request behind.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from tests.cloud import checksums
from tests.cloud.faults import UPLOADS, error_response
from tests.cloud.journal import Call
from tests.cloud.web import Request, Response

MAX_KEY_BYTES = 1024
# Their checksum headers speak of the object to be, not of the body that they carry.
ABOUT_ANOTHER_BODY = ("s3:CompleteMultipartUpload", "s3:CreateMultipartUpload", "s3:CopyObject")
HEX_DIGEST = re.compile("[0-9a-f]{64}")


def admit(call: Call, request: Request) -> Response | None:
    """Return S3's refusal of a request, or None, with the body decoded and trailers moved to headers."""
    if call.key and len(call.key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        return error_response("s3", 400, "KeyTooLongError", "Your key is too long")
    if "transfer-encoding" in request.headers:
        return error_response(
            "s3", 501, "NotImplemented", "A header you provided implies functionality that is not implemented"
        )
    declared = request.headers.get("x-amz-content-sha256", "")
    if declared.startswith("STREAMING-") and not _decode_chunks(request):
        return error_response(
            "s3", 400, "IncompleteBody", "The request body terminated unexpectedly or is not well-formed"
        )
    if HEX_DIGEST.fullmatch(declared) and hashlib.sha256(request.body).hexdigest() != declared:
        return error_response(
            "s3",
            400,
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    if call.operation in ABOUT_ANOTHER_BODY:
        return None
    if call.operation in UPLOADS:
        request.md5()
    return _digest_refusal(request)


def _digest_refusal(request: Request) -> Response | None:
    md5 = request.headers.get("content-md5")
    if md5 is not None:
        wanted = _decoded(md5)
        if wanted is None or len(wanted) != 16:
            return error_response("s3", 400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
        if request.md5() != wanted.hex():
            return error_response(
                "s3", 400, "BadDigest", "The Content-MD5 you specified did not match what we received."
            )
    for algorithm in checksums.ALGORITHMS:
        header = f"x-amz-checksum-{algorithm.lower()}"
        if header not in request.headers:
            continue
        wanted, computed = _decoded(request.headers[header]), checksums.digest(algorithm, request.body)
        if wanted is None or len(wanted) != len(computed):
            return error_response("s3", 400, "InvalidRequest", f"Value for {header} header is invalid.")
        if wanted != computed:
            return error_response(
                "s3",
                400,
                "BadDigest",
                f"The {algorithm} you specified did not match the calculated checksum.",
            )
    return None


def _decoded(value: str) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return None


def _decode_chunks(request: Request) -> bool:
    """Replace an aws-chunked body by what it carries; return whether it was whole."""
    raw, at, chunks = request.body, 0, []
    view = memoryview(raw)
    while True:
        end = raw.find(b"\r\n", at)
        try:
            size = int(raw[at:end].partition(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            size = -1
        if size < 0:
            return False
        at = end + 2
        if size == 0:
            break
        chunks.append(view[at : at + size])
        at += size + 2
    for line in raw[at:].split(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        if name.strip().lower().startswith("x-amz-checksum-"):
            request.headers[name.strip().lower()] = value.strip()
    request.body = b"".join(chunks)
    stated = request.headers.get("x-amz-decoded-content-length")
    return stated is None or int(stated) == len(request.body)
