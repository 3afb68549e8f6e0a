"""The template, sent to the embedded AWS by the AWS CLI: what comes of it, of its updates, and of its roles.

It enforces signatures and policies, so that the workers' role is shown to be enough, and no more than that.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.cloud import REGION, Cloud
from tests.conftest import Command
from tests.test_readme import BIN
from tests.test_template import PATH
from tests.transfers import wait_for
from worker.core.message import ListTask, decode
from worker.core.model import Endpoint, Transfer

ODD = 'it\'s 5% <off> & "more"/'
VERSION, HASH = "0.1.0+0123456789ab", "0" * 64
MOST_PARAMETER = 4096
"""Bytes of a standard parameter's value (Systems Manager User Guide, "Parameter tiers")."""
MOST_POLICIES = 10_240
"""Characters of all of a role's inline policies, white space apart (IAM User Guide, "IAM and STS quotas")."""
# What each permission is asked for by, where the name of the API operation is another.
OPERATIONS = {
    "s3:GetBucketObjectLockConfiguration": "s3:GetObjectLockConfiguration",
    "s3:ListBucketMultipartUploads": "s3:ListMultipartUploads",
    "s3:ListBucket": "s3:ListObjectsV2",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibilityBatch",
    "sqs:SendMessage": "sqs:SendMessageBatch",
}
# S3 asks for these by what is in a request: a version id, tags, a lock; and for the last by its being large.
BY_CONTENT = {
    *("s3:GetObjectVersion", "s3:GetObjectVersionTagging", "s3:PutObjectTagging"),
    *("s3:GetObjectLegalHold", "s3:GetObjectRetention", "s3:PutObjectLegalHold", "s3:PutObjectRetention"),
    "s3:ListMultipartUploadParts",
}


class Stack:
    """A stack of the template, with buckets of its own."""

    def __init__(self, cloud: Cloud, name: str = "", **parameters: str) -> None:
        self.cloud = cloud
        self.name = name or f"copy-{uuid4().hex}"
        unique = uuid4().hex
        self.source = cloud.bucket(f"source-{unique}")
        self.destination = cloud.bucket(f"destination-{unique}")
        self.releases = cloud.bucket(f"releases-{unique}")
        self.parameters = {
            "SourceBucket": self.source,
            "SourcePrefix": "in/",
            "DestinationBucket": self.destination,
            "DestinationPrefix": "out/",
            "ReleaseUri": f"s3://{self.releases}/fleetcopy",
            "ReleaseVersion": VERSION,
            "ReleaseManifestSha256": HASH,
            "AmiId": "ami-0123456789abcdef0",
            "TargetCapacity": "0",
        } | parameters

    def cloudformation(self, *arguments: str, **parameters: str) -> subprocess.CompletedProcess[str]:
        """Run `aws cloudformation` for the stack, with parameters."""
        given = [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]
        return subprocess.run(
            [
                BIN / "aws",
                "cloudformation",
                *arguments,
                "--stack-name",
                self.name,
                "--parameters",
                json.dumps(given),
                "--capabilities",
                "CAPABILITY_IAM",
            ],
            env=self.cloud.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def create(self) -> subprocess.CompletedProcess[str]:
        """Send the template, as a user would."""
        return self.cloudformation("create-stack", "--template-body", PATH.as_uri(), **self.parameters)

    def up(self) -> Stack:
        """Create it; the same, once it is there."""
        done = self.create()
        assert done.returncode == 0, done.stderr
        assert self.described["StackStatus"] == "CREATE_COMPLETE", self.described.get("StackStatusReason")
        return self

    def update(self, **parameters: str) -> None:
        """Change some parameters."""
        self.parameters |= parameters
        done = self.cloudformation("update-stack", "--use-previous-template", **self.parameters)
        assert done.returncode == 0, done.stderr
        assert self.described["StackStatus"] == "UPDATE_COMPLETE", self.described

    @property
    def described(self) -> dict[str, Any]:
        """What `describe-stacks` says of it."""
        found: dict[str, Any] = self.cloud.client("cloudformation").describe_stacks(StackName=self.name)[
            "Stacks"
        ][0]
        return found

    @property
    def outputs(self) -> dict[str, str]:
        """Its outputs, by name."""
        return {output["OutputKey"]: output["OutputValue"] for output in self.described["Outputs"]}

    def parameter(self, name: str) -> dict[str, Any]:
        """One of the stack's two parameters in SSM."""
        ssm = self.cloud.client("ssm")
        found: dict[str, Any] = ssm.get_parameter(Name=f"/fleetcopy/{self.name}/{name}")["Parameter"]
        return found

    def settings(self) -> dict[str, str]:
        """The worker's environment, as an instance reads it."""
        return dict(line.split("=", 1) for line in self.parameter("settings")["Value"].splitlines())

    def policy(self) -> list[dict[str, Any]]:
        """The statements of the workers' role."""
        role = self.outputs["WorkerRoleArn"].rpartition("/")[2]
        found = self.cloud.client("iam").get_role_policy(RoleName=role, PolicyName="work")["PolicyDocument"]
        statements: list[dict[str, Any]] = found["Statement"]
        return statements

    def machines(self) -> list[str]:
        """Ids of the fleet's instances."""
        return [
            machine["id"]
            for machine in self.cloud.control("GET", "machines")
            if machine["role"] == self.outputs["WorkerRoleArn"].rpartition("/")[2]
        ]

    def role_environment(self) -> dict[str, str]:
        """Credentials of the workers' role, as an instance of the fleet gets them."""
        keys = self.cloud.control("POST", "credentials", {"instance": self.machines()[0]})
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_SESSION_TOKEN": keys["Token"],
        }

    def state(self) -> dict[str, Any]:
        """What an update may change, by name."""
        template = self.cloud.client("ec2").describe_launch_templates()["LaunchTemplates"]
        mine = [row for row in template if row["LaunchTemplateName"].startswith(self.name)]
        return {
            "release": self.parameter("release")["Version"],
            "settings": self.parameter("settings")["Version"],
            "fleet": self.outputs["FleetId"],
            "launch template": [row["LatestVersionNumber"] for row in mine],
            "policy": self.policy(),
            "instances": self.machines(),
        }


