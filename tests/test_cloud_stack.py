"""The embedded AWS's CloudFormation, Spot Fleet and IAM: the answers that the stack and its tests rest on."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.cloud import ROOT, Cloud, Keys
from tests.cloud.moto_iam import applies
from tests.cloud.moto_stack import references

POINTER = {"Fn::Sub": "arn:aws:ssm:us-east-1:${AWS::AccountId}:parameter${Pointer}"}
FLEET: dict[str, Any] = {
    "Parameters": {
        "TargetCapacity": {"Type": "Number", "Default": 1, "MinValue": 0},
        "Subnets": {"Type": "CommaDelimitedList", "Default": ""},
        "Greeting": {"Type": "String", "Default": "hello", "AllowedPattern": "[a-z]+"},
        "Least": {"Type": "Number", "Default": 2},
    },
    "Rules": {
        "Polite": {
            "RuleCondition": {"Fn::Equals": [{"Ref": "TargetCapacity"}, "7"]},
            "Assertions": [
                {
                    "Assert": {"Fn::Contains": [["please", "hello"], {"Ref": "Greeting"}]},
                    "AssertDescription": "Seven only if you ask nicely.",
                }
            ],
        }
    },
    "Resources": {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": {"Service": "ec2.amazonaws.com"},
                            "Action": "sts:AssumeRole",
                        }
                    ],
                },
                "Policies": [
                    {
                        "PolicyName": "read",
                        "PolicyDocument": {
                            "Version": "2012-10-17",
                            "Statement": [
                                {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": POINTER},
                                {
                                    "Effect": "Allow",
                                    "Action": "s3:ListBucket",
                                    "Resource": "arn:aws:s3:::*",
                                    "Condition": {"StringLike": {"s3:prefix": "in/*"}},
                                },
                            ],
                        },
                    }
                ],
            },
        },
        "Profile": {"Type": "AWS::IAM::InstanceProfile", "Properties": {"Roles": [{"Ref": "Role"}]}},
        "Pointer": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {
                "Name": {"Fn::Sub": "/${AWS::StackName}/pointer"},
                "Type": "String",
                "Value": {"Fn::Sub": '${Greeting} ${!Greeting} "${AWS::StackName}"'},
            },
        },
        "Template": {
            "Type": "AWS::EC2::LaunchTemplate",
            "Properties": {
                "LaunchTemplateData": {
                    "ImageId": "ami-12345678",
                    "InstanceInitiatedShutdownBehavior": "terminate",
                    "IamInstanceProfile": {"Arn": {"Fn::GetAtt": ["Profile", "Arn"]}},
                    "InstanceRequirements": {"VCpuCount": {"Min": {"Ref": "Least"}}, "MemoryMiB": {"Min": 1}},
                    "UserData": {"Fn::Base64": {"Fn::Sub": "#!/bin/bash\necho ${AWS::Region} ${!HOME}\n"}},
                }
            },
        },
        "Fleet": {
            "Type": "AWS::EC2::SpotFleet",
            "Properties": {
                "SpotFleetRequestConfigData": {
                    "IamFleetRole": {"Fn::GetAtt": ["Role", "Arn"]},
                    "TargetCapacity": {"Ref": "TargetCapacity"},
                    "LaunchTemplateConfigs": [
                        {
                            "LaunchTemplateSpecification": {
                                "LaunchTemplateId": {"Ref": "Template"},
                                "Version": {"Fn::GetAtt": ["Template", "LatestVersionNumber"]},
                            }
                        }
                    ],
                }
            },
        },
        "Tasks": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 30}},
        "Policy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {"Queues": [{"Ref": "Tasks"}], "PolicyDocument": {}},
        },
    },
    "Outputs": {"Fleet": {"Value": {"Ref": "Fleet"}}, "QueueUrl": {"Value": {"Ref": "Tasks"}}},
}


class Stack:
    """A stack of FLEET's template on one embedded AWS."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.name = f"stack-{uuid4().hex[:8]}"
        self.api = cloud.client("cloudformation")
        self.ec2 = cloud.client("ec2")
        self.ssm = cloud.client("ssm")

    def create(self, template: dict[str, Any] = FLEET, **parameters: str) -> None:
        """Create it, to its end."""
        self.api.create_stack(
            StackName=self.name,
            TemplateBody=json.dumps(template),
            Parameters=passed(parameters),
            Capabilities=["CAPABILITY_IAM"],
        )

    def update(self, template: dict[str, Any] = FLEET, **parameters: str) -> None:
        """Update it, to its end."""
        self.api.update_stack(
            StackName=self.name, TemplateBody=json.dumps(template), Parameters=passed(parameters)
        )

    def delete(self) -> None:
        """Delete it, to its end."""
        self.api.delete_stack(StackName=self.name)

    def status(self) -> str:
        """Its status."""
        status: str = self.api.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        return status

    def output(self, name: str) -> str:
        """One of its outputs."""
        outputs = self.api.describe_stacks(StackName=self.name)["Stacks"][0]["Outputs"]
        return next(str(output["OutputValue"]) for output in outputs if output["OutputKey"] == name)

    def fleet(self) -> str:
        """The fleet's id."""
        return self.output("Fleet")

    def active(self) -> set[str]:
        """The ids of the fleet's instances."""
        found = self.ec2.describe_spot_fleet_instances(SpotFleetRequestId=self.fleet())["ActiveInstances"]
        return {instance["InstanceId"] for instance in found}

    def scale(self, capacity: int, **policy: str) -> None:
        """Modify the fleet's capacity."""
        self.ec2.modify_spot_fleet_request(SpotFleetRequestId=self.fleet(), TargetCapacity=capacity, **policy)

    def instance(self, instance_id: str) -> dict[str, Any]:
        """What EC2 says of an instance."""
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[instance_id])
        instance: dict[str, Any] = found["Reservations"][0]["Instances"][0]
        return instance

    def state(self, instance_id: str) -> str:
        """The state of an instance."""
        return str(self.instance(instance_id)["State"]["Name"])

    def notices(self) -> dict[str, Any]:
        """What the embedded AWS tells each of its running instances."""
        return {machine["id"]: machine["notice"] for machine in self.cloud.control("GET", "machines")}

    def pointer(self) -> dict[str, Any]:
        """Its SSM parameter."""
        parameter: dict[str, Any] = self.ssm.get_parameter(Name=f"/{self.name}/pointer")["Parameter"]
        return parameter


