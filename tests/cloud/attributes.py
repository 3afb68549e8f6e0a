"""What a write says of the object to be, and what a read shows of it.

PutObject, CreateMultipartUpload and CopyObject say the same things in the same headers: they are read and
judged here once, so that the object is the same whichever way it came.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from moto.s3.responses import S3Response
from moto.s3.utils import STORAGE_CLASS
from requests.structures import CaseInsensitiveDict

from tests.cloud import checksums
from tests.cloud.asked import Ask, Refused, denied, iso_time
from tests.cloud.content import Content

STORED_HEADERS = (
    "content-type",
    "content-language",
    "content-encoding",
    "content-disposition",
    "cache-control",
    "expires",
)
KMS = ("aws:kms", "aws:kms:dsse")
SSE = "x-amz-server-side-encryption"
LOCK = "x-amz-object-lock-"
LOCK_MODES = ("GOVERNANCE", "COMPLIANCE")
MAX_TAGS = 10
# Of AWS's own key for S3, where KMS is asked for and no key is named.
MANAGED_KEY = "arn:aws:kms:us-east-1:123456789012:key/5a0e7c1e-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class Attributes:
    """All of an object but its bytes; None where a bucket's default or nothing takes its place."""

    metadata: Mapping[str, str]
    tags: dict[str, str]
    storage_class: str
    encryption: str | None
    kms_key_id: str | None
    bucket_key: str | None
    redirect: str | None
    acl: Any
    lock_mode: str | None
    lock_until: str | None
    legal_hold: str | None

    @property
    def locked(self) -> bool:
        """Whether the object shall have retention or a legal hold."""
        return self.lock_mode is not None or self.legal_hold == "ON"


def read(ask: Ask) -> Attributes:
    """Return what a write's headers say.

    Raises:
        Refused: they contradict each other, S3 or the bucket, or the asker may not say that.
    """
    headers = ask.headers
    storage_class = headers.get("x-amz-storage-class", "STANDARD")
    if storage_class not in STORAGE_CLASS:
        raise Refused(400, "InvalidStorageClass", "The storage class you specified is not valid")
    encryption, kms_key_id = _encryption(ask)
    mode, until, hold = _lock(ask)
    return Attributes(
        stored_metadata(headers),
        _tags(ask),
        storage_class,
        encryption,
        kms_key_id,
        headers.get(f"{SSE}-bucket-key-enabled"),
        headers.get("x-amz-website-redirect-location"),
        _acl(ask),
        mode,
        until,
        hold,
    )


def stored_metadata(headers: dict[str, str]) -> CaseInsensitiveDict[str]:
    """Return what S3 keeps of a write's headers."""
    kept: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    for name, value in headers.items():
        if name in STORED_HEADERS or name.startswith("x-amz-meta-"):
            kept["Content-Encoding" if name == "content-encoding" else name] = value
    return kept


def _tags(ask: Ask) -> dict[str, str]:
    pairs = parse_qsl(ask.headers.get("x-amz-tagging", ""), keep_blank_values=True)
    if pairs:
        ask.must("s3:PutObjectTagging")
    if len(pairs) > MAX_TAGS:
        raise Refused(400, "BadRequest", f"Object tags cannot be greater than {MAX_TAGS}")
    if len(dict(pairs)) < len(pairs):
        raise Refused(400, "InvalidArgument", "The header 'x-amz-tagging' shall not hold a key twice.")
    return dict(pairs)


def _encryption(ask: Ask) -> tuple[str | None, str | None]:
    """Return algorithm and key, with the bucket's default."""
    algorithm, key_id = ask.headers.get(SSE), ask.headers.get(f"{SSE}-aws-kms-key-id")
    if f"{SSE}-customer-algorithm" in ask.headers:
        raise Refused(501, "NotImplemented", "the embedded AWS has no encryption with customers' keys")
    if algorithm not in (None, "AES256", *KMS):
        raise Refused(400, "InvalidArgument", "The encryption method specified is not supported")
    if key_id and algorithm not in KMS:
        text = f"Server Side Encryption with AWS KMS managed key requires HTTP header {SSE} : aws:kms"
        raise Refused(400, "InvalidArgument", text)
    if algorithm is None and ask.bucket.encryption:
        default = ask.bucket.encryption["Rule"]["ApplyServerSideEncryptionByDefault"]
        algorithm, key_id = default["SSEAlgorithm"], default.get("KMSMasterKeyID")
    return algorithm, (key_id or MANAGED_KEY) if algorithm in KMS else None


