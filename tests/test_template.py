"""The template, read: what AWS would say of it, and which parameter's change replaces what.

`python -m tests.test_template` writes the latter into the README, and the user data into the template. What
becomes of the template when it is sent to AWS is `test_template_stack`'s.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load  # type: ignore[import-untyped]
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]

from tests.cloud import ROOT
from tests.test_readme import BIN, README, section
from worker.core.options import ACLS, CARRIES, SSES, STORAGE_CLASSES, STRATEGIES
from worker.core.settings import SETTINGS_OF_COPIES

PATH = ROOT / "cloudformation" / "spot-fleet.yaml"
TEMPLATE: dict[str, Any] = load(str(PATH))
USER_DATA = ROOT / "bootstrap" / "user-data.sh"
PARAMETERS: dict[str, Any] = TEMPLATE["Parameters"]
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]
REGIONS = ("us-east-1", "us-gov-west-1", "cn-north-1")
MOST_BYTES = 51_200
"""Of a template that is sent as `--template-body` (CloudFormation User Guide, "Quotas")."""
MOST_USER_DATA = 2048
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")

FLEET = "AWS::EC2::SpotFleet"
# The reference says replacement of all within, as the resource's schema did; of late the schema leaves it
# out, for ModifySpotFleetRequest takes it. Until the reference says so too, the worse is assumed.
LAUNCH_TEMPLATES = "/properties/SpotFleetRequestConfigData/LaunchTemplateConfigs"
# Attributes that an update in place changes: each update of a launch template makes a new version.
VERSIONED = {"AWS::EC2::LaunchTemplate": "LatestVersionNumber"}


def schema(kind: str) -> dict[str, Any]:
    """The CloudFormation schema of a resource type, as cfn-lint ships it."""
    found: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    return found


def names(node: Any) -> Iterator[str]:  # noqa: ANN401 - YAML
    """What a value depends on: parameters, resources (`Queue`) and attributes (`Queue.Arn`)."""
    match node:
        case {"Ref": name}:
            yield name
        case {"Fn::GetAtt": [name, attribute]}:
            yield f"{name}.{attribute}"
        case {"Fn::Sub": str(text)}:
            yield from VARIABLE.findall(text)
        case {"Fn::Sub": [text, own]}:
            yield from (name for name in VARIABLE.findall(text) if name not in own)
            yield from names(own)
        case {"Fn::If": [condition, *branches]}:
            yield from names({"Condition": condition})
            yield from names(branches)
        case {"Condition": str(condition)}:
            yield from names(TEMPLATE["Conditions"][condition])
        case dict():
            yield from names(list(node.values()))
        case list():
            for value in node:
                yield from names(value)


def properties(node: Any, path: str = "/properties") -> Iterator[tuple[str, set[str]]]:  # noqa: ANN401 - YAML
    """Each property of a resource, as the schema writes its path, and what its value depends on."""
    match node:
        case {"Fn::If": [condition, *branches]}:
            yield path, set(names({"Condition": condition}))
            for branch in branches:
                yield from properties(branch, path)
        case dict() if not any(name == "Ref" or name.startswith("Fn::") for name in node):
            for name, value in node.items():
                yield from properties(value, f"{path}/{name}")
        case list():
            for value in node:
                yield from properties(value, f"{path}/*")
        case _:
            yield path, set(names(node))


def replaces(kind: str, path: str) -> bool:
    """Whether a change of this property makes a new resource of the old one."""
    fixed = [*schema(kind).get("createOnlyProperties", []), *([LAUNCH_TEMPLATES] if kind == FLEET else [])]
    return any(f"{path}/".startswith(f"{one}/") or one.startswith(f"{path}/") for one in fixed)


def effects(parameter: str) -> dict[str, str]:
    """What a change of this parameter does to which resource: `updated` or `replaced`."""
    changed, found = {parameter}, dict[str, str]()
    while True:
        before = dict(found)
        for name, resource in RESOURCES.items():
            touched = [
                path
                for path, used in properties(resource["Properties"])
                if changed & (used | {one.split(".")[0] for one in used})
            ]
            if any(replaces(resource["Type"], path) for path in touched):
                found[name] = "replaced"
                changed.add(name)
            elif touched:
                found[name] = "updated"
                changed.add(f"{name}.{VERSIONED.get(resource['Type'], '')}")
        if found == before:
            return found


def meaning(found: dict[str, str]) -> str:
    """What such a change means to who runs the fleet."""
    if found.get("Fleet") == "replaced":
        return "a new fleet: the old one's instances end, others boot"
    if "Fleet" in found:
        return "the fleet grows, or drains what is too many"
    if {"WorkerRole", "SettingsParameter"} <= set(found):
        return "permissions at once, settings at an instance's next boot: scale to 0 first"
    if {"ReleaseParameter", "SettingsParameter"} & set(found):
        return "instances that boot from then on; the running ones go on as they are"
    return "no instance notices"


def table() -> str:
    """The README's table, parameters with the same effects in one row."""
    rows: dict[tuple[str, str], list[str]] = {}
    for parameter in PARAMETERS:
        found = effects(parameter)
        changes = [f"{name} (new)" if what == "replaced" else name for name, what in found.items()]
        rows.setdefault((", ".join(changes), meaning(found)), []).append(f"`{parameter}`")
    lines = [f"| {', '.join(group)} | {changes} | {means} |" for (changes, means), group in rows.items()]
    return "\n".join(["| parameter | what its change touches | and so |", "|---|---|---|", *lines]) + "\n"


