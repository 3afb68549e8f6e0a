"""CloudWatch Logs through watchtower: one handler, one stream, made beforehand.

watchtower hands batches to CloudWatch from a thread of its own. This handler bounds what waits for it,
backs off through botocore where watchtower would drop at once, counts what is dropped all the same, and
closes within a time given.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from typing import TYPE_CHECKING

import watchtower
from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import Where, translated
from worker.aws.session import logs_client

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import InputLogEventTypeDef

MOST_WAITING = 20_000
"""Lines that may wait to be sent; more are dropped and counted, so that a slow service costs no memory."""

_SEND_SECONDS = 5


class CloudWatchHandler(watchtower.CloudWatchLogHandler):
    """Sends ready-made lines to one log stream.

    Raises:
        ConfigurationError: the log group is missing or may not be written.
    """

    def __init__(self, group: str, stream: str, *, close_seconds: int) -> None:
        self._taken = 0
        self._delivered = 0
        self._group = group
        self._stream = stream
        self._logs = logs_client()
        known = self._logs.exceptions.ResourceAlreadyExistsException
        with translated(Where(f"log group {group}")), contextlib.suppress(known):
            self._logs.create_log_stream(logGroupName=group, logStreamName=stream)
        super().__init__(
            log_group_name=group,
            log_stream_name=stream.replace("{", "{{").replace("}", "}}"),  # watchtower formats it
            boto3_client=self._logs,
            create_log_group=False,
            create_log_stream=False,
            send_interval=_SEND_SECONDS,
        )
        self.FLUSH_TIMEOUT = close_seconds

    @property
    def lost(self) -> int:
        """Once closed: lines that did not reach CloudWatch."""
        return self._taken - self._delivered

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line, unless too many wait."""
        self._taken += 1
        if all(waiting.qsize() < MOST_WAITING for waiting in self.queues.values()):
            super().emit(record)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Send what waits, for as long as was given."""
        with warnings.catch_warnings():
            # What could not be sent is told by `lost`, in a log line as all else.
            warnings.simplefilter("ignore", watchtower.WatchtowerWarning)
            super().close()  # type: ignore[no-untyped-call]

    def _submit_batch(
        self, batch: list[InputLogEventTypeDef], log_stream_name: str, max_retries: int = 1
    ) -> None:
        """watchtower's, with botocore's backoff in place of five tries at once, and with a count."""
        del log_stream_name, max_retries
        if not batch:
            return
        events = sorted(batch, key=lambda event: event["timestamp"])
        with contextlib.suppress(BotoCoreError, ClientError):
            self._logs.put_log_events(logGroupName=self._group, logStreamName=self._stream, logEvents=events)
            self._delivered += len(batch)