def passed(parameters: dict[str, str]) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]


def changed(path: str, value: object) -> dict[str, Any]:
    """FLEET with one of its values replaced; the path by dots."""
    template: dict[str, Any] = json.loads(json.dumps(FLEET))
    *above, last = path.split(".")
    node = template
    for name in above:
        node = node[name]
    node[last] = value
    return template


@pytest.fixture(scope="module")
def enforcing() -> Iterator[Cloud]:
    with Cloud(auth=True) as running:
        yield running


@pytest.fixture
def stack(enforcing: Cloud) -> Iterator[Stack]:
    made = Stack(enforcing)
    yield made
    enforcing.control("POST", "settings", {"notice_seconds": 12, "credential_seconds": 3600})
    made.delete()


def refusal(call: Any, *arguments: Any, **named: Any) -> str:  # noqa: ANN401 - any call
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    return str(caught.value)


def test_a_fleet_launches_what_its_template_says(stack: Stack) -> None:
    stack.create(TargetCapacity="3")
    assert stack.status() == "CREATE_COMPLETE"
    found = [stack.instance(one) for one in stack.active()]
    assert len(found) == 3
    assert len({instance["Placement"]["AvailabilityZone"] for instance in found}) == 3
    for instance in found:
        assert instance["InstanceLifecycle"] == "spot"
        assert {"Key": "aws:ec2spot:fleet-request-id", "Value": stack.fleet()} in instance["Tags"]
        assert ":instance-profile/" in instance["IamInstanceProfile"]["Arn"]
        kind = stack.ec2.describe_instance_types(InstanceTypes=[instance["InstanceType"]])["InstanceTypes"][0]
        assert kind["VCpuInfo"]["DefaultVCpus"] == 2
    config = stack.ec2.describe_spot_fleet_requests()["SpotFleetRequestConfigs"][-1]
    assert config["SpotFleetRequestState"] == "active"
    assert config["SpotFleetRequestConfig"]["TargetCapacity"] == 3
    assert config["SpotFleetRequestConfig"]["FulfilledCapacity"] == 3


