"""A release as text: which wheels it holds, its requirements, its manifest, its version, its way to S3.

A release is a folder that an instance installs and nothing else: `bootstrap.sh`, `fleetcopy.service`,
`requirements.txt`, `wheels/`, and `SHA256SUMS`, the manifest of all others. Its name, the version, ends in
the manifest's own hash: equal contents have one name. Who knows the whole hash (the stack, by its parameter
ReleaseManifestSha256) need trust nobody who holds the files. `flow.release` builds and publishes releases,
`bootstrap/` checks and installs them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Self

import msgspec

from worker.core.errors import ReleaseError
from worker.core.model import parse_uri

MANIFEST = "SHA256SUMS"
REQUIREMENTS = "requirements.txt"
WHEELS = "wheels"
PROJECT = "fleetcopy"

INSTALLER = "pip"
"""The requirement that installs the others: shipped, run from its wheel, never installed."""

_GLIBC = 34
"""Minor version of the C library, 2.34, that a wheel may ask for: Amazon Linux 2023's."""

_PIN = re.compile(
    r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+]+)(?: *; *([^\\]+?))?((?: +--hash=sha256:[0-9a-f]{64})+)"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NOT_LINUX = {"sys_platform == 'win32'"}
_ENTRY = re.compile(r"([0-9a-f]{64})  ((?:[A-Za-z0-9_+-][A-Za-z0-9._+-]*/)*[A-Za-z0-9_+-][A-Za-z0-9._+-]*)")
_VERSION = re.compile(r"\d+\.\d+\.\d+\+([0-9a-f]{12})")
_PLACE = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._-]+)*")
"""As the template's parameter ReleaseUri: what meets no quoting, in a shell or in `ParameterValue=`."""


class Target(msgspec.Struct, frozen=True):
    """One kind of machine that installs releases: `python` as in `311`, `machine` as `uname -m` says it."""

    python: str
    machine: str

    @property
    def platforms(self) -> list[str]:
        """The wheel platforms that run on it, best first, as pip's `--platform` takes them (PEP 600)."""
        newest_first = range(_GLIBC, 16, -1)
        return [f"manylinux_2_{minor}_{self.machine}" for minor in newest_first] + [
            f"manylinux2014_{self.machine}"
        ]


TARGETS = tuple(
    Target(python, machine) for machine in ("x86_64", "aarch64") for python in ("311", "312", "313")
)


class Pin(msgspec.Struct, frozen=True):
    """One locked requirement: its name and version, and the SHA-256 of each file that may serve it."""

    name: str
    version: str
    hashes: frozenset[str]

    @property
    def line(self) -> str:
        """The pin as a requirements file has it."""
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in sorted(self.hashes))
        return f"{self.name}=={self.version} {hashes}\n"


