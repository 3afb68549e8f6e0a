"""Logs: one record, one line of ASCII JSON, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core import keys, properly
from worker.core.errors import ServiceUnavailableError
from worker.flow import log


class Lines(io.StringIO):
    """A stream, read as a terminal or CloudWatch would: by any line break that there is."""

    def lines(self) -> list[str]:
        """What has been written."""
        return self.getvalue().splitlines()

    def one(self) -> dict[str, object]:
        """The one line that has been written."""
        [line] = self.lines()
        assert line.isascii()
        assert self.getvalue() == line + "\n"
        fields = json.loads(line)
        assert isinstance(fields, dict)
        return fields


class Second(logging.Handler):
    """A second handler: keeps what it is given, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.closed = False

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        self.lines.append(self.format(record))

    def close(self) -> None:
        """See `logging.Handler`."""
        self.closed = True
        super().close()


@pytest.fixture
def stream() -> Iterator[Lines]:
    """A stream that is logged to at level info."""
    lines = Lines()
    log.to_stream(lines, "info")
    yield lines
    logging.getLogger("fleetcopy").handlers.clear()


def test_a_line_holds_time_level_event_process_and_fields_in_this_order(stream: Lines) -> None:
    log.info("task", transfer="t", bytes=7, why=None)
    line = stream.one()
    assert line.pop("ts")
    assert list(line.items()) == [
        ("level", "info"),
        ("event", "task"),
        ("pid", os.getpid()),
        ("transfer", "t"),
        ("bytes", 7),
        ("why", None),
    ]


def test_times_are_utc_to_the_millisecond(stream: Lines) -> None:
    log.info("task")
    text = str(stream.one()["ts"])
    written = datetime.fromisoformat(text)
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)
    assert len(text) == len("2026-01-01T00:00:00.000+00:00")


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["d", "i", "w", "e"]),
        ("info", ["i", "w", "e"]),
        ("warning", ["w", "e"]),
        ("error", ["e"]),
    ],
)
def test_only_lines_of_the_level_and_above_are_written(stream: Lines, level: str, events: list[str]) -> None:
    log.to_stream(stream, level)
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")
    assert [json.loads(line)["event"] for line in stream.lines()] == events


@pytest.mark.parametrize(
    "key", ["a\nb", "a\r\nb", "\x00", "\x0b\x0c\x1c\x85", "\u2028\u2029", "\U0001f600", "\udc80", '"}']
)
def test_no_key_breaks_a_line(stream: Lines, key: str) -> None:
    log.warning("object", key=key)
    assert stream.one()["key"] == key


@properly
@given(keys(), st.text(max_size=20))
def test_whatever_is_logged_is_one_line_that_reads_back(key: str, event: str) -> None:
    lines = Lines()
    log.to_stream(lines, "info")
    log.info(event, key=key)
    logging.getLogger("fleetcopy").handlers.clear()
    line = lines.one()
    assert (line["event"], line["key"]) == (event, key)


@pytest.mark.parametrize("event", ["100 %", "%s %d %(x)s", "{} {0}"])
def test_an_event_is_no_format(stream: Lines, event: str) -> None:
    log.info(event)
    assert stream.one()["event"] == event


def test_a_field_that_json_does_not_know_is_written_as_text(stream: Lines) -> None:
    log.info("task", error=ServiceUnavailableError("503"), path=b"x")
    assert (stream.one()["error"], stream.one()["path"]) == ("503", "b'x'")


def fail(error: Exception) -> None:
    raise error


def fail_and_log(write: Callable[[str], None], error: Exception) -> None:
    try:
        fail(error)
    except type(error):
        write("failed")


def test_an_error_carries_the_traceback_of_what_nobody_foresaw_in_its_line(stream: Lines) -> None:
    fail_and_log(log.error, LookupError("a\nb\u2028\u00e9"))
    line = stream.one()
    text = str(line["traceback"])
    assert text.startswith("Traceback (most recent call last):\n")
    assert "test_log.py" in text
    assert text.endswith("LookupError: a\nb\u2028\u00e9\n")


def test_an_error_of_ours_needs_no_traceback(stream: Lines) -> None:
    fail_and_log(log.error, ServiceUnavailableError("503"))
    assert "traceback" not in stream.one()


def test_an_error_that_handles_nothing_has_no_traceback(stream: Lines) -> None:
    log.error("failed")
    assert "traceback" not in stream.one()


def test_only_errors_carry_tracebacks(stream: Lines) -> None:
    fail_and_log(log.warning, LookupError("503"))
    assert "traceback" not in stream.one()


@pytest.mark.parametrize(
    "line", ['{"ts":"t","event":"x"}', "no JSON at all", "100 % of %s", "", '{"key":"\\n"}']
)
def test_a_worker_process_line_is_passed_on_unchanged(stream: Lines, line: str) -> None:
    second = Second()
    log.also_to(second)
    log.forward(line)
    assert stream.getvalue() == line + "\n"
    assert second.lines == [line]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_what_a_worker_process_found_worth_logging_is_passed_on_at_any_level(
    stream: Lines, level: str
) -> None:
    log.to_stream(stream, level)
    log.forward('{"level":"debug","event":"x"}')
    assert stream.lines() == ['{"level":"debug","event":"x"}']


def test_a_line_written_by_one_process_and_passed_on_by_another_is_the_same_line(stream: Lines) -> None:
    log.error("task", key="a\n\u00e9")
    [written] = stream.lines()
    upstream = Lines()
    log.to_stream(upstream, "info")
    log.forward(written)
    assert upstream.lines() == [written]


def test_a_second_handler_gets_the_same_lines(stream: Lines) -> None:
    second = Second()
    log.also_to(second)
    log.info("one", key="\n")
    log.debug("two")
    assert second.lines == stream.lines()
    assert len(second.lines) == 1


def test_a_second_handler_that_is_let_go_is_closed_and_gets_no_more(stream: Lines) -> None:
    second = Second()
    log.also_to(second)
    log.no_longer_to(second)
    log.error("too late")
    assert second.closed
    assert second.lines == []
    assert len(stream.lines()) == 1


def test_logging_to_a_stream_replaces_the_handlers_before(stream: Lines) -> None:
    other = Lines()
    log.to_stream(other, "info")
    log.info("x")
    assert (len(stream.lines()), len(other.lines())) == (0, 1)


def test_a_stream_that_is_gone_loses_lines_and_nothing_else(
    stream: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    second = Second()
    log.also_to(second)
    stream.close()
    log.info("x")
    assert len(second.lines) == 1
    assert capsys.readouterr() == ("", "")


def test_lines_do_not_reach_the_root_logger(stream: Lines) -> None:
    root, second = logging.getLogger(), Second()
    root.addHandler(second)
    try:
        log.error("x")
    finally:
        root.removeHandler(second)
    assert len(stream.lines()) == 1
    assert second.lines == []
