"""The stack as it is, on a fleet: an instance that cannot install its release says why, and is gone.

That one which can does its work is what the demo shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import releases
from tests.cloud import ROOT, Cloud
from tests.cloud.fleet import Fleet
from tests.conftest import Command

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
