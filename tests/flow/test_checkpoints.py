"""A checkpoint's file: replaced whole, and errors that name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.core.errors import UsageError
from worker.flow.checkpoints import FileKeeper


def test_a_file_keeps_the_last_word(tmp_path: Path) -> None:
    keeper = FileKeeper(tmp_path / "how far")
    assert keeper.read() is None
    keeper.write(b"one")
    keeper.write(b"two")
    assert keeper.read() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["how far"]
    assert str(keeper) == str(tmp_path / "how far")


def test_a_file_that_cannot_be_is_an_error_that_names_it(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "file"):
        with pytest.raises(UsageError, match=str(path)):
            FileKeeper(path).write(b"")
    with pytest.raises(UsageError, match="Is a directory"):
        FileKeeper(tmp_path).read()


def test_a_word_half_written_is_not_the_last(tmp_path: Path) -> None:
    """What a run that was killed had begun to write stands beside it, and is written over."""
    keeper = FileKeeper(tmp_path / "kept")
    keeper.write(b"one")
    (tmp_path / "kept.new").write_bytes(b"tw")
    assert keeper.read() == b"one"
    keeper.write(b"two")
    assert keeper.read() == b"two"