def test_user_data_and_parameters_resolve_as_on_aws(stack: Stack) -> None:
    stack.create()
    [instance] = stack.active()
    attribute = stack.ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    text = base64.b64decode(attribute["UserData"]["Value"]).decode()
    assert text == "#!/bin/bash\necho us-east-1 ${HOME}\n"
    assert stack.pointer()["Value"] == f'hello ${{Greeting}} "{stack.name}"'


def test_no_value_leaves_no_trace(stack: Stack) -> None:
    properties = {
        "VisibilityTimeout": {"Fn::If": ["Never", 1, {"Ref": "AWS::NoValue"}]},
        "Tags": [
            {"Fn::If": ["Never", {"Key": "a", "Value": "b"}, {"Ref": "AWS::NoValue"}]},
            {"Key": "c", "Value": "d"},
        ],
    }
    template = changed("Resources.Tasks.Properties", properties)
    stack.create({**template, "Conditions": {"Never": {"Fn::Equals": ["a", "b"]}}})
    sqs, url = stack.cloud.client("sqs"), stack.output("QueueUrl")
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"c": "d"}
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    assert found == {"VisibilityTimeout": "30"}


def test_overrides_name_subnets_and_types(stack: Stack) -> None:
    subnets = [subnet["SubnetId"] for subnet in stack.ec2.describe_subnets()["Subnets"]][:2]
    configs = "Resources.Fleet.Properties.SpotFleetRequestConfigData.LaunchTemplateConfigs"
    [config] = FLEET["Resources"]["Fleet"]["Properties"]["SpotFleetRequestConfigData"][
        "LaunchTemplateConfigs"
    ]
    overrides = [{"SubnetId": subnets[0], "InstanceType": "m5.large"}, {"SubnetId": subnets[1]}]
    stack.create(changed(configs, [{**config, "Overrides": overrides}]), TargetCapacity="2")
    found = {stack.instance(one)["SubnetId"]: stack.instance(one)["InstanceType"] for one in stack.active()}
    assert set(found) == set(subnets)
    assert found[subnets[0]] == "m5.large" != found[subnets[1]]


def test_scaling_up_launches_and_scaling_down_gives_notice(stack: Stack) -> None:
    stack.create(TargetCapacity="1")
    first = stack.active()
    stack.scale(3)
    grown = stack.active()
    assert len(grown) == 3
    stack.scale(1)
    assert stack.active() == first
    for instance in grown - first:
        assert stack.notices()[instance]["action"] == "terminate"
        assert stack.state(instance) == "running"
    stack.scale(3)
    assert len(stack.active() - grown) == 2, "a notice is not taken back"


def test_an_excess_instance_ends_when_its_notice_does(stack: Stack) -> None:
    stack.cloud.control("POST", "settings", {"notice_seconds": 0.1})
    stack.create(TargetCapacity="1")
    [instance] = stack.active()
    stack.scale(0)
    until(lambda: stack.state(instance) == "terminated")
    assert stack.active() == set()


def test_excess_capacity_may_stay(stack: Stack) -> None:
    stack.create(TargetCapacity="2")
    before = stack.active()
    stack.scale(1, ExcessCapacityTerminationPolicy="noTermination")
    assert stack.active() == before
    assert [stack.notices()[instance] for instance in before] == [None, None]
    stack.scale(1, ExcessCapacityTerminationPolicy="default")
    assert len(stack.active()) == 1


