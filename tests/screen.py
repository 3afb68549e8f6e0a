"""The terminal of the demo: lines of a story, each with its time, above at most one progress bar."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

STARTED = time.monotonic()
WIDTH = 100
INDENT = " " * 11
REDRAW_SECONDS = 0.1


class Screen:
    """Standard output: lines, each with the seconds since the start, above at most one progress bar."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bar: tqdm[Any] | None = None
        self._closed = False
        self._width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)

    def say(self, text: str) -> None:
        """Tell one event, under the time."""
        seconds = f"{time.monotonic() - STARTED:6.1f} s   "
        self._write(self._wrapped(text, seconds))

    def show(self, text: str) -> None:
        """Show lines as they are, under the text of the story."""
        self._write("\n".join(f"{INDENT}{line}".rstrip() for line in text.splitlines()))

    def command(self, arguments: Sequence[str]) -> None:
        """Show a command as a shell takes it, over several lines if need be."""
        # An option stays with its value: NUL is no place to break a line, and in no argument.
        line = re.sub(" (?!--|ParameterKey=)", "\0", f"$ {shlex.join(arguments)}")
        lines = self._wrapped(line, INDENT, hang="    ", room=2).splitlines()
        self._write(" \\\n".join(lines).replace("\0", " "))

    def _wrapped(self, text: str, first: str, hang: str = "", room: int = 0) -> str:
        return textwrap.fill(
            text,
            self._width - 1 - room,
            initial_indent=first,
            subsequent_indent=INDENT + hang,
            break_long_words=False,
            break_on_hyphens=False,
        )

    def _write(self, text: str) -> None:
        with self._lock:
            if not self._closed:
                tqdm.write(text, file=sys.stdout)
                sys.stdout.flush()

    @contextlib.contextmanager
    def bar(self, word: str, total: int) -> Iterator[None]:
        """Have a progress bar below the lines, on a terminal only."""
        with self._lock:
            self._bar = tqdm(
                total=total,
                file=sys.stdout,
                disable=self._closed or None,
                leave=False,
                dynamic_ncols=True,
                mininterval=REDRAW_SECONDS,
                bar_format=f"{INDENT}{word} |{{bar:32}}| {{n_fmt}} of {{total_fmt}} objects",
                unit="",
            )
        try:
            yield
        finally:
            self._drop_bar()

    def progress(self, done: int) -> None:
        """Move the bar to `done`."""
        with self._lock:
            if self._bar is not None:
                self._bar.update(done - self._bar.n)

    def _drop_bar(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def close(self) -> None:
        """Drop the bar, and stay silent from now on."""
        self._drop_bar()
        with self._lock:
            self._closed = True
