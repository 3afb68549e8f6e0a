"""`fleetcopy release build` and `publish`, as a user runs them: what a release holds, and each refusal."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests import releases
from tests.cloud import Cloud
from tests.conftest import Command
from worker.core import release
from worker.core.release import MANIFEST, TARGETS, Manifest, Target

ROOT = Path(__file__).resolve().parents[1]
CHECKOUT = ("pyproject.toml", "README.md", "LICENSE", "requirements.txt", "worker", "bootstrap")
UMASKS = (0o022, 0o077)


def checkout(folder: Path) -> Path:
    """A copy of what a build reads, and of the wheels that were fetched before."""
    for name in CHECKOUT:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name)
    if (kept := ROOT / ".cache" / "wheels").exists():
        shutil.copytree(kept, folder / ".cache" / "wheels", ignore=shutil.ignore_patterns(".*"))
    return folder


def build(fleetcopy: Command, folder: Path, **environment: str) -> Path:
    ended = fleetcopy("release", "build", "--checkout", str(folder), **environment)
    assert ended.returncode == 0, ended.stderr
    return Path(ended.stdout.strip())


@pytest.fixture(scope="module")
def warm(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the third-party wheels below this checkout: the first time, that needs the package index."""
    output = tmp_path_factory.mktemp("warm")
    command = Command(cloud.environment())
    ended = command("release", "build", "--checkout", str(ROOT), "--output", str(output))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_equal_checkouts_make_equal_releases(fleetcopy: Command, tmp_path: Path) -> None:
    """Whatever the folder, the umask, the files' dates, the clock's zone and what was built there before."""
    built = []
    for number, umask in enumerate(UMASKS):
        folder = checkout(tmp_path / f"checkout-{number}" / ("deeper" * number))
        if number:
            for path in folder.rglob("*"):
                os.utime(path, (1_000_000_000, 1_000_000_000))
                path.chmod(path.stat().st_mode & ~umask)
            (folder / "build" / "lib" / "worker").mkdir(parents=True)
            (folder / "build" / "lib" / "worker" / "stale.py").write_text("stale\n")
            (folder / "worker" / "__pycache__").mkdir(exist_ok=True)
            (folder / "worker" / "__pycache__" / "stale.cpython-311.pyc").write_text("stale\n")
        old = os.umask(umask)
        try:
            built.append(
                build(fleetcopy, folder, TZ="Asia/Tokyo" if number else "UTC", PYTHONHASHSEED=str(number))
            )
        finally:
            os.umask(old)
    assert built[0].name == built[1].name
    assert releases.digests(built[0]) == releases.digests(built[1])
    assert not (tmp_path / "checkout-0" / "build").exists()