def test_what_ends_is_replaced(stack: Stack) -> None:
    stack.create(TargetCapacity="2")
    before = stack.active()
    gone = before.pop()
    stack.ec2.terminate_instances(InstanceIds=[gone])
    assert stack.state(gone) == "terminated"
    assert before < stack.active()
    assert len(stack.active()) == 2


def test_an_interruption_is_noticed_and_then_replaced(stack: Stack) -> None:
    stack.cloud.control("POST", "settings", {"notice_seconds": 0.1})
    stack.create()
    [instance] = stack.active()
    stack.cloud.control("POST", "interrupt", {"instance": instance, "action": "stop"})
    until(lambda: stack.state(instance) == "terminated")
    assert len(stack.active() - {instance}) == 1


def test_an_unknown_fleet_is_refused(stack: Stack) -> None:
    answer = refusal(stack.ec2.modify_spot_fleet_request, SpotFleetRequestId="sfr-1", TargetCapacity=1)
    assert "InvalidSpotFleetRequestId.NotFound" in answer


def test_capacity_is_updated_in_place(stack: Stack) -> None:
    stack.create(TargetCapacity="1")
    fleet, before = stack.fleet(), stack.active()
    stack.update(TargetCapacity="2")
    assert stack.status() == "UPDATE_COMPLETE"
    assert stack.fleet() == fleet
    assert before < stack.active()


def test_a_new_launch_template_replaces_the_fleet(stack: Stack) -> None:
    # The change reaches the fleet through Ref, GetAtt and the template's version alone.
    stack.create(TargetCapacity="2")
    fleet, before = stack.fleet(), stack.active()
    stack.update(TargetCapacity="2", Least="4")
    assert stack.fleet() != fleet
    assert [stack.state(instance) for instance in before] == ["terminated", "terminated"]
    assert len(stack.active()) == 2
    config = next(
        found
        for found in stack.ec2.describe_spot_fleet_requests()["SpotFleetRequestConfigs"]
        if found["SpotFleetRequestId"] == fleet
    )
    assert config["SpotFleetRequestState"] == "cancelled_terminating"


def test_a_parameter_is_updated_in_place_and_nothing_else(stack: Stack) -> None:
    stack.create()
    fleet, before = stack.fleet(), stack.active()
    stack.update(Greeting="please")
    assert stack.pointer()["Value"].startswith("please ")
    assert stack.pointer()["Version"] == 2
    assert (stack.fleet(), stack.active()) == (fleet, before)


def test_a_queue_and_a_role_are_updated_in_place(stack: Stack) -> None:
    stack.create()
    template = changed("Resources.Tasks.Properties", {"VisibilityTimeout": 40, "DelaySeconds": 3})
    template["Resources"]["Role"]["Properties"]["Policies"] = []
    stack.update(template)
    attributes = stack.cloud.client("sqs").get_queue_attributes(
        QueueUrl=stack.output("QueueUrl"), AttributeNames=["All"]
    )["Attributes"]
    assert (attributes["VisibilityTimeout"], attributes["DelaySeconds"]) == ("40", "3")
    assert "AccessDenied" in refusal(role_client(stack, "ssm").get_parameter, Name=f"/{stack.name}/pointer")


def test_an_update_adds_and_removes(stack: Stack) -> None:
    stack.create()
    template = changed("Resources.More", {"Type": "AWS::SQS::Queue"})
    del template["Resources"]["Tasks"], template["Resources"]["Policy"], template["Outputs"]["QueueUrl"]
    stack.update(template)
    urls = stack.cloud.client("sqs").list_queues(QueueNamePrefix=stack.name)["QueueUrls"]
    assert [url.rsplit("-", 1)[0].endswith("-More") for url in urls] == [True]


