"""What a person sees of a transfer on one machine: a progress bar on a terminal, else a line now and then.

All of it goes to standard error. Lines of any other origin, the log's too, go through `Screen.say`, so that
they stand above the bar.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, Self, TextIO

from tqdm import tqdm

from worker.core.model import Kind, Proof
from worker.core.plan import Action
from worker.core.progress import Meter, Pace, Progress
from worker.core.text import binary

_REDRAW_SECONDS = 0.2
_LINE_SECONDS = 10.0


class Screen:
    """Shows how far a transfer is, while it is entered.

    Args:
        stream: standard error, or what stands for it.
        progress: asks how far the transfer is.
        clock: seconds, monotonic.
    """

    def __init__(self, stream: TextIO, progress: Callable[[], Progress], clock: Callable[[], float]) -> None:
        self._stream = stream
        self._progress = progress
        self._clock = clock
        self._meter = Meter()
        self._is_terminal = stream.isatty()
        self._line_at = clock() + _LINE_SECONDS
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._bar: tqdm[Any] | None = None
        self._said_stopping = False

    def __enter__(self) -> Self:
        if self._is_terminal:
            self._bar = tqdm(
                file=self._stream, total=1.0, leave=False, dynamic_ncols=True, bar_format="{desc}"
            )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._bar is not None:
            self._bar.close()

    def say(self, text: str) -> None:
        """Write a line, above the bar if there is one; may be called from any thread."""
        tqdm.write(text, file=self._stream)

    def _run(self) -> None:
        while not self._ended.wait(_REDRAW_SECONDS):
            self.look(self._clock())

    def look(self, now: float) -> None:
        """Show what is to be shown at this time."""
        progress = self._progress()
        pace = self._meter.pace(progress, now)
        if progress.stopping and not self._said_stopping:
            self._said_stopping = True
            self.say("stopping once the objects under way are done; Ctrl-C again stops at once")
        if self._bar is not None:
            self._draw(self._bar, progress, pace)
        elif now >= self._line_at:
            self._line_at = now + _LINE_SECONDS
            self.say(sentence(progress, pace))

    def _draw(self, bar: tqdm[Any], progress: Progress, pace: Pace) -> None:
        if progress.listed_all and progress.work:
            bar.bar_format = "{percentage:3.0f}% |{bar}| {desc}"
            bar.n = progress.work_done / progress.work
        bar.set_description_str(sentence(progress, pace))


def sentence(progress: Progress, pace: Pace) -> str:
    """How far the transfer is, how fast, and how long it will take, as far as that is known."""
    listing = f"listing, {progress.listed:,} objects so far"
    if not progress.listed_all and not progress.done:
        return listing
    parts = [
        f"{progress.done:,} of {progress.to_copy:,} objects",
        f"{binary(_moved(progress))} of {binary(progress.planned.get('bytes', 0))}",
        f"{pace.objects:,.0f} objects/s",
        f"{binary(pace.bytes)}/s",
    ]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if not progress.listed_all:
        parts.append(listing)
    elif pace.seconds_left is not None:
        parts.append(f"{tqdm.format_interval(pace.seconds_left)} left")
    return ", ".join(parts)


def _moved(progress: Progress) -> int:
    return progress.tally.counts.get("bytes", 0)


def summary(progress: Progress, seconds: float) -> str:
    """What was done, in two lines."""
    counts = {**progress.planned, **progress.tally.counts, "failed": progress.failed}
    always = (Kind.COPIED, Action.EQUAL, Kind.FAILED)
    seldom = (Kind.SKIPPED, Kind.GONE, Kind.ARCHIVED, Action.TOO_LARGE, Action.UNNAMEABLE)
    words = [f"{counts.get(word, 0):,} {word}" for word in always]
    words += [f"{counts[word]:,} {word}" for word in seldom if counts.get(word)]
    moved = _moved(progress)
    rate = f"{counts.get(Kind.COPIED, 0) / seconds:,.0f} objects/s, {binary(moved / seconds)}/s"
    proofs = ", ".join(f"{counts[proof]:,} {proof}" for proof in Proof if counts.get(proof))
    return (
        f"listed {progress.listed:,} objects: {', '.join(words)}\n"
        f"moved {moved:,} bytes in {seconds:,.1f} s: {rate}" + (f"; proofs: {proofs}" if proofs else "")
    )


def bar(text: str) -> tqdm[NoReturn]:
    """A progress bar on a terminal; silent elsewhere."""
    return tqdm(desc=text, unit=" objects", unit_scale=True, disable=None, leave=False, mininterval=0.2)
