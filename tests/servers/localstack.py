"""LocalStack, the checksum-strict S3: wrong checksums and digests give BadDigest, conditions are kept.

It accepts any credentials. From PyPI into a virtual environment of its own, for its pins are not ours; no
container engine, no token, no downloads.
"""

from __future__ import annotations

from pathlib import Path

from tests.servers.keeper import Keeper, free_ports

NAME = "localstack"
HOME = Path(__file__).resolve().parents[2] / ".venv-localstack"
PYTHON = HOME / "bin" / "python"
START_SECONDS = 60
Users = tuple[tuple[str, str], tuple[str, str]]


def missing() -> str:
    """What to do before it can run here; `""` when it can."""
    return "" if (HOME / ".ready").exists() else "LocalStack is not installed: make servers"


def start(keeper: Keeper) -> tuple[str, Users]:
    """Start it; its URL and its users."""
    (port,) = free_ports(1)
    # Key and certificate in one file, beside which it writes them apart.
    pem = keeper.folder / "server.pem"
    pem.write_bytes(keeper.authority.key.read_bytes() + keeper.authority.certificate.read_bytes())
    keeper.start(
        PYTHON,
        *("-m", "localstack.runtime.main"),
        GATEWAY_LISTEN=f"127.0.0.1:{port}",
        LOCALSTACK_HOST=f"127.0.0.1:{port}",
        SERVICES="s3,kms,sqs",
        SQS_ENDPOINT_STRATEGY="path",
        FILESYSTEM_ROOT=str(keeper.folder / "root"),
        # Else it may take this machine for its container, and write below /var/lib.
        OVERRIDE_IN_DOCKER="0",
        CUSTOM_SSL_CERT_PATH=str(pem),
        SKIP_SSL_CERT_DOWNLOAD="1",
        DISABLE_EVENTS="1",
        DNS_ADDRESS="0",
        AWS_EC2_METADATA_DISABLED="true",
    )
    url = f"https://127.0.0.1:{port}"
    keeper.wait_for(f"{url}/_localstack/health", START_SECONDS)
    # An access key that is an account's number names that account: the buckets' owner, and another.
    return url, (("000000000000", "any"), ("111111111111", "any"))
