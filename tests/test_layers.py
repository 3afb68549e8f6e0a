"""The layers hold: imports go `__main__, commands -> flow -> aws -> core`, and core stays pure."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).resolve().parents[1] / "worker"
MODULES = sorted(WORKER.rglob("*.py"))

# What each layer may import of the project, and of what is installed.
PROJECT = {
    "core": {"core"},
    "aws": {"aws", "core"},
    "flow": {"flow", "aws", "core"},
    "top": {"flow", "aws", "core", "top"},
}
INSTALLED = {
    "core": {"msgspec"},
    "aws": {"awscrt", "boto3", "botocore", "msgspec", "requests", "urllib3", "watchtower"}
    | {"mypy_boto3_logs", "mypy_boto3_s3", "mypy_boto3_secretsmanager", "mypy_boto3_sqs", "mypy_boto3_sts"},
    "flow": {"msgspec", "pyarrow", "zstandard"},
    "top": {"msgspec", "tqdm"},
}
# The network, the clock, threads, processes, files and the environment; `urllib.parse` is text alone.
IMPURE = {
    "asyncio", "concurrent", "ctypes", "fcntl", "glob", "http", "io", "multiprocessing", "pathlib", "select",
    "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time",
    "urllib",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "environ", "getenv", "now", "today", "utcnow"}


def layer(module: Path) -> str:
    parts = module.relative_to(WORKER).parts
    return parts[0] if parts[0] in PROJECT else "top"


def imports(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer_of_import(name: str) -> str:
    part = name.split(".")[1]
    return part if part in PROJECT else "top"


def test_there_are_modules_in_every_layer() -> None:
    assert {layer(module) for module in MODULES} == set(PROJECT)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(WORKER)))
def test_imports_go_down(module: Path) -> None:
    for name in imports(module):
        root = name.split(".")[0]
        if root == "worker":
            assert layer_of_import(name) in PROJECT[layer(module)], f"imports {name}"
        elif root not in sys.stdlib_module_names:
            assert root in INSTALLED[layer(module)], f"imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) == "core"], ids=lambda path: path.name)
def test_core_is_pure(module: Path) -> None:
    roots = {name.split(".")[0] for name in imports(module) if not name.startswith("urllib.parse.")}
    assert not roots & IMPURE
    assert not {name for name in imports(module) if name.startswith("os") and name != "os.path"}
    calls = [node.func for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)]
    called = {call.id for call in calls if isinstance(call, ast.Name)}
    called |= {call.attr for call in calls if isinstance(call, ast.Attribute)}
    assert not called & IMPURE_CALLS


def test_only_config_reads_the_environment() -> None:
    readers = {
        module.name
        for module in MODULES
        if {"os.environ", "os.getenv", "environ"} & _dotted_names(ast.parse(module.read_text()))
    }
    assert readers == {"config.py"}


def _dotted_names(tree: ast.AST) -> set[str]:
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