def _acl(ask: Ask) -> Any:
    canned = ask.headers.get("x-amz-acl")
    if canned is None and not any(name.startswith("x-amz-grant-") for name in ask.headers):
        return None
    ask.must("s3:PutObjectAcl")
    # The default of every bucket since April 2023.
    if _ownership(ask.bucket) == "BucketOwnerEnforced" and canned != "bucket-owner-full-control":
        raise Refused(400, "AccessControlListNotSupported", "The bucket does not allow ACLs")
    acl = S3Response()._acl_from_headers(ask.headers)  # noqa: SLF001
    if acl is None:
        raise Refused(400, "InvalidArgument", "", ArgumentName="x-amz-acl", ArgumentValue=canned)
    return acl


def _ownership(bucket: Any) -> str:
    rule = bucket.ownership_rule
    if isinstance(rule, dict):
        rule = rule["Rule"]["ObjectOwnership"]
    return str(rule or "BucketOwnerEnforced")


def _lock(ask: Ask) -> tuple[str | None, str | None, str | None]:
    mode, until = ask.headers.get(f"{LOCK}mode"), ask.headers.get(f"{LOCK}retain-until-date")
    hold = ask.headers.get(f"{LOCK}legal-hold")
    enabled = ask.bucket.object_lock_enabled
    if (mode or until or hold) and not enabled:
        raise Refused(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
    if (mode is None) != (until is None):
        text = f"{LOCK}retain-until-date and {LOCK}mode must both be supplied"
        raise Refused(400, "InvalidArgument", text)
    if mode not in (None, *LOCK_MODES):
        raise Refused(400, "InvalidArgument", "Unknown wormMode directive.")
    if hold not in (None, "ON", "OFF"):
        raise Refused(400, "InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'")
    if mode:
        ask.must("s3:PutObjectRetention")
    if hold:
        ask.must("s3:PutObjectLegalHold")
    if mode is None and ask.bucket.has_default_lock:
        return ask.bucket.default_lock_mode, ask.bucket.default_retention(), hold
    return mode, _until(until) if until else None, hold


def _until(text: str) -> str:
    try:
        time = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        text = "The retain until date must be provided in ISO 8601 format"
        raise Refused(400, "InvalidArgument", text) from None
    if time <= datetime.now(UTC):
        raise Refused(400, "InvalidArgument", "The retain until date must be in the future!")
    return iso_time(time)


def require_digest(ask: Ask, what: str) -> None:
    """Refuse a body for a locked object that says nothing of its digest; `what` in S3's words."""
    if "content-md5" not in ask.headers and not declared_checksum(ask.headers)[1]:
        text = f"Content-MD5 OR x-amz-checksum- HTTP header is required for {what} requests"
        raise Refused(400, "InvalidRequest", f"{text} with Object Lock parameters")


def declared_checksum(headers: dict[str, str]) -> tuple[str, str]:
    """Return the algorithm and value that a request states, or two empty strings."""
    for algorithm in checksums.ALGORITHMS:
        value = headers.get(f"x-amz-checksum-{algorithm.lower()}")
        if value:
            return algorithm, value
    return "", ""


def store(ask: Ask, attributes: Attributes, content: Content, etag: str) -> Any:
    """Put an object in the place of the one that is there; `etag` is its MD5, or what stands for it."""
    backend = ask.backend
    key = backend.put_object(
        ask.call.bucket,
        ask.call.key,
        content,
        storage=attributes.storage_class,
        etag=etag,
        encryption=attributes.encryption,
        kms_key_id=attributes.kms_key_id,
        bucket_key_enabled=attributes.bucket_key,
        lock_mode=attributes.lock_mode,
        lock_until=attributes.lock_until,
        lock_legal_status=attributes.legal_hold,
    )
    key.set_metadata(CaseInsensitiveDict(attributes.metadata))
    key.website_redirect_location = attributes.redirect
    if attributes.acl is not None:
        key.set_acl(attributes.acl)
    # In a bucket without versions the tags of the object before would pass to this one.
    backend.tagger.delete_all_tags_for_resource(key.arn)
    if attributes.tags:
        backend.put_object_tagging(key, attributes.tags)
    return key


def opaque_etag() -> str:
    """Return an ETag that is no digest, as KMS makes them."""
    return secrets.token_hex(16)


def set_checksum(key: Any, algorithm: str, value: str, kind: str = "FULL_OBJECT") -> None:
    """Keep an object's checksum; of a composite one `value` has no number of parts."""
    key.checksum_algorithm, key.checksum_value, key.checksum_type = algorithm or None, value or None, kind


def shown(ask: Ask, key: Any) -> dict[str, str]:
    """Return the headers of GetObject and HeadObject, as far as the asker may see them."""
    headers: dict[str, str] = dict(key.response_dict)
    headers.pop("x-amz-sdk-checksum-algorithm", None)
    headers.update(encryption_headers(key.encryption, key.kms_key_id, key.bucket_key_enabled))
    headers["Accept-Ranges"] = "bytes"
    headers.update(key.metadata)
    private = {
        "x-amz-tagging-count": "s3:GetObjectTagging",
        f"{LOCK}mode": "s3:GetObjectRetention",
        f"{LOCK}retain-until-date": "s3:GetObjectRetention",
        f"{LOCK}legal-hold": "s3:GetObjectLegalHold",
    }
    for name, action in private.items():
        if name in headers and not ask.may(action, key.bucket_name, key.name):
            del headers[name]
    return headers


def written(key: Any) -> dict[str, str]:
    """Return the headers that an answer to a write has."""
    headers = encryption_headers(key.encryption, key.kms_key_id, key.bucket_key_enabled)
    if key.version_id != "null":
        headers["x-amz-version-id"] = key.version_id
    return headers


def encryption_headers(algorithm: str | None, key_id: str | None, bucket_key: object) -> dict[str, str]:
    """Return the headers that tell how an object or an upload is encrypted."""
    headers = {SSE: algorithm or "AES256"}
    if algorithm in KMS:
        headers[f"{SSE}-aws-kms-key-id"] = key_id or MANAGED_KEY
        if bucket_key:
            headers[f"{SSE}-bucket-key-enabled"] = str(bucket_key).lower()
    return headers


def checksum_of(key: Any) -> tuple[str, str, str] | None:
    """Return algorithm, value and type of an object's checksum, or None."""
    if not key.checksum_algorithm or not key.checksum_value:
        return None
    kind, value = key.checksum_type or "FULL_OBJECT", key.checksum_value
    return key.checksum_algorithm, f"{value}-{len(key.parts)}" if kind == "COMPOSITE" else value, kind


def checksum_headers(key: Any) -> dict[str, str]:
    """Return an object's checksum as headers."""
    found = checksum_of(key)
    if found is None:
        return {}
    algorithm, value, kind = found
    return {f"x-amz-checksum-{algorithm.lower()}": value, "x-amz-checksum-type": kind}


def found_object(ask: Ask, bucket: str, name: str, version: str | None) -> Any:
    """Return an object; to those who may not list a bucket S3 does not tell that it has none.

    Raises:
        Refused: 404, or 403 in its place.
    """
    key = ask.backend.get_object(bucket, name, version_id=version)
    if key is not None:
        return key
    if not ask.may("s3:ListBucket", bucket):
        raise denied()
    if version:
        raise Refused(404, "NoSuchVersion", "The specified version does not exist.")
    raise Refused(404, "NoSuchKey", "The specified key does not exist.")
