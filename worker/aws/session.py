"""boto3 clients from endpoints and names of credentials; the only place that makes them.

Credentials are named (`core.credentials`), never passed about. Those of an instance's role come through
boto3, which speaks IMDSv2.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError

from worker.aws.credentials import Renewable, assumed, of_secret
from worker.aws.errors import Where, translated
from worker.core.credentials import Name, Profile, Role, Secret, parse
from worker.core.errors import ConfigurationError
from worker.core.model import Endpoint

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

# boto3: a session is not to be shared by threads while it makes a client. Reentrant, since one session may
# need a client of another for its credentials.
_making = threading.RLock()

_FALLBACK_REGION = "us-east-1"
_CONTROL_TRIES = 6
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_LOG_TRIES = 8
# All tries of a call together must leave time for a heartbeat, at two thirds of the default lease.
_QUEUE_TRIES = 3
_QUEUE_READ_SECONDS = 15


class _Session:
    """Credentials that renew themselves, the user's settings, the service models."""

    def __init__(self, name: str) -> None:
        named = parse(name)
        found = Renewable(functools.partial(_read, named))
        self.core = _core(named)
        self.core.register_component("credential_provider", _Given(found))
        self.core.get_component("event_emitter").register("after-call", found.answered)
        with translated(Where(f"credentials {name!r}")):
            self.core.get_scoped_config()  # or else there is no such profile
            self.region = self.core.get_config_variable("region") or _FALLBACK_REGION

    @functools.cached_property
    def clients(self) -> boto3.Session:
        """What makes clients: to import it takes as long as to copy some hundred objects, which need none."""
        import boto3  # noqa: PLC0415

        return boto3.Session(botocore_session=self.core)


@functools.cache
def _session(name: str) -> _Session:
    return _Session(name)


def _core(named: Name) -> botocore.session.Session:
    return botocore.session.Session(profile=named.name if isinstance(named, Profile) else None)


def _read(named: Name) -> Credentials:
    """Credentials as they are now.

    Raises:
        FleetcopyError, NoCredentialsError: there are none.
    """
    match named:
        case Role(arn, partition):
            return assumed(arn, _sts_client(arn, partition))
        case Secret(arn, region):
            return of_secret(arn, _secrets_client(arn, region))
    # A session of its own each time, for it keeps what it has found.
    found: Credentials | None = _core(named).get_credentials()
    if found is None:
        raise NoCredentialsError
    return found


