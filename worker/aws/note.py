"""One small object that is read and written whole, such as a checkpoint."""

from __future__ import annotations

from botocore.exceptions import ClientError

from worker.aws.errors import Where, translated
from worker.aws.session import s3_client
from worker.core.model import Endpoint


class Note:
    """The object that `key` names in an endpoint's bucket; the endpoint's prefix is not looked at."""

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        self._bucket, self._key = endpoint.bucket, key
        self._client = s3_client(endpoint, connections=1)

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._key}"

    def read(self) -> bytes | None:
        """What it holds; None where it is not there.

        Raises:
            ConfigurationError: S3 refuses: credentials, bucket, permission.
            ServiceUnavailableError: S3 did not answer, after retries.
        """
        # Without a key for `translate`: what S3 refuses here is the place's fault, not one object's.
        with translated(Where(f"read {self}")):
            try:
                return self._client.get_object(Bucket=self._bucket, Key=self._key)["Body"].read()
            except ClientError as error:
                if error.response["Error"].get("Code") == "NoSuchKey":
                    return None
                raise

    def write(self, content: bytes) -> None:
        """Replace what it holds.

        Raises:
            FleetcopyError: as `read`.
        """
        with translated(Where(f"write {self}")):
            self._client.put_object(Bucket=self._bucket, Key=self._key, Body=content)
