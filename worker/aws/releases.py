"""S3 as the shelf of releases: put a file where there is none, and tell what is there."""

from __future__ import annotations

import base64
import hashlib
from http import HTTPStatus

from botocore.exceptions import ClientError

from worker.aws.errors import Where, translated
from worker.aws.session import s3_client
from worker.core.model import Endpoint


class Shelf:
    """The bucket that an endpoint names; its prefix is not looked at."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._bucket = endpoint.bucket
        self._client = s3_client(endpoint, connections=1)

    def put_new(self, key: str, body: bytes, sha256: str) -> bool:
        """Put an object where there is none, its SHA-256 (hexadecimal) for S3 to check; False: one is there.

        Raises:
            ConfigurationError: S3 refuses: credentials, bucket, permission, bytes that have another digest.
            ServiceUnavailableError: S3 did not answer, after retries.
        """
        with translated(self._where("publish", key)):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body,
                    IfNoneMatch="*",
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
                )
            except ClientError as error:
                if error.response["ResponseMetadata"].get("HTTPStatusCode") == HTTPStatus.PRECONDITION_FAILED:
                    return False
                raise
        return True

    def sha256(self, key: str) -> str:
        """The SHA-256 of an object, in hexadecimal, from its bytes.

        Raises:
            FleetcopyError: as `put_new`.
        """
        digest = hashlib.sha256()
        with translated(self._where("read", key)):
            for chunk in self._client.get_object(Bucket=self._bucket, Key=key)["Body"].iter_chunks():
                digest.update(chunk)
        return digest.hexdigest()

    def _where(self, action: str, key: str) -> Where:
        # Without a key for `translate`: what S3 refuses here is the place's fault, not one object's.
        return Where(f"{action} s3://{self._bucket}/{key}")