def test_nothing_outlives_its_stack(stack: Stack) -> None:
    stack.create(TargetCapacity="3")
    stack.scale(2)
    arn = stack.api.describe_stacks(StackName=stack.name)["Stacks"][0]["StackId"]
    stack.delete()
    assert stack.api.describe_stacks(StackName=arn)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
    assert stack.api.describe_stack_resources(StackName=arn)["StackResources"] == []
    assert stack.notices() == {}
    assert "QueueUrls" not in stack.cloud.client("sqs").list_queues(QueueNamePrefix=stack.name)
    assert "ParameterNotFound" in refusal(stack.ssm.get_parameter, Name=f"/{stack.name}/pointer")
    roles = stack.cloud.client("iam").list_roles()["Roles"]
    assert not [role for role in roles if role["RoleName"].startswith(stack.name)]
    assert "does not exist" in refusal(stack.api.describe_stacks, StackName=stack.name)


@pytest.mark.parametrize(
    ("template", "parameters", "why"),
    [
        (changed("Resources.New", {"Type": "AWS::SNS::Mystery"}), {}, "AWS::SNS::Mystery"),
        (changed("Ressources", {}), {}, "Ressources"),
        (FLEET, {"Nonsense": "1"}, "Nonsense"),
        (FLEET, {"TargetCapacity": "-1"}, "TargetCapacity"),
        (FLEET, {"Greeting": "Hello"}, "Greeting"),
        (FLEET, {"Greeting": "hi", "TargetCapacity": "7"}, "Seven only if you ask nicely"),
    ],
)
def test_what_aws_refuses_is_refused(
    stack: Stack, template: dict[str, Any], parameters: dict[str, str], why: str
) -> None:
    answer = refusal(stack.create, template, **parameters)
    assert "ValidationError" in answer
    assert why in answer
    assert "does not exist" in refusal(stack.api.describe_stacks, StackName=stack.name)


def test_a_stack_that_fails_is_rolled_back(stack: Stack) -> None:
    template = changed("Resources.Profile.Properties.Roles", ["nobody"])
    template["Resources"]["Profile"]["DependsOn"] = ["Tasks", "Pointer"]
    stack.create(template)
    assert stack.status() == "ROLLBACK_COMPLETE"
    events = stack.api.describe_stack_events(StackName=stack.name)["StackEvents"]
    assert any("nobody" in event.get("ResourceStatusReason", "") for event in events)
    assert "ParameterNotFound" in refusal(stack.ssm.get_parameter, Name=f"/{stack.name}/pointer")
    assert "QueueUrls" not in stack.cloud.client("sqs").list_queues(QueueNamePrefix=stack.name)
    assert stack.notices() == {}


def role_client(stack: Stack, service: str) -> Any:  # noqa: ANN401 - by name
    """A client with the credentials that the fleet's instance has."""
    [instance] = stack.active()
    found = stack.cloud.control("POST", "credentials", {"instance": instance})
    return boto3.session.Session().client(
        service,  # type: ignore[call-overload]
        region_name="us-east-1",
        endpoint_url=stack.cloud.url,
        aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["Token"],
    )


def test_a_role_of_the_stack_may_do_what_its_policy_says(stack: Stack) -> None:
    stack.create()
    bucket = stack.cloud.bucket(f"bucket-{uuid4().hex}")
    ssm, s3 = role_client(stack, "ssm"), role_client(stack, "s3")
    assert ssm.get_parameter(Name=f"/{stack.name}/pointer")["Parameter"]["Version"] == 1
    assert s3.list_objects_v2(Bucket=bucket, Prefix="in/x")["KeyCount"] == 0
    stack.ssm.put_parameter(Name="/other", Value="x", Type="String", Overwrite=True)
    assert "AccessDenied" in refusal(ssm.get_parameter, Name="/other")
    assert "AccessDenied" in refusal(s3.list_objects_v2, Bucket=bucket, Prefix="out/")
    assert "AccessDenied" in refusal(s3.list_objects_v2, Bucket=bucket)
    assert "AccessDenied" in refusal(s3.put_object, Bucket=bucket, Key="in/a")
    assert "AccessDenied" in refusal(role_client(stack, "ec2").describe_instances)


