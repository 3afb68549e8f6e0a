"""Python imports a module of this name at start: it puts the guard into every subprocess of a test run."""

import importlib.util
from pathlib import Path

# Loaded by path: as `guard` it would shadow, and `tests.guard` needs the repository on the path.
_spec = importlib.util.spec_from_file_location(
    "fleetcopy_test_guard", Path(__file__).with_name("__init__.py")
)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
_module.install()
