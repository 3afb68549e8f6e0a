"""The price table: the package's, and a file of the user's over it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from worker.core import cost
from worker.core.errors import UsageError


def load(file: Path | None = None) -> cost.Prices:
    """The prices to reckon with.

    Raises:
        UsageError: `file` cannot be read, or is not a price table.
    """
    table = resources.files("worker").joinpath("prices.toml").read_text("utf-8")
    if file is None:
        return cost.parse(table)
    try:
        return cost.parse(table, (str(file), file.read_text("utf-8")))
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{file}: cannot be read ({error})") from None
