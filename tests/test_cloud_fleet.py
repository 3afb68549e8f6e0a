"""The fleet of the embedded AWS: what boots, is noticed, ends and is replaced; and that nothing is left."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cloud import ROOT, Cloud
from tests.cloud.fleet import Event, Fleet, Instance
from tests.cloud.instance.init import read_environment, read_unit, seconds
from tests.processes import alive, children
from tests.test_cloud_stack import FLEET
from tests.transfers import wait_for

# A worker of a few lines: it is ready, and drains for a moment when it is told to or finds a notice.
WORKER = """\
import json, os, signal, socket, subprocess, sys, time, urllib.request
def notify(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(text.encode(), "\\0" + os.environ["NOTIFY_SOCKET"][1:])
def ask(method, path, **headers):
    url = os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] + "/latest/" + path
    opened = urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=5)
    return opened.read().decode()
def noticed():
    try:
        return ask("GET", "meta-data/spot/instance-action", **{"X-aws-ec2-metadata-token": token})
    except OSError:
        return ""
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append("SIGTERM"))
token = ask("PUT", "api/token", **{"X-aws-ec2-metadata-token-ttl-seconds": "600"})
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print("settings", os.environ["SETTING"], flush=True)
print("environment", json.dumps(sorted(os.environ)), flush=True)
mode = os.environ.get("MODE")
if mode in ("fail", "quit"):
    sys.exit(3 if mode == "fail" else 0)
notify("READY=1")
while mode != "deaf" and not ended:
    if found := noticed():
        ended.append(found)
    time.sleep(0.05)
while mode == "deaf":
    time.sleep(1)
notify("STOPPING=1")
print("ended by", ended[0], flush=True)
"""
UNIT = """\
[Unit]
SuccessAction=poweroff
StartLimitIntervalSec=10min
StartLimitBurst=2
StartLimitAction=poweroff
[Service]
Type=notify
ExecStart=/opt/worker.sh "an argument"
EnvironmentFile=/etc/worker
Restart=on-failure
RestartSec=100ms
TimeoutStopSec=2s
"""
USER_DATA = """\
#!/bin/bash
set -euo pipefail
cd "${!FLEETCOPY_ROOT}"
echo "on $(cat var/lib/cloud/data/instance-id)"
mkdir -p opt etc/systemd/system
cat > opt/worker.py <<'EOF'
%(worker)s
EOF
cat > etc/systemd/system/fleetcopy.service <<'EOF'
%(unit)s
EOF
printf '#!/bin/bash\\nexec python3 -u %%s/opt/worker.py "$@"\\n' "$PWD" > opt/worker.sh
chmod +x opt/worker.sh
cat > etc/worker <<'EOF'
# a comment
SETTING="a \\"quoted\\" \\\\ \\$x \\` # value"
EOF
%(more)s
systemctl daemon-reload
systemctl enable --now fleetcopy
systemctl stop nothing.timer 2>/dev/null || echo "status $?"
echo booted
"""


def template(more: str = "") -> dict[str, Any]:
    """The stack's template, with user data that installs the worker of this file."""
    made = copy.deepcopy(FLEET)
    # Fn::Sub would take the worker's braces for its own.
    text = USER_DATA % {"worker": WORKER, "unit": UNIT, "more": more}
    data = made["Resources"]["Template"]["Properties"]["LaunchTemplateData"]
    data["UserData"] = {"Fn::Base64": {"Fn::Sub": text}}
    return made


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(below for child in children(pid) for below in tree(child))]


def booted(instance: Instance) -> bool:
    """Whether the user data has come to its end, and nothing but the worker is left."""
    return instance.log("console.log").endswith("booted\n") and len(tree(instance.pid)) == 3


def create(cloud: Cloud, name: str, capacity: int, more: str = "") -> None:
    """Create the stack."""
    parameters = [{"ParameterKey": "TargetCapacity", "ParameterValue": str(capacity)}]
    cloud.client("cloudformation").create_stack(
        StackName=name, TemplateBody=json.dumps(template(more)), Parameters=parameters
    )


