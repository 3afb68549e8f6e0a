"""Buckets whose requesters pay: who does not say so is refused.

moto has no request payment. Here every request counts as a requester's, for all accounts are one; on AWS a
bucket's owner need not say that he pays.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

from typing import Any

from tests.cloud.asked import Ask, Refused, denied, element, xml_answer
from tests.cloud.web import Response

PAYERS = ("Requester", "BucketOwner")
# Of a bucket's own operations only listings are paid for by the requester.
LISTINGS = ("s3:ListObjectsV2", "s3:ListObjects", "s3:ListObjectVersions", "s3:ListMultipartUploads")


def get(ask: Ask) -> Response:
    """Answer GetBucketRequestPayment."""
    return xml_answer("RequestPaymentConfiguration", element("Payer", _payer(ask.bucket)))


def put(ask: Ask) -> Response:
    """Answer PutBucketRequestPayment."""
    found = [who for who in PAYERS if f"<Payer>{who}</Payer>".encode() in ask.request.body]
    if not found:
        raise Refused(400, "MalformedXML", "The XML you provided was not well-formed")
    ask.bucket.payer = found[0]
    return Response(200)


def check(ask: Ask) -> None:
    """Refuse a request for objects that does not offer to pay where it must."""
    if ask.call.key is not None or ask.call.operation in LISTINGS:
        check_bucket(ask, ask.bucket)


def check_bucket(ask: Ask, bucket: Any) -> None:
    """Refuse a request that does not offer to pay for a bucket, where it must."""
    paid = ask.headers.get("x-amz-request-payer") == "requester"
    if _payer(bucket) == "Requester" and not paid:
        raise denied()


def _payer(bucket: Any) -> str:
    return str(getattr(bucket, "payer", "BucketOwner"))
