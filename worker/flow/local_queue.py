"""The queue of a transfer on one machine: its two ends, and what passes between them.

The supervisor's `Hub` holds the messages; each worker process has a `LocalQueue`, the other end of a socket
pair that it inherits. Nothing listens, and nothing touches a disk. Requests are lines of JSON; only
`receive` is answered, for the rest cannot fail: what a process sent before it deletes, the hub takes before
it deletes. When the line of a process ends, so do its leases.

Memory is bounded: the plan is held back while `MOST_WAITING` tasks wait.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from worker.core.backlog import Backlog
from worker.core.errors import ServiceUnavailableError
from worker.core.progress import Report, Tally
from worker.core.tasks import Depth, Entry, Message, Refusal, Sender

MOST_WAITING = 200
"""Tasks that wait, or are delayed, while the plan goes on; at most twelve MiB of messages."""

MOST_FAILURES = 1_000
"""Failed objects that are remembered; more are counted."""

_PAUSE_SECONDS = 0.1
"""After a receive that gave nothing. A drain has to await it."""


class Failure(msgspec.Struct, frozen=True):
    """An object that could not be copied, and why; the key is empty where the message was no task."""

    key: str
    reason: str
    detail: str


class _Receive(msgspec.Struct, tag="receive"):
    pass


class _Delete(msgspec.Struct, tag="delete"):
    receipt: str


class _Send(msgspec.Struct, tag="send"):
    entries: list[Entry]


class _Bury(msgspec.Struct, tag="bury"):
    entries: list[Entry]


class _Progress(msgspec.Struct, tag="progress"):
    report: Report


_Request = _Receive | _Delete | _Send | _Bury | _Progress

_requests = msgspec.json.Decoder(_Request)
_answers = msgspec.json.Decoder(Message | None)
_encoder = msgspec.json.Encoder()


def _line(value: object) -> bytes:
    return _encoder.encode(value) + b"\n"


class ClosedError(Exception):
    """The hub is closed: whoever waits for it waits in vain."""


class Hub:
    """The supervisor's end; a `core.tasks.Sender` to the plan. Safe to call from many threads at once.

    Attributes:
        failures: the first objects that failed.
        failed: how many failed.
    """

    url = "of this process"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.failures: list[Failure] = []
        self.failed = 0
        self._clock = clock
        self._changed = threading.Condition()
        self._backlog = Backlog()
        self._holders = itertools.count()
        self._reports: dict[int, Report] = {}
        self._ended = Tally()
        self._servers: list[threading.Thread] = []
        self._closed = False

    def send(self, entries: Sequence[Entry]) -> list[Refusal]:
        """Take a batch of the plan, once few enough tasks wait.

        Raises:
            ClosedError: no more is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room(len(entries)))
            if self._closed:
                raise ClosedError
            self._put(entries)
        return []

    def _has_room(self, entries: int) -> bool:
        depth = self._backlog.depth
        return depth.visible + depth.delayed + entries <= MOST_WAITING

    def _put(self, entries: Sequence[Entry]) -> None:
        now = self._clock()
        for entry in entries:
            self._backlog.put(entry, now)

    def join(self) -> None:
        """Return once every message is deleted.

        Raises:
            ClosedError: that will not happen any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._backlog.depth.total)
            if self._closed:
                raise ClosedError

    def close(self) -> None:
        """Take nothing more from the plan, and let nobody wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def depth(self) -> Depth:
        """How many messages there are."""
        with self._changed:
            return self._backlog.depth

    def tally(self) -> Tally:
        """What the worker processes have done so far."""
        with self._changed:
            reports = list(self._reports.values())
            return sum((report.settled + report.in_hand for report in reports), self._ended)

    def connect(self) -> socket.socket:
        """A worker process's end of a new line, for it to inherit; the caller closes its own copy."""
        ours, theirs = socket.socketpair()
        server = threading.Thread(target=self._serve, args=(next(self._holders), ours), daemon=True)
        self._servers.append(server)
        server.start()
        return theirs

    def hear_out(self) -> None:
        """Return once all that worker processes said is heard; they must have ended."""
        for server in self._servers:
            server.join()

    def _serve(self, holder: int, line: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), line, line.makefile("rb") as requests:
                for request in requests:
                    if not request.endswith(b"\n"):
                        break  # it died in the middle of a word
                    self._obey(holder, line, _requests.decode(request))
        finally:
            self._gone(holder)

    def _gone(self, holder: int) -> None:
        with self._changed:
            self._backlog.release(holder)
            self._ended += self._reports.pop(holder, Report()).settled

    def _obey(self, holder: int, line: socket.socket, request: _Request) -> None:
        with self._changed:
            match request:
                case _Receive():
                    message = self._backlog.take(holder, self._clock())
                case _Delete(receipt):
                    self._backlog.delete(receipt)
                case _Send(entries):
                    self._put(entries)
                case _Bury(entries):
                    self._bury(entries)
                case _Progress(report):
                    self._reports[holder] = report
            self._changed.notify_all()
        if isinstance(request, _Receive):
            line.sendall(_line(message))

    def _bury(self, entries: Sequence[Entry]) -> None:
        self.failed += len(entries)
        for entry in entries[: MOST_FAILURES - len(self.failures)]:
            texts = [_plain(entry.attributes.get(name, "")) for name in ("Key", "Reason", "Detail")]
            self.failures.append(Failure(*texts))


