"""Releases as text: locks, requirements, manifest, version, place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from worker.core import release
from worker.core.errors import ReleaseError
from worker.core.release import TARGETS, Manifest, Pin, Place, Target

ROOT = Path(__file__).resolve().parents[2]
A, B, C = ("a" * 64, "b" * 64, "c" * 64)

LOCK = f"""\
boto3==1.44.5 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via
    #   fleetcopy (pyproject.toml)
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{C}
    # via tqdm
python-dateutil==2.9.0.post0 \\
    --hash=sha256:{C}
"""


def test_a_lock_pins_what_linux_needs() -> None:
    assert release.pins(LOCK) == [
        Pin("boto3", "1.44.5", frozenset({A, B})),
        Pin("python-dateutil", "2.9.0.post0", frozenset({C})),
    ]


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("boto3\n", "'boto3' pins no version by hash"),
        ("boto3==1.44.5\n", "pins no version by hash"),
        ("boto3>=1.44 --hash=sha256:" + A, "pins no version by hash"),
        ("boto3==1.44.5 --hash=md5:" + A, "pins no version by hash"),
        ("--index-url https://127.0.0.1/simple\n", "pins no version by hash"),
        (
            f"x==1 ; python_full_version < '3.12' --hash=sha256:{A}",
            "marker \"python_full_version < '3.12'\" of x",
        ),
    ],
)
def test_a_lock_that_is_no_lock_is_refused(lock: str, said: str) -> None:
    with pytest.raises(ReleaseError) as error:
        release.pins(lock)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["requirements.txt", "bootstrap/requirements.txt"])
def test_the_locks_of_this_project_are_understood(name: str) -> None:
    text = (ROOT / name).read_text()
    pins = release.pins(text)
    others = sum(line.startswith("colorama==") for line in text.splitlines())
    assert len(pins) == sum("==" in line and line[0].isalpha() for line in text.splitlines()) - others
    assert sum(len(pin.hashes) for pin in pins) == text.count("--hash=") - 2 * others


def test_a_pin_is_written_as_it_is_read() -> None:
    pins = release.pins(LOCK)
    assert release.pins("".join(pin.line for pin in pins)) == pins


def test_there_is_a_target_for_each_python_and_machine() -> None:
    assert [f"{target.python} {target.machine}" for target in TARGETS] == [
        "311 x86_64", "312 x86_64", "313 x86_64", "311 aarch64", "312 aarch64", "313 aarch64",
    ]  # fmt: skip


def test_a_target_takes_wheels_down_to_the_oldest_manylinux_that_python_3_11_has() -> None:
    platforms = Target("311", "aarch64").platforms
    assert platforms[0] == "manylinux_2_34_aarch64"
    assert platforms[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]


WHEELS = {
    "boto3-1.44.5-py3-none-any.whl": A,
    "msgspec-0.22.0-cp312-cp312-manylinux_2_17_x86_64.whl": C,
    "msgspec-0.22.0-cp311-cp311-manylinux_2_17_x86_64.whl": B,
    "pip-26.3-py3-none-any.whl": A,
    "python_dateutil-2.9.0.post0-py2.py3-none-any.whl": C,
}


def test_requirements_name_each_project_once_with_the_hashes_of_its_wheels() -> None:
    assert release.requirements(WHEELS).splitlines() == [
        f"boto3==1.44.5 --hash=sha256:{A}",
        f"msgspec==0.22.0 --hash=sha256:{B} --hash=sha256:{C}",
        f"python-dateutil==2.9.0.post0 --hash=sha256:{C}",
    ]


def test_a_pure_wheel_is_told_from_one_for_a_machine() -> None:
    assert [name.partition("-")[0] for name in WHEELS if release.is_pure(name)] == [
        "boto3",
        "pip",
        "python_dateutil",
    ]


def test_a_wheel_that_no_lock_names_by_hash_is_a_stranger() -> None:
    assert release.strangers(WHEELS, [Pin("boto3", "1", frozenset({A})), Pin("x", "1", frozenset({B}))]) == [
        "msgspec-0.22.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        "python_dateutil-2.9.0.post0-py2.py3-none-any.whl",
    ]


MANIFEST = Manifest({"wheels/b.whl": B, "bootstrap.sh": A})
TEXT = f"{A}  bootstrap.sh\n{B}  wheels/b.whl\n"


def test_a_manifest_is_what_sha256sum_prints_sorted() -> None:
    assert MANIFEST.text == TEXT
    assert Manifest.parse(TEXT) == MANIFEST


def test_the_version_ends_in_the_manifests_hash() -> None:
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    assert MANIFEST.sha256 == digest
    assert MANIFEST.version("0.1.0") == f"0.1.0+{digest[:12]}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bootstrap.sh\n",
        TEXT.rstrip("\n"),
        TEXT + "\n",
        f"{B}  wheels/b.whl\n{A}  bootstrap.sh\n",
        f"{A}  bootstrap.sh\n{A}  bootstrap.sh\n",
        f"{A} *bootstrap.sh\n",
        f"{A}  /bootstrap.sh\n",
        f"{A}  ../bootstrap.sh\n",
        f"{A}  wheels/../../bootstrap.sh\n",
        f"{A}  wheels//b.whl\n",
        f"{A}  a b\n",
        f"{A.upper()}  bootstrap.sh\n",
        f"{A[1:]}  bootstrap.sh\n",
    ],
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ReleaseError, match="no manifest of a release"):
        Manifest.parse(text)


def test_a_release_as_built_is_good() -> None:
    MANIFEST.check(MANIFEST.version("0.1.0"), MANIFEST.files)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"bootstrap.sh": A}, "wheels/b.whl is missing"),
        ({"bootstrap.sh": C, "wheels/b.whl": B}, "bootstrap.sh is altered"),
        ({"bootstrap.sh": A, "wheels/b.whl": B, "wheels/c.whl": C}, "wheels/c.whl is no part of it"),
    ],
)
def test_a_release_that_is_not_as_built_is_refused(found: dict[str, str], said: str) -> None:
    with pytest.raises(ReleaseError) as error:
        MANIFEST.check(MANIFEST.version("0.1.0"), found)
    assert said in str(error.value)


@pytest.mark.parametrize("version", ["0.1.0", "0.1.0+000000000000", "dist", ""])
def test_a_release_under_another_name_is_refused(version: str) -> None:
    with pytest.raises(ReleaseError, match="is not the name of the release"):
        MANIFEST.check(version, MANIFEST.files)


@pytest.mark.parametrize(
    ("uri", "parsed", "key"),
    [
        ("s3://releases", "s3://releases", "1/SHA256SUMS"),
        ("s3://releases/", "s3://releases", "1/SHA256SUMS"),
        ("s3://releases/a/b", "s3://releases/a/b", "a/b/1/SHA256SUMS"),
        ("s3://releases/a/b/", "s3://releases/a/b", "a/b/1/SHA256SUMS"),
    ],
)
def test_a_place_is_a_folder(uri: str, parsed: str, key: str) -> None:
    place = Place.parse(uri)
    assert place.uri == parsed
    assert place.key("1", "SHA256SUMS") == key


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "releases",
        "https://releases/a",
        "s3://",
        "s3://R",
        "s3://releases//a",
        "s3://releases/a b",
        "s3://releases/a,b",
        "s3://releases/a+b",
        "s3://releases/ü",
        "s3://releases/a\n",
    ],
)
def test_a_place_that_a_stack_could_not_take_is_refused(uri: str) -> None:
    with pytest.raises(ReleaseError, match="is no place for releases"):
        Place.parse(uri)


def test_the_manifest_is_uploaded_last() -> None:
    assert release.upload_order(MANIFEST) == ["bootstrap.sh", "wheels/b.whl", "SHA256SUMS"]


def test_the_parameters_are_as_create_stack_takes_them() -> None:
    assert release.stack_parameters(Place.parse("s3://releases/a/"), "0.1.0+0123456789ab", MANIFEST) == [
        "ParameterKey=ReleaseUri,ParameterValue=s3://releases/a",
        "ParameterKey=ReleaseVersion,ParameterValue=0.1.0+0123456789ab",
        f"ParameterKey=ReleaseManifestSha256,ParameterValue={MANIFEST.sha256}",
    ]