class Story:
    """A fleet and its stack."""

    def __init__(self, cloud: Cloud, fleet: Fleet) -> None:
        self.cloud = cloud
        self.fleet = fleet
        self.name = f"stack-{uuid4().hex[:8]}"
        self.api = cloud.client("cloudformation")
        self.ec2 = cloud.client("ec2")

    def up(self, capacity: int, more: str = "") -> list[Instance]:
        """Create the stack; its instances, once they run and their user data has ended."""
        self.create(capacity, more)
        running = self.fleet.wait_running(capacity, 60)
        for one in running:
            wait_for(partial(booted, one), 20, "the end of the user data")
        return running

    def create(self, capacity: int, more: str = "") -> None:
        """Create the stack."""
        create(self.cloud, self.name, capacity, more)

    def scale(self, capacity: int) -> None:
        """Modify the fleet's capacity."""
        outputs = self.api.describe_stacks(StackName=self.name)["Stacks"][0]["Outputs"]
        fleet = next(output["OutputValue"] for output in outputs if output["OutputKey"] == "Fleet")
        self.ec2.modify_spot_fleet_request(SpotFleetRequestId=fleet, TargetCapacity=capacity)

    def ended(self, *instances: Instance, within: float = 60) -> list[Instance]:
        """The instances, once they have ended."""
        ids = [instance.id for instance in instances]
        self.fleet.wait(
            lambda: all(self.fleet.instance(one).state == "ended" for one in ids), within, "their end"
        )
        return [self.fleet.instance(one) for one in ids]

    def state(self, instance: Instance) -> str:
        """What EC2 says of an instance."""
        found = self.ec2.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
        return str(found["State"]["Name"])

    def kinds(self, instance: Instance) -> list[str]:
        """What happened to an instance."""
        return [event.kind for event in self.fleet.events() if event.instance.id == instance.id]


@pytest.fixture
def story(cloud: Cloud, tmp_path: Path) -> Iterator[Story]:
    root = tmp_path / "fleet"
    with Fleet(cloud, root, notice_seconds=5, environment={"EXTRA": "1"}) as fleet:
        story = Story(cloud, fleet)
        yield story
        cloud.client("cloudformation").delete_stack(StackName=story.name)
        fleet.wait(lambda: all(one.state == "ended" for one in fleet.instances()), 60, "the stack's end")
        pids = [one.pid for one in fleet.instances()]
    assert not root.exists()
    assert not [pid for pid in pids if alive(pid)]


def test_an_instance_boots_from_its_user_data(story: Story) -> None:
    [instance] = story.up(1)
    assert story.kinds(instance) == ["booted", "ready"]
    assert instance.launched < instance.ready
    assert instance.log("console.log") == f"on {instance.id}\nstatus 5\nbooted\n"
    lines = instance.log("journal.log").splitlines()
    assert lines[0] == 'settings a "quoted" \\ $x ` # value'
    names = json.loads(lines[1].removeprefix("environment "))
    assert set(names) - {"FLEETCOPY_TEST_GUARD_LOG", "PWD", "SHLVL", "_", "LC_CTYPE"} == {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_ENDPOINT_URL",
        "EXTRA",
        "FLEETCOPY_ROOT",
        "HOME",
        "LANG",
        "NOTIFY_SOCKET",
        "PATH",
        "PYTHONPATH",
        "SETTING",
        "TMPDIR",
    }


def test_an_interrupted_instance_drains_powers_off_and_is_replaced(story: Story) -> None:
    first, second = story.up(2)
    story.fleet.interrupt(first.id)
    [first] = story.ended(first)
    assert story.kinds(first) == ["booted", "ready", "noticed", "ended"]
    assert '"action": "terminate"' in first.log("journal.log")
    assert first.why == "its worker has ended"
    running = story.fleet.wait_running(2)
    assert running[0].id == second.id
    assert running[1].replaces == first.id
    assert story.state(first) == "terminated"
    wait_for(lambda: len(list(first.root.iterdir())) == 2, 20, "the logs left alone")


