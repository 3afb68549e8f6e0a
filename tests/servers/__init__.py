"""Real S3 servers, as a test holds them: `with running("localstack") as server: server.client() ...`.

LocalStack compares checksums, radosgw compares signatures; neither is our own work, so neither shares a
mistake of ours. Each listens on free loopback ports over TLS, keeps all it writes below one temporary folder,
and ends, folder and all, with the context or with its parent, whichever is first. `python -m tests.servers
localstack` is the same by hand.
"""

from __future__ import annotations

import enum
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.cloud import REGION, ROOT, Cloud, Keys
from tests.servers import localstack, radosgw

EMBEDDED = "embedded"
REAL = (localstack.NAME, radosgw.NAME)


class Can(enum.StrEnum):
    """What S3 can and a server may not; a test names what it needs."""

    CHECKSUMS = "check and keep x-amz-checksum values"
    REPLACE = "write on condition of If-Match"
    KEEP = "keep an object whose replacement it refuses"
    NAMES = "keep the names of metadata as they are"
    COUNT = "say how many tags the newest of several versions has"
    PAGES = "list any keys over several pages"
    ENCRYPTION = "encrypt with KMS"
    OPAQUE = "give what KMS encrypts an ETag that is no digest"
    ARCHIVE = "archive objects in Glacier's classes"
    SERVER_SIDE = "copy objects and parts by itself, with the attributes that it is told"
    WHOLE = "keep all of an object as it is, by itself too"
    LOCK = "lock objects"
    ACL = "give objects canned ACLs"
    REFUSE = "refuse wrong signatures and users without rights"


ABILITIES: dict[str, frozenset[Can]] = {
    EMBEDDED: frozenset(Can) - {Can.REFUSE},
    localstack.NAME: frozenset(
        {Can.CHECKSUMS, Can.REPLACE, Can.NAMES, Can.ENCRYPTION, Can.ARCHIVE}
        | {Can.SERVER_SIDE, Can.LOCK, Can.ACL},
    ),
    radosgw.NAME: frozenset({Can.KEEP, Can.COUNT, Can.LOCK, Can.ACL, Can.REFUSE}),
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        name: one of `ABILITIES`.
        url: by address.
        certificate: file of the one certificate to trust; None where it speaks plain HTTP.
        keys: of the user whose the buckets are.
        stranger: of another user, who has no rights to them.
    """

    name: str
    url: str
    certificate: Path | None
    keys: Keys
    stranger: Keys

    def can(self, *abilities: Can) -> bool:
        """Whether the server has all these abilities."""
        return ABILITIES[self.name].issuperset(abilities)

    def client(self, keys: Keys | None = None) -> Any:  # noqa: ANN401 - as boto3 says it
        """An S3 client: path-style, no retries, and no checksum that it is not told to send."""
        keys = keys or self.keys
        return boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=self.url,
            verify=str(self.certificate) if self.certificate else None,
            aws_access_key_id=keys.access_key_id,
            aws_secret_access_key=keys.secret_access_key,
            config=Config(
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",
                max_pool_connections=16,
                connect_timeout=5,
                read_timeout=60,
                proxies={},
            ),
        )

    def environment(self, keys: Keys | None = None) -> dict[str, str]:
        """What a subprocess, or this process, needs of the environment to know this server."""
        keys = keys or self.keys
        trust = {"AWS_CA_BUNDLE": str(self.certificate)} if self.certificate else {}
        return trust | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


def embedded(cloud: Cloud) -> Server:
    """The embedded AWS as one of the servers; this one takes any keys."""
    return Server(EMBEDDED, cloud.url, None, cloud.keys, Keys("AKIASTRANGER00000000", "any"))


def missing(name: str) -> str:
    """What to do before a server can run here; `""` when it can."""
    return localstack.missing() if name == localstack.NAME else radosgw.missing()


@contextmanager
def running(name: str) -> Iterator[Server]:
    """Run a server.

    Raises:
        RuntimeError: it did not start; its own words are in the message or above.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.servers", name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A Ctrl-C is for us: the keeper ends after us, when its standard input does.
        start_new_session=True,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        line = keeper.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} did not start; why is above")
        told = json.loads(line)
        yield Server(
            name, told["url"], Path(told["certificate"]), Keys(*told["keys"]), Keys(*told["stranger"])
        )
    finally:
        keeper.stdin.close()
        keeper.wait(30)
        keeper.stdout.close()
