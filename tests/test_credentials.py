"""Roles and secrets, on an embedded AWS that enforces signatures and policies; their keys show nowhere."""

from __future__ import annotations

import json
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ConnectTimeoutError

from tests.cloud import EVERYTHING, REGION, Cloud, Keys
from tests.conftest import Command
from tests.contract import adopt
from tests.processes import children
from tests.secrets import Search
from tests.test_work import Worker, fill
from tests.transfers import wait_for
from worker.aws import credentials, session
from worker.aws.credentials import Renewable, assumed
from worker.aws.errors import translated
from worker.aws.s3 import Bucket
from worker.core.errors import ConfigurationError, ServiceUnavailableError
from worker.core.model import Endpoint

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/no-such-role"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


@pytest.fixture(scope="module")
def strict() -> Iterator[Cloud]:
    with Cloud(auth=True) as running:
        yield running


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Sessions are kept by name, in one process with many identities."""
    yield
    session._session.cache_clear()  # noqa: SLF001


def allow(action: str, resource: str = "*") -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}],
    }


def user(cloud: Cloud, policy: dict[str, Any]) -> Keys:
    return cloud.user(f"user-{uuid4().hex}", policy)


def role(cloud: Cloud, policy: dict[str, Any]) -> str:
    iam, name = cloud.client("iam"), f"role-{uuid4().hex}"
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(policy))
    return arn


def secret_of(keys: Keys, token: str | None = None) -> str:
    fields = {"aws_access_key_id": keys.access_key_id, "aws_secret_access_key": keys.secret_access_key}
    return json.dumps({**fields, "note": "of the radar team", "aws_session_token": token})


def secret(cloud: Cloud, text: str, region: str = REGION) -> str:
    client = cloud.client("secretsmanager", region)
    arn: str = client.create_secret(Name=f"keys-{uuid4().hex}", SecretString=text)["ARN"]
    return arn


def bucket_of(cloud: Cloud, name: str) -> Bucket:
    """A new bucket, as these credentials reach it."""
    made = cloud.bucket(f"bucket-{uuid4().hex}")
    return Bucket(
        Endpoint(bucket=made, region=REGION, endpoint_url=cloud.url, credentials=name), "destination"
    )


def asked(cloud: Cloud, operation: str) -> int:
    return cloud.counts().get(operation, 0)


# --- a role


def test_a_role_is_assumed_once_and_does_what_it_may(strict: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = role(strict, allow("s3:ListBucket"))
    adopt(monkeypatch, strict.environment(user(strict, allow("sts:AssumeRole", arn))))
    own, of_role = bucket_of(strict, "default"), bucket_of(strict, f"role:{arn}")
    with pytest.raises(ConfigurationError, match="AccessDenied"):
        own.probe()
    strict.clear_journal()
    for _ in range(3):
        of_role.probe()
    assert strict.counts() == {"sts:AssumeRole": 1, "s3:ListObjectsV2": 3}


@pytest.mark.parametrize("key", [None, "a"], ids=["bucket", "key"])
def test_a_role_that_may_not_be_assumed_is_the_endpoints_fault(
    strict: Cloud, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    arn = role(strict, allow("s3:*"))
    adopt(monkeypatch, strict.environment(user(strict, allow("s3:*"))))
    bucket = bucket_of(strict, f"role:{arn}")
    with pytest.raises(ConfigurationError, match=f"assume role {arn}: AccessDenied"):
        bucket.head(key) if key else bucket.probe()


def test_a_role_is_in_its_own_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(monkeypatch, {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"})
    name = f"role:arn:aws-cn:iam::{ACCOUNT}:role/copier"
    bucket = Bucket(Endpoint(bucket="kopie", region="cn-north-1", credentials=name), "source")
    with pytest.raises(ConfigurationError, match=r"aws-cn, which us-east-1 is not.*secret:ARN"):
        bucket.probe()


@pytest.mark.parametrize(
    ("region", "partition", "url"),
    [
        ("eu-west-1", "aws", "https://sts.eu-west-1.amazonaws.com"),
        ("us-east-1", "aws", "https://sts.us-east-1.amazonaws.com"),
        ("cn-north-1", "aws-cn", "https://sts.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "https://sts.us-gov-west-1.amazonaws.com"),
    ],
)
def test_sts_is_asked_in_the_region_of_the_worker(
    monkeypatch: pytest.MonkeyPatch, region: str, partition: str, url: str
) -> None:
    adopt(monkeypatch, {"AWS_DEFAULT_REGION": region, "AWS_EC2_METADATA_DISABLED": "true"})
    client = session._sts_client(ROLE, partition)  # noqa: SLF001
    assert client.meta.endpoint_url == url


def test_a_region_that_nobody_knows_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(monkeypatch, {"AWS_DEFAULT_REGION": "atlantis", "AWS_EC2_METADATA_DISABLED": "true"})
    with pytest.raises(ConfigurationError, match="atlantis"):
        session._sts_client(ROLE, "aws")  # noqa: SLF001


class Sts:
    """Hands out credentials that live as long as it is told; None stands for a throttled call."""

    def __init__(self, *minutes: float | None) -> None:
        self.minutes = list(minutes)
        self.calls = 0

    def assume_role(self, **_: str) -> dict[str, Any]:
        """As boto3's."""
        self.calls += 1
        lives = self.minutes.pop(0)
        if lives is None:
            raise ConnectTimeoutError(endpoint_url="sts")
        return {
            "Credentials": {
                "AccessKeyId": f"key {self.calls}",
                "SecretAccessKey": "secret",
                "SessionToken": "token",
                "Expiration": datetime.now(UTC) + timedelta(minutes=lives),
            }
        }


