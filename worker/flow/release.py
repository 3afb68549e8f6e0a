"""Builds a release from a checkout, checks one, and publishes it.

A build reads the checkout and a package index, and promises that equal inputs give equal bytes: third-party
wheels come by the hashes of the locks; the project's own is made by a locked build tool and packed anew,
without dates, modes or compression. Wheels once fetched are kept below the checkout, in `.cache/wheels`, so
that the next build needs no network. What a release holds and is called is for `core.release` to say, how it
is installed for `bootstrap/`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import msgspec

from worker.aws.releases import Shelf
from worker.core import release
from worker.core.errors import ConfigurationError, ReleaseError, ServiceUnavailableError
from worker.core.release import MANIFEST, Manifest, Pin, Place, Target

_LOCK = "requirements.txt"
_TOOLS_LOCK = "bootstrap/requirements.txt"
_SHIPPED = ("bootstrap/bootstrap.sh", "bootstrap/fleetcopy.service")
_SOURCE = ("pyproject.toml", "README.md", "LICENSE", "worker")
"""All that the project's wheel is made from."""

_BACKEND = """
import sys
sys.path.insert(0, sys.argv[1])
from setuptools import build_meta
build_meta.build_wheel(sys.argv[2])
"""
"""The build backend that pyproject.toml names, called as PEP 517 says, from the folder argv[1]."""

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_TOLD_LINES = 4


def build(checkout: Path, output: Path) -> Path:
    """Make the release of a checkout; its folder, `output/<version>`.

    Raises:
        ReleaseError: it is no checkout, a lock is out of order, or other contents are where the release goes.
        ServiceUnavailableError: the package index does not deliver.
    """
    checkout, output = checkout.resolve(), output.resolve()
    for name in (*_SOURCE, *_SHIPPED, _LOCK, _TOOLS_LOCK):
        if not (checkout / name).exists():
            raise ReleaseError(f"{checkout} is no checkout of fleetcopy, without {name}: give --checkout DIR")
    fetched = _fetched(checkout)
    output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".building-", dir=output) as scratch:
        new = Path(scratch, "release")
        wheels = new / release.WHEELS
        wheels.mkdir(parents=True)
        for wheel in fetched.iterdir():
            if release.project_of(wheel.name) != "setuptools":
                shutil.copyfile(wheel, wheels / wheel.name)
        own = _own_wheel(checkout, fetched, Path(scratch, "build"), wheels)
        for name in _SHIPPED:
            shutil.copyfile(checkout / name, new / Path(name).name)
        (new / release.REQUIREMENTS).write_text(release.requirements(_digests(wheels)))
        manifest = Manifest(_digests(new))
        (new / MANIFEST).write_text(manifest.text)
        target = output / manifest.version(release.version_of(own))
        if target.exists():
            check(target)
            os.utime(target)
        else:
            new.rename(target)
    return target


def check(folder: Path) -> Manifest:
    """The manifest of a release, after every file was found to be as it says.

    Raises:
        ReleaseError: the folder is no release, or not as it was built.
    """
    try:
        manifest = Manifest.parse((folder / MANIFEST).read_text())
    except (OSError, UnicodeError):
        raise ReleaseError(f"{folder} is no release: it has no readable {MANIFEST}") from None
    found = _digests(folder)
    del found[MANIFEST]
    manifest.check(folder.resolve().name, found)
    return manifest


def latest(output: Path) -> Path:
    """The release that was built last into `output`.

    Raises:
        ReleaseError: there is none.
    """
    releases = [path.parent for path in output.glob(f"[0-9]*/{MANIFEST}")]
    if not releases:
        raise ReleaseError(f"{output} holds no release: run `fleetcopy release build`, or name its folder")
    return max(releases, key=lambda path: path.stat().st_mtime)


class Published(msgspec.Struct, frozen=True):
    """A release that is there: how many files it has, how many were new, and the parameters that name it."""

    version: str
    files: int
    sent: int
    parameters: list[str]