@pytest.fixture(scope="module")
def stack(strict: Cloud) -> Stack:
    """A stack with one instance."""
    return Stack(strict, TargetCapacity="1").up()


def client_of(stack: Stack, service: str) -> Any:  # noqa: ANN401 - by name
    """A client with the credentials of the workers' role."""
    keys = stack.role_environment()
    make: Any = boto3.client
    return make(
        service,
        region_name=REGION,
        endpoint_url=stack.cloud.url,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=keys["AWS_SESSION_TOKEN"],
    )


def test_a_stack_may_begin_by_itself(strict: Cloud) -> None:
    begun = Stack(strict, SubmitOnCreate="yes").up()
    sqs, url = strict.client("sqs"), begun.outputs["QueueUrl"]

    def received() -> list[str]:
        return [message["Body"] for message in sqs.receive_message(QueueUrl=url).get("Messages", [])]

    here = Endpoint(bucket=begun.source, prefix="in/")
    there = Endpoint(bucket=begun.destination, prefix="out/")
    [body] = received()
    assert decode(body, Transfer(here, there)) == ListTask(Transfer(here, there).id)
    begun.update(Streams="17")
    assert received() == []  # its creation alone begins a transfer


def test_a_stack_begins_nothing_unasked(stack: Stack) -> None:
    sqs = stack.cloud.client("sqs")
    assert "Messages" not in sqs.receive_message(QueueUrl=stack.outputs["QueueUrl"])


def test_what_an_instance_reads(stack: Stack) -> None:
    release = f"s3://{stack.releases}/fleetcopy/{VERSION} {HASH}"
    assert stack.parameter("release")["Value"] == release
    assert stack.settings() == {
        "FLEETCOPY_SOURCE": f"s3://{stack.source}/in/",
        "FLEETCOPY_SOURCE_REGION": "",
        "FLEETCOPY_DESTINATION": f"s3://{stack.destination}/out/",
        "FLEETCOPY_DESTINATION_REGION": "",
        "FLEETCOPY_DESTINATION_CREDENTIALS": "default",
        "FLEETCOPY_STRATEGY": "auto",
        "FLEETCOPY_TAGS": "copy",
        "FLEETCOPY_STORAGE_CLASS": "",
        "FLEETCOPY_ACL": "",
        "FLEETCOPY_SSE": "",
        "FLEETCOPY_SSE_KMS_KEY_ID": "",
        "FLEETCOPY_OBJECT_LOCK": "copy",
        "FLEETCOPY_REQUEST_PAYER": "off",
        "FLEETCOPY_QUEUE_URL": stack.outputs["QueueUrl"],
        "FLEETCOPY_LOG_GROUP": f"/fleetcopy/{stack.name}",
        "FLEETCOPY_SPOT_NOTICES": "on",
        "FLEETCOPY_STREAMS": "16",
        "FLEETCOPY_LOG_LEVEL": "info",
        "AWS_DEFAULT_REGION": REGION,
    }


