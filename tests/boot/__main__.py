"""`python -m tests.boot [pytest's options]`, as root: the root made ready, then the tests, shut in.

The tests run in namespaces of their own. Their only network interface is a loopback that also owns
169.254.169.254, so that nothing reaches this machine's own metadata service, nor anything else. Their files
are in memory. When they end, or this process does, the kernel ends all their processes and mounts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.boot import RELEASE_FOLDER, ROOT_FOLDER, root
from tests.cloud import ROOT
from tests.processes import children
from worker.flow import release

TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "journalctl": "systemd",
    "ip": "iproute2",
    "mount": "mount",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
"""Each command that a real boot needs, and the Debian package that has it."""

SHUT_IN = """
for group in $CONTROL_GROUPS; do echo 0 > "$group/cgroup.procs"; done
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs "$TMPDIR"
ip link set lo up
ip address add 169.254.169.254/32 dev lo
exec "$@"
"""


PYTEST = ["-m", "pytest", "-m", "boot", "-rP", "tests/boot"]


def main() -> int:
    """Run the tests; pytest's exit status."""
    _require()
    # What needs a network comes first: the root, and the wheels of the release.
    made = root.cached()
    with tempfile.TemporaryDirectory(prefix="fleetcopy-boot-") as folder, _control_groups() as groups:
        built = release.build(ROOT, Path(folder, "release"))
        scratch = Path(folder, "scratch")
        scratch.mkdir()
        environment = {
            "TMPDIR": str(scratch),
            "CONTROL_GROUPS": " ".join(groups),
            ROOT_FOLDER: str(made),
            RELEASE_FOLDER: str(built),
        }
        return _run(["sh", "-euc", SHUT_IN, "sh", sys.executable, *PYTEST, *sys.argv[1:]], environment)


def _require() -> None:
    missing = [] if os.geteuid() == 0 else ["root's rights"]
    missing += [f"{tool} (Debian: {package})" for tool, package in TOOLS.items() if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"a real boot needs {', '.join(missing)}")


@contextlib.contextmanager
def _control_groups() -> Iterator[list[str]]:
    """Control groups of this run, below our own, in the hierarchies that systemd uses; removed at the end."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    groups = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for _, point, kind, options, *_ in mounts:
            unified = kind == "cgroup2" and not controllers
            if unified or (kind == "cgroup" and controllers == "name=systemd" and controllers in options):
                groups.append(Path(f"{point}{path}", f"fleetcopy-boot-{os.getpid()}"))
    for group in groups:
        group.mkdir()
    try:
        yield [str(group) for group in groups]
    finally:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run a command as the first process of new namespaces, which end with this process whatever ends it."""
    shut_in = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--mount-proc"]
    with subprocess.Popen(
        [*shut_in, "--fork", "--kill-child", *command], cwd=ROOT, env=os.environ | environment
    ) as unshare:

        def end(*_: object) -> None:
            # With the first process, the kernel ends all others, before unshare hears of it.
            for first in children(unshare.pid):
                os.kill(first, signal.SIGKILL)

        signal.signal(signal.SIGTERM, end)
        # A terminal's Ctrl-C is for pytest, which has it too.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return unshare.wait()
        finally:
            end()


if __name__ == "__main__":
    sys.exit(main())
