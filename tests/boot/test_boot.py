"""An instance's whole life on a machine that really boots, from its user data to its power-off.

Run by `make test-boot`, never by `pytest` alone: see `tests.boot`. The times of the boot are printed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.boot import RELEASE_FOLDER, ROOT_FOLDER
from tests.boot.instance import Instance
from tests.boot.machine import Machine
from tests.boot.stack import Stack
from tests.cloud import Cloud
from tests.secrets import Search
from tests.transfers import wait_for

pytestmark = pytest.mark.boot

SEED = int(os.environ.get("FLEETCOPY_TEST_SEED", "20261125"))
OBJECTS = 240
WRITE_SECONDS = 0.5
"""So long takes each write to the destination: the notice comes while most of the work is undone."""

BOOT_SECONDS = 180
NOTICE_SECONDS = 120
EXPOSURE = 1.1
"""The most that `systemd-analyze security` may give the unit, of 10."""

WARNING = 4
"""As syslog numbers its levels; worse ones are lower."""

SECCOMP_FILTER = "2"
"""As /proc/PID/status has it; 0 would be no filter."""


@pytest.fixture(scope="module", autouse=True)
def shut_in() -> None:
    """Fail where anything but this network namespace's own loopback is in reach."""
    asked = ["ip", "-json", "route", "show", "table", "all"]
    routes = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    devices = {route.get("dev") for route in routes}
    assert devices == {"lo"}, "the network is in reach: run `make test-boot`"
    assert ROOT_FOLDER in os.environ, "run `make test-boot`"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """The embedded AWS, enforcing signatures and permissions."""
    with Cloud(auth=True) as running:
        running.control("POST", "settings", {"notice_seconds": NOTICE_SECONDS})
        yield running


@pytest.fixture(scope="module")
def root() -> Path:
    """The Debian root."""
    return Path(os.environ[ROOT_FOLDER])


@pytest.fixture(scope="module")
def release() -> Path:
    """The folder of the checkout's release."""
    return Path(os.environ[RELEASE_FOLDER])


