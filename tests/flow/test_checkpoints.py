"""A checkpoint's file: replaced whole, and errors that name it."""

from __future__ import annotations

import os
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
    with pytest.raises(UsageError, match=str(tmp_path / "absent")):
        FileKeeper(tmp_path / "absent" / "file").write(b"")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError, match=f"{path}: not a file"):
            FileKeeper(path)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    FileKeeper(tmp_path / "link").write(b"one")
    assert (tmp_path / "kept").read_bytes() == b"one"
    assert (tmp_path / "link").is_symlink()


def test_a_word_half_written_is_not_the_last(tmp_path: Path) -> None:
    """What a run that was killed had begun to write stands beside it, and is written over."""
    keeper = FileKeeper(tmp_path / "kept")
    keeper.write(b"one")
    (tmp_path / "kept.new").write_bytes(b"tw")
    assert keeper.read() == b"one"
    keeper.write(b"two")
    assert keeper.read() == b"two"