@pytest.mark.slow
def test_an_instance_that_does_not_heed_its_notice_ends_with_it(story: Story) -> None:
    [instance] = story.up(1, "echo MODE=deaf >> etc/worker")
    processes = tree(instance.pid)
    story.fleet.interrupt(instance.id)
    [instance] = story.ended(instance)
    noticed = next(event.at for event in story.fleet.events() if event.kind == "noticed")
    assert 3 < instance.ended - noticed < 30
    assert instance.why == "terminated"
    assert not [pid for pid in processes if alive(pid)]


def test_a_killed_instance_vanishes_and_is_replaced(story: Story) -> None:
    first, _ = story.up(2)
    processes = tree(first.pid)
    story.fleet.kill(first.id)
    wait_for(lambda: not any(alive(pid) for pid in processes), 10, "the end of them all")
    [first] = story.ended(first)
    assert "ended by" not in first.log("journal.log")
    assert first.why == "killed"
    assert [one.replaces for one in story.fleet.wait_running(2)] == ["", first.id]
    with pytest.raises(ValueError, match="has ended"):
        story.fleet.kill(first.id)


def test_what_is_terminated_by_the_api_ends(story: Story) -> None:
    [instance] = story.up(1)
    story.ec2.terminate_instances(InstanceIds=[instance.id])
    assert story.ended(instance)[0].why == "terminated"
    assert story.fleet.wait_running(1)[0].replaces == instance.id


def test_scaling_down_gives_notice_and_replaces_nothing(story: Story) -> None:
    running = story.up(2)
    story.scale(0)
    for instance in story.ended(*running):
        assert story.kinds(instance) == ["booted", "ready", "noticed", "ended"]
        assert "ended by {" in instance.log("journal.log")
    assert len(story.fleet.instances()) == 2


def test_a_rebalance_recommendation_is_shown(story: Story) -> None:
    [instance] = story.up(1)
    story.fleet.rebalance(instance.id)
    story.fleet.wait(lambda: "rebalance" in story.kinds(instance), 10, "the recommendation")
    assert story.fleet.instance(instance.id).state == "running"


@pytest.mark.parametrize("mode", ["fail", "quit"])
def test_a_worker_that_fails_is_restarted_until_its_machine_gives_up(story: Story, mode: str) -> None:
    story.create(1, f"echo MODE={mode} >> etc/worker")
    story.fleet.wait(lambda: any(one.state == "ended" for one in story.fleet.instances()), 60, "its end")
    instance = story.fleet.instances()[0]
    assert instance.why == "its worker failed too often"
    assert instance.log("journal.log").count("settings") == 2
    assert story.kinds(instance) == ["booted", "ended"]


def test_the_watchdog_ends_a_machine_whose_user_data_hangs(story: Story) -> None:
    hang = "systemd-run --quiet --on-active=1s --unit=watchdog systemctl poweroff; sleep 600"
    story.create(1, hang)
    story.fleet.wait(lambda: any(one.state == "ended" for one in story.fleet.instances()), 60, "its end")
    assert story.fleet.instances()[0].why == "systemctl poweroff"


def test_a_timer_that_is_stopped_does_nothing(story: Story) -> None:
    armed = "systemd-run --quiet --on-active=1s --unit=watchdog touch fired; systemctl stop watchdog.timer"
    [instance] = story.up(1, f"{armed}; systemd-run --on-active=2s --unit=other touch $PWD/other")
    wait_for((instance.root / "other").exists, 10, "the other timer")
    assert not (instance.root / "fired").exists()


def test_a_stop_is_a_sigterm_and_the_end(story: Story) -> None:
    story.create(1, "(sleep 2; systemctl stop fleetcopy) &")
    [instance] = story.fleet.wait_running(1)
    processes = tree(instance.pid)
    [instance] = story.ended(instance)
    assert "ended by SIGTERM" in instance.log("journal.log")
    wait_for(lambda: not any(alive(pid) for pid in processes), 20, "the end of what the worker started")
    assert instance.why == "its worker has ended"


