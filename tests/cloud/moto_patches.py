"""moto's gaps in S3 that matter to fleetcopy, each a small patch: what AWS does, what moto does.

Applied once, at the server's start; `moto_sqs`, `moto_iam`, `moto_fleet` and `moto_stack` have the gaps of
SQS, IAM, EC2 and CloudFormation. What moto does right is left alone.
"""

# ruff: noqa: ANN401 - moto's objects are taken as they come

from __future__ import annotations

from typing import Any

from moto.s3 import models, responses, utils

from tests.cloud import attributes, content
from tests.cloud.moto_sqs import put

AES256 = {
    "Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
}


def apply() -> None:
    """Put the patches in place."""
    content.apply()
    _checksums()
    _archived()
    _bucket_encryption()
    _sorted_names()


def _checksums() -> None:
    # The body was decoded, its trailers read and its digests checked before moto sees it.
    response = responses.S3Response
    put(response, "_handle_encoded_body", lambda _self, body: body)
    put(response, "_handle_v4_chunk_signatures", lambda _self, body, _length: body)

    # moto believes only x-amz-sdk-checksum-algorithm, and makes up a checksum when it stands alone.
    def declared(self: Any, response_headers: dict[str, Any]) -> tuple[str, str | None]:
        algorithm, value = attributes.declared_checksum(
            {name.lower(): text for name, text in self.headers.items()}
        )
        if value:
            response_headers[f"x-amz-checksum-{algorithm.lower()}"] = value
        return algorithm, value or None

    put(response, "_get_checksum", declared)


def _archived() -> None:
    # Of an archived object only the bytes are out of reach; moto keeps back its tags and its ACL as well.
    stored = responses.S3Response._get_key  # noqa: SLF001

    def get_key(self: Any, validate_storage_class: bool = True) -> Any:  # noqa: FBT001, FBT002
        of_bytes = not {"tagging", "acl", "legal-hold"} & set(self.querystring)
        return stored(self, validate_storage_class=validate_storage_class and of_bytes)

    put(responses.S3Response, "_get_key", get_key)


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