def test_the_queues_are_as_a_worker_wants_them(stack: Stack) -> None:
    sqs = stack.cloud.client("sqs")

    def attributes(url: str) -> dict[str, str]:
        found: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return found

    tasks, dead = attributes(stack.outputs["QueueUrl"]), attributes(stack.outputs["DeadLetterQueueUrl"])
    assert json.loads(tasks["RedrivePolicy"]) == {
        "deadLetterTargetArn": dead["QueueArn"],
        "maxReceiveCount": 50,
    }
    assert (tasks["MessageRetentionPeriod"], dead["MessageRetentionPeriod"]) == ("1209600", "1209600")
    assert (tasks["VisibilityTimeout"], tasks["SqsManagedSseEnabled"]) == ("120", "true")


SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:to-china-AbCdEf"  # noqa: S105 - a name
ROLE = "arn:aws:iam::210987654321:role/writer"


@pytest.mark.parametrize(
    ("parameters", "credentials", "statement"),
    [
        ({"DestinationSecretArn": SECRET}, f"secret:{SECRET}", ("secretsmanager:GetSecretValue", SECRET)),
        ({"DestinationRoleArn": ROLE}, f"role:{ROLE}", ("sts:AssumeRole", ROLE)),
    ],
)
def test_other_credentials_take_the_place_of_the_roles_own_permissions(
    strict: Cloud, parameters: dict[str, str], credentials: str, statement: tuple[str, str]
) -> None:
    stack = Stack(strict, **parameters).up()
    assert stack.settings()["FLEETCOPY_DESTINATION_CREDENTIALS"] == credentials
    policy = stack.policy()
    assert statement in [(one["Action"], one["Resource"]) for one in policy]
    assert stack.destination not in json.dumps(policy)


KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b"


def test_what_only_some_copies_need_is_permitted_to_them_alone(strict: Cloud, stack: Stack) -> None:
    other = Stack(strict, Acl="bucket-owner-full-control", Sse="aws:kms", SseKmsKeyArn=KEY).up()
    found = {one["Sid"]: (one["Action"], one["Resource"]) for one in other.policy()}
    assert found["WriteDestinationAcls"] == ("s3:PutObjectAcl", f"arn:aws:s3:::{other.destination}/out/*")
    assert found["Encrypt"] == (["kms:GenerateDataKey", "kms:Decrypt"], KEY)
    assert found.keys() - {one["Sid"] for one in stack.policy()} == {"WriteDestinationAcls", "Encrypt"}


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"SseKmsKeyArn": KEY}, "give Sse as aws:kms"),
        (
            {"DestinationSecretArn": SECRET, "DestinationRoleArn": ROLE},
            "DestinationSecretArn or DestinationRoleArn",
        ),
        ({"SubnetIds": "subnet-01234567"}, "SubnetIds and their VpcId"),
        ({"VpcId": "vpc-01234567"}, "SubnetIds and their VpcId"),
        ({"SourcePrefix": "1991/*"}, "none of * ? $ { }"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    strict: Cloud, parameters: dict[str, str], why: str
) -> None:
    done = Stack(strict, **parameters).create()
    assert done.returncode != 0
    assert why in done.stderr


@pytest.mark.parametrize("number", [0, 1, 2, 6])
def test_the_fleet_is_spread_over_the_subnets(strict: Cloud, number: int) -> None:
    ec2 = strict.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{part}.0/24")["Subnet"]["SubnetId"]
        for part in range(number)
    ]
    network = {"VpcId": vpc, "SubnetIds": ",".join(subnets)} if subnets else {}
    stack = Stack(strict, **network).up()
    [fleet] = ec2.describe_spot_fleet_requests(SpotFleetRequestIds=[stack.outputs["FleetId"]])[
        "SpotFleetRequestConfigs"
    ]
    [config] = fleet["SpotFleetRequestConfig"]["LaunchTemplateConfigs"]
    assert [override["SubnetId"] for override in config.get("Overrides", [])] == subnets
    [group] = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"{stack.name}*"]}])[
        "SecurityGroups"
    ]
    assert (group["VpcId"] == vpc) == bool(subnets)