def test_credentials_of_a_role_expire(stack: Stack) -> None:
    stack.create()
    bucket = stack.cloud.bucket(f"bucket-{uuid4().hex}")
    stack.cloud.control("POST", "settings", {"credential_seconds": 0})
    for service, call, arguments in (
        ("ssm", "get_parameter", {"Name": f"/{stack.name}/pointer"}),
        ("s3", "list_objects_v2", {"Bucket": bucket, "Prefix": "in/"}),
        ("sqs", "receive_message", {"QueueUrl": stack.output("QueueUrl")}),
    ):
        assert "ExpiredToken" in refusal(getattr(role_client(stack, service), call), **arguments)


def test_a_secret_is_read_by_whom_a_policy_names_it_to(enforcing: Cloud) -> None:
    secrets = enforcing.client("secretsmanager")
    arn = secrets.create_secret(Name=f"s-{uuid4().hex}", SecretString='{"a": 1}')["ARN"]
    other = secrets.create_secret(Name=f"s-{uuid4().hex}", SecretString="no")["ARN"]
    allow = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arn}
    reader = enforcing.client("secretsmanager", keys=user(enforcing, allow))
    assert reader.get_secret_value(SecretId=arn)["SecretString"] == '{"a": 1}'
    assert "AccessDenied" in refusal(reader.get_secret_value, SecretId=other)


def test_log_streams_are_written_by_whom_a_policy_names_their_group_to(enforcing: Cloud) -> None:
    name = f"/fleetcopy/{uuid4().hex}"
    for group in (name, f"{name}-other"):
        enforcing.client("logs").create_log_group(logGroupName=group)
    resource = f"arn:aws:logs:us-east-1:123456789012:log-group:{name}:*"
    allow = {"Effect": "Allow", "Action": "logs:CreateLogStream", "Resource": resource}
    writer = enforcing.client("logs", keys=user(enforcing, allow))
    writer.create_log_stream(logGroupName=name, logStreamName="i/boot")
    answer = refusal(writer.create_log_stream, logGroupName=f"{name}-other", logStreamName="i/boot")
    assert "AccessDenied" in answer


def test_a_role_is_assumed_by_whom_it_trusts_and_who_may(enforcing: Cloud) -> None:
    iam, name = enforcing.client("iam"), f"role-{uuid4().hex}"
    arn = f"arn:aws:iam::123456789012:role/{name}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::123456789012:user/trusted"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arn}
    trusted = enforcing.client("sts", keys=enforcing.user("trusted", {"Statement": [allow]}))
    assert trusted.assume_role(RoleArn=arn, RoleSessionName="me")["Credentials"]
    other = enforcing.client("sts", keys=user(enforcing, allow))
    assert "AccessDenied" in refusal(other.assume_role, RoleArn=arn, RoleSessionName="me")


def user(cloud: Cloud, *statements: dict[str, Any]) -> Keys:
    return cloud.user(f"user-{uuid4().hex}", {"Statement": list(statements)})


@pytest.mark.parametrize(
    ("condition", "context", "holds"),
    [
        ({"StringEquals": {"s3:prefix": ["a", "b"]}}, {"s3:prefix": "b"}, True),
        ({"StringEquals": {"S3:Prefix": "a"}}, {"s3:prefix": "b"}, False),
        ({"StringEquals": {"s3:prefix": "a"}}, {}, False),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, {}, True),
        ({"StringEqualsIfExists": {"s3:prefix": "a"}}, {"s3:prefix": "b"}, False),
        ({"StringNotEquals": {"s3:prefix": "a"}}, {}, True),
        ({"StringNotLike": {"s3:prefix": "a*"}}, {"s3:prefix": "ab"}, False),
        ({"StringLike": {"s3:prefix": "a?[*"}}, {"s3:prefix": "ab[/c"}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:securetransport": "true"}, False),
        ({"Null": {"s3:prefix": "true"}}, {}, True),
    ],
)
def test_conditions_of_a_policy(condition: dict[str, Any], context: dict[str, str], holds: bool) -> None:  # noqa: FBT001 - a column
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": condition}
    assert applies(statement, "s3:ListBucket", "arn:aws:s3:::b", context) == holds


