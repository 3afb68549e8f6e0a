"""The README shows what is so: its commands run as shown, its help and settings are the program's own.

`python -m tests.test_readme` writes the help and the settings into the README.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.cloud import ROOT, Cloud

README = ROOT / "README.md"
BIN = Path(sys.executable).parent
COMMANDS = ("submit", "work", "verify")
MARK = "\x1e"


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
    pages = [f"$ fleetcopy {command} --help\n{run('fleetcopy', command, '--help')}" for command in COMMANDS]
    return "```text\n" + "\n".join(pages) + "```\n"


def steps(text: str) -> list[tuple[str, str]]:
    """Command and expected output of each `$` line in a section's console blocks."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = step.splitlines()
            length = next(number for number, line in enumerate(lines, 1) if not line.endswith("\\"))
            found.append(("\n".join(lines[:length]), "\n".join(lines[length:])))
    return found


def matches(expected: str, found: str) -> bool:
    """Whether output is as expected, `...` standing for anything within a line."""
    pattern = re.escape(expected).replace(re.escape("..."), "[^\n]*")
    return re.fullmatch(pattern, found) is not None


def test_help_and_settings_are_the_programs_own() -> None:
    assert section("help") == generated("help"), "run: python -m tests.test_readme"
    assert section("config") == generated("config"), "run: python -m tests.test_readme"


def test_the_commands_shown_print_what_is_shown(cloud: Cloud, tmp_path: Path) -> None:
    shown = steps(section("by hand"))
    script = "".join(
        f"{command}\nstatus=$?; [ $status = 0 ] || echo \"[exit status $status]\"\nprintf '{MARK}\\n'\n"
        for command, _ in shown
    )
    (tmp_path / "worker").symlink_to(ROOT / "worker")
    environment = cloud.environment() | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["/bin/bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    outputs = done.stdout.split(f"{MARK}\n")[:-1]
    assert len(outputs) == len(shown), done.stderr
    for (command, expected), output in zip(shown, outputs, strict=True):
        assert matches(expected, output.rstrip("\n")), f"$ {command}\n{output}\n{done.stderr}"


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