class _Given:
    """Stands in for botocore's chain of credential providers: credentials that are at hand."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Credentials:
        """The credentials."""
        return self._credentials


def _sts_client(arn: str, partition: str) -> STSClient:
    region = _session("default").region
    with translated(Where(f"STS client for {arn}")):
        if _session("default").core.get_partition_for_region(region) != partition:
            raise ConfigurationError(
                f"{arn} is in the partition {partition}, which {region} is not. A role can be assumed from "
                "its own partition alone: set AWS_DEFAULT_REGION to a region of it, or use secret:ARN"
            )
        return _session("default").clients.client(
            "sts", region_name=region, config=_config(_CONTROL_TRIES, read_timeout=15)
        )


def _secrets_client(arn: str, region: str) -> SecretsManagerClient:
    with translated(Where(f"Secrets Manager client for {arn}")):
        return _session("default").clients.client(
            "secretsmanager", region_name=region, config=_config(_CONTROL_TRIES, read_timeout=15)
        )


def _config(tries: int, connections: int = 10, **more: Any) -> Config:  # noqa: ANN401
    return Config(
        connect_timeout=_CONNECT_SECONDS,
        retries={"total_max_attempts": tries, "mode": "standard"},
        max_pool_connections=connections,
        user_agent_extra="fleetcopy",
        **more,
    )


def s3_client(endpoint: Endpoint, *, connections: int) -> S3Client:
    """An S3 client of one endpoint, safe to share between threads.

    Args:
        endpoint: which bucket, where, with whose credentials.
        connections: kept open at most.
    """
    plain_http = (endpoint.endpoint_url or "").startswith("http:")
    config = _config(
        _CONTROL_TRIES,
        connections,
        read_timeout=_READ_SECONDS,
        # Signing a streamed body would mean reading it twice; its proof is the digest that goes with it.
        s3={
            "addressing_style": "path" if _is_path_style(endpoint) else "auto",
            "payload_signing_enabled": False,
        },
        # Over TLS, botocore adds a trailing CRC32 where no digest is declared; over HTTP it would want to
        # read the body twice.
        request_checksum_calculation="when_required" if plain_http else "when_supported",
        response_checksum_validation="when_required",
    )
    region = endpoint.region or _session(endpoint.credentials).region
    with _making, translated(Where(f"S3 client for {endpoint.uri}")):
        return _session(endpoint.credentials).clients.client(
            "s3", region_name=region, endpoint_url=endpoint.endpoint_url, config=config
        )


def bucket_url(endpoint: Endpoint, region: str | None = None) -> tuple[str, str]:
    """The URL below which a bucket's keys are, without a slash at its end, and the region to sign for.

    botocore knows them for every partition, with dual-stack and FIPS endpoints as its settings say.

    Args:
        endpoint: which bucket, where.
        region: where S3 has said that the bucket is, where that is not what `endpoint` says.
    """
    region = region or endpoint.region or _session(endpoint.credentials).region
    if endpoint.endpoint_url:
        return f"{endpoint.endpoint_url.rstrip('/')}/{endpoint.bucket}", region
    config = Config(
        signature_version=UNSIGNED,
        s3={"addressing_style": "path" if _is_path_style(endpoint) else "virtual"},
    )
    session = _session(endpoint.credentials).core
    with _making, translated(Where(f"endpoint of {endpoint.uri}")):
        client: Any = session.create_client("s3", region_name=region, config=config)
        return client.generate_presigned_url("head_bucket", Params={"Bucket": endpoint.bucket}).rstrip(
            "/"
        ), region


def partition(region: str) -> str:
    """The partition that a region is in, as botocore knows them.

    Raises:
        ConfigurationError: no partition has such a region.
    """
    with translated(Where(f"partition of {region}")):
        return str(_session("default").core.get_partition_for_region(region))


def credentials(name: str) -> Renewable:
    """The credentials of that name, which its clients sign with as well.

    Raises:
        ConfigurationError: there is no such profile.
    """
    found = _session(name).core.get_credentials()
    assert isinstance(found, Renewable)
    return found


def ca_bundle(name: str) -> str | None:
    """File of the certificates that the clients of these credentials trust; None for the system's."""
    found: str | None = _session(name).core.get_config_variable("ca_bundle")
    return found


def _is_path_style(endpoint: Endpoint) -> bool:
    # Virtual-hosted names need DNS that custom endpoints seldom have, and certificates that dots break.
    return endpoint.endpoint_url is not None or "." in endpoint.bucket


def sqs_client(queue_url: str) -> SQSClient:
    """An SQS client for a queue; region and endpoint are those of its URL."""
    parts = urlsplit(queue_url)
    assert parts.hostname
    labels = parts.hostname.split(".")
    of_aws = parts.hostname.endswith((".amazonaws.com", ".amazonaws.com.cn")) and labels[0] == "sqs"
    region = labels[1] if of_aws else _session("default").region
    endpoint_url = None if of_aws else f"{parts.scheme}://{parts.netloc}"
    with translated(Where(f"SQS client for {queue_url}")):
        return _session("default").clients.client(
            "sqs",
            region_name=region,
            endpoint_url=endpoint_url,
            config=_config(_QUEUE_TRIES, read_timeout=_QUEUE_READ_SECONDS),
        )


def logs_client() -> CloudWatchLogsClient:
    """A CloudWatch Logs client that backs off when throttled, and never hangs for long."""
    with translated(Where("CloudWatch Logs client")):
        return _session("default").clients.client(
            "logs",
            region_name=_session("default").region,
            config=_config(_LOG_TRIES, read_timeout=10),
        )
