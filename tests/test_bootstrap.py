"""User data and bootstrap.sh, run as an instance runs them: a failure ends it and says why, a rerun heals.

Real are bash, the AWS CLI against the embedded AWS, pip, and the release; stand-ins record what systemd is
told.
"""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests import guard, releases
from tests.cloud import REGION, Cloud
from tests.cloud.metadata import CREDENTIALS, Metadata
from tests.processes import end_tree

BOOTSTRAP = Path(__file__).resolve().parents[1] / "bootstrap"
USER_DATA = (BOOTSTRAP / "user-data.sh").read_text()
INSTANCE = "i-0123456789abcdef0"
LONGEST_STACK_NAME = "s" * 128
"""CloudFormation User Guide, "CreateStack", StackName."""
LONGEST_REGION_NAME = "us-isob-northeast-12"
"""A few characters longer than any that there is."""
USER_DATA_LIMIT = 2048
WATCHDOG_SECONDS = 600
SETTINGS = r"""FLEETCOPY_SOURCE=s3://source/a "b" 'c' $d `e` \f é #g=h%
FLEETCOPY_SOURCE_REGION=us-east-1
FLEETCOPY_LOG_LEVEL=
FLEETCOPY_DESTINATION_CREDENTIALS=role:arn:aws:iam::123456789012:role/writer
AWS_DEFAULT_REGION=us-east-1"""
# All that the two scripts call, systemd, dnf and Python left out.
TOOLS = [
    *("bash", "cat", "comm", "cp", "cut", "date", "find", "grep", "install", "ln", "mkdir", "mv", "printenv"),
    *("rm", "sed", "sha256sum", "sleep", "sort", "tail", "timeout", "tr"),
]
STARTED = [
    "systemctl stop fleetcopy-watchdog.timer",
    "systemd-run --quiet --on-active=10min --unit=fleetcopy-watchdog systemctl poweroff",
    "systemctl daemon-reload",
    "systemctl enable --now fleetcopy",
    "systemctl stop fleetcopy-watchdog.timer",
]
SYSTEM_PYTHON = f'#!/bin/sh\nexec {sys._base_executable} "$@"\n'  # type: ignore[attr-defined] # noqa: SLF001
DNF = """#!/bin/sh
echo dnf "$@" >>"$FLEETCOPY_ROOT/calls"
cp "$FLEETCOPY_ROOT/python3.11" "$FLEETCOPY_ROOT/bin/" 2>/dev/null || { echo "Error: no package"; exit 1; }
"""
RECORDER = """#!/bin/sh
echo "${0##*/} $*" >>"$FLEETCOPY_ROOT/calls"
[ "$1" != enable ] || [ ! -e "$FLEETCOPY_ROOT/worker-fails" ]
"""


def user_data(stack: str, region: str = REGION) -> str:
    return USER_DATA.replace("${AWS::StackName}", stack).replace("${AWS::Region}", region)


@dataclass(frozen=True)
class Boot:
    """What came of running the user data once."""

    status: int
    console: str
    calls: list[str]
    seconds: float

    @property
    def why(self) -> str:
        """The line that says why it failed."""
        lines = [line for line in self.console.splitlines() if line.startswith("fleetcopy: could not ")]
        assert len(lines) == 1, self.console
        return lines[0]


