"""The stack as a user makes it, on the embedded AWS: a bucket to copy, a release published, `create-stack`.

The AWS CLI and fleetcopy's own commands do it; what they print is all that the tests know of it.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from tests.cloud import ROOT, Cloud
from tests.conftest import Command

TEMPLATE = ROOT / "cloudformation" / "spot-fleet.yaml"
SOURCE_REGION, DESTINATION_REGION = "us-east-1", "eu-west-1"
LARGEST = 40_000


class Stack:
    """A stack for one instance, its queue still empty.

    Args:
        cloud: where.
        name: the stack's, and part of its buckets' names.
        release: the folder of a built release.
        random: makes the objects.
        objects: how many to copy.
    """

    def __init__(self, cloud: Cloud, name: str, release: Path, random: Random, objects: int) -> None:
        self._cloud = cloud
        self._command = Command(cloud.environment())
        self.name = name
        self.objects = objects
        self.source = cloud.bucket(f"source-{name}", SOURCE_REGION)
        self.destination = cloud.bucket(f"destination-{name}", DESTINATION_REGION)
        self.releases = cloud.bucket(f"releases-{name}", SOURCE_REGION)
        s3 = cloud.client("s3")
        for number in range(objects):
            body = random.randbytes(random.randrange(LARGEST))
            s3.put_object(Bucket=self.source, Key=f"in/{number:05}", Body=body)
        self._create(self.fleetcopy("release", "publish", f"s3://{self.releases}/fleetcopy", str(release)))
        (described,) = self.aws("cloudformation", "describe-stacks", "--stack-name", name)["Stacks"]
        assert described["StackStatus"] == "CREATE_COMPLETE", described
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}

    def _create(self, published: str) -> None:
        values = {
            "SourceBucket": self.source,
            "SourcePrefix": "in/",
            "SourceRegion": SOURCE_REGION,
            "DestinationBucket": self.destination,
            "DestinationPrefix": "out/",
            "DestinationRegion": DESTINATION_REGION,
            "AmiId": "ami-0123456789abcdef0",
            "Streams": "4",
            "Strategy": "stream",  # a write can be slowed down, for there to be some to interrupt
        }
        parameters = [f"ParameterKey={name},ParameterValue={value}" for name, value in values.items()]
        parameters += published.split()
        made = ["create-stack", "--stack-name", self.name, "--template-body", TEMPLATE.as_uri()]
        self.aws("cloudformation", *made, "--capabilities", "CAPABILITY_IAM", "--parameters", *parameters)

    def aws(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """Run the AWS CLI as the stack's owner; what it prints, as JSON has it."""
        aws = Path(sys.executable).with_name("aws")
        done = subprocess.run(
            [aws, "--output", "json", *arguments],
            env=self._command.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"aws {arguments}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def fleetcopy(self, *arguments: str) -> str:
        """Run fleetcopy as the stack's owner; what it prints."""
        done = self._command(*arguments)
        assert done.returncode == 0, f"fleetcopy {arguments}: {done.stderr}"
        return done.stdout

    @property
    def queue(self) -> str:
        """The queue's URL."""
        return str(self.outputs["QueueUrl"])

    def submit(self) -> None:
        """Queue the tasks."""
        self.fleetcopy("submit", *self.ends, "--queue", self.queue)

    @property
    def ends(self) -> list[str]:
        """SOURCE, DESTINATION and their options, as fleetcopy's commands take them."""
        regions = ["--source-region", SOURCE_REGION, "--destination-region", DESTINATION_REGION]
        return [*regions, f"s3://{self.source}/in/", f"s3://{self.destination}/out/"]

    @property
    def instance_id(self) -> str:
        """The id of its one instance."""
        asked = ["describe-spot-fleet-instances", "--spot-fleet-request-id", self.outputs["FleetId"]]
        (active,) = self.aws("ec2", *asked)["ActiveInstances"]
        return str(active["InstanceId"])

    @property
    def user_data(self) -> str:
        """What the launch template of its fleet has an instance run."""
        asked = ["describe-spot-fleet-requests", "--spot-fleet-request-ids", self.outputs["FleetId"]]
        (fleet,) = self.aws("ec2", *asked)["SpotFleetRequestConfigs"]
        (config,) = fleet["SpotFleetRequestConfig"]["LaunchTemplateConfigs"]
        template = config["LaunchTemplateSpecification"]
        asked = ["--launch-template-id", template["LaunchTemplateId"], "--versions", template["Version"]]
        (version,) = self.aws("ec2", "describe-launch-template-versions", *asked)["LaunchTemplateVersions"]
        return base64.b64decode(version["LaunchTemplateData"]["UserData"]).decode()

    def in_flight(self) -> int:
        """Messages that some worker holds."""
        name = "ApproximateNumberOfMessagesNotVisible"
        sqs = self._cloud.client("sqs")
        counts = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=[name])["Attributes"]
        return int(counts[name])

    def log(self) -> list[tuple[str, str]]:
        """Stream and text of each event in the log group, in order of their times."""
        asked = ["filter-log-events", "--log-group-name", self.outputs["LogGroup"]]
        return [(event["logStreamName"], event["message"]) for event in self.aws("logs", *asked)["events"]]
