"""Structured logs: one JSON object a line, with `ts level event pid` and what belongs to the event.

Worker processes write their lines to standard output, which is a pipe to the supervisor; the supervisor
writes its own and theirs to standard error and, with a log group, to CloudWatch. Lines are ASCII, so that
no key can break one.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from worker.core.errors import FleetcopyError
from worker.core.text import printable

_logger = logging.getLogger("fleetcopy")
_logger.propagate = False

_FOR_MACHINES = frozenset({"ts", "pid", "transfer"})
"""Fields that a person at a terminal has no use for."""


class JsonFormatter(logging.Formatter):
    """One record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; as it is where a worker process has formatted it."""
        if getattr(record, "ready_made", False):
            return str(record.msg)
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.msg,
            "pid": record.process,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, separators=(",", ":"), default=str)


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes each line at once; a closed pipe (the supervisor is gone) loses lines, not the worker."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Stay silent: there is nowhere left to tell."""
        del record


class _PersonHandler(logging.Handler):
    """Hands each line to a function."""

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self._write(self.format(record))


def to_stream(stream: TextIO, level: str) -> None:
    """Log to a stream from `level` on (`debug`, `info`, `warning`, `error`)."""
    handler = _LineHandler(stream)
    handler.setFormatter(JsonFormatter())
    _logger.handlers[:] = [handler]
    _logger.setLevel(level.upper())


def to_person(write: Callable[[str], object], level: str) -> None:
    """Log from `level` on to whoever shows lines of text."""
    handler = _PersonHandler(write)
    handler.setFormatter(PersonFormatter())
    _logger.handlers[:] = [handler]
    _logger.setLevel(level.upper())


class PersonFormatter(JsonFormatter):
    """One record as a person reads it: `level: event, name value, ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; lines after it are a traceback."""
        line: dict[str, object] = json.loads(super().format(record))
        level, event, trace = line.pop("level"), line.pop("event"), line.pop("traceback", None)
        fields = [
            f"{name} {printable(str(text))}" for name, text in line.items() if name not in _FOR_MACHINES
        ]
        text = f"{level}: {', '.join([str(event), *fields])}"
        return text if trace is None else f"{text}\n{trace}"


def also_to(handler: logging.Handler) -> None:
    """Log to a second handler as well, line by line as to the first."""
    handler.setFormatter(JsonFormatter())
    _logger.addHandler(handler)


def no_longer_to(handler: logging.Handler) -> None:
    """Stop logging to a second handler, once what waits in it is sent."""
    _logger.removeHandler(handler)
    handler.close()


def forward(line: str) -> None:
    """Pass on a line that a worker process has formatted, and already found worth logging."""
    _logger.critical(line, extra={"ready_made": True})


def debug(event: str, **fields: object) -> None:
    """Detail, a line per object."""
    _logger.debug(event, extra={"fields": fields})


def info(event: str, **fields: object) -> None:
    """What happened, a line per task."""
    _logger.info(event, extra={"fields": fields})


def warning(event: str, **fields: object) -> None:
    """What a person may want to look at."""
    _logger.warning(event, extra={"fields": fields})


def error(event: str, **fields: object) -> None:
    """What a person must look at; with a traceback where an exception that nobody foresaw is handled."""
    exc_info = sys.exc_info()
    foreseen = exc_info[1] is None or isinstance(exc_info[1], FleetcopyError)
    _logger.error(event, extra={"fields": fields}, exc_info=None if foreseen else exc_info)
