"""The supervisor: one worker process per core, their logs, their restarts, and the one drain of all.

It alone minds signals and notices, holds the log stream, talks to systemd, and watches whether the queue is
empty. A worker process that dies is replaced; its tasks come back when their leases end.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import msgspec

from worker.core.errors import ConfigurationError, FleetcopyError, WorkerCrashedError
from worker.core.lifecycle import Event as Move
from worker.core.lifecycle import State, advance
from worker.core.message import to_ascii_json
from worker.core.notice import Notice, seconds_for_drain
from worker.core.tasks import Depth
from worker.flow import log
from worker.flow.child import READY, ChildSettings, Exit
from worker.flow.systemd import Systemd

_GRACE_SECONDS = 2.0
"""Seconds beyond its budget after which a draining worker process is killed."""

_CRASHES = 5
"""Crashes within `_CRASH_WINDOW` seconds that are borne, per worker process."""

_CRASH_WINDOW = 60.0
_RESTART_SECONDS = 1.0


class Interrupted(Exception):  # noqa: N818
    """A second signal came: the user does not want to wait for the drain."""


class _Ready(msgspec.Struct, frozen=True):
    child: _Child


class _Exited(msgspec.Struct, frozen=True):
    child: _Child
    status: int


class _Signalled(msgspec.Struct, frozen=True):
    number: int


class _Noticed(msgspec.Struct, frozen=True):
    notice: Notice
    drain_until: float


class _Done(msgspec.Struct, frozen=True):
    pass


_Event = _Ready | _Exited | _Signalled | _Noticed | _Done


class _Child:
    """One worker process, and the thread that reads its log lines.

    Args:
        settings: what it is told.
        events: where its end is announced.
        line: its end of a line to a queue of this process, which it takes over.
    """

    def __init__(
        self, settings: ChildSettings, events: queue.SimpleQueue[_Event], line: socket.socket | None
    ) -> None:
        # -P: a folder named worker where the command is run must not be taken for this package.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "worker.flow.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A terminal's Ctrl-C is for the supervisor alone; it tells its children what it means.
            process_group=0,
            pass_fds=[line.fileno()] if line else [],
        )
        self.pid = self._process.pid
        self.is_ready = False
        self._events = events
        if line:
            settings = msgspec.structs.replace(settings, line=line.fileno())
            line.close()
        self._write(to_ascii_json(settings))  # whatever the locale
        threading.Thread(target=self._read, daemon=True).start()

    def _write(self, line: str) -> None:
        assert self._process.stdin
        with contextlib.suppress(OSError):  # it is gone: its exit is on its way
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.rstrip("\n") == READY:
                self._events.put(_Ready(self))
            else:
                log.forward(line.rstrip("\n"))
        self._events.put(_Exited(self, self._process.wait()))

    def drain(self, seconds: float) -> None:
        """Tell it to stop within `seconds`."""
        self._write(f"drain {seconds}")

    def kill(self) -> None:
        """End it at once; its tasks come back when their leases end."""
        self._process.kill()


class Supervisor:
    """Runs worker processes until a signal, an empty queue, or a fault that no task can mend.

    Args:
        settings: for each worker process.
        processes: how many.
        drain_seconds: budget of a drain.
        until_empty: stop once the queue has been empty for so many seconds; None: never.
        depth: asks how many messages the queue holds.
        systemd: told how it goes.
        connect: makes a line from a worker process to a queue of this process; None: the queue is on SQS.
    """

    def __init__(
        self,
        settings: ChildSettings,
        *,
        processes: int,
        drain_seconds: float,
        until_empty: float | None,
        depth: Callable[[], Depth],
        systemd: Systemd,
        connect: Callable[[], socket.socket] | None = None,
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._drain_seconds = drain_seconds
        self._until_empty = until_empty
        self._depth = depth
        self._systemd = systemd
        self._connect = connect
        self._state = State.STARTING
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._children: list[_Child] = []
        self._crashes: list[float] = []
        self._restart_at: list[float] = []
        self._failed_objects = False
        self._was_ready = False
        self._signalled = False
        self._told_to_stop = False
        self._fault: FleetcopyError | None = None
        self._kill_at = float("inf")
        self._ask_at = 0.0
        self._beat_at = time.monotonic() + systemd.beat
        self._empty_since: float | None = None

    def mind_signals(self) -> None:
        """From now on SIGTERM and SIGINT are a drain, also when they come before `run`.

        Python runs a signal's handler in the main thread alone, once that runs; but the kernel may give the
        signal to any thread, or just before the main thread begins to wait, and then nothing wakes it. So the
        handlers do nothing, and a thread reads the numbers that the interpreter writes as signals arrive.
        """
        ours, interpreters = socket.socketpair()
        interpreters.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(interpreters.detach())
        threading.Thread(target=self._hear_signals, args=(ours,), daemon=True).start()

    def notice(self, notice: Notice) -> None:
        """Drain for an interruption; may be called from any thread, before `run` too.

        The wall clock, in which notices are given, is read here alone: from now on the monotonic one counts.
        """
        drain_until = time.monotonic() + seconds_for_drain(notice, time.time())
        self._events.put(_Noticed(notice, drain_until))

    def done(self) -> None:
        """Drain, since nothing is left to do; may be called from any thread, before `run` too."""
        self._events.put(_Done())

    @property
    def told_to_stop(self) -> bool:
        """Whether a signal or a notice came."""
        return self._told_to_stop

    def run(self) -> bool:
        """Work; whether every object that these workers were given up to the end went well.

        Raises:
            Interrupted: by a second signal.
            ConfigurationError: a worker process gave up on an endpoint or the queue.
            WorkerCrashedError: worker processes crash as fast as they are started.
        """
        try:
            for _ in range(self._processes):
                self._start()
            self._state = advance(self._state, Move.READY)
            while self._children or self._restart_at:
                with contextlib.suppress(queue.Empty):
                    self._handle(self._events.get(timeout=self._patience()))
                self._keep_time(time.monotonic())
        finally:
            for child in self._children:
                child.kill()
        self._state = advance(self._state, Move.DONE)
        if self._fault:
            raise self._fault
        return self._told_to_stop or not self._failed_objects

    def _start(self) -> None:
        line = self._connect() if self._connect else None
        self._children.append(_Child(self._settings, self._events, line))

    def _hear_signals(self, numbers: socket.socket) -> None:
        while heard := numbers.recv(1):
            self._events.put(_Signalled(heard[0]))

    def _handle(self, event: _Event) -> None:
        match event:
            case _Ready():
                self._became_ready(event.child)
            case _Exited():
                self._exited(event)
            case _Signalled():
                self._heard_signal(event)
            case _Noticed():
                self._told_to_stop = True
                log.warning("interruption notice", action=event.notice.action, time=event.notice.time)
                self._drain(max(0.0, event.drain_until - time.monotonic()))
            case _Done():
                log.info("done")
                self._drain(self._drain_seconds)

    def _became_ready(self, child: _Child) -> None:
        child.is_ready = True
        if not self._was_ready and not self._restart_at and all(each.is_ready for each in self._children):
            self._was_ready = True
            self._systemd.ready()

    def _heard_signal(self, event: _Signalled) -> None:
        if self._signalled:
            raise Interrupted
        self._signalled = self._told_to_stop = True
        log.info("signal", signal=signal.Signals(event.number).name)
        self._drain(self._drain_seconds)

    def _drain(self, seconds: float) -> None:
        """Stop within `seconds`; a second word to do so can only shorten the time."""
        self._state = advance(self._state, Move.DRAIN)
        self._restart_at.clear()
        self._systemd.stopping(seconds)
        self._kill_at = min(self._kill_at, time.monotonic() + seconds + _GRACE_SECONDS)
        for child in self._children:
            child.drain(seconds)

    def _exited(self, event: _Exited) -> None:
        self._children.remove(event.child)
        match event.status:
            case Exit.DRAINED:
                pass
            case Exit.FAILED_OBJECTS:
                self._failed_objects = True
            case Exit.GAVE_UP:
                self._fault = ConfigurationError("a worker process gave up; its last log line says why")
                self._drain(self._drain_seconds)
            case status:
                self._crashed(event.child.pid, status)

    def _crashed(self, pid: int, status: int) -> None:
        log.warning("worker process died", pid=pid, status=status)
        now = time.monotonic()
        self._crashes = [*(at for at in self._crashes if now - at < _CRASH_WINDOW), now]
        if self._state is State.DRAINING:
            return
        if len(self._crashes) > _CRASHES * self._processes:
            self._fault = WorkerCrashedError(f"{len(self._crashes)} crashes in a minute; see the log")
            self._drain(self._drain_seconds)
        else:
            self._restart_at.append(now + _RESTART_SECONDS)

    def _patience(self) -> float:
        due = [self._kill_at, self._beat_at, *self._restart_at]
        if self._watches_queue:
            due.append(self._ask_at)
        # The queue takes no endless wait for a number.
        return max(0.0, min(*due, time.monotonic() + 3600) - time.monotonic())

    @property
    def _watches_queue(self) -> bool:
        return self._until_empty is not None and self._state is State.RUNNING

    def _keep_time(self, now: float) -> None:
        if now >= self._beat_at:
            self._beat_at = now + self._systemd.beat
            self._systemd.alive()
        if now >= self._kill_at:
            self._kill_at = float("inf")
            log.error("drain overdue", processes=len(self._children))
            for child in self._children:
                child.kill()
        for at in [at for at in self._restart_at if now >= at]:
            self._restart_at.remove(at)
            self._start()
        if self._watches_queue and now >= self._ask_at:
            self._watch_queue(now)

    def _watch_queue(self, now: float) -> None:
        assert self._until_empty is not None
        self._ask_at = now + min(10.0, self._until_empty / 3)
        try:
            messages = self._depth().total
        except FleetcopyError as error:
            log.warning("depth", why=str(error))
            self._empty_since = None
            return
        if messages:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = now
        elif now - self._empty_since >= self._until_empty:
            log.info("queue empty", seconds=self._until_empty)
            self._drain(self._drain_seconds)