class Machine:
    """An instance of a stack: its root, and what is on its PATH."""

    def __init__(self, folder: Path, cloud: Cloud, stack: str) -> None:
        self.root = folder
        self.stack = stack
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        for tool in TOOLS:
            found = shutil.which(tool, path="/usr/bin:/bin")
            assert found, f"this machine has no {tool}"
            (self.bin / tool).symlink_to(found)
        (self.bin / "aws").symlink_to(Path(sys.executable).with_name("aws"))
        for name in ("systemctl", "systemd-run"):
            self.put(f"bin/{name}", RECORDER)
        self.put("bin/dnf", DNF)
        self.put("bin/python3.11", SYSTEM_PYTHON)
        self.put("var/lib/cloud/data/instance-id", f"{INSTANCE}\n")
        self.put("user-data", user_data(stack))
        whole = cloud.environment()
        kept = ("AWS_", "PYTHONPATH", guard.LOG)
        self.environment = {name: value for name, value in whole.items() if name.startswith(kept)}
        del self.environment["AWS_DEFAULT_REGION"]
        self.environment |= {"PATH": str(self.bin), "FLEETCOPY_ROOT": str(folder), "FLEETCOPY_PAUSE": "0"}

    def put(self, name: str, text: str) -> None:
        """Write an executable file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def start(self, *before: str, **environment: str) -> subprocess.Popen[str]:
        """Start the user data, behind a command that runs it."""
        return subprocess.Popen(
            [*before, "/bin/bash", self.root / "user-data"],
            cwd="/",
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def boot(self, *before: str, **environment: str) -> Boot:
        """Run the user data to its end."""
        (self.root / "calls").unlink(missing_ok=True)
        began = time.monotonic()
        process = self.start(*before, **environment)
        console, _ = process.communicate(timeout=WATCHDOG_SECONDS)
        seconds = time.monotonic() - began
        calls = (self.root / "calls").read_text().splitlines()
        return Boot(process.returncode, console, calls, seconds)

    @property
    def current(self) -> Path:
        """The release that the unit starts."""
        return (self.root / "opt/fleetcopy/current").resolve()

    def worker(self) -> str:
        """What the installed worker says."""
        python = self.root / "opt/fleetcopy/current/bin/python"
        return subprocess.check_output([python, "-P", "-m", "worker"], text=True, cwd="/").strip()


class Stack:
    """What the stack has: the two parameters, the log group, and the bucket of releases."""

    def __init__(self, cloud: Cloud, bucket: str, folder: Path) -> None:
        self.cloud, self.bucket = cloud, bucket
        self.name = f"stack-{uuid4().hex}"
        self.group = f"/fleetcopy/{self.name}"
        self.s3, self.ssm = cloud.client("s3"), cloud.client("ssm")
        cloud.client("logs").create_log_group(logGroupName=self.group)
        self.parameter("settings", SETTINGS)
        self.release = self.publish(releases.make(folder))

    def parameter(self, name: str, value: str) -> None:
        """Set one of the stack's parameters."""
        self.ssm.put_parameter(Name=f"{self.group}/{name}", Value=value, Type="String", Overwrite=True)

    def publish(self, release: Path) -> Path:
        """Publish a release and point to it."""
        files = releases.digests(release)
        for path in files:
            self.s3.put_object(
                Bucket=self.bucket, Key=f"r/{release.name}/{path}", Body=(release / path).read_bytes()
            )
        self.parameter("release", f"s3://{self.bucket}/r/{release.name} {files['SHA256SUMS']}")
        return release

    def key(self, path: str) -> str:
        """The key of a file of the release."""
        return f"r/{self.release.name}/{path}"

    def told(self) -> list[str]:
        """What instances told the log group."""
        logs = self.cloud.client("logs")
        events = logs.filter_log_events(logGroupName=self.group, logStreamNames=[f"{INSTANCE}/bootstrap"])
        return [event["message"] for event in events["events"]]


@pytest.fixture
def stack(cloud: Cloud, bucket: str, tmp_path: Path) -> Iterator[Stack]:
    yield Stack(cloud, bucket, tmp_path / "dist")
    cloud.clear_faults()


