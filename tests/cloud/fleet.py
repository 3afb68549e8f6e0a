"""The instances of the embedded AWS's Spot Fleets, as processes: `with Fleet(cloud, folder) as fleet: ...`.

What EC2 has beside its API: for each instance that a Spot Fleet launches, a machine boots by running the user
data of its launch template, with a folder for its filesystem (FLEETCOPY_ROOT), a metadata service, its role's
credentials there, and nothing else of this process's environment (`env -i`). A machine that powers off is
terminated in EC2, and EC2 ends the machine of an instance that is terminated, both as on AWS, save that it
ends at one stroke where EC2 presses the power button first. Notices are EC2's (`moto_fleet`), handed on to
the metadata service; `interrupt`, `rebalance` and `kill` make trouble. `instance/init.py` is the machine.

No root is needed. When the context is left, or when this process is killed, no process is left and no file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import ClientError

from tests.cloud import ROOT, Cloud
from tests.cloud.metadata import ACTION, REBALANCE, Metadata, values_of
from tests.processes import end_tree

INSTANCE = ROOT / "tests" / "cloud" / "instance"
TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance at one moment.

    Attributes:
        state: "booting", "running" once its worker is ready, "ending" once it has a notice, "ended".
        root: its filesystem; of an ended one the logs are left, `console.log` and `journal.log`.
        pid: of the process above all of its processes.
        launched, ready, ended: monotonic seconds; 0 while it is not so far.
        why: why it has ended.
        replaces: the id of the instance that it was launched in the place of, or "".
    """

    id: str
    state: str
    root: Path
    pid: int
    launched: float
    ready: float = 0.0
    ended: float = 0.0
    why: str = ""
    replaces: str = ""

    def log(self, name: str) -> str:
        """One of its logs so far: `console.log`, of its user data, or `journal.log`, of its worker."""
        path = self.root / name
        return path.read_text(errors="replace") if path.exists() else ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an instance: "booted", "ready", "noticed", "rebalance" or "ended"."""

    kind: str
    instance: Instance
    at: float
    detail: str = ""


class Fleet:
    """Runs the machines of a cloud's Spot Fleets, in all regions.

    Args:
        cloud: the embedded AWS, which runs until the context is left.
        root: a folder for the machines' files; made, and removed in the end.
        notice_seconds: how long an instance lives after its notice.
        environment: what a machine's processes find in their environment besides.
        listener: called with each event, from the fleet's own thread.
    """

    def __init__(
        self,
        cloud: Cloud,
        root: Path,
        *,
        notice_seconds: float = 12.0,
        environment: Mapping[str, str] | None = None,
        listener: Callable[[Event], None] = lambda _event: None,
    ) -> None:
        self._cloud = cloud
        self._root = root
        self._notice_seconds = notice_seconds
        self._environment = dict(environment or {})
        self._listener = listener
        self._machines: dict[str, _Machine] = {}
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._cleaner = ThreadPoolExecutor(1, "fleet-cleaner")
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="fleet")
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._root.mkdir(parents=True)
        self._cloud.control("POST", "settings", {"notice_seconds": self._notice_seconds})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()
        for machine in self._machines.values():
            if machine.instance.state != "ended":
                machine.end()
        self._cleaner.shutdown()
        self._selector.close()
        shutil.rmtree(self._root, ignore_errors=True)

    def instances(self) -> list[Instance]:
        """All instances so far, in the order of their launch, the ended ones too."""
        with self._changed:
            return [machine.instance for machine in self._machines.values()]

    def instance(self, instance_id: str) -> Instance:
        """One instance."""
        with self._changed:
            return self._machines[instance_id].instance

    def events(self) -> list[Event]:
        """All events so far."""
        with self._changed:
            return list(self._events)

    def wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Return once a condition holds, which is looked at after each event; fail after so many seconds."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not condition():
                if self._failure:
                    raise RuntimeError("the fleet has failed") from self._failure
                if not self._changed.wait(deadline - time.monotonic()) and not condition():
                    shown = "\n".join(f"{one.id} {one.state} {one.why}" for one in self.instances())
                    raise TimeoutError(f"not within {seconds} s: {what}\n{shown}")

    def wait_running(self, count: int, seconds: float = 120) -> list[Instance]:
        """Return the instances once exactly so many are running and none is booting or ending."""

        def settled() -> bool:
            states = [one.state for one in self.instances() if one.state != "ended"]
            return states == ["running"] * count

        self.wait(settled, seconds, f"{count} instances running")
        return [one for one in self.instances() if one.state == "running"]

    def interrupt(self, instance_id: str, action: str = "terminate") -> None:
        """Interrupt an instance: a notice now, its end after `notice_seconds`; its fleet replaces it then."""
        self._cloud.control("POST", "interrupt", {"instance": instance_id, "action": action})

    def rebalance(self, instance_id: str) -> None:
        """Recommend to an instance that its work be moved elsewhere."""
        self._cloud.control("POST", "rebalance", {"instance": instance_id})

    def kill(self, instance_id: str) -> None:
        """Let an instance vanish, all of its processes at one stroke and without a notice; it is replaced."""
        with self._changed:
            machine = self._machines[instance_id]
        if machine.instance.state == "ended":
            raise ValueError(f"{instance_id} has ended already")
        machine.why = "killed"
        end_tree(machine.instance.pid)

    # --- the fleet's own thread

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                wanted = {found["id"]: found for found in self._cloud.control("GET", "machines")}
                for machine in [one for one in self._machines.values() if one.instance.state != "ended"]:
                    self._follow(machine, wanted.get(machine.instance.id))
                for found in wanted.values():
                    if found["id"] not in self._machines:
                        self._boot(found)
                for key, _ in self._selector.select(TICK_SECONDS):
                    self._hear(key.data)
            except Exception as error:
                # Whoever waits shall know; and whoever looks at the terminal.
                self._failure = error
                with self._changed:
                    self._changed.notify_all()
                raise

    def _boot(self, found: dict[str, Any]) -> None:
        ec2 = self._cloud.client("ec2", found["region"])
        attribute = ec2.describe_instance_attribute(InstanceId=found["id"], Attribute="userData")
        user_data = base64.b64decode(attribute["UserData"]["Value"])
        machine = _Machine(self._cloud, self._root / found["id"], found, user_data, self._environment)
        with self._changed:
            self._machines[found["id"]] = machine
        self._selector.register(machine.output, selectors.EVENT_READ, machine)
        self._tell("booted", machine, f"replaces {found['replaces']}" if found["replaces"] else "")

    def _follow(self, machine: _Machine, found: dict[str, Any] | None) -> None:
        """Do to a machine what EC2 says of its instance, which may be that it is terminated."""
        if found is None:
            machine.why = machine.why or "terminated"
            self._end(machine)
            return
        if found["notice"] and machine.show(ACTION, found["notice"]):
            machine.change(state="ending")
            self._tell("noticed", machine, found["notice"]["action"])
        if found["rebalance"] and machine.show(REBALANCE, found["rebalance"]):
            self._tell("rebalance", machine)

    def _hear(self, machine: _Machine) -> None:
        for told in machine.lines():
            match told:
                case {"event": "ready"} if machine.instance.state == "booting":
                    machine.change(state="running", ready=time.monotonic())
                    self._tell("ready", machine)
                case {"event": "power off", "why": why}:
                    machine.why = why
                case None:
                    machine.why = machine.why or "its init has failed"
                    self._end(machine)
                    self._terminate(machine)

    def _end(self, machine: _Machine) -> None:
        self._selector.unregister(machine.output)
        machine.end()
        machine.change(state="ended", ended=time.monotonic(), why=machine.why)
        self._tell("ended", machine, machine.why)
        # Thousands of files: not while others wait for their notice.
        self._cleaner.submit(machine.clean)

    def _terminate(self, machine: _Machine) -> None:
        """Terminate the instance of a machine that is off, unless EC2 did."""
        ec2 = self._cloud.client("ec2", machine.region)
        with contextlib.suppress(ClientError):
            ec2.terminate_instances(InstanceIds=[machine.instance.id])

    def _tell(self, kind: str, machine: _Machine, detail: str = "") -> None:
        event = Event(kind, machine.instance, time.monotonic(), detail)
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()
        self._listener(event)


class _Machine:
    """One machine, seen from outside: its process, its metadata service, its folder."""

    def __init__(
        self,
        cloud: Cloud,
        root: Path,
        found: dict[str, Any],
        user_data: bytes,
        environment: Mapping[str, str],
    ) -> None:
        self.why = ""
        self.region = found["region"]
        self._shown: dict[str, Any] = {}
        self._rest = b""
        _furnish(root, found["id"], user_data)
        self._metadata = Metadata()
        self._metadata.change(
            values_of(found, partial(cloud.control, "POST", "credentials", {"instance": found["id"]}))
        )
        self._metadata.__enter__()
        within = _environment(root, cloud.url, self._metadata.url) | dict(environment)
        self._process = subprocess.Popen(
            [sys.executable, INSTANCE / "init.py", root],
            env={"PYTHONPATH": str(ROOT), "FLEETCOPY_MACHINE": json.dumps(within)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C is for us: the machine ends after us, when its standard input does.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.output = self._process.stdout
        self.instance = Instance(
            found["id"],
            "booting",
            root,
            self._process.pid,
            time.monotonic(),
            replaces=found["replaces"] or "",
        )

    def change(self, **values: Any) -> None:  # noqa: ANN401 - of Instance's fields
        """Change how the instance is seen."""
        self.instance = replace(self.instance, **values)

    def show(self, path: str, value: object) -> bool:
        """Let the metadata service show a value; whether it is new."""
        if self._shown.get(path) == value:
            return False
        self._shown[path] = value
        self._metadata.values[path] = json.dumps(value)
        return True

    def lines(self) -> list[dict[str, Any] | None]:
        """What the machine has told since it was last asked; None at the end when it is off."""
        data = os.read(self.output.fileno(), 65_536)
        *whole, self._rest = (self._rest + data).split(b"\n")
        told: list[dict[str, Any] | None] = [json.loads(line) for line in whole]
        return told if data else [*told, None]

    def end(self) -> None:
        """End all of it at one stroke."""
        end_tree(self._process.pid)
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.output.close()
        self._metadata.__exit__(None, None, None)

    def clean(self) -> None:
        """Remove its folders; the logs stand beside them."""
        for path in self.instance.root.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def _furnish(root: Path, instance_id: str, user_data: bytes) -> None:
    """Make a machine's folder as an image and cloud-init leave it."""
    for folder in ("etc", "opt", "root", "run", "tmp", "var/lib/cloud/data", "var/lib/cloud/instance"):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/cloud/data/instance-id").write_text(f"{instance_id}\n")
    script = root / "var/lib/cloud/instance/user-data.txt"
    script.write_bytes(user_data)
    script.chmod(0o700)


def _environment(root: Path, endpoint: str, metadata: str) -> dict[str, str]:
    """Return the whole environment of a machine's processes."""
    path = (INSTANCE / "bin", Path(sys.executable).parent, "/usr/local/bin", "/usr/bin", "/bin")
    environment = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata,
        "FLEETCOPY_ROOT": str(root),
        "HOME": str(root / "root"),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join(str(folder) for folder in path),
        # The guard of the tests, and no module of this checkout: an instance runs its release.
        "PYTHONPATH": str(ROOT / "tests" / "guard"),
        "TMPDIR": str(root / "tmp"),
    }
    log = os.environ.get("FLEETCOPY_TEST_GUARD_LOG")
    return environment | ({"FLEETCOPY_TEST_GUARD_LOG": log} if log else {})