def _plain(attribute: str) -> str:
    """The text of a dead letter's attribute, which `core.settle` has escaped and perhaps cut."""
    try:
        return msgspec.json.decode(f'"{attribute}"', type=str)
    except msgspec.DecodeError:
        return attribute


class LocalQueue:
    """Implements `core.tasks.TaskQueue`: a worker process's end."""

    url = "of the supervisor"
    repeats = False

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._answers = line.makefile("rb")
        self._sending = threading.Lock()

    def receive(self, *, wait: int, visibility: int) -> Message | None:
        """See `TaskQueue.receive`; returns early, and the lease lasts as long as the process."""
        del wait, visibility
        self._tell(_Receive())
        with _supervised():
            message: Message | None = _answers.decode(self._answers.readline())
        if message is None:
            time.sleep(_PAUSE_SECONDS)
        return message

    def extend(self, receipts: Sequence[str], visibility: int) -> list[str]:
        """See `TaskQueue.extend`; no lease is lost while the process lives."""
        del receipts, visibility
        return []

    def delete(self, receipt: str) -> None:
        """See `TaskQueue.delete`."""
        self._tell(_Delete(receipt))

    def send(self, entries: Sequence[Entry]) -> list[Refusal]:
        """See `Sender.send`; never waits, so that what is in hand can always be given back."""
        self._tell(_Send(list(entries)))
        return []

    def dead_letters(self) -> Sender:
        """See `TaskQueue.dead_letters`."""
        return _DeadLetters(self._tell)

    def report(self, report: Report) -> None:
        """Tell how far this process is."""
        self._tell(_Progress(report))

    def _tell(self, request: _Request) -> None:
        with _supervised(), self._sending:
            self._line.sendall(_line(request))


class _DeadLetters:
    """What the hub counts and shows as failed."""

    url = "of failed objects"

    def __init__(self, tell: Callable[[_Request], None]) -> None:
        self._tell = tell

    def send(self, entries: Sequence[Entry]) -> list[Refusal]:
        """See `Sender.send`."""
        self._tell(_Bury(list(entries)))
        return []


@contextlib.contextmanager
def _supervised() -> Iterator[None]:
    """Turn the end of the line into an error of ours."""
    try:
        yield
    except (OSError, msgspec.DecodeError) as error:
        raise ServiceUnavailableError(f"the supervisor is gone: {error}") from error