def strings(node: Any) -> Iterator[str]:  # noqa: ANN401 - YAML
    """All text in a part of the template, keys left out."""
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def accepts(parameter: str, value: str) -> bool:
    """Whether a parameter's own constraints let a value pass."""
    known = PARAMETERS[parameter]
    return (
        re.search(known.get("AllowedPattern", ""), value) is not None
        and len(value) <= int(known.get("MaxLength", 4096))
        and str(value) in map(str, known.get("AllowedValues", [value]))
        and ("MinValue" not in known or known["MinValue"] <= int(value) <= known["MaxValue"])
    )


def test_it_is_small_enough_to_be_sent_from_a_file() -> None:
    assert len(PATH.read_bytes()) < MOST_BYTES


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # checkov asks the network for its own updates, and leaves the answer in the home.
    environment = os.environ | {"CKV_SKIP_PACKAGE_UPDATE_CHECK": "true"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_cfn_lint_finds_nothing_in_any_partition() -> None:
    done = run(BIN / "cfn-lint", "--regions", *REGIONS, "--template", PATH)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not CHECKOV.exists(), reason="make .venv-checkov first")
def test_checkov_finds_nothing_unexplained() -> None:
    done = run(
        CHECKOV, "--skip-download", "--quiet", "--compact", "--framework", "cloudformation", "-f", PATH
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Passed checks: \d+, Failed checks: 0, Skipped checks: 3\n", done.stdout), done.stdout


def test_each_exception_from_a_check_has_its_reason() -> None:
    notes = [resource.get("Metadata", {}).get("checkov", {}) for resource in RESOURCES.values()]
    skips = [skip for note in notes for skip in note.get("skip", [])]
    assert len(skips) == 3
    assert all(skip["comment"] for skip in skips)


def test_no_partition_is_written_out() -> None:
    written = [
        text for text in strings([RESOURCES, TEMPLATE["Outputs"]]) if re.search(r"arn:aws|amazonaws", text)
    ]
    # These are the same in every partition; EC2's is not.
    assert written == ["events.amazonaws.com", "spotfleet.amazonaws.com"]


def test_nothing_is_looked_up_anew_at_each_update() -> None:
    assert not any("{{resolve:" in text for text in strings(TEMPLATE))
    assert not [name for name, known in PARAMETERS.items() if known["Type"].startswith("AWS::SSM::")]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_stranger_is_told_what_each_parameter_is(name: str) -> None:
    known = PARAMETERS[name]
    assert len(known["Description"]) > 20
    assert known["ConstraintDescription"].startswith("must ")
    pattern = known.get("AllowedPattern", "^$")
    assert (pattern[0], pattern[-1]) == ("^", "$")
    assert {"AllowedPattern", "AllowedValues", "MaxValue"} & set(known)
    assert "Default" not in known or accepts(name, str(known["Default"]))
    assert effects(name), "it does nothing"


def test_each_parameter_is_in_one_group() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(PARAMETERS)


HASH, HEX = "0123456789abcdef" * 4, "0123456789abcdef0"
SUBNETS = ",".join(f"subnet-{number:017x}" for number in range(7))


@pytest.mark.parametrize(
    ("parameter", "value", "good"),
    [
        ("SourceBucket", "radar-archive", True),
        ("SourceBucket", "dotted.bucket", True),
        ("SourceBucket", "s3://radar-archive", False),
        ("SourceBucket", "radar-archive/1991", False),
        ("SourceBucket", "Radar", False),
        ("SourceBucket", "", False),
        ("SourcePrefix", "", True),
        ("SourcePrefix", "1991/", True),
        ("SourcePrefix", "a b/'\"\\;&|`<ä>//../%2F+", True),
        ("SourcePrefix", "x" * 1024, True),
        ("SourcePrefix", "x" * 1025, False),
        ("SourcePrefix", "*", False),
        ("SourcePrefix", "a?", False),
        ("SourcePrefix", "${aws:username}", False),
        ("SourcePrefix", "{{ssm:x}}", False),
        ("SourcePrefix", "a\nFLEETCOPY_QUEUE_URL=b", False),
        ("SourcePrefix", "a\tb", False),
        ("DestinationRegion", "", True),
        ("DestinationRegion", "cn-north-1", True),
        ("DestinationRegion", "us-gov-west-1", True),
        ("DestinationRegion", "eusc-de-east-1", True),
        ("DestinationRegion", "Frankfurt", False),
        (
            "DestinationSecretArn",
            "arn:aws:secretsmanager:us-east-1:123456789012:secret:to/china-AbCdEf",
            True,
        ),
        ("DestinationSecretArn", "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:a-AbCdEf", True),
        ("DestinationSecretArn", "to/china", False),
        ("DestinationRoleArn", "arn:aws:iam::123456789012:role/path/writer", True),
        ("DestinationRoleArn", "arn:aws:iam::123456789012:user/writer", False),
        ("DestinationRoleArn", "arn:aws:iam::123456789012:role/*", False),
        ("Strategy", "fast", False),
        ("Tags", "", False),
        ("StorageClass", "GLACIER_IR", True),
        ("StorageClass", "glacier", False),
        ("Acl", "bucket-owner-full-control", True),
        ("Acl", "log-delivery-write", False),
        ("Sse", "aws:kms:dsse", True),
        ("Sse", "kms", False),
        ("SseKmsKeyArn", "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-0123abc", True),
        ("SseKmsKeyArn", "arn:aws:kms:us-east-1:123456789012:alias/mine", False),
        ("SseKmsKeyArn", "arn:aws:kms:us-east-1:123456789012:key/*", False),
        ("RequestPayer", "true", False),
        ("ReleaseUri", "s3://bucket", True),
        ("ReleaseUri", "s3://bucket/a/b_c.d", True),
        ("ReleaseUri", "s3://bucket/", False),
        ("ReleaseUri", "s3://bucket/$(reboot)", False),
        ("ReleaseUri", "https://bucket/releases", False),
        ("ReleaseVersion", "0.1.0+0123456789ab", True),
        ("ReleaseVersion", "0.1.0", False),
        ("ReleaseVersion", "latest", False),
        ("ReleaseManifestSha256", HASH, True),
        ("ReleaseManifestSha256", HASH.upper(), False),
        ("ReleaseManifestSha256", HASH[1:], False),
        ("TargetCapacity", "0", True),
        ("TargetCapacity", "10001", False),
        ("AmiId", f"ami-{HEX}", True),
        ("AmiId", "ami-12345678", True),
        ("AmiId", "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", False),
        ("VpcId", f"vpc-{HEX}", True),
        ("VpcId", f"subnet-{HEX}", False),
        ("SubnetIds", SUBNETS.rpartition(",")[0], True),
        ("SubnetIds", SUBNETS, False),
        ("SubnetIds", f"subnet-{HEX}, subnet-{HEX}", False),
        ("LogLevel", "warning", True),
        ("LogLevel", "loud", False),
        ("LogRetentionDays", "30", True),
        ("LogRetentionDays", "31", False),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_made(parameter: str, value: str, *, good: bool) -> None:
    assert accepts(parameter, value) is good


def test_nobody_connects_to_an_instance_and_it_connects_by_https_alone() -> None:
    group = RESOURCES["SecurityGroup"]["Properties"]
    rules = [(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in group["SecurityGroupEgress"]]
    assert rules == [("tcp", 443, 443)] * 2
    assert "SecurityGroupIngress" not in group


def test_an_instance_keeps_its_secrets_and_leaves_nothing_behind() -> None:
    data = RESOURCES["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
    options = data["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
    [volume] = [mapping["Ebs"] for mapping in data["BlockDeviceMappings"]]
    assert volume == {"VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    assert data["InstanceInitiatedShutdownBehavior"] == "terminate"


def test_both_queues_are_encrypted_and_closed_to_plain_http() -> None:
    queues = {name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::SQS::Queue"}
    assert all(RESOURCES[name]["Properties"]["SqsManagedSseEnabled"] is True for name in queues)
    policy = RESOURCES["QueuePolicy"]["Properties"]
    assert set(names(policy["Queues"])) == queues
    statement, first_task = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    condition, allowed, otherwise = first_task["Fn::If"]
    assert (condition, otherwise) == ("SubmitsOnCreate", {"Ref": "AWS::NoValue"})
    assert (allowed["Principal"], allowed["Action"]) == (
        {"Service": "events.amazonaws.com"},
        "sqs:SendMessage",
    )
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["FirstTask", "Arn"]}}}


def test_the_user_data_is_the_file_and_stays_small() -> None:
    data = RESOURCES["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"][
        "Fn::Sub"
    ]
    assert data == USER_DATA.read_text(), "run: python -m tests.test_template"
    assert set(VARIABLE.findall(data)) == {"AWS::Region", "AWS::StackName"}
    longest = data.replace("${AWS::Region}", "ap-southeast-10").replace("${AWS::StackName}", "s" * 128)
    assert len(longest.replace("${!", "${").encode()) < MOST_USER_DATA


def test_what_of_a_fleet_can_change_in_place() -> None:
    config = schema(FLEET)["definitions"]["SpotFleetRequestConfigData"]["properties"]
    fixed = {path.rpartition("/")[2] for path in schema(FLEET)["createOnlyProperties"]}
    assert set(config) - fixed - {LAUNCH_TEMPLATES.rpartition("/")[2]} == {
        "Context",
        "ExcessCapacityTerminationPolicy",
        "OnDemandTargetCapacity",
        "TargetCapacity",
        "TargetCapacityUnitType",
    }


def test_the_parameters_take_what_the_options_take() -> None:
    allowed = {
        "Strategy": STRATEGIES,
        "Tags": CARRIES,
        "StorageClass": ("", *STORAGE_CLASSES),
        "Acl": ("", *ACLS),
        "Sse": ("", *SSES),
        "ObjectLock": CARRIES,
    }
    assert {name: tuple(PARAMETERS[name]["AllowedValues"]) for name in allowed} == allowed
    lines = RESOURCES["SettingsParameter"]["Properties"]["Value"]["Fn::Sub"][0].splitlines()
    told = {line.partition("=")[0] for line in lines}
    assert told >= {setting.variable for setting in SETTINGS_OF_COPIES}


def test_a_new_release_changes_one_parameter_in_ssm_and_nothing_else() -> None:
    assert effects("ReleaseVersion") == {"ReleaseParameter": "updated"}
    assert effects("ReleaseManifestSha256") == {"ReleaseParameter": "updated"}


def test_scaling_changes_the_fleet_in_place_and_nothing_else() -> None:
    assert effects("TargetCapacity") == {"Fleet": "updated"}


def test_settings_never_reach_the_fleet() -> None:
    of_the_machine = {"AmiId", "VpcId", "SubnetIds", "MinVCpus", "MaxVCpus", "MinMemoryMiB"}
    assert {name for name in PARAMETERS if "LaunchTemplate" in effects(name)} == of_the_machine - {
        "SubnetIds"
    }
    assert {name for name in PARAMETERS if effects(name).get("Fleet") == "replaced"} == of_the_machine


def test_the_readme_says_what_replaces_what() -> None:
    assert section("replaces") == table(), "run: python -m tests.test_template"


def write() -> None:
    """Write the table into the README, and the user data into the template."""
    before, after = PATH.read_text().split("Fn::Base64: !Sub |\n")
    lines = USER_DATA.read_text().splitlines()
    data = "".join(f"{' ' * 12}{line}".rstrip() + "\n" for line in lines)
    rest = re.sub(r"\A( {12}.*\n|\n(?= {12}))*", "", after)
    PATH.write_text(f"{before}Fn::Base64: !Sub |\n{data}{rest}")
    before, after = README.read_text().split(f"<!-- replaces -->\n{section('replaces')}")
    README.write_text(f"{before}<!-- replaces -->\n{table()}{after}")


if __name__ == "__main__":
    write()