def publish(folder: Path, place: Place, shelf: Shelf) -> Published:
    """Check a release and upload it.

    Nothing is ever overwritten, and the manifest goes last: what was broken off, the next run completes.

    Raises:
        ReleaseError: the folder is no release, or not as it was built.
        ConfigurationError: S3 refuses, or has other contents where a file of the release goes.
        ServiceUnavailableError: S3 did not answer, after retries.
    """
    manifest, version = check(folder), folder.resolve().name
    order = release.upload_order(manifest)
    sent = 0
    for path in order:
        digest = manifest.files.get(path, manifest.sha256)
        key = place.key(version, path)
        if shelf.put_new(key, (folder / path).read_bytes(), digest):
            sent += 1
        elif shelf.sha256(key) != digest:
            raise ConfigurationError(
                f"s3://{place.bucket}/{key} is there already, with other contents. A release never changes: "
                "find out who wrote it, then delete it, or publish under another prefix"
            )
    return Published(version, len(order), sent, release.stack_parameters(place, version, manifest))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def _fetched(checkout: Path) -> Path:
    """The folder of all locked wheels, for every target; fetched unless it is there."""
    locks = [(checkout / name).read_text() for name in (_LOCK, _TOOLS_LOCK)]
    pins = [pin for lock in locks for pin in release.pins(lock)]
    key = hashlib.sha256(msgspec.json.encode([pins, release.TARGETS], order="sorted")).hexdigest()
    folder = checkout / ".cache" / "wheels" / key[:16]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as scratch:
            new = Path(scratch, "wheels")
            new.mkdir()
            _fetch(pins, new)
            try:
                new.rename(folder)
            except OSError:
                if not folder.exists():  # else another build was quicker
                    raise
    if strangers := release.strangers(_digests(folder), pins):
        raise ReleaseError(f"{folder / strangers[0]} is not what the lock names: remove {folder}")
    return folder


def _fetch(pins: Iterable[Pin], folder: Path) -> None:
    """Fetch each pin's wheels: a pure one once, the others for every target."""
    for target in release.TARGETS:
        pure = {release.project_of(wheel.name) for wheel in folder.iterdir() if release.is_pure(wheel.name)}
        _download([pin for pin in pins if pin.name not in pure], target, folder)


def _download(pins: Iterable[Pin], target: Target, folder: Path) -> None:
    wanted = folder.parent / "wanted.txt"
    wanted.write_text("".join(pin.line for pin in pins))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += [f"--requirement={wanted}", f"--dest={folder}"]
    command += ["--implementation=cp", f"--python-version={target.python}", f"--abi=cp{target.python}"]
    command += [f"--platform={platform}" for platform in target.platforms]
    if told := _failure(command, folder.parent):
        raise ServiceUnavailableError(
            f"the package index does not deliver the locked wheels for CPython {target.python} on "
            f"{target.machine}. Check the network and pip's settings; pip says:\n{told}"
        )


def _own_wheel(checkout: Path, fetched: Path, scratch: Path, wheels: Path) -> str:
    """Put the project's own wheel into `wheels`; its name. The checkout is left as it is."""
    source, tools, built = scratch / "source", scratch / "tools", scratch / "built"
    built.mkdir(parents=True)
    for name in _SOURCE:
        if (checkout / name).is_dir():
            shutil.copytree(checkout / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copyfile(checkout / name, source / name)
    (setuptools,) = fetched.glob("setuptools-*.whl")
    with ZipFile(setuptools) as archive:
        archive.extractall(tools)
    if told := _failure([sys.executable, "-I", "-S", "-c", _BACKEND, str(tools), str(built)], source):
        raise ReleaseError(f"{checkout}: its wheel cannot be built; setuptools says:\n{told}")
    (wheel,) = built.iterdir()
    _repack(wheel, wheels / wheel.name)
    return wheel.name


def _repack(wheel: Path, target: Path) -> None:
    """Copy a wheel's contents, and nothing of the machine that packed them.

    Not compressed, for one zlib's output is not another's.
    """
    with ZipFile(wheel) as old, ZipFile(target, "w", ZIP_STORED) as new:
        for name in sorted(old.namelist()):
            entry = ZipInfo(name, _ZIP_EPOCH)
            entry.create_system = 3  # Unix, whose modes the next line has
            entry.external_attr = 0o644 << 16
            new.writestr(entry, old.read(name))


def _failure(command: list[str], folder: Path) -> str:
    """Run a command; the last of what it says when it fails, else nothing."""
    ended = subprocess.run(  # noqa: S603 - no part of it is anybody's text
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ended.returncode == 0:
        return ""
    return "\n".join(ended.stderr.strip().splitlines()[-_TOLD_LINES:]) or f"status {ended.returncode}"