def test_the_longest_parameters_fit(strict: Cloud) -> None:
    secret = f"arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:{'s' * 519}"
    bucket = "b" * 63
    longest = {
        "SourceBucket": bucket,
        "SourcePrefix": "x" * 1024,
        "SourceRegion": "us-gov-west-1",
        "DestinationBucket": bucket,
        "DestinationPrefix": "x" * 1024,
        "DestinationRegion": "us-gov-west-1",
        "ReleaseUri": f"s3://{bucket}/{'r' * 443}",
        "ReleaseVersion": "999999999.999999999.999999999+0123456789ab",
    }
    name = "s" * 128
    stack = Stack(strict, name, **longest, DestinationSecretArn=secret).up()
    assert len(stack.parameter("settings")["Value"].encode()) <= MOST_PARAMETER
    assert len(stack.parameter("release")["Value"].encode()) <= MOST_PARAMETER
    own = Stack(strict, "t" * 128, **longest).up()
    assert all(
        len("".join(json.dumps(one.policy(), separators=(",", ":")).split())) < MOST_POLICIES
        for one in (stack, own)
    )


@pytest.mark.slow
def test_the_commands_of_the_outputs_can_be_pasted(strict: Cloud) -> None:
    stack = Stack(strict, SourcePrefix=ODD, DestinationPrefix=ODD).up()
    strict.client("s3").put_object(Bucket=stack.source, Key=f"{ODD}a", Body=b"a")
    environment = strict.environment() | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    printed = {}
    for name in ("SubmitCommand", "ScaleCommand", "WatchCommand", "LogCommand"):
        command = stack.outputs[name]
        # The AWS CLI's version 1 takes the endpoint of SQS from its command line alone.
        endpoint = f" --endpoint-url {strict.url}" if command.startswith("aws ") else ""
        done = subprocess.run(
            ["/bin/sh", "-c", command + endpoint],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        printed[name] = done.stdout
    assert shlex.split(stack.outputs["SubmitCommand"])[2] == f"s3://{stack.source}/{ODD}"
    assert "1 copy, 0 equal" in printed["SubmitCommand"]
    assert json.loads(printed["WatchCommand"])["Attributes"]["ApproximateNumberOfMessages"] == "1"
    assert len(stack.machines()) == 2


def test_a_new_release_touches_neither_fleet_nor_running_instances(strict: Cloud) -> None:
    stack = Stack(strict, TargetCapacity="2").up()
    before = stack.state()
    stack.update(ReleaseVersion="0.2.0+ba9876543210", ReleaseManifestSha256="f" * 64)
    assert stack.state() == before | {"release": before["release"] + 1}
    assert stack.parameter("release")["Value"].endswith(f"/0.2.0+ba9876543210 {'f' * 64}")


@pytest.mark.slow
def test_scaling_up_keeps_the_fleet_and_its_instances(strict: Cloud) -> None:
    stack = Stack(strict, TargetCapacity="1").up()
    before = stack.state()
    stack.update(TargetCapacity="3")
    after = stack.state()
    assert after | {"instances": before["instances"]} == before
    assert len(after["instances"]) == 3
    assert set(before["instances"]) < set(after["instances"])


def test_its_resources_can_be_asked_for(stack: Stack) -> None:
    api = stack.cloud.client("cloudformation")
    detail = api.describe_stack_resource(StackName=stack.name, LogicalResourceId="Fleet")[
        "StackResourceDetail"
    ]
    assert detail["PhysicalResourceId"] == stack.outputs["FleetId"]


def test_a_deleted_stack_leaves_nothing(strict: Cloud) -> None:
    stack = Stack(strict, TargetCapacity="1").up()
    sqs = strict.client("sqs")
    strict.client("cloudformation").delete_stack(StackName=stack.name)
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=stack.name)
    assert not strict.client("ssm").describe_parameters(
        ParameterFilters=[{"Key": "Name", "Option": "BeginsWith", "Values": [f"/fleetcopy/{stack.name}/"]}]
    )["Parameters"]
    assert not [
        role for role in strict.client("iam").list_roles()["Roles"] if role["RoleName"].startswith(stack.name)
    ]