def pins(lock: str) -> list[Pin]:
    """What a lock file pins for Linux, in its order.

    Markers are decided here and not left to pip, which asks the machine that builds.

    Raises:
        ReleaseError: a line pins no version and hash, or has a marker that is not known here.
    """
    lines = re.sub(r" *\\\n *", " ", lock).splitlines()
    found = []
    for line in (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")):
        match = _PIN.fullmatch(line)
        if match is None:
            raise ReleaseError(f"the lock's line {line[:60]!r} pins no version by hash: renew the lock")
        name, version, marker, hashes = match.groups()
        if marker is None:
            found.append(Pin(name, version, frozenset(_HASH.findall(hashes))))
        elif marker not in _NOT_LINUX:
            raise ReleaseError(
                f"the lock's marker {marker!r} of {name} is unknown to core/release.py: add it"
            )
    return found


def project_of(wheel: str) -> str:
    """The project that a wheel's file name names, as a lock spells it (PEP 427, PEP 503)."""
    return wheel.partition("-")[0].replace("_", "-").replace(".", "-").lower()


def version_of(wheel: str) -> str:
    """The version that a wheel's file name names."""
    return wheel.split("-")[1]


def is_pure(wheel: str) -> bool:
    """Whether a wheel serves every target."""
    return wheel.endswith("-none-any.whl")


def requirements(wheels: Mapping[str, str]) -> str:
    """The requirements file of a release: each project once, pinned to the very wheels that are there.

    Args:
        wheels: SHA-256 by file name; the installer is left out.
    """
    projects = sorted({(project_of(wheel), version_of(wheel)) for wheel in wheels})
    return "".join(
        Pin(
            name,
            version,
            frozenset(digest for wheel, digest in wheels.items() if project_of(wheel) == name),
        ).line
        for name, version in projects
        if name != INSTALLER
    )


def strangers(wheels: Mapping[str, str], locked: Iterable[Pin]) -> list[str]:
    """The wheels that the locks do not name by hash."""
    known = {digest for pin in locked for digest in pin.hashes}
    return sorted(wheel for wheel, digest in wheels.items() if digest not in known)


class Manifest(msgspec.Struct, frozen=True):
    """The manifest of a release: SHA-256 by relative path, of every file but itself."""

    files: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` renders, and nothing else.

        Raises:
            ReleaseError: it is no manifest.
        """
        matches = [_ENTRY.fullmatch(line) for line in text.splitlines()]
        manifest = cls({match[2]: match[1] for match in matches if match})
        if not manifest.files or manifest.text != text:
            raise ReleaseError(f"{MANIFEST} is no manifest of a release: build it again")
        return manifest

    @property
    def text(self) -> str:
        """The manifest as `sha256sum --check` reads it, so that a shell needs no parser of its own."""
        return "".join(f"{digest}  {path}\n" for path, digest in sorted(self.files.items()))

    @property
    def sha256(self) -> str:
        """What ReleaseManifestSha256 says: the trust in all the rest."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def version(self, base: str) -> str:
        """The release's version, from the project's version and all contents."""
        return f"{base}+{self.sha256[:12]}"

    def check(self, version: str, found: Mapping[str, str]) -> None:
        """Make sure that files found, SHA-256 by path without the manifest, are the release `version`.

        Raises:
            ReleaseError: one is missing, altered or no part of it, or the version is another's.
        """
        match = _VERSION.fullmatch(version)
        if match is None or match[1] != self.sha256[:12]:
            raise ReleaseError(f"{version!r} is not the name of the release whose manifest it holds")
        for path in sorted(self.files.keys() | found.keys()):
            if found.get(path) != self.files.get(path):
                what = (
                    "missing" if path not in found else "altered" if path in self.files else "no part of it"
                )
                raise ReleaseError(
                    f"release {version}: {path} is {what}. Remove the release and build it again"
                )


class Place(msgspec.Struct, frozen=True):
    """Where releases are published: a bucket, and the folder in it (`""`, or with a slash at its end)."""

    bucket: str
    folder: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read `s3://bucket` or `s3://bucket/prefix`; a slash at its end makes no difference.

        Raises:
            ReleaseError: it is no such URI, or needs characters that the stack's parameter refuses.
        """
        bare = uri.rstrip("/")
        if not _PLACE.fullmatch(bare):
            raise ReleaseError(
                f"{uri!r} is no place for releases: write s3://bucket or s3://bucket/prefix, the prefix of "
                "letters, digits, dots, underscores and hyphens"
            )
        bucket, prefix = parse_uri(bare)
        return cls(bucket, f"{prefix}/" if prefix else "")

    @property
    def uri(self) -> str:
        """As the stack's parameter ReleaseUri takes it: without a slash at its end."""
        return f"s3://{self.bucket}/{self.folder}".rstrip("/")

    def key(self, version: str, path: str) -> str:
        """The key of one file of a release."""
        return f"{self.folder}{version}/{path}"


def upload_order(manifest: Manifest) -> list[str]:
    """The paths to upload: the manifest last, for where it is, all of its release is."""
    return [*sorted(manifest.files), MANIFEST]


def stack_parameters(place: Place, version: str, manifest: Manifest) -> list[str]:
    """The stack's parameters that name a release, as the AWS CLI's `create-stack --parameters` reads them."""
    values = {
        "ReleaseUri": place.uri,
        "ReleaseVersion": version,
        "ReleaseManifestSha256": manifest.sha256,
    }
    return [f"ParameterKey={name},ParameterValue={value}" for name, value in values.items()]
