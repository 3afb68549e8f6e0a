"""One instance as a machine: an overlay of the Debian root, booted by systemd-nspawn until it powers off.

cloud-init finds the user data in a NoCloud seed, unchanged. All else that is put into the root stands for
what an instance finds around it: the AWS CLI that it comes with, and the way to AWS, which here is a variable
in the environment of all that systemd starts. Credentials are the metadata service's business.

All of the unit's sandboxing is in force, but for what the host decides: DevicePolicy needs its control
groups, and LimitNOFILE stays below its own limit.
"""

from __future__ import annotations

import json
import subprocess
import sysconfig
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.processes import children

AWS = """\
#!/usr/bin/python3
import sys
sys.path.insert(0, "/opt/aws-cli")
from awscli.clidriver import main
sys.exit(main())
"""
CLOUD_INIT = """\
datasource_list: [NoCloud]
network: {config: disabled}
locale: C.UTF-8
"""
META_DATA = """\
instance-id: {0}
local-hostname: {0}
"""
JOURNAL_TAIL = 40
CONSOLE_TAIL = 4_000


class Machine:
    """A booted machine: `with Machine(root, folder, "i-0123", user_data, environment) as machine: ...`.

    Args:
        root: the Debian root, which is not changed.
        folder: a new one, where what the machine writes goes and stays.
        instance_id: its name too.
        user_data: as the launch template has it, decoded.
        environment: of every process of the machine.
    """

    def __init__(
        self, root: Path, folder: Path, instance_id: str, user_data: str, environment: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._root = folder / "root"
        self._lower = root
        self._files = {
            "etc/cloud/cloud.cfg.d/90-boot.cfg": CLOUD_INIT,
            "etc/systemd/journald.conf.d/boot.conf": "[Journal]\nStorage=persistent\n",
            "etc/systemd/system.conf.d/boot.conf": _manager(environment),
            "usr/local/bin/aws": AWS,
            "var/lib/cloud/seed/nocloud/meta-data": META_DATA.format(instance_id),
            "var/lib/cloud/seed/nocloud/user-data": user_data,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._name = instance_id

    def __enter__(self) -> Self:
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir(parents=True)
        layers = f"lowerdir={self._lower},upperdir={self._folder}/upper,workdir={self._folder}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", layers]
        subprocess.run([*mount, self._root], check=True)
        for name, text in self._files.items():
            path = self._root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self._root / "usr/local/bin/aws").chmod(0o755)
        command = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={self._root}",
            f"--machine={self._name}",
            "--boot",
            "--register=no",
            "--keep-unit",
            "--console=read-only",
            f"--bind-ro={sysconfig.get_path('purelib')}:/opt/aws-cli",
        ]
        with self._console.open("wb") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process
        self._process.kill()  # its machine ends with it
        self._process.wait()
        if kind:
            told = [entry["MESSAGE"] for entry in self.journal() if entry["_PID"] != "1"]
            print(f"the journal of {self._name}, systemd's own words apart, ended with:")
            print(*told[-JOURNAL_TAIL:], sep="\n")
        # Its processes may still be on their way out.
        unmount = ["umount", "--lazy"]
        subprocess.run([*unmount, self._root], check=True)

    @property
    def _console(self) -> Path:
        return self._folder / "console"

    @property
    def running(self) -> bool:
        """Whether it has not powered off yet."""
        assert self._process
        return self._process.poll() is None

    def console(self) -> str:
        """What it has written to its console so far."""
        return self._console.read_text(errors="replace")

    def await_power_off(self, seconds: float) -> None:
        """Return once it has powered itself off.

        Raises:
            subprocess.TimeoutExpired: it has not within `seconds`.
        """
        assert self._process
        assert self._process.wait(seconds) == 0, self.console()[-CONSOLE_TAIL:]

    def run(self, *command: str) -> str:
        """Run a command in the running machine; what it prints, also as errors."""
        assert self._process
        (leader,) = children(self._process.pid)
        enter = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--pid", "--root", "--wd=/"]
        done = subprocess.run(
            [*enter, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    @property
    def written(self) -> Path:
        """All that the machine has written, and what was put into it."""
        return self._folder / "upper"

    def journal(self) -> list[dict[str, Any]]:
        """The journal's entries so far, in order; their fields are those of systemd.journal-fields(7)."""
        command = ["journalctl", f"--directory={self.written}/var/log/journal", "--output=json", "--all"]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        return [{"MESSAGE": "", "_PID": "", **json.loads(line)} for line in lines]

    def when(self, message: str) -> float:
        """When the journal first had a message that holds this, in seconds since the epoch."""
        found = [entry for entry in self.journal() if message in entry["MESSAGE"]]
        assert found, f"the journal has no {message!r}"
        return int(found[0]["__REALTIME_TIMESTAMP"]) / 1e6


def _manager(environment: Mapping[str, str]) -> str:
    """Systemd's own configuration: what it puts into the environment of all that it starts."""
    variables = " ".join(f'"{name}={value}"' for name, value in environment.items())
    return textwrap.dedent(f"""\
        [Manager]
        ShowStatus=no
        DefaultEnvironment={variables}
        ManagerEnvironment={variables}
    """)