def serves(wheel: str, target: Target) -> bool:
    """Whether a wheel of machine code runs on a target (PEP 425; abi3: on that Python and all after it)."""
    python, abi, platform = wheel.removesuffix(".whl").split("-")[-3:]
    runs = python == f"cp{target.python}" if abi != "abi3" else int(python[2:]) <= int(target.python)
    return runs and platform.endswith(target.machine)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_release_holds_what_each_target_needs(fleetcopy: Command, tmp_path: Path) -> None:
    built = build(fleetcopy, checkout(tmp_path))
    wheels = [path.name for path in (built / "wheels").iterdir()]
    pure = {release.project_of(wheel) for wheel in wheels if release.is_pure(wheel)}
    named = {line.partition("==")[0] for line in (built / "requirements.txt").read_text().splitlines()}
    assert {"fleetcopy", "boto3", "tqdm"} <= named
    assert named | {"pip"} == {release.project_of(wheel) for wheel in wheels}
    assert not named & {"pip", "setuptools", "colorama"}
    for project in named - pure:
        fit = sorted(wheel for wheel in wheels if release.project_of(wheel) == project)
        served = {target: {wheel for wheel in fit if serves(wheel, target)} for target in TARGETS}
        assert all(served.values())
        assert set().union(*served.values()) == set(fit)
    assert sorted(path.name for path in built.iterdir()) == [
        "SHA256SUMS", "bootstrap.sh", "fleetcopy.service", "requirements.txt", "wheels",
    ]  # fmt: skip
    said = subprocess.run(
        ["/usr/bin/sha256sum", "--check", "--quiet", MANIFEST],
        cwd=built,
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_build_needs_no_network_twice(fleetcopy: Command, tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    first = build(fleetcopy, folder)
    again = build(fleetcopy, folder, **NO_INDEX)
    assert first == again
    (folder / "worker" / "more.py").write_text("")
    changed = build(fleetcopy, folder, **NO_INDEX)
    assert changed.name != first.name
    assert {first, changed} == set((folder / "dist").iterdir())


NO_INDEX = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
    "PIP_NO_CACHE_DIR": "1",
}


@pytest.mark.slow
def test_an_index_out_of_reach(fleetcopy: Command, tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    ended = fleetcopy("release", "build", "--checkout", str(folder), **NO_INDEX)
    assert ended.returncode == 4
    assert "the package index does not deliver the locked wheels for CPython 311 on x86_64" in ended.stderr
    assert "No matching distribution" in ended.stderr
    assert list((folder / ".cache" / "wheels").iterdir()) == []
    assert not (folder / "dist").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_kept_wheel_that_was_altered(fleetcopy: Command, tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    build(fleetcopy, folder)
    for wheel in (folder / ".cache" / "wheels").rglob("six-*.whl"):
        wheel.write_bytes(b"not six")
    ended = fleetcopy("release", "build", "--checkout", str(folder))
    assert ended.returncode == 2
    assert re.search(r"six-\S+ is not what the lock names: remove \S+\.cache/wheels/\w+", ended.stderr)


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_release_in_the_way_that_was_altered(fleetcopy: Command, tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    built = build(fleetcopy, folder)
    (built / "bootstrap.sh").write_text("exit\n")
    ended = fleetcopy("release", "build", "--checkout", str(folder))
    assert ended.returncode == 2
    assert "bootstrap.sh is altered. Remove the release and build it again" in ended.stderr
    assert [path.name for path in built.parent.iterdir()] == [built.name]


@pytest.mark.slow
@pytest.mark.usefixtures("warm")
def test_a_worker_that_is_broken_is_not_packed(fleetcopy: Command, tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    (folder / "pyproject.toml").write_text("[project]\nname = 3\n")
    ended = fleetcopy("release", "build", "--checkout", str(folder))
    assert ended.returncode == 2
    assert "its wheel cannot be built; setuptools says" in ended.stderr


def test_no_checkout(fleetcopy: Command, tmp_path: Path) -> None:
    ended = fleetcopy("release", "build", "--checkout", str(tmp_path))
    assert ended.returncode == 2
    assert (
        ended.stderr
        == f"fleetcopy: {tmp_path} is no checkout of fleetcopy, without pyproject.toml: give --checkout DIR\n"
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small release, in a folder `dist`."""
    return releases.make(tmp_path / "dist")


def publish(cloud: Cloud, uri: str, *arguments: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("fleetcopy"), "release", "publish", uri, *arguments],
        cwd=folder,
        env=cloud.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_publish_uploads_the_newest_and_prints_what_to_paste(
    cloud: Cloud, bucket: str, small: Path, tmp_path: Path
) -> None:
    older = releases.make(small.parent, says="older")
    os.utime(older, (1, 1))
    cloud.clear_journal()
    first = publish(cloud, f"s3://{bucket}/releases/", folder=tmp_path)
    puts = [row["key"] for row in cloud.journal() if row["operation"] == "s3:PutObject"]
    again = publish(cloud, f"s3://{bucket}/releases", small, folder=tmp_path)
    files = releases.digests(small)
    manifest = Manifest.parse((small / MANIFEST).read_text())
    assert (
        first.stdout
        == again.stdout
        == (
            f"ParameterKey=ReleaseUri,ParameterValue=s3://{bucket}/releases\n"
            f"ParameterKey=ReleaseVersion,ParameterValue={small.name}\n"
            f"ParameterKey=ReleaseManifestSha256,ParameterValue={manifest.sha256}\n"
        )
    )
    assert first.stderr == f"published {small.name}: {len(files)} of {len(files)} files were new\n"
    assert again.stderr == f"published {small.name}: 0 of {len(files)} files were new\n"
    assert puts[-1] == f"releases/{small.name}/{MANIFEST}"
    assert sorted(puts) == sorted(f"releases/{small.name}/{path}" for path in files)
    s3 = cloud.client("s3")
    for path in files:
        body = s3.get_object(Bucket=bucket, Key=f"releases/{small.name}/{path}")["Body"].read()
        assert body == (small / path).read_bytes()


def test_publish_takes_up_what_was_broken_off(cloud: Cloud, bucket: str, small: Path, tmp_path: Path) -> None:
    cloud.fault(
        "s3:PutObject",
        "error",
        bucket=bucket,
        key=f"{small.name}/{MANIFEST}",
        times=None,
        status=403,
        code="AccessDenied",
    )
    broken = publish(cloud, f"s3://{bucket}", folder=tmp_path)
    cloud.clear_faults()
    healed = publish(cloud, f"s3://{bucket}", folder=tmp_path)
    assert broken.returncode == 3
    assert f"publish s3://{bucket}/{small.name}/{MANIFEST}: AccessDenied" in broken.stderr
    assert broken.stdout == ""
    assert healed.stderr.startswith(f"published {small.name}: 1 of ")


def test_publish_never_replaces(cloud: Cloud, bucket: str, small: Path, tmp_path: Path) -> None:
    key = f"{small.name}/bootstrap.sh"
    cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=b"evil")
    ended = publish(cloud, f"s3://{bucket}", folder=tmp_path)
    assert ended.returncode == 3
    assert f"s3://{bucket}/{key} is there already, with other contents" in ended.stderr
    assert cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read() == b"evil"


def test_publish_refuses_a_release_that_was_altered(
    cloud: Cloud, bucket: str, small: Path, tmp_path: Path
) -> None:
    (small / "fleetcopy.service").write_text("[Service]\n")
    cloud.clear_journal()
    ended = publish(cloud, f"s3://{bucket}", folder=tmp_path)
    assert ended.returncode == 2
    assert f"release {small.name}: fleetcopy.service is altered" in ended.stderr
    assert "s3:PutObject" not in cloud.counts()


@pytest.mark.usefixtures("small")
def test_publish_to_a_bucket_that_is_not_there(cloud: Cloud, tmp_path: Path) -> None:
    ended = publish(cloud, f"s3://absent-{uuid4().hex}", folder=tmp_path)
    assert ended.returncode == 3
    assert "NoSuchBucket" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s3://releases"], "dist holds no release: run `fleetcopy release build`, or name its folder"),
        (["s3://releases", "."], ". is no release: it has no readable SHA256SUMS"),
        (["releases"], "'releases' is no place for releases"),
    ],
)
def test_publish_without_a_release_or_a_place(
    cloud: Cloud, tmp_path: Path, arguments: list[str], said: str
) -> None:
    uri, *folder = arguments
    ended = publish(cloud, uri, *map(Path, folder), folder=tmp_path)
    assert ended.returncode == 2
    assert said in ended.stderr
