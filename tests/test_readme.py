"""The README shows what is so: its commands run as shown, its help and settings are the program's own.

`python -m tests.test_readme` writes the help and the settings into the README.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud import ROOT, Cloud
from tests.cloud.fleet import Fleet

README = ROOT / "README.md"
BIN = Path(sys.executable).parent
MARK = "\x1e"
BASH = "/bin/bash"
CHECKOUT = (
    *(".cache", "LICENSE", "README.md", "bootstrap", "cloudformation", "pyproject.toml"),
    *("requirements.txt", "worker"),
)


def section(name: str) -> str:
    """What stands between the README's `<!-- name -->` and `<!-- /name -->`."""
    return README.read_text().split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]


def run(*command: str) -> str:
    """What a command prints, on a terminal of 100 columns."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEETCOPY_")}
    return subprocess.run(
        [BIN / command[0], *command[1:]],
        env=kept | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def generated(name: str) -> str:
    """What the README's section `name` must hold."""
    if name == "config":
        return f"```text\n$ fleetcopy config\n{run('fleetcopy', 'config')}```\n"
    return f"```text\n$ fleetcopy --help\n{run('fleetcopy', '--help')}```\n"


def steps(text: str) -> list[tuple[str, str]]:
    """Command and expected output of each `$` line in a section's console blocks."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = step.splitlines()
            length = next(number for number in range(1, len(lines) + 1) if is_whole(lines[:number]))
            found.append(("\n".join(lines[:length]), "\n".join(lines[length:])))
    return found


def is_whole(lines: list[str]) -> bool:
    """Whether lines are a whole command to a shell, and not the beginning of one."""
    if lines[-1].endswith("\\"):
        return False
    syntax = subprocess.run([BASH, "-n", "-c", "\n".join(lines)], capture_output=True, check=False)
    return syntax.returncode == 0


def matches(expected: str, found: str) -> bool:
    """Whether output is as expected, `...` standing for anything within a line."""
    pattern = re.escape(expected).replace(re.escape("..."), "[^\n]*")
    return re.fullmatch(pattern, found) is not None


def test_help_and_settings_are_the_programs_own() -> None:
    assert section("help") == generated("help"), "run: python -m tests.test_readme"
    assert section("config") == generated("config"), "run: python -m tests.test_readme"


def play(name: str, cloud: Cloud, folder: Path) -> None:
    """Run the commands of a section in a folder as a checkout; each prints what is shown."""
    shown = steps(section(name))
    script = "".join(
        f"{command}\nstatus=$?; [ $status = 0 ] || echo \"[exit status $status]\"\nprintf '{MARK}\\n'\n"
        for command, _ in shown
    )
    for part in CHECKOUT:
        (folder / part).symlink_to(ROOT / part)
    environment = cloud.environment() | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        [BASH, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    outputs = done.stdout.split(f"{MARK}\n")[:-1]
    assert len(outputs) == len(shown), done.stderr
    for (command, expected), output in zip(shown, outputs, strict=True):
        assert matches(expected, output.rstrip("\n")), f"$ {command}\n{output}\n{done.stderr}"


def test_the_commands_on_one_machine_print_what_is_shown(cloud: Cloud, tmp_path: Path) -> None:
    play("one machine", cloud, tmp_path)


def test_the_commands_with_listings_print_what_is_shown(cloud: Cloud, tmp_path: Path) -> None:
    play("listings", cloud, tmp_path)


def test_the_commands_by_hand_print_what_is_shown(cloud: Cloud, tmp_path: Path) -> None:
    play("by hand", cloud, tmp_path)


@pytest.mark.slow
def test_the_commands_on_aws_print_what_is_shown(tmp_path: Path) -> None:
    one_core = {"FLEETCOPY_PROCESSES": "1"}
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    with Cloud(auth=True) as cloud, Fleet(cloud, tmp_path / "machines", environment=one_core) as fleet:
        play("on aws", cloud, checkout)
        assert [one.why for one in fleet.instances() if one.state != "ended"] == []


def test_the_two_commands_exist() -> None:
    text = README.read_text()
    targets = (ROOT / "Makefile").read_text()
    for name in re.findall(r"^\$ make ([a-z-]+)$", text, re.MULTILINE):
        assert re.search(rf"^{name}:", targets, re.MULTILINE)


def write() -> None:
    """Write the generated sections into the README."""
    text = README.read_text()
    for name in ("help", "config"):
        text = text.replace(section(name), generated(name))
    README.write_text(text)


if __name__ == "__main__":
    write()
