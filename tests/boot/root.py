"""The Debian root that instances boot from: made once by debootstrap, then kept in the user's cache.

Debian 12, since its systemd is Amazon Linux 2023's (252), and its cloud-init runs user data the same way. It
has what fleetcopy's user data counts on in an image, but for the AWS CLI: Debian's is too old to know
AWS_ENDPOINT_URL, so a `machine.Machine` borrows the test environment's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "cloud-init",
    "curl",
    "dbus",
    # cloud-init depends on it in a way that debootstrap cannot follow.
    "python3-cffi-backend",
    "python3-venv",
    "systemd",
    "systemd-sysv",
)


def cached() -> Path:
    """The root's folder, which nothing may change; made now, in about 100 s, if it is not there.

    Raises:
        SystemExit: apt knows no mirror for it, or debootstrap failed.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleetcopy"
    recipe = hashlib.sha256(repr((SUITE, PACKAGES)).encode()).hexdigest()[:12]
    root = cache / f"{SUITE}-{recipe}"
    if not root.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{SUITE}-", dir=cache, ignore_cleanup_errors=True) as folder:
            made = Path(folder) / "root"
            _make(made)
            made.rename(root)
    return root


def _make(root: Path) -> None:
    print(f"making a Debian root in {root.parent.parent} (about 100 s, once)", flush=True)
    log = root.with_name("debootstrap.log")
    # A mount namespace of its own takes debootstrap's mounts away with it, also when it is killed.
    command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    with log.open("wb") as output:
        done = subprocess.run(
            [*command, SUITE, root, _mirror()], stdout=output, stderr=subprocess.STDOUT, check=False
        )
    said = log.read_text(errors="replace")
    # It exits with 0 when a package could not be configured.
    if done.returncode or "Failure while configuring" in said:
        raise SystemExit(f"debootstrap failed with exit status {done.returncode}:\n{said[-3000:]}")
    shutil.rmtree(root / "var/cache/apt/archives")


def _mirror() -> str:
    """The archive that this machine's apt takes the suite from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    wanted = ["Created-By: Packages", f"Codename: {SUITE}", "Component: main"]
    found = subprocess.run([*command, *wanted], capture_output=True, text=True, check=True).stdout.split()
    if not found:
        raise SystemExit(
            f"apt knows no archive of Debian {SUITE}: run `apt-get update`, or add one to its sources"
        )
    return found[0]