def allowed(stack: Stack) -> dict[str, Callable[[], Any]]:
    """What the role may do, a call for each resource."""
    s3, sqs, ssm = (client_of(stack, service) for service in ("s3", "sqs", "ssm"))
    folder = f"fleetcopy/{VERSION}/"
    return {
        "list the source": lambda: s3.list_objects_v2(Bucket=stack.source, Prefix="in/deeper/"),
        "read the source": lambda: s3.get_object(Bucket=stack.source, Key="in/a"),
        "list the destination": lambda: s3.list_objects_v2(Bucket=stack.destination, Prefix="out/"),
        "write the destination": lambda: s3.put_object(Bucket=stack.destination, Key="out/b", Body=b""),
        "list a release": lambda: s3.list_objects_v2(Bucket=stack.releases, Prefix=folder),
        "read a release": lambda: s3.get_object(Bucket=stack.releases, Key=f"{folder}SHA256SUMS"),
        "read the release pointer": lambda: ssm.get_parameter(Name=f"/fleetcopy/{stack.name}/release"),
        "read the settings": lambda: ssm.get_parameter(Name=f"/fleetcopy/{stack.name}/settings"),
        "take tasks": lambda: sqs.receive_message(QueueUrl=stack.outputs["QueueUrl"]),
        "give tasks up": lambda: sqs.send_message(
            QueueUrl=stack.outputs["DeadLetterQueueUrl"], MessageBody="{}"
        ),
    }


def denied(stack: Stack, other: Stack) -> dict[str, Callable[[], Any]]:
    """What the role may not do: its neighbours', and more than it needs with its own."""
    s3, sqs, ssm, logs = (client_of(stack, service) for service in ("s3", "sqs", "ssm", "logs"))
    source, destination, releases = stack.source, stack.destination, stack.releases
    tasks, dead = stack.outputs["QueueUrl"], stack.outputs["DeadLetterQueueUrl"]
    foreign = f"/fleetcopy/{other.name}"
    return {
        "read beside the source's prefix": lambda: s3.get_object(Bucket=source, Key="out/a"),
        "list beside the source's prefix": lambda: s3.list_objects_v2(Bucket=source, Prefix="out/"),
        "list above the source's prefix": lambda: s3.list_objects_v2(Bucket=source, Prefix=""),
        "read another source": lambda: s3.get_object(Bucket=other.source, Key="in/a"),
        "write the source": lambda: s3.put_object(Bucket=source, Key="in/a", Body=b""),
        "write beside the prefix": lambda: s3.put_object(Bucket=destination, Key="in/a", Body=b""),
        "list beside the prefix": lambda: s3.list_objects_v2(Bucket=destination, Prefix="in/"),
        "delete at the destination": lambda: s3.delete_object(Bucket=destination, Key="out/a"),
        "write another destination": lambda: s3.put_object(Bucket=other.destination, Key="out/a", Body=b""),
        "write a release": lambda: s3.put_object(Bucket=releases, Key=f"fleetcopy/{VERSION}/x", Body=b""),
        "read beside the releases": lambda: s3.get_object(Bucket=releases, Key="private"),
        "list the releases": lambda: s3.list_objects_v2(Bucket=releases, Prefix="fleetcopy/"),
        "take another's tasks": lambda: sqs.receive_message(QueueUrl=other.outputs["QueueUrl"]),
        "send another tasks": lambda: sqs.send_message(QueueUrl=other.outputs["QueueUrl"], MessageBody="{}"),
        "take dead letters": lambda: sqs.receive_message(QueueUrl=dead),
        "purge its queue": lambda: sqs.purge_queue(QueueUrl=tasks),
        "delete its queue": lambda: sqs.delete_queue(QueueUrl=tasks),
        "read another's release": lambda: ssm.get_parameter(Name=f"{foreign}/release"),
        "read another's settings": lambda: ssm.get_parameter(Name=f"{foreign}/settings"),
        "change its release": lambda: ssm.put_parameter(
            Name=f"/fleetcopy/{stack.name}/release", Value="x", Type="String", Overwrite=True
        ),
        "log for another": lambda: logs.create_log_stream(logGroupName=foreign, logStreamName="x"),
        "read its log": lambda: logs.filter_log_events(logGroupName=f"/fleetcopy/{stack.name}"),
        "read a secret": lambda: client_of(stack, "secretsmanager").get_secret_value(SecretId=SECRET),
        "assume a role": lambda: client_of(stack, "sts").assume_role(
            RoleArn=other.outputs["WorkerRoleArn"], RoleSessionName="worker"
        ),
        "scale the fleet": lambda: client_of(stack, "ec2").modify_spot_fleet_request(
            SpotFleetRequestId=stack.outputs["FleetId"], TargetCapacity=9
        ),
        "read its role": lambda: client_of(stack, "iam").list_roles(),
    }


