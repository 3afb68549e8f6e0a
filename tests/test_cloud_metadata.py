"""The embedded AWS's metadata service, asked by those who ask it on an instance: boto3, the AWS CLI, curl."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.cloud import ROOT
from tests.cloud.metadata import ACTION, CREDENTIALS, Metadata, Rotating, values_of
from tests.transfers import wait_for

MACHINE = {
    "id": "i-0123456789abcdef0",
    "region": "eu-west-1",
    "zone": "eu-west-1b",
    "type": "c6i.large",
    "image": "ami-12345678",
    "address": "172.31.0.4",
    "profile": "arn:aws:iam::123456789012:instance-profile/workers",
    "profile_id": "AIPA0",
    "role": "worker",
}


class Sessions:
    """Gives credentials that live for so many seconds, each with a number of its own."""

    def __init__(self, seconds: float = 3600) -> None:
        self.seconds = seconds
        self.given = 0

    def __call__(self) -> dict[str, str]:
        """The next ones."""
        self.given += 1
        ends = datetime.now(UTC) + timedelta(seconds=self.seconds)
        return {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "AccessKeyId": f"ASIA{self.given}",
            "SecretAccessKey": "secret",
            "Token": f"token-{self.given}",
            "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        }


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


@pytest.fixture
def service(sessions: Sessions) -> Iterator[Metadata]:
    with Metadata() as running:
        running.change(values_of(MACHINE, sessions))
        yield running


def on_the_instance(service: Metadata, *command: str) -> str:
    """What a command prints that knows of nothing but the service."""
    environment = {
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": service.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONPATH": str(ROOT / "tests" / "guard"),
        "no_proxy": "*",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_boto3_finds_credentials_and_region(service: Metadata) -> None:
    program = (
        "import boto3, botocore.utils; session = boto3.Session()\n"
        "found = session.get_credentials()\n"
        "print(found.method, found.access_key, found.token)\n"
        "print(botocore.utils.IMDSRegionProvider(session._session).provide())\n"
    )
    printed = on_the_instance(service, "python", "-c", program)
    assert printed.split("\n")[:2] == ["iam-role ASIA1 token-1", "eu-west-1"]


def test_the_aws_cli_takes_the_role(service: Metadata) -> None:
    printed = on_the_instance(service, "aws", "configure", "list")
    assert "iam-role" in printed
    assert "ASIA1"[-4:] in printed


def test_curl_as_the_documentation_has_it(service: Metadata) -> None:
    script = f"""
    token=$(curl -fsS -X PUT {service.url}/latest/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60')
    for path in instance-id placement/region iam/security-credentials/ ''; do
        curl -fsS -H "X-aws-ec2-metadata-token: $token" {service.url}/latest/meta-data/$path; echo
    done
    curl -s -o /dev/null -w '%{{http_code}}' {service.url}/latest/meta-data/instance-id
    """
    first, second, third, *listed, status = on_the_instance(service, "bash", "-euc", script).split("\n")
    assert (first, second, third, status) == (MACHINE["id"], MACHINE["region"], "worker", "401")
    assert {"ami-id", "iam/", "instance-id", "placement/"} <= set(listed)


class Client:
    """Asks with a token that lives for so many seconds."""

    def __init__(self, service: Metadata, seconds: str = "60") -> None:
        self.url = f"{service.url}/latest"
        self.session = requests.Session()
        self.session.trust_env = False
        header = {"X-aws-ec2-metadata-token-ttl-seconds": seconds}
        self.token = self.session.put(f"{self.url}/api/token", headers=header, timeout=10)

    def get(self, path: str) -> requests.Response:
        """The answer at a path."""
        header = {"X-aws-ec2-metadata-token": self.token.text}
        return self.session.get(f"{self.url}/{path}", headers=header, timeout=10)


def test_a_token_lives_as_long_as_it_asks_to(service: Metadata) -> None:
    client = Client(service, "2")
    assert client.token.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "2"
    assert client.get("meta-data/instance-id").status_code == 200
    wait_for(lambda: client.get("meta-data/instance-id").status_code == 401, 20, "the token's end")


@pytest.mark.parametrize("seconds", ["0", "21601", "x", ""])
def test_a_token_of_no_length_is_refused(service: Metadata, seconds: str) -> None:
    assert Client(service, seconds).token.status_code == 400


def test_a_token_is_not_given_through_a_proxy(service: Metadata) -> None:
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60", "X-Forwarded-For": "127.0.0.1"}
    answer = Client(service).session.put(f"{service.url}/latest/api/token", headers=headers, timeout=10)
    assert answer.status_code == 403


def test_the_identity_document(service: Metadata) -> None:
    document = Client(service).get("dynamic/instance-identity/document").json()
    assert document["instanceId"] == MACHINE["id"]
    assert document["region"] == MACHINE["region"]


def test_credentials_are_the_same_until_half_of_their_life_is_over(
    service: Metadata, sessions: Sessions
) -> None:
    client, path = Client(service), f"{CREDENTIALS}/worker"
    assert client.get(path).json() == client.get(path).json()
    assert sessions.given == 1
    sessions.seconds = -1
    rotating = Rotating(sessions)
    assert [json.loads(rotating())["AccessKeyId"] for _ in range(2)] == ["ASIA2", "ASIA3"]


def test_what_is_taken_away_is_not_there(service: Metadata) -> None:
    client = Client(service)
    service.change({ACTION: "{}"})
    assert client.get(ACTION).text == "{}"
    service.change({ACTION: None})
    assert client.get(ACTION).status_code == 404


def test_credentials_that_cannot_be_had_are_an_error_of_the_service(service: Metadata) -> None:
    def fail() -> str:
        raise OSError("gone")

    service.change({f"{CREDENTIALS}/worker": fail})
    assert Client(service).get(f"{CREDENTIALS}/worker").status_code == 500


def test_an_instance_without_a_role_has_no_credentials() -> None:
    machine: dict[str, Any] = MACHINE | {"role": None}
    with Metadata() as service:
        service.change(values_of(machine, Sessions()))
        assert Client(service).get(f"{CREDENTIALS}/").status_code == 404
