"""The embedded AWS, as a test or the demo holds it: `with Cloud() as cloud: cloud.client("s3") ...`.

S3, SQS, CloudFormation, EC2, SSM, Secrets Manager, Logs, IAM and STS by moto in a process of its own on a
free loopback port, stricter than moto where AWS is, with a journal of every request and faults on demand. The
process ends with the context or with its parent, whichever is first, and leaves no file. `tests.cloud.fleet`
runs the instances of its Spot Fleets. `python -m tests.cloud` is all of it by hand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
REGION = "us-east-1"
MAX_RECEIVES = 50
RETENTION_SECONDS = 14 * 86_400
EVERYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials that the embedded AWS accepts; without `auth` it accepts any."""

    access_key_id: str = "AKIAEMBEDDEDAWS00000"
    secret_access_key: str = "embedded"  # noqa: S105 - it opens nothing


@dataclass(frozen=True, slots=True)
class Queues:
    """A queue and its dead-letter queue, by URL."""

    url: str
    dead_letter_url: str


class Cloud:
    """One embedded AWS. `auth` makes it enforce signatures and the policies of its users."""

    def __init__(self, *, auth: bool = False) -> None:
        self._auth = auth
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.keys = Keys()
        # One session for all clients, for it loads the services' models; making a client is not thread-safe.
        self._session = boto3.session.Session()
        self._making = threading.Lock()
        # The proxies that this machine's environment may name are not for loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.cloud.server", *(["--auth"] if self._auth else [])]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment() | {"INITIAL_NO_AUTH_ACTION_COUNT": "0" if self._auth else "inf"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C is for us: the server ends after us, when its standard input does.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip().decode()
        if not port:
            self._stop()
            raise RuntimeError("the embedded AWS did not start; its error is above")
        self.url = f"http://127.0.0.1:{port}"
        self._make_admin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def _stop(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _make_admin(self) -> None:
        if self._auth:
            self.keys = self.user("admin", EVERYTHING)

    def client(self, service: str, region: str = REGION, keys: Keys | None = None) -> Any:  # noqa: ANN401 - by name
        """Return a boto3 client: path-style, no retries, short timeouts."""
        keys = keys or self.keys
        config = Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=30,
            proxies={},
        )
        # mypy knows each service's client only by a literal name.
        make: Any = self._session.client
        with self._making:
            return make(
                service,
                region_name=region,
                endpoint_url=self.url,
                aws_access_key_id=keys.access_key_id,
                aws_secret_access_key=keys.secret_access_key,
                config=config,
            )

    def environment(self, keys: Keys | None = None, region: str = REGION) -> dict[str, str]:
        """Return the whole environment of a subprocess that shall know this AWS and no other."""
        keys = keys or self.keys
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith("AWS_")
        }
        path = [str(ROOT), str(ROOT / "tests" / "guard"), kept.get("PYTHONPATH", "")]
        return kept | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_DEFAULT_REGION": region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "PYTHONPATH": os.pathsep.join(part for part in path if part),
        }

    def control(self, method: str, name: str, arguments: object = None) -> Any:  # noqa: ANN401 - JSON
        """Call a control endpoint; see `tests.cloud.server`."""
        body = None if arguments is None else json.dumps(arguments).encode()
        request = urllib.request.Request(  # noqa: S310 - our own loopback URL
            f"{self.url}/_cloud/{name}", data=body, method=method
        )
        with self._opener.open(request, timeout=30) as answer:
            return json.loads(answer.read())

    def counts(self) -> dict[str, int]:
        """Return how often each operation ("s3:GetObject", ...) was asked for since the last clear."""
        counts: dict[str, int] = self.control("GET", "counts")
        return counts

    def journal(self) -> list[dict[str, Any]]:
        """Return one row for each request since the last clear; see `tests.cloud.journal.Row`."""
        rows: list[dict[str, Any]] = self.control("GET", "journal")
        return rows

    def clear_journal(self) -> None:
        """Forget the requests so far."""
        self.control("DELETE", "journal")

    def fault(self, operation: str, action: str, **rule: str | float | None) -> None:
        """Put a fault in force; see `tests.cloud.faults.Rule` for actions and further fields."""
        self.control("POST", "faults", {"operation": operation, "action": action, **rule})

    def clear_faults(self) -> None:
        """Put no fault in force."""
        self.control("DELETE", "faults")

    def default_checksums(self, *, on: bool) -> None:
        """Let S3 store a CRC64NVME for a PUT without checksum, as since December 2024; off at first."""
        self.control("POST", "settings", {"default_checksum": on})

    def min_part_bytes(self, size: int) -> None:
        """Let parts be completed that are as small as this; at first as small as S3's 5 MiB."""
        self.control("POST", "settings", {"min_part_bytes": size})

    def reset(self) -> None:
        """Drop all state: buckets, queues, users, journal, faults, settings."""
        self.control("POST", "reset")
        self._make_admin()

    def bucket(self, name: str, region: str = REGION) -> str:
        """Make a bucket in a region and return its name."""
        place = {} if region == REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self.client("s3", region).create_bucket(Bucket=name, **place)
        return name

    def queue(self, name: str, visibility: int = 120, region: str = REGION) -> Queues:
        """Make a queue with its dead-letter queue, as the stack does."""
        sqs = self.client("sqs", region)
        kept = {"MessageRetentionPeriod": str(RETENTION_SECONDS)}
        dead: str = sqs.create_queue(QueueName=f"{name}-dead-letter", Attributes=kept)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})
        attributes = kept | {"VisibilityTimeout": str(visibility), "RedrivePolicy": redrive}
        url: str = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return Queues(url, dead)

    def user(self, name: str, policy: dict[str, Any]) -> Keys:
        """Make an IAM user with one inline policy and return its access keys."""
        return Keys(**self.control("POST", "users", {"name": name, "policy": policy}))