@pytest.mark.parametrize(
    ("minutes", "keys"),
    [
        ((60,), ["key 1"] * 3),
        ((14, 60), ["key 1", "key 2", "key 2"]),  # renewed a quarter of an hour before
        ((14, None, 60), ["key 1", "key 1", "key 3"]),  # what is at hand serves while it lives
        ((5, None), ["key 1", "ServiceUnavailableError"]),
    ],
)
def test_a_roles_credentials_are_renewed(minutes: tuple[float | None, ...], keys: list[str]) -> None:
    sts: Any = Sts(*minutes)
    of_role = assumed(ROLE, sts)
    seen = []
    for _ in keys:
        try:
            seen.append(of_role.get_frozen_credentials().access_key)
        except ServiceUnavailableError as error:
            seen.append(type(error).__name__)
    assert seen == keys


# --- a secret


def test_a_secret_is_read_once_and_its_keys_do_what_they_may(
    strict: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = secret(strict, secret_of(user(strict, allow("s3:ListBucket"))), "eu-west-1")
    reader = user(strict, allow("secretsmanager:GetSecretValue", arn))
    adopt(monkeypatch, strict.environment(reader))
    own, of_secret = bucket_of(strict, "default"), bucket_of(strict, f"secret:{arn}")
    with pytest.raises(ConfigurationError, match="AccessDenied"):
        own.probe()
    strict.clear_journal()
    for _ in range(3):
        of_secret.probe()
    assert strict.counts() == {"secretsmanager:GetSecretValue": 1, "s3:ListObjectsV2": 3}


def test_keys_with_a_session_token(strict: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = role(strict, allow("s3:ListBucket"))
    given = strict.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    keys = Keys(given["AccessKeyId"], given["SecretAccessKey"])
    name = secret(strict, secret_of(keys, given["SessionToken"]))
    adopt(monkeypatch, strict.environment())
    bucket_of(strict, f"secret:{name}").probe()


def rotate(cloud: Cloud, arn: str, old: Keys, new: Keys) -> None:
    """Delete the keys that a secret holds, and put others into it."""
    name = cloud.client("iam", keys=old).get_user()["User"]["UserName"]
    cloud.client("iam").delete_access_key(UserName=name, AccessKeyId=old.access_key_id)
    cloud.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=secret_of(new))
    cloud.clear_journal()


def list_by_boto3(bucket: Bucket) -> None:
    with translated(bucket.where("list")):
        bucket.client.list_objects_v2(Bucket=bucket.endpoint.bucket, MaxKeys=1)


def test_rotated_keys_are_read_again(strict: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = user(strict, EVERYTHING), user(strict, EVERYTHING)
    arn = secret(strict, secret_of(old))
    adopt(monkeypatch, strict.environment())
    bucket = bucket_of(strict, f"secret:{arn}")
    list_by_boto3(bucket)
    rotate(strict, arn, old, new)
    with pytest.raises(ConfigurationError, match="InvalidAccessKeyId"):
        list_by_boto3(bucket)
    list_by_boto3(bucket)
    list_by_boto3(bucket)
    assert asked(strict, "secretsmanager:GetSecretValue") == 1


def test_our_own_wire_reads_rotated_keys_again_at_once(
    strict: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = user(strict, EVERYTHING), user(strict, EVERYTHING)
    arn = secret(strict, secret_of(old))
    adopt(monkeypatch, strict.environment())
    bucket = bucket_of(strict, f"secret:{arn}")
    bucket.probe()
    rotate(strict, arn, old, new)
    bucket.probe()
    assert asked(strict, "secretsmanager:GetSecretValue") == 1


def test_keys_that_stay_refused_are_not_read_again_and_again(
    strict: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = secret(strict, secret_of(Keys("AKIANOSUCHKEY0000000", "nobodys-secret")))
    adopt(monkeypatch, strict.environment())
    bucket = bucket_of(strict, f"secret:{arn}")
    strict.clear_journal()
    for _ in range(4):
        with pytest.raises(ConfigurationError, match="InvalidAccessKeyId"):
            bucket.probe()
    assert asked(strict, "secretsmanager:GetSecretValue") == 2


@pytest.mark.slow
def test_keys_rotated_under_a_worker_hold_nothing_up(strict: Cloud) -> None:
    """Its wire and its boto3 clients read them again, once for both, and no object fails."""
    trial = fill(strict, 120)
    old, new = user(strict, EVERYTHING), user(strict, EVERYTHING)
    arn = secret(strict, secret_of(old))
    trial.command = Command(strict.environment() | {"FLEETCOPY_DESTINATION_CREDENTIALS": f"secret:{arn}"})
    trial.submit()
    strict.fault("s3:PutObject", "delay", bucket=trial.destination, times=None, seconds=0.1)
    strict.clear_journal()
    with Worker(trial.start("--until-empty", "--empty-seconds", "1")) as worker:
        trial.await_writes(30)
        strict.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=secret_of(new))
        name = strict.client("iam", keys=old).get_user()["User"]["UserName"]
        strict.client("iam").delete_access_key(UserName=name, AccessKeyId=old.access_key_id)
        trial.await_writes(60)
        strict.clear_faults()
        assert worker.ended() == 0
    assert sorted(trial.written()) == [f"out/{number:05}" for number in range(120)]
    assert [line["event"] for line in worker.log if line["level"] in {"warning", "error"}] == []
    # The supervisor reads them, its worker process does, and once more for the refusals.
    assert asked(strict, "secretsmanager:GetSecretValue") == 3
    search = Search({"the old key": old.secret_access_key, "the new key": new.secret_access_key})
    for number, line in enumerate(worker.lines):
        search.text("line", str(number), line)
    assert search.looked["line"]
    assert search.found == []


NOT_KEYS = {
    "text": "hush-hush-hush",
    "no-json": '{"aws_access_key_id": "hush-hush-hush"',
    "array": '["hush-hush-hush"]',
    "one-key": '{"aws_secret_access_key": "hush-hush-hush"}',
    "empty-id": '{"aws_access_key_id": "", "aws_secret_access_key": "hush-hush-hush"}',
    "empty-key": '{"aws_access_key_id": "hush-hush-hush", "aws_secret_access_key": ""}',
    "number": '{"aws_access_key_id": "hush-hush-hush", "aws_secret_access_key": 5}',
    "other-names": '{"username": "hush-hush-hush", "password": "hush-hush-hush"}',
}


@pytest.mark.parametrize("kind", NOT_KEYS)
def test_a_secret_that_holds_no_keys_is_named_and_not_shown(
    strict: Cloud, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    arn = secret(strict, NOT_KEYS[kind])
    adopt(monkeypatch, strict.environment())
    with pytest.raises(ConfigurationError, match=r"holds no keys.*aws_secret_access_key") as raised:
        bucket_of(strict, f"secret:{arn}").head("a")
    assert arn in str(raised.value)
    assert "hush" not in "".join(traceback.format_exception(raised.value))


def test_a_binary_secret_holds_no_keys(strict: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    client = strict.client("secretsmanager")
    arn = client.create_secret(Name=f"keys-{uuid4().hex}", SecretBinary=b"hush-hush-hush")["ARN"]
    adopt(monkeypatch, strict.environment())
    with pytest.raises(ConfigurationError, match="holds no keys"):
        bucket_of(strict, f"secret:{arn}").probe()


@pytest.mark.parametrize(
    ("policy", "arn", "code"),
    [
        (EVERYTHING, f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gone-AbCdEf", "ResourceNotFound"),
        (allow("s3:*"), f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gone-AbCdEf", "AccessDenied"),
    ],
)
def test_a_secret_that_cannot_be_read_is_the_endpoints_fault(
    strict: Cloud, monkeypatch: pytest.MonkeyPatch, policy: dict[str, Any], arn: str, code: str
) -> None:
    adopt(monkeypatch, strict.environment(user(strict, policy)))
    with pytest.raises(ConfigurationError, match=f"secret {arn}: {code}"):
        bucket_of(strict, f"secret:{arn}").head("a")


def test_a_secret_is_read_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(monkeypatch, {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"})
    client = session._secrets_client(ROLE, "eu-central-1")  # noqa: SLF001
    assert client.meta.endpoint_url == "https://secretsmanager.eu-central-1.amazonaws.com"


def together(threads: int, what: Callable[[], object]) -> None:
    running = [threading.Thread(target=what) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def test_a_storm_of_refusals_costs_one_reading() -> None:
    now, read = [1000.0], []

    def reading() -> Credentials:
        read.append(now[0])
        return Credentials("AKIA", "secret")

    keys = Renewable(reading, lambda: now[0])
    together(8, keys.get_frozen_credentials)
    assert len(read) == 1
    for _ in range(3):
        together(8, lambda: keys.answered({"Error": {"Code": "ExpiredToken"}}))
        together(8, keys.get_frozen_credentials)
        together(8, keys.refused)
        now[0] += credentials.REREAD_SECONDS
    assert len(read) == 4
    for parsed in ({}, {"Error": {"Code": "AccessDenied"}}, {"Error": {"Code": "NoSuchKey"}}):
        keys.answered(parsed)
        keys.get_frozen_credentials()
    assert len(read) == 4


# --- a worker


def test_a_worker_with_a_secret_shows_it_nowhere(strict: Cloud) -> None:
    trial = fill(strict, 40)
    writer = user(strict, allow("s3:*"))
    arn = secret(strict, secret_of(writer))
    deny = {"Effect": "Deny", "Action": "s3:*", "Resource": f"arn:aws:s3:::{trial.destination}*"}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    own = user(strict, {"Statement": [everything, deny]})
    group = f"/fleetcopy/{uuid4().hex}"
    strict.client("logs").create_log_group(logGroupName=group)
    trial.command = Command(strict.environment(own) | {"FLEETCOPY_DESTINATION_CREDENTIALS": f"secret:{arn}"})
    trial.submit()
    search = Search({"the writer's key": writer.secret_access_key})
    search.messages(strict)
    with Worker(trial.start("--log-level", "debug", "--log-group", group)) as worker:
        wait_for(lambda: len(trial.written()) == 40, 30, "all objects written")
        pids = [worker.process.pid, *children(worker.process.pid)]
        search.processes(pids)
        worker.process.terminate()
        assert worker.ended() == 0
    for number, line in enumerate(worker.lines):
        search.text("line", str(number), line)
    search.log_events(strict)
    assert search.found == []
    kinds = ("message", "cmdline", "environ", "line", "log event")
    assert all(search.looked[kind] for kind in kinds), search.looked
    verified: subprocess.CompletedProcess[str] = trial.command("verify", *trial.ends)
    assert verified.returncode == 0, verified.stderr
