"""The stack as it is, on a fleet: what comes of a broken release, and of a new one.

An instance that cannot install its release says why, and is gone. A new release reaches the instances that
boot from then on, and the ones at work go on. That an instance does its work is what the demo shows.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import releases
from tests.cloud import ROOT, Cloud
from tests.cloud.fleet import Fleet
from tests.conftest import Command
from tests.test_template_stack import Stack

TEMPLATE = (ROOT / "cloudformation" / "spot-fleet.yaml").read_text()
STACK = {"StackName": "broken"}


@pytest.mark.slow
def test_an_instance_without_its_release_says_why_and_is_replaced(tmp_path: Path) -> None:
    with (
        Cloud(auth=True) as cloud,
        Fleet(cloud, tmp_path / "fleet", environment={"FLEETCOPY_PAUSE": "0"}) as fleet,
    ):
        cloud.bucket("releases")
        release = releases.make(tmp_path)
        published = Command(cloud.environment())("release", "publish", "s3://releases", str(release))
        assert published.returncode == 0, published.stderr
        values = {
            "SourceBucket": "source",
            "DestinationBucket": "destination",
            "ReleaseUri": "s3://releases",
            "ReleaseVersion": release.name,
            "ReleaseManifestSha256": "0" * 64,
            "AmiId": "ami-12345678",
        }
        parameters: Any = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
        api = cloud.client("cloudformation")
        api.create_stack(
            **STACK, TemplateBody=TEMPLATE, Parameters=parameters, Capabilities=["CAPABILITY_IAM"]
        )
        fleet.wait(lambda: len(fleet.instances()) == 2, 60, "a second instance in the place of the first")
        first, second = fleet.instances()
        group = f"/fleetcopy/{STACK['StackName']}"
        told = cloud.client("logs").filter_log_events(logGroupName=group)["events"][0]
        api.delete_stack(**STACK)
        fleet.wait(lambda: fleet.instance(second.id).state == "ended", 60, "the second one's end")
        *_, last = first.log("console.log").splitlines()
    assert last.startswith(f"fleetcopy: could not fetch s3://releases/{release.name} (status 1): ")
    assert (told["logStreamName"], told["message"]) == (f"{first.id}/bootstrap", last)
    assert (first.state, first.why, second.replaces) == ("ended", "systemctl poweroff", first.id)


def publish(command: Command, version: str, folder: Path, uri: str) -> dict[str, str]:
    """Publish the release of this checkout under another version; the stack's parameters that name it."""
    checkout = folder / version
    checkout.mkdir()
    for part in (".cache", "LICENSE", "README.md", "bootstrap", "requirements.txt", "worker"):
        (checkout / part).symlink_to(ROOT / part)
    project = (ROOT / "pyproject.toml").read_text()
    (checkout / "pyproject.toml").write_text(project.replace('version = "0.1.0"', f'version = "{version}"'))
    built = command("release", "build", "--checkout", str(checkout))
    assert built.returncode == 0, built.stderr
    published = command("release", "publish", uri, built.stdout.strip())
    assert published.returncode == 0, published.stderr
    shutil.rmtree(checkout)
    pairs = [
        line.removeprefix("ParameterKey=").split(",ParameterValue=") for line in published.stdout.split()
    ]
    return dict(pairs)


@pytest.mark.slow
def test_a_new_release_reaches_new_instances_alone(tmp_path: Path) -> None:
    one_core = {"FLEETCOPY_PROCESSES": "1", "FLEETCOPY_PAUSE": "1"}
    with Cloud(auth=True) as cloud, Fleet(cloud, tmp_path / "fleet", environment=one_core) as fleet:
        command, stack = Command(cloud.environment()), Stack(cloud, TargetCapacity="1")
        uri = stack.parameters["ReleaseUri"]
        stack.parameters |= publish(command, "1.0.0", tmp_path, uri)
        stack.up()
        (first,) = fleet.wait_running(1)
        before = stack.outputs["FleetId"]
        stack.update(**publish(command, "2.0.0", tmp_path, uri))
        assert stack.outputs["FleetId"] == before
        assert [one.id for one in fleet.wait_running(1)] == [first.id]
        assert (first.root / "opt/fleetcopy/current").resolve().name.startswith("1.0.0+")
        fleet.kill(first.id)
        fleet.wait(lambda: len(fleet.instances()) == 2, 60, "another instance")
        (second,) = fleet.wait_running(1)
        assert (second.root / "opt/fleetcopy/current").resolve().name.startswith("2.0.0+")