@pytest.mark.slow
def test_a_worker_that_does_not_heed_its_stop_is_killed(story: Story) -> None:
    story.create(1, "echo MODE=deaf >> etc/worker; (sleep 2; systemctl stop fleetcopy) &")
    [instance] = story.fleet.wait_running(1)
    wait_for(lambda: "stop timed out; killed" in instance.log("journal.log"), 20, "its end")
    wait_for(lambda: tree(instance.pid) == [instance.pid], 20, "nothing of it")
    assert story.fleet.instance(instance.id).state == "running"


@pytest.mark.slow
def test_a_worker_that_says_nothing_is_ended_by_its_watchdog(story: Story) -> None:
    unit = "etc/systemd/system/fleetcopy.service"
    story.create(1, f"echo MODE=deaf >> etc/worker; echo WatchdogSec=500ms >> {unit}")
    story.fleet.wait(lambda: any(one.state == "ended" for one in story.fleet.instances()), 60, "its end")
    instance = story.fleet.instances()[0]
    assert instance.why == "its worker failed too often"
    assert instance.log("journal.log").count("watchdog timed out; killed") == 2


def test_the_listener_hears_of_everything(cloud: Cloud, tmp_path: Path) -> None:
    heard: list[Event] = []
    with Fleet(cloud, tmp_path / "fleet", listener=heard.append) as fleet:
        story = Story(cloud, fleet)
        [instance] = story.up(1)
        story.api.delete_stack(StackName=story.name)
        story.ended(instance)
    assert [event.kind for event in heard] == ["booted", "ready", "ended"]


@pytest.mark.slow
def test_a_killed_fleet_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    program = f"""
        import json, sys, threading
        from pathlib import Path
        from tests.cloud import Cloud
        from tests.cloud.fleet import Fleet
        from tests.test_cloud_fleet import Story, tree
        with Cloud() as cloud, Fleet(cloud, Path({str(tmp_path / "fleet")!r})) as fleet:
            running = Story(cloud, fleet).up(2)
            print(json.dumps([pid for one in running for pid in tree(one.pid)]), flush=True)
            threading.Event().wait()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        pids = json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert len(pids) == 6
    wait_for(lambda: not any(alive(pid) for pid in pids), 20, "the machines' end")
    wait_for(lambda: not list((tmp_path / "fleet").glob("*")), 20, "no file")


@pytest.mark.slow
def test_by_hand_it_tells_what_happens(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cloud"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None

    def line(part: str) -> str:
        assert process.stdout is not None
        return next(line for line in process.stdout if part in line)

    try:
        url = line("export AWS_ENDPOINT_URL=").strip().partition("=")[2]
        line("Ctrl-C ends it")
        by_hand = Cloud()
        by_hand.url = url
        create(by_hand, f"stack-{uuid4().hex[:8]}", 1)
        found = line(" boots; its logs are in ").split()[1]
        line(f"{found} is ready after ")
        by_hand.control("POST", "interrupt", {"instance": found})
        line(f"{found} has an interruption notice: terminate")
        line(f"{found} has ended: its worker has ended")
        line(f"boots, replaces {found}; its logs are in ")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [("90s", 90), ("10min", 600), ("1min 30s", 90), ("15", 15), ("100ms", 0.1), ("2h", 7200)],
)
def test_times_of_systemd(text: str, value: float) -> None:
    assert seconds(text) == value


def test_a_unit_and_its_environment_file() -> None:
    assert read_unit("[Unit]\n# A=1\nA=b c\n\n[Service]\nB=x=y\n") == {"A": "b c", "B": "x=y"}
    text = 'A=plain  value \nB="it\'s \\"\\$HOME\\" \\\\n \\`"\n#C=1\n;D=1\nE=\n'
    assert read_environment(text) == {"A": "plain  value", "B": 'it\'s "$HOME" \\n `', "E": ""}