@pytest.mark.slow
def test_the_workers_role_may_do_this_and_nothing_else(strict: Cloud, stack: Stack) -> None:
    other = Stack(strict).up()
    s3 = strict.client("s3")
    for bucket, key in (
        (stack.source, "in/a"),
        (stack.source, "out/a"),
        (stack.destination, "out/a"),
        (stack.releases, f"fleetcopy/{VERSION}/SHA256SUMS"),
        (stack.releases, "private"),
        (other.source, "in/a"),
    ):
        s3.put_object(Bucket=bucket, Key=key, Body=b"a")
    for call in allowed(stack).values():
        call()
    for what, call in denied(stack, other).items():
        with pytest.raises(ClientError) as refused:
            call()
        code = refused.value.response["Error"]["Code"]
        assert code in {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}, (
            f"{what}: {refused.value}"
        )


class Work:
    """A worker with the settings and the role of a stack."""

    def __init__(self, stack: Stack) -> None:
        settings = stack.settings() | stack.role_environment() | {"FLEETCOPY_SPOT_NOTICES": "off"}
        given = {name: value for name, value in settings.items() if value}
        self.command = Command(stack.cloud.environment() | given)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Start it, with further settings."""
        return self.command.start("work", "--processes", "1", **environment)

    def until_empty(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it until the queue is empty, with further settings."""
        until = ("--until-empty", "--empty-seconds", "1")
        return self.command("work", "--processes", "1", *until, **environment)


def upload_in_parts(s3: Any, bucket: str, key: str) -> None:  # noqa: ANN401 - by name
    """Put an object in two parts."""
    at = {"Bucket": bucket, "Key": key}
    upload, bodies = s3.create_multipart_upload(**at)["UploadId"], (bytes(5 * 1024**2), b"second")
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**at, UploadId=upload, PartNumber=number, Body=body)["ETag"],
        }
        for number, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})


@pytest.mark.slow
def test_none_of_the_roles_permissions_on_buckets_and_queues_is_idle(strict: Cloud) -> None:
    stack = Stack(strict, TargetCapacity="1").up()
    s3, sqs = strict.client("s3"), strict.client("sqs")
    for key in ("in/a", "in/b", "in/c", "in/d"):
        s3.put_object(Bucket=stack.source, Key=key, Body=key.encode(), Tagging="colour=red")
    s3.put_object(Bucket=stack.destination, Key="out/b", Body=b"older")
    upload_in_parts(s3, stack.source, "in/parts")
    s3.create_multipart_upload(Bucket=stack.destination, Key="out/parts")
    submit = Command(strict.environment())
    ends = [
        f"s3://{stack.source}/in/",
        f"s3://{stack.destination}/out/",
        "--queue",
        stack.outputs["QueueUrl"],
    ]
    assert submit("submit", *ends).returncode == 0
    sqs.send_message(QueueUrl=stack.outputs["QueueUrl"], MessageBody="no task")
    strict.clear_journal()
    # Slow objects, so that leases are renewed and a drain has something to hand over.
    strict.fault("s3:GetObject", "delay", seconds=1.5, times=None)
    worker = Work(stack).start(
        FLEETCOPY_STREAMS="1", FLEETCOPY_VISIBILITY_SECONDS="2", FLEETCOPY_DRAIN_SECONDS="1"
    )
    renewed = OPERATIONS["sqs:ChangeMessageVisibility"]
    wait_for(lambda: strict.counts().get(renewed, 0) > 0, 60, "a lease renewed")
    worker.send_signal(signal.SIGTERM)
    _, log = worker.communicate(timeout=60)
    strict.clear_faults()
    assert worker.returncode == 0, log
    done = Work(stack).until_empty(FLEETCOPY_STRATEGY="auto")
    s3.put_object(Bucket=stack.source, Key="in/e", Body=b"the last one is streamed")
    assert submit("submit", *ends).returncode == 0
    assert Work(stack).until_empty().returncode == 0
    asked = strict.counts()
    assert not [row for row in strict.journal() if row["status"] == HTTPStatus.FORBIDDEN]
    assert done.returncode == 1, f"the message that is no task: {done.stderr}"
    tags = s3.get_object_tagging(Bucket=stack.destination, Key="out/b")["TagSet"]
    assert tags == [{"Key": "colour", "Value": "red"}]
    assert submit("verify", *ends[:2]).stdout.startswith("verdict: equal 6, ")
    given = {action for one in stack.policy() for action in strings_of(one["Action"])}
    on_data = {action for action in given if action.startswith(("s3:", "sqs:"))} - BY_CONTENT
    assert {action for action in on_data if not asked.get(OPERATIONS.get(action, action))} == set()


def strings_of(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
