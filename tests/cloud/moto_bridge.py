"""From a Request to moto and back: straight to its S3 and SQS handlers, through Flask for all other services.

The straight way saves Flask's routing and its per-request context. S3 is answered under one lock, SQS under
`moto_sqs.CHANGED`, the rest under `moto_fleet.LOCK`; moto's own state is not safe under threads.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from moto.core.request import PRESERVED_HEADER_NAMES_ENVIRON_KEY, environ_key_for_header
from moto.core.responses import ActionResult
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import BackendRequest, DomainDispatcherApplication, create_backend_app
from moto.s3.exceptions import S3ClientError
from moto.s3.models import s3_backends
from moto.s3.responses import S3Response
from moto.sqs.responses import SQSResponse
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from tests.cloud import (
    copies,
    listing,
    moto_fleet,
    moto_iam,
    moto_sqs,
    multipart,
    multipart_listing,
    objects,
    requester_pays,
    s3_checks,
)
from tests.cloud.asked import Ask, Refused, Settings
from tests.cloud.faults import error_response
from tests.cloud.journal import Call
from tests.cloud.web import Request, Response

ACCOUNT = "123456789012"
HANDLERS: dict[str, Callable[[Ask], Response]] = {
    "s3:GetObject": objects.get_object,
    "s3:HeadObject": objects.get_object,
    "s3:PutObject": objects.put_object,
    "s3:CopyObject": copies.copy_object,
    "s3:UploadPartCopy": copies.upload_part_copy,
    "s3:ListObjectsV2": listing.list_objects,
    "s3:CreateMultipartUpload": multipart.create,
    "s3:UploadPart": multipart.upload_part,
    "s3:CompleteMultipartUpload": multipart.complete,
    "s3:AbortMultipartUpload": multipart.abort,
    "s3:ListParts": multipart_listing.list_parts,
    "s3:ListMultipartUploads": multipart_listing.list_uploads,
    "s3:GetBucketRequestPayment": requester_pays.get,
    "s3:PutBucketRequestPayment": requester_pays.put,
}
ERROR_CODE = re.compile(rb"<Code>(\w+)</Code>")


class Bridge:
    """moto behind one method. `auth` enforces signatures and policies, which moto checks per request."""

    def __init__(self, port: int, *, auth: bool = False) -> None:
        self.auth = auth
        self.settings = Settings()
        self._port = str(port)
        self._s3_lock = threading.RLock()
        self._flask = DomainDispatcherApplication(create_backend_app)

    def perform(self, call: Call, request: Request) -> Response:
        """Answer one request."""
        if call.service == "s3" and not request.path.startswith("/moto-api/"):
            refusal = s3_checks.admit(call, request)
            if refusal is not None:
                return refusal
            if request.outlives:
                self._outlive(call, request)
            with self._s3_lock:
                return self._s3(call, request)
        if call.service == "sqs":
            with moto_sqs.CHANGED:
                return self._direct(SQSResponse.dispatch, request)
        if call.service == "cloudformation":
            # Not at the start: it imports half of moto.
            from tests.cloud import moto_stack  # noqa: PLC0415

            moto_stack.apply()
        return self._through_flask(request)

    def set(self, **values: float) -> None:
        """Change settings: those of `asked.Settings` and of `moto_fleet.Settings`."""
        for name, value in values.items():
            moto_sqs.put(self.settings if hasattr(self.settings, name) else moto_fleet.settings, name, value)

    def reset(self) -> None:
        """Drop all of moto's state."""
        from moto.moto_api._internal.models import moto_api_backend  # noqa: PLC0415 - cheap start

        with moto_fleet.LOCK, self._s3_lock, moto_sqs.CHANGED:
            moto_api_backend.reset()
            self.settings = Settings()
            moto_fleet.settings = moto_fleet.Settings()
            moto_sqs.CHANGED.notify_all()

    def _outlive(self, call: Call, request: Request) -> None:
        """Wait with a part for the abort of its upload; not under the lock."""
        bucket = s3_backends[ACCOUNT]["aws"].buckets.get(str(call.bucket))
        if bucket is not None:
            multipart.await_abort(bucket, request.parameters().get("uploadId", ""), request.outlives)

    def _s3(self, call: Call, request: Request) -> Response:
        # Overridden response headers are moto's: nobody but a browser asks for them.
        handler = None if "response-" in request.query else HANDLERS.get(call.operation)
        response = S3Response()
        permits = partial(moto_iam.permits, response) if self.auth else lambda *_: True
        ask = Ask(s3_backends[ACCOUNT]["aws"], call, request, self.settings, permits)
        try:
            if handler is None:
                requester_pays.check(ask)
                dispatch = S3Response.key_dispatch if call.key else S3Response.bucket_dispatch
                return self._direct(dispatch, request)
            if self.auth:
                self._authorize(response, call, request)
            ask.backend.get_bucket(call.bucket)
            requester_pays.check(ask)
            return handler(ask)
        except S3ClientError as error:
            if request.method == "HEAD":
                return Response(_status_of(error))
            return self._serialized(response, request, error)
        except Refused as refused:
            if request.method == "HEAD":
                return Response(refused.status)
            return error_response("s3", refused.status, refused.code, refused.message, **refused.details)

    def _authorize(self, response: Any, call: Call, request: Request) -> None:
        moto_request = BackendRequest(self._environ(request))
        response.setup_class(moto_request)
        response._set_action("KEY" if call.key else "BUCKET", request.method, request.parameters())  # noqa: SLF001
        response.data["BucketName"] = call.bucket
        response._authenticate_and_authorize_s3_action(bucket_name=call.bucket, key_name=call.key)  # noqa: SLF001

    def _serialized(self, response: Any, request: Request, error: Exception) -> Response:
        response.setup_class(BackendRequest(self._environ(request)))
        status, headers, body = response.serialized(ActionResult(error))
        return Response(int(status), dict(headers), body.encode() if isinstance(body, str) else body)

    def _direct(self, handler: Callable[..., Any], request: Request) -> Response:
        moto_request = BackendRequest(self._environ(request))
        try:
            status, headers, body = handler(moto_request, moto_request.raw_url, moto_request.headers)
        except HTTPException as error:
            return _in_json(request, _of_werkzeug(error.get_response()))
        headers = {name: str(value) for name, value in headers.items() if name.lower() != "status"}
        raw = body.encode() if isinstance(body, str) else body or b""
        return _in_json(request, Response(int(status), headers, raw))

    def _through_flask(self, request: Request) -> Response:
        with moto_fleet.LOCK:
            response = WerkzeugResponse.from_app(self._flask, self._environ(request))
        return _in_json(request, _of_werkzeug(response))

    def _environ(self, request: Request) -> dict[str, Any]:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
            "QUERY_STRING": request.query,
            "RAW_URI": request.target,
            "REQUEST_URI": request.target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": self._port,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        names = {}
        for name, value in request.headers.items():
            key = environ_key_for_header(name)
            environ[key] = value
            if "_" in name:
                names[key] = request.sent_names.get(name, name)
        environ["CONTENT_LENGTH"] = str(len(request.body))
        environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = names
        return environ


def _of_werkzeug(response: Any) -> Response:
    return Response(response.status_code, dict(response.headers.items()), response.get_data())


def _in_json(request: Request, response: Response) -> Response:
    """Return an error in the protocol that was asked in; moto writes denials in XML to all services."""
    target = request.headers.get("x-amz-target", "")
    found = ERROR_CODE.search(response.body) if target and response.status >= 400 else None
    if found is None:
        return response
    code, service = found.group(1).decode(), "sqs" if target.startswith("AmazonSQS.") else "service"
    if service != "sqs" and not code.endswith("Exception"):
        code += "Exception"
    return error_response(service, response.status, code, "denied")


def _status_of(error: Any) -> int:
    status = {"NoSuchBucket": 404, "NoSuchKey": 404}
    return status.get(getattr(error, "code", ""), 403)


def make_user(name: str, policy: dict[str, Any]) -> dict[str, str]:
    """Make an IAM user with one inline policy, also where nobody may yet ask for that; return its keys."""
    backend = iam_backends[ACCOUNT]["aws"]
    backend.create_user("us-east-1", name)
    backend.put_user_policy(name, "inline", json.dumps({"Version": "2012-10-17", **policy}))
    key = backend.create_access_key(name)
    return {"access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key}