def test_from_user_data_to_power_off(cloud: Cloud, root: Path, release: Path, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    stack = Stack(cloud, "whole", release, Random(SEED), OBJECTS)
    stack.submit()
    cloud.clear_journal()
    cloud.fault("s3:PutObject", "delay", bucket=stack.destination, times=None, seconds=WRITE_SECONDS)
    times = {"machine starts": time.time()}
    with Instance(cloud, stack, root, tmp_path / "instance") as instance:
        machine = instance.machine
        wait_for(lambda: "sqs:ReceiveMessage" in cloud.counts(), BOOT_SECONDS, "the first poll")
        times["first poll"] = time.time()
        check_unit(machine, release)
        wait_for(lambda: len(written(cloud, stack)) >= OBJECTS // 10, 60, "a tenth of the objects written")
        instance.interrupt()
        times["interruption notice"] = time.time()
        machine.await_power_off(NOTICE_SECONDS)
        times["powered off"] = time.time()
        tell_times(machine, times)
        assert complaints(machine) == []
        check_log(stack, instance)
        check_no_secrets(instance)
    cloud.clear_faults()
    check_nothing_lost(cloud, stack)


def check_unit(machine: Machine, release: Path) -> None:
    """The unit is as shipped, the sandbox in force and as tight as it says, the watchdog disarmed."""
    unit = "etc/systemd/system/fleetcopy.service"
    assert (machine.written / unit).read_bytes() == (release / "fleetcopy.service").read_bytes()
    assert machine.run("systemd-analyze", "verify", "--man=no", f"/{unit}") == ""
    table = machine.run("systemd-analyze", "security", "--no-pager", "fleetcopy.service").splitlines()
    print(*(line.strip() for line in table if line.startswith(("✗", "→"))), sep="\n")
    exposure = re.search(r"level for fleetcopy.service: ([0-9.]+)", table[-1])
    assert exposure
    assert float(exposure[1]) <= EXPOSURE
    main = machine.run("systemctl", "show", "--property=MainPID", "--value", "fleetcopy.service").strip()
    status = dict(line.split(":", 1) for line in machine.run("cat", f"/proc/{main}/status").splitlines())
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == SECCOMP_FILTER
    assert "0" not in status["Uid"].split()
    timer = ("systemctl", "show", "--property=ActiveState", "--value", "fleetcopy-watchdog.timer")
    wait_for(lambda: machine.run(*timer).strip() == "inactive", 10, "the watchdog disarmed")


def complaints(machine: Machine) -> list[str]:
    """What systemd had to say against the unit."""
    return [
        entry["MESSAGE"]
        for entry in machine.journal()
        if entry.get("UNIT") == "fleetcopy.service" and int(entry["PRIORITY"]) <= WARNING
    ]


def written(cloud: Cloud, stack: Stack) -> list[str]:
    """The keys that were written in full to the destination, once for each time."""
    return [
        row["key"]
        for row in cloud.journal()
        if row["operation"] == "s3:PutObject" and row["bucket"] == stack.destination and row["status"] == 200
    ]


def tell_times(machine: Machine, times: dict[str, float]) -> None:
    """Print when what happened, in seconds since user data began."""
    began = machine.when("running 'modules:final'")
    times |= {
        "user data begins": began,
        "watchdog armed": machine.when("Started fleetcopy-watchdog.timer"),
        "release installed, worker starts": machine.when("Starting fleetcopy.service"),
        "worker ready": machine.when("Started fleetcopy.service"),
    }
    for what, moment in sorted(times.items(), key=lambda item: item[1]):
        print(f"{moment - began:7.2f} s  {what}")


def check_log(stack: Stack, instance: Instance) -> None:
    """CloudWatch has the worker's whole life, in a stream named after instance and boot."""
    # The sandbox's own /proc shows the kernel's boot, not the one that systemd-nspawn makes up.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    streams = {stream for stream, _ in stack.log()}
    assert streams == {f"{instance.id}/{boot}"}
    events = [json.loads(text)["event"] for _, text in stack.log()]
    life = ("ready", "interruption notice", "draining", "stopped")
    assert [event for event in dict.fromkeys(events) if event in life] == list(life)


def check_no_secrets(instance: Instance) -> None:
    """Nothing that the machine wrote holds what its role was given."""
    search = Search(instance.secrets)
    search.folder(instance.machine.written)
    assert (instance.machine.written / "etc/fleetcopy/environment").read_text()
    assert search.found == []
    assert search.looked["file"] > 100


def check_nothing_lost(cloud: Cloud, stack: Stack) -> None:
    """What was not copied was handed back; another worker does it, and nothing that was done again."""
    first = written(cloud, stack)
    print(f"{len(first)} of {OBJECTS} objects were copied before the power-off")
    assert 0 < len(first) < OBJECTS
    assert stack.in_flight() == 0
    stack.fleetcopy("work", *stack.ends, "--queue", stack.queue, "--until-empty", "--empty-seconds", "1")
    again = written(cloud, stack)[len(first) :]
    assert not set(first) & set(again)
    verdict = stack.fleetcopy("verify", *stack.ends).splitlines()[-1]
    assert verdict == f"verdict: equal {OBJECTS}, different 0, missing 0, extra 0, unproven 0"


def test_a_broken_release_says_why_and_powers_off(
    cloud: Cloud, root: Path, release: Path, tmp_path: Path
) -> None:
    stack = Stack(cloud, "broken", release, Random(SEED), 1)
    wheel = min(path.name for path in (release / "wheels").iterdir() if "aarch64" in path.name)
    key = f"fleetcopy/{release.name}/wheels/{wheel}"
    s3 = cloud.client("s3")
    body = bytearray(s3.get_object(Bucket=stack.releases, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    s3.put_object(Bucket=stack.releases, Key=key, Body=bytes(body))
    with Instance(cloud, stack, root, tmp_path / "instance") as instance:
        instance.machine.await_power_off(BOOT_SECONDS)
        console = instance.machine.console()
        told = [text for _, text in stack.log()]
        print(*told, sep="\n")
        assert wheel in console
        assert len(told) == 1
        assert wheel in told[0]
        assert told[0] in console
        assert not (instance.machine.written / "opt/fleetcopy/current").exists()
