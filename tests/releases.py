"""A small release, made in a moment and without an index: the real `bootstrap/`, and a worker in name.

It is installed by the real `bootstrap.sh` with the real pip, the one that came with this Python.
"""

from __future__ import annotations

import ensurepip
import hashlib
import shutil
import sysconfig
from pathlib import Path
from zipfile import ZipFile

from worker.core import release
from worker.core.release import MANIFEST, REQUIREMENTS, WHEELS, Manifest

ROOT = Path(__file__).resolve().parents[1]
WORKER = "fleetcopy-0.1.0-py3-none-any.whl"


def pip_wheel() -> Path:
    """The wheel of pip that Python brings along; Debian keeps it in a folder of its own."""
    folders = [Path(ensurepip.__file__).parent / "_bundled"]
    if elsewhere := sysconfig.get_config_var("WHEEL_PKG_DIR"):
        folders.append(Path(elsewhere))
    return next(wheel for folder in folders for wheel in folder.glob("pip-*.whl"))


def make(output: Path, *, says: str = "fleetcopy 0.1.0", ballast: bytes = b"") -> Path:
    """Make a release whose worker prints `says` when asked for its version; its folder.

    Args:
        output: the folder in which it gets its own.
        says: what tells it from another.
        ballast: a file in the worker's wheel.
    """
    new = output / ".new"
    wheels = new / WHEELS
    wheels.mkdir(parents=True)
    _worker_wheel(wheels / WORKER, f"print({says!r})\n", ballast)
    shutil.copyfile(pip_wheel(), wheels / pip_wheel().name)
    for name in ("bootstrap.sh", "fleetcopy.service"):
        shutil.copyfile(ROOT / "bootstrap" / name, new / name)
    (new / REQUIREMENTS).write_text(release.requirements(digests(wheels)))
    manifest = Manifest(digests(new))
    (new / MANIFEST).write_text(manifest.text)
    return new.rename(output / manifest.version("0.1.0"))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _worker_wheel(wheel: Path, main: str, ballast: bytes) -> None:
    about = "fleetcopy-0.1.0.dist-info"
    files = {
        "worker/__init__.py": b"",
        "worker/__main__.py": main.encode(),
        "worker/ballast": ballast,
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: fleetcopy\nVersion: 0.1.0\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"]).encode()
    with ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
