"""moto's gaps in S3 that matter to fleetcopy, each a small patch: what AWS does, what moto does.

Applied once, at the server's start; `moto_sqs`, `moto_iam`, `moto_fleet` and `moto_stack` have the gaps of
SQS, IAM, EC2 and CloudFormation. What moto does right is left alone.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

import secrets
from typing import Any

from moto.s3 import exceptions, models, responses, utils

from tests.cloud import checksums, objects
from tests.cloud.moto_sqs import put

KMS = ("aws:kms", "aws:kms:dsse")
AES256 = {
    "Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
}


def apply() -> None:
    """Put the patches in place."""
    _checksums()
    _kms_etags()
    _uploads()
    _bucket_encryption()
    _sorted_names()


def _checksums() -> None:
    # moto puts a CRC32 in the place of CRC32C and CRC64NVME when their libraries are not installed.
    def compute(body: bytes, algorithm: str, encode_base64: bool = True) -> bytes:  # noqa: FBT001, FBT002
        if encode_base64:
            return checksums.encoded(algorithm, body).encode()
        return checksums.digest(algorithm, body)

    for module in (utils, models, responses):
        put(module, "compute_checksum", compute)

    # The body was decoded, its trailers read and its digests checked before moto sees it.
    response = responses.S3Response
    put(response, "_handle_encoded_body", lambda _self, body: body)
    put(response, "_handle_v4_chunk_signatures", lambda _self, body, _length: body)

    # moto believes only x-amz-sdk-checksum-algorithm, and makes up a checksum when it stands alone.
    def declared(self: Any, response_headers: dict[str, Any]) -> tuple[str, str | None]:
        algorithm, value = objects.declared_checksum(
            {name.lower(): text for name, text in self.headers.items()}
        )
        if value:
            response_headers[f"x-amz-checksum-{algorithm.lower()}"] = value
        return algorithm, value or None

    put(response, "_get_checksum", declared)

    # moto checksums every multipart object, which nobody asked it to.
    build = models.MultipartChecksumBuilder.build
    complete = models.FakeMultipart.complete

    def wanted_only(self: Any) -> Any:
        return build(self) if getattr(self, "wanted", True) else None

    def measured(self: Any, body: Any) -> Any:
        listed = list(body)
        result = complete(self, iter(listed))
        self.completed_sizes = [self.parts[number].contentsize for number, _ in listed]
        return result

    initialise: Any = vars(models.MultipartChecksumBuilder)["__init__"]

    def noted(self: Any, algorithm: str | None, kind: str | None) -> None:
        initialise(self, algorithm or "CRC32", kind)
        self.wanted = algorithm is not None

    put(models.MultipartChecksumBuilder, "__init__", noted)
    put(models.MultipartChecksumBuilder, "build", wanted_only)
    # GET and HEAD ?partNumber need the sizes that the object was completed from.
    put(models.FakeMultipart, "complete", measured)


def _kms_etags() -> None:
    # With KMS the ETag is no digest of the content; moto gives the MD5 all the same.
    plain: Any = vars(models.FakeKey)["etag"]

    def etag(self: Any) -> str:
        if self._etag is None and self.encryption in KMS:
            self._etag = secrets.token_hex(16)
        result: str = plain.fget(self)
        return result

    put(models.FakeKey, "etag", property(etag))

    # Parts take the bucket's default encryption too; moto applies it only to the finished object.
    create = models.S3Backend.create_multipart_upload

    def encrypted(self: Any, *args: Any, **kwargs: Any) -> Any:
        upload = create(self, *args, **kwargs)
        bucket = self.get_bucket(args[0] if args else kwargs["bucket_name"])
        if bucket.encryption and not upload.sse_encryption:
            default = bucket.encryption["Rule"]["ApplyServerSideEncryptionByDefault"]
            upload.sse_encryption = default["SSEAlgorithm"]
            upload.kms_key_id = default.get("KMSMasterKeyID")
        return upload

    put(models.S3Backend, "create_multipart_upload", encrypted)


def _uploads() -> None:
    # UploadPart and CompleteMultipartUpload of an unknown upload are NoSuchUpload; moto raises KeyError.
    def unknown(_self: Any, upload_id: str) -> Any:
        raise exceptions.NoSuchUpload(upload_id=upload_id)

    # It is a dict: __missing__ is what a subscript falls back to.
    type.__setattr__(models.MultipartDict, "__missing__", unknown)


def _bucket_encryption() -> None:
    # Every bucket has AES256 since 2023; moto says that a new one has no configuration.
    stored = models.S3Backend.get_bucket_encryption
    put(models.S3Backend, "get_bucket_encryption", lambda self, name: stored(self, name) or AES256)


def _sorted_names() -> None:
    # moto sorts the whole bucket for every page of a listing: the order is kept until a name comes or goes.
    store = utils._VersionedKeyStore  # noqa: SLF001

    def forgetting(method: Any) -> Any:
        def changed(self: Any, key: str, *rest: Any) -> Any:
            before = len(self)
            result = method(self, key, *rest)
            if len(self) != before:
                self.order = None
            return result

        return changed

    for name in ("setlist", "pop", "__setitem__", "__delitem__"):
        setattr(store, name, forgetting(getattr(store, name)))