@pytest.fixture
def machine(cloud: Cloud, stack: Stack, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine", cloud, stack.name)


def assert_started(machine: Machine, boot: Boot, release: Path) -> None:
    assert boot.status == 0, boot.console
    assert boot.calls == STARTED
    assert machine.current.name == release.name
    assert machine.worker() == "fleetcopy 0.1.0"
    unit = machine.root / "etc/systemd/system/fleetcopy.service"
    assert unit.read_text() == (BOOTSTRAP / "fleetcopy.service").read_text()
    assert f"fleetcopy: release {release.name} is installed, and its worker runs" in boot.console


def assert_ended(machine: Machine, boot: Boot, why: str) -> None:
    assert boot.status != 0
    assert re.search(why, boot.why), boot.console
    assert boot.calls[:2] == STARTED[:2]
    assert boot.calls[-1] == "systemctl poweroff"
    assert boot.calls.count("systemctl stop fleetcopy-watchdog.timer") == 1, "the watchdog stays armed"
    assert not (machine.root / "opt/fleetcopy/current").exists()
    print(f"{boot.seconds:.1f} s: {boot.why}")


def test_user_data_is_under_two_kibibytes_at_the_longest_names() -> None:
    longest = user_data(LONGEST_STACK_NAME, LONGEST_REGION_NAME)
    print(f"{len(longest.encode())} bytes")
    assert len(longest.encode()) < USER_DATA_LIMIT
    assert "${" not in longest, "CloudFormation's Fn::Sub would take it for its own"


def test_the_scripts_pass_shellcheck() -> None:
    checker = Path(sys.executable).with_name("shellcheck")
    ended = subprocess.run([checker, *BOOTSTRAP.glob("*.sh")], check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_an_instance_starts_its_worker(stack: Stack, machine: Machine) -> None:
    assert_started(machine, machine.boot(), stack.release)
    assert stack.told() == []
    assert_environment(machine.root / "etc/fleetcopy/environment")


def assert_environment(file: Path) -> None:
    # As systemd does, a shell undoes a backslash within double quotes before these four alone.
    printed = subprocess.check_output(
        ["/bin/bash", "-c", f"set -a; . {shlex.quote(str(file))}; exec /usr/bin/env -0"], env={}, text=True
    )
    found = dict(
        line.split("=", 1) for line in printed.split("\0") if line.startswith(("FLEETCOPY_", "AWS_"))
    )
    wanted = dict(line.split("=", 1) for line in SETTINGS.splitlines())
    del wanted["FLEETCOPY_LOG_LEVEL"]
    assert found == wanted
    quoted = re.compile(r'[A-Z_]+="(?:[^"\\$`]|\\["\\$`])+"')
    assert all(quoted.fullmatch(line) for line in file.read_text().splitlines())


@pytest.mark.slow
def test_a_rerun_fetches_no_more_than_what_says_that_nothing_has_changed(
    stack: Stack, machine: Machine
) -> None:
    machine.boot()
    installed = machine.current.stat().st_mtime_ns
    stack.cloud.clear_journal()
    assert_started(machine, machine.boot(), stack.release)
    assert machine.current.stat().st_mtime_ns == installed
    assert stack.cloud.counts() == {"ssm:GetParameter": 2, "s3:HeadObject": 2, "s3:GetObject": 2}


@pytest.mark.slow
def test_the_real_release_starts(cloud: Cloud, stack: Stack, machine: Machine, tmp_path: Path) -> None:
    """As built from this checkout: every requirement is there, and the real worker runs from its place."""
    command = [str(Path(sys.executable).with_name("fleetcopy")), "release"]
    built = subprocess.check_output(
        [*command, "build", "--checkout", str(BOOTSTRAP.parent), "--output", str(tmp_path / "real")],
        text=True,
    ).strip()
    told = subprocess.check_output(
        [*command, "publish", f"s3://{stack.bucket}/real", built], text=True, env=cloud.environment()
    )
    value = dict(re.findall(r"ParameterKey=(\w+),ParameterValue=(\S+)", told))
    stack.parameter(
        "release", f"{value['ReleaseUri']}/{value['ReleaseVersion']} {value['ReleaseManifestSha256']}"
    )
    boot = machine.boot()
    print(f"{boot.seconds:.1f} s")
    assert (boot.status, boot.calls) == (0, STARTED), boot.console
    python = machine.root / "opt/fleetcopy/current/bin/python"
    work = subprocess.run(
        [python, "-P", "-m", "worker", "work", "--help"], check=False, capture_output=True, text=True, cwd="/"
    )
    assert work.returncode == 0, work.stderr
    assert not list(machine.current.rglob("setuptools*")) + list(machine.current.rglob("pip-*"))


@pytest.mark.slow
def test_a_second_release_is_installed_beside_the_first(
    stack: Stack, machine: Machine, tmp_path: Path
) -> None:
    machine.boot()
    first = machine.current
    second = stack.publish(releases.make(tmp_path / "dist", says="second"))
    seen: set[bool] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.add((machine.root / "opt/fleetcopy/current/bin/python").exists())

    looking = threading.Thread(target=look)
    looking.start()
    boot = machine.boot()
    ended.set()
    looking.join()
    assert boot.calls == STARTED, boot.console
    assert seen == {True}
    assert (machine.current.name, machine.worker()) == (second.name, "second")
    assert (first / "bin/python").exists()


@pytest.mark.slow
def test_a_newer_python_is_taken(stack: Stack, machine: Machine) -> None:
    """And one that is there by name but does not run is passed over."""
    machine.put("bin/python3.13", "#!/bin/sh\nexit 127\n")
    machine.put("bin/python3.12", f"#!/bin/sh\necho 3.12 >>$FLEETCOPY_ROOT/taken\n{SYSTEM_PYTHON}")
    assert_started(machine, machine.boot(), stack.release)
    assert (machine.root / "taken").exists()


@pytest.mark.slow
def test_credentials_of_the_instance_role(stack: Stack, machine: Machine) -> None:
    with Metadata() as metadata:
        metadata.values[f"{CREDENTIALS}/worker"] = ROLE
        assert_started(machine, machine.boot(**by_role(machine, metadata)), stack.release)
        assert "GET /latest/meta-data/iam/security-credentials/worker" in metadata.requests


ROLE = json.dumps(
    {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": "ASIAEMBEDDEDAWS00000",
        "SecretAccessKey": "embedded",
        "Token": "token",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Expiration": "2099-01-01T00:00:00Z",
    }
)


def by_role(machine: Machine, metadata: Metadata) -> dict[str, str]:
    """Let a machine find credentials at the metadata service alone; what to add to its environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        del machine.environment[name]
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url}


@pytest.mark.slow
@pytest.mark.parametrize("status", [401, 503, 0], ids=lambda status: str(status or "hang"))
@pytest.mark.parametrize("asked", ["token", "credentials"])
def test_metadata_out_of_order(machine: Machine, status: int, asked: str) -> None:
    with Metadata() as metadata:
        metadata.values[f"{CREDENTIALS}/worker"] = ROLE
        (metadata.token_faults if asked == "token" else metadata.faults).extend([status] * 100)
        boot = machine.boot(**by_role(machine, metadata))
        assert metadata.requests
    assert_ended(machine, boot, "could not read the parameter .*Unable to locate credentials")


Sabotage = Callable[[Stack], None]


def wrong_pointer(stack: Stack) -> None:
    stack.parameter("release", f"s3://{stack.bucket}/r/{stack.release.name} {'0' * 64}")


def empty_pointer(stack: Stack) -> None:
    stack.parameter("release", "none")


def replaced(path: str, body: bytes | None) -> Sabotage:
    """Put other bytes for a file of the release, or take it away; `*` is the file whose name begins so."""

    def sabotage(stack: Stack) -> None:
        (found,) = (file.relative_to(stack.release) for file in stack.release.glob(path))
        stack.s3.delete_object(Bucket=stack.bucket, Key=stack.key(str(found)))
        if body is not None:
            stack.s3.put_object(Bucket=stack.bucket, Key=stack.key(str(found)), Body=body)

    return sabotage


def truncated(stack: Stack) -> None:
    whole = (stack.release / "wheels" / releases.WORKER).read_bytes()
    replaced(f"wheels/{releases.WORKER}", whole[:-1])(stack)


def added(path: str) -> Sabotage:
    return lambda stack: stack.s3.put_object(Bucket=stack.bucket, Key=stack.key(path), Body=b"evil")


def fault(operation: str, action: str, **rule: str | float) -> Sabotage:
    def sabotage(stack: Stack) -> None:
        where = {"bucket": stack.bucket} if operation.startswith("s3:") else {}
        stack.cloud.fault(operation, action, times=None, **where, **rule)

    return sabotage


def settings(text: str) -> Sabotage:
    return lambda stack: stack.parameter("settings", text)


def forgotten(name: str) -> Sabotage:
    return lambda stack: stack.ssm.delete_parameter(Name=f"{stack.group}/{name}")


SABOTAGES: dict[str, tuple[Sabotage, str]] = {
    "wrong manifest hash": (wrong_pointer, r"could not fetch s3://.*checksum did NOT match"),
    "empty pointer": (empty_pointer, r"could not fetch none .*"),
    "altered manifest": (replaced("SHA256SUMS", b"0\n"), r"could not fetch .*checksum did NOT match"),
    "altered bootstrap.sh": (
        replaced("bootstrap.sh", b"systemctl enable --now evil\n"),
        r"could not fetch .*checksum did NOT match",
    ),
    "missing manifest": (replaced("SHA256SUMS", None), r"could not fetch .*\(404\)"),
    "missing bootstrap.sh": (replaced("bootstrap.sh", None), r"could not fetch .*\(404\)"),
    "truncated wheel": (
        truncated,
        r"could not install .*not as SHA256SUMS says: wheels/fleetcopy-\S+: FAILED$",
    ),
    "missing wheel": (
        replaced("wheels/pip-*", None),
        r"could not install .*not as SHA256SUMS says: wheels/pip-\S+: FAILED open or read$",
    ),
    "altered unit": (
        replaced("fleetcopy.service", b""),
        r"not as SHA256SUMS says: fleetcopy.service: FAILED$",
    ),
    "unknown file": (
        added("wheels/boto3-9-py3-none-any.whl"),
        r"not in SHA256SUMS: wheels/boto3-9-py3-none-any.whl$",
    ),
    "S3 refuses to read": (
        fault("s3:HeadObject", "error", status=403, code="AccessDenied"),
        r"could not fetch .*\(403\).* Forbidden",
    ),
    "S3 refuses to list": (
        fault("s3:ListObjectsV2", "error", status=403, code="AccessDenied"),
        r"could not install .*AccessDenied.*ListObjectsV2",
    ),
    "S3 is out of order": (fault("s3:HeadObject", "error"), r"could not fetch .*\(503\)"),
    "S3 resets": (fault("s3:HeadObject", "reset"), r"could not fetch .*Connection was closed"),
    "S3 cuts bodies short": (fault("s3:GetObject", "truncate"), r"could not fetch .*"),
    "S3 flips a bit": (fault("s3:GetObject", "flip"), r"could not fetch .*did not match"),
    "SSM refuses": (
        fault("ssm:GetParameter", "error", status=400, code="AccessDeniedException"),
        r"could not read the parameter .*AccessDeniedException",
    ),
    "SSM is out of order": (
        fault("ssm:GetParameter", "error", status=500, code="InternalServerError"),
        r"could not read the parameter .*InternalServerError",
    ),
    "no pointer": (forgotten("release"), r"could not read the parameter .*ParameterNotFound"),
    "no settings": (forgotten("settings"), r"could not install .*ParameterNotFound"),
    "a setting that is none": (
        # Whose name would break the JSON that tells of it.
        settings('FLEETCOPY_SOURCE=s3://a\nLD_"PRE\\LOAD"=/tmp/evil.so'),
        r"could not install .*/settings has a line that is no setting: LD_PRELOAD$",
    ),
    "a setting with a control character": (
        settings("FLEETCOPY_SOURCE=s3://a/\x01b"),
        r"has a line that is no setting: FLEETCOPY_SOURCE$",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SABOTAGES)
def test_what_is_out_of_order_in_the_cloud_ends_the_instance(
    stack: Stack, machine: Machine, case: str
) -> None:
    sabotage, why = SABOTAGES[case]
    sabotage(stack)
    boot = machine.boot()
    assert_ended(machine, boot, why)
    assert stack.told() == [boot.why]


@pytest.mark.slow
def test_services_that_hang_are_not_waited_for(cloud: Cloud, stack: Stack, tmp_path: Path) -> None:
    """SSM accepts and never answers; S3 lists after a minute: at once, for each takes its time."""
    stack.cloud.fault("s3:ListObjectsV2", "delay", bucket=stack.bucket, times=None, seconds=60)
    boots: dict[str, Boot] = {}
    machines = {name: Machine(tmp_path / name, cloud, stack.name) for name in ("ssm", "s3")}
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        elsewhere = {"AWS_ENDPOINT_URL_SSM": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        threads = [
            threading.Thread(target=lambda: boots.update(ssm=machines["ssm"].boot(**elsewhere))),
            threading.Thread(target=lambda: boots.update(s3=machines["s3"].boot())),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert_ended(
        machines["ssm"], boots["ssm"], "could not read the parameter .*(Read timeout|timeout: sending)"
    )
    assert_ended(machines["s3"], boots["s3"], "could not install .*(Read timeout|timeout: sending)")
    assert max(boot.seconds for boot in boots.values()) < WATCHDOG_SECONDS / 2


@pytest.mark.slow
def test_one_failure_of_each_step_is_got_over(stack: Stack, machine: Machine) -> None:
    """As where a new role is not known everywhere yet."""
    for operation in ("ssm:GetParameter", "s3:HeadObject", "s3:ListObjectsV2"):
        code = "AccessDeniedException" if operation.startswith("ssm") else "AccessDenied"
        stack.cloud.fault(operation, "error", times=1, status=403, code=code)
    assert_started(machine, machine.boot(), stack.release)


@pytest.mark.slow
def test_no_aws_cli(machine: Machine) -> None:
    (machine.bin / "aws").unlink()
    assert_ended(machine, machine.boot(), r"could not read the parameter .*failed to run command .*aws")


@pytest.mark.slow
def test_no_python_and_none_to_be_had(stack: Stack, machine: Machine) -> None:
    (machine.bin / "python3.11").rename(machine.root / "kept")
    boot = machine.boot()
    assert_ended(
        machine, boot, r"there is no Python 3.11 to 3.13, and dnf does not install .*: Error: no package$"
    )
    assert stack.told() == [boot.why]
    # Now dnf has one.
    (machine.root / "kept").rename(machine.root / "python3.11")
    healed = machine.boot()
    assert healed.calls.pop(2) == "dnf --quiet --assumeyes install python3.11"
    assert_started(machine, healed, stack.release)


@pytest.mark.slow
def test_a_worker_that_does_not_start(stack: Stack, machine: Machine) -> None:
    machine.put("worker-fails", "")
    machine.put("bin/journalctl", "#!/bin/sh\necho 'fleetcopy: no such bucket'\n")
    boot = machine.boot()
    assert boot.why.endswith(": the worker does not start: fleetcopy: no such bucket")
    assert boot.calls.count("systemctl enable --now fleetcopy") == 3
    assert boot.calls[-1] == "systemctl poweroff"
    assert stack.told() == [boot.why]
    (machine.root / "worker-fails").unlink()
    assert_started(machine, machine.boot(), stack.release)


@pytest.mark.slow
def test_a_full_disk(stack: Stack, machine: Machine, tmp_path: Path) -> None:
    """/opt has room for the virtual environment, and not for the worker."""
    stack.release = stack.publish(
        releases.make(tmp_path / "dist", ballast=random.Random(1).randbytes(1 << 20))
    )
    opt = machine.root / "opt"
    opt.mkdir()
    small = f'mount -t tmpfs -o size=512k none {shlex.quote(str(opt))} && exec "$@"'
    boot = machine.boot(
        *("/usr/bin/unshare", "--user", "--map-root-user", "--mount"),
        *("/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-c", small, "small"),
        *("/usr/bin/env", f"PATH={machine.bin}"),
    )
    assert_ended(machine, boot, r"could not install .*No space left on device")
    assert_started(machine, machine.boot(), stack.release)


@pytest.mark.slow
def test_a_half_done_installation_is_done_again(stack: Stack, machine: Machine) -> None:
    """Whatever an earlier run can have left, and a place that another has taken."""
    release = f"opt/fleetcopy/releases/{stack.release.name}"
    for name in (f"{release}.new/bin/python", f"{release}/bin/python", "etc/fleetcopy/environment.new"):
        machine.put(name, "half")
    machine.put("run/fleetcopy/fetched/wheels/half.whl", "half")
    machine.put("run/fleetcopy/SHA256SUMS", "half")
    (machine.root / "opt/fleetcopy/current.new").symlink_to("nowhere")
    assert_started(machine, machine.boot(), stack.release)
    assert not (machine.root / f"{release}.new").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_that_is_killed_is_healed_by_the_next(stack: Stack, machine: Machine, seed: int) -> None:
    moment = random.Random(seed).uniform(0.5, 6)
    print(f"seed {seed}: killed after {moment:.2f} s")
    process = machine.start()
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        end_tree(process.pid)
        process.wait()
    assert process.stdout
    process.stdout.close()
    assert_started(machine, machine.boot(), stack.release)


@pytest.mark.slow
def test_an_instance_waits_before_it_ends(machine: Machine) -> None:
    """So that a fleet that can only fail does so slowly, and not all instances at once."""
    (machine.bin / "aws").unlink()
    (machine.bin / "sleep").unlink()
    machine.put("bin/sleep", '#!/bin/sh\necho "sleep $1" >>"$FLEETCOPY_ROOT/calls"\n')
    waits = set()
    for _ in range(5):
        calls = machine.boot(FLEETCOPY_PAUSE="5").calls
        assert calls[-1] == "systemctl poweroff"
        assert calls[2:-2] == ["sleep 5", "sleep 5"]
        waits.add(int(calls[-2].removeprefix("sleep ")))
    assert len(waits) > 1
    assert all(30 <= wait < 150 for wait in waits)


@pytest.fixture
def systemd_root(tmp_path: Path) -> Path:
    """A root in which the unit's program and the targets that it names are there."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for target in ("sysinit", "basic", "shutdown", "network-online", "multi-user"):
        (units / f"{target}.target").write_text("[Unit]\nDescription=here\n")
    shutil.copy(BOOTSTRAP / "fleetcopy.service", units)
    python = tmp_path / "opt/fleetcopy/current/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return tmp_path


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")


@needs_systemd
def test_systemd_understands_every_line_of_the_unit(systemd_root: Path) -> None:
    ended = subprocess.run(
        ["/usr/bin/systemd-analyze", "verify", f"--root={systemd_root}", "fleetcopy.service"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@needs_systemd
def test_what_the_unit_leaves_exposed_is_explained_in_it() -> None:
    unit = BOOTSTRAP / "fleetcopy.service"
    told = subprocess.check_output(
        ["/usr/bin/systemd-analyze", "security", "--offline=true", "--no-pager", unit], text=True
    )
    print(told.splitlines()[-1])
    score = re.search(r"Overall exposure level for fleetcopy.service: (\d+\.\d)", told)
    assert score
    assert float(score[1]) < 1.5
    exposed = re.findall(r"^✗ (\S+?)=", told, re.MULTILINE)
    explained = re.findall(
        r"^# ([A-Z].*?): ", unit.read_text().partition("still finds exposed")[2], re.MULTILINE
    )
    assert exposed
    assert set(exposed) == {name.partition("=")[0] for names in explained for name in names.split(", ")}
