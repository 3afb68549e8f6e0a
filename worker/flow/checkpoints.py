"""Where a submission's checkpoint is kept: a file, or an object in S3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from worker.core.errors import UsageError


class Keeper(Protocol):
    """Keeps a few bytes; its text is where. `aws.note.Note` is one."""

    def read(self) -> bytes | None:
        """What is kept; None where nothing is."""
        ...

    def write(self, content: bytes) -> None:
        """Keep this instead, all of it or nothing."""
        ...


class FileKeeper:
    """Keeps them in a file.

    Raises:
        UsageError: there is something else in its place.
    """

    def __init__(self, path: Path) -> None:
        # A link stays one, and what is no file, as a device, is not replaced by one.
        self._path = path.resolve()
        if self._path.exists() and not self._path.is_file():
            raise UsageError(f"checkpoint {path}: not a file")

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> bytes | None:
        """See `Keeper.read`.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"checkpoint {self._path}: {error.strerror}") from None

    def write(self, content: bytes) -> None:
        """See `Keeper.write`.

        Raises:
            UsageError: it cannot be written.
        """
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            with new.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            raise UsageError(f"checkpoint {self._path}: {error.strerror}") from None