@pytest.mark.parametrize(
    ("statement", "concerned"),
    [
        ({"Action": "S3:Get*", "Resource": "arn:aws:s3:::b/*"}, True),
        ({"Action": "s3:Get*", "Resource": "arn:aws:s3:::c/*"}, False),
        ({"Action": ["sqs:*", "s3:PutObject"], "Resource": "*"}, False),
        ({"NotAction": "sqs:*", "Resource": "*"}, True),
        ({"Action": "*", "NotResource": "arn:aws:s3:::b/*"}, False),
    ],
)
def test_whom_a_statement_concerns(statement: dict[str, Any], concerned: bool) -> None:  # noqa: FBT001 - a column
    assert applies({"Effect": "Allow", **statement}, "s3:GetObject", "arn:aws:s3:::b/k", {}) == concerned


def test_references_of_a_resource() -> None:
    node = {
        "DependsOn": ["A", "B"],
        "Properties": [
            {"Ref": "C"},
            {"Fn::GetAtt": "D.Arn"},
            {"Fn::If": ["Which", {"Fn::Sub": "${E.Arn} ${!F} ${AWS::Region}"}, {"Ref": "AWS::NoValue"}]},
            {"Fn::Sub": ["${own}", {"own": {"Fn::GetAtt": ["G", "Arn"]}}]},
        ],
    }
    assert set(references(node)) - {"AWS::Region", "AWS::NoValue", "own"} == {"A", "B", "C", "D", "E", "G"}


def test_the_aws_cli_makes_scales_and_deletes_a_fleet(enforcing: Cloud, tmp_path: Path) -> None:
    template, name = tmp_path / "fleet.json", f"stack-{uuid4().hex[:8]}"
    template.write_text(json.dumps(FLEET))

    def aws(*arguments: str) -> str:
        command = [str(ROOT / ".venv" / "bin" / "aws"), *arguments, "--output", "text"]
        done = subprocess.run(
            command, env=enforcing.environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    enforcing.clear_journal()
    stack = ["--stack-name", name]
    capacity = "ParameterKey=TargetCapacity,ParameterValue="
    aws("cloudformation", "create-stack", *stack, "--template-body", template.as_uri())
    aws("cloudformation", "wait", "stack-create-complete", *stack)
    query = "Stacks[0].Outputs[?OutputKey=='Fleet'].OutputValue"
    fleet = aws("cloudformation", "describe-stacks", *stack, "--query", query)
    request = ["--spot-fleet-request-id", fleet]
    aws("ec2", "modify-spot-fleet-request", *request, "--target-capacity", "2")
    listed = ["ec2", "describe-spot-fleet-instances", *request, "--query", "length(ActiveInstances)"]
    assert aws(*listed) == "2"
    again = ["--use-previous-template", "--parameters", f"{capacity}3"]
    aws("cloudformation", "update-stack", *stack, *again)
    aws("cloudformation", "wait", "stack-update-complete", *stack)
    assert aws(*listed) == "3"
    aws("cloudformation", "delete-stack", *stack)
    aws("cloudformation", "wait", "stack-delete-complete", *stack)
    journalled = {
        "cloudformation:CreateStack": 1,
        "cloudformation:UpdateStack": 1,
        "cloudformation:DeleteStack": 1,
        "ec2:ModifySpotFleetRequest": 1,
        "ec2:DescribeSpotFleetInstances": 2,
    }
    assert enforcing.counts().items() >= journalled.items()
    assert enforcing.control("GET", "machines") == []


def until(condition: Any, seconds: float = 20) -> None:  # noqa: ANN401 - any call
    """Wait for what another process does."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)
