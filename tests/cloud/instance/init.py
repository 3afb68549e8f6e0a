"""One machine: boots by running its user data, and is its systemd as far as the bootstrap needs one.

Started by `tests.cloud.fleet` as `python init.py ROOT`, on the standard library alone, for a cheap start. All
processes of the machine are below it, and none survives it: it ends, and they at one stroke, when the machine
powers off, or when its standard input does because the fleet is gone; then it removes the machine's files as
well. It writes a JSON line for what happens: `user data` has ended, its worker is `ready`, has `stopped`, and
`power off`.

The stand-ins in `bin` ask it over a socket. Of systemd it does what the unit of fleetcopy uses: ExecStart and
EnvironmentFile below ROOT, Type=notify, WatchdogSec, the stop and its timeout, Restart=on-failure with
RestartSec, the start limit and its action, SuccessAction; and timers of `systemd-run --on-active`. It does
not sandbox, nor change users, nor order units, nor read a unit's other settings: a real systemd does that in
`tests/boot`.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.processes import children, end_tree

PR_SET_CHILD_SUBREAPER = 36
UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "ms": 0.001}
TIME = re.compile(r"(\d+)\s*([a-z]*)")
# Exit statuses: of systemctl for a unit that is not there, of a process that could not be executed.
NOT_LOADED, EXEC_FAILED = 5, 203
# How a process may end and be said to have ended well. Source: systemd.service(5), SuccessExitStatus=.
CLEAN = (0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGTERM, -signal.SIGPIPE)

Answer = Callable[[int, str], None]
Verb = Callable[[list[str], Answer], None]


def seconds(text: str) -> float:
    """Return systemd's spelling of a time in seconds: `90s`, `10min`, `1min 30s`."""
    return sum(int(number) * UNITS[unit] for number, unit in TIME.findall(text))


def read_unit(text: str) -> dict[str, str]:
    """Return a unit's settings by name, whatever their section; of a repeated one the last."""
    lines = [line.strip() for line in text.splitlines()]
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;")


def read_environment(text: str) -> dict[str, str]:
    """Return what an EnvironmentFile sets; in double quotes, a backslash goes before four characters."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and line[0] not in "#;":
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            found[name.strip()] = re.sub(r'\\([\\"`$])', r"\1", value[1:-1]) if quoted else value.strip()
    return found


class Unit:
    """The one service of a machine, and where it stands."""

    def __init__(self, machine: Machine, name: str, settings: dict[str, str]) -> None:
        self.name = name
        self.pid = 0
        self.active = self.stopping = False
        self.waiting: list[Answer] = []
        self._machine = machine
        self._settings = settings
        self._starts: list[float] = []
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(f"\0fleetcopy-{os.getpid()}-{name}")
        machine.selector.register(self._notify, selectors.EVENT_READ, self._notified)

    def _time(self, name: str, default: str) -> float:
        return seconds(self._settings.get(name, default))

    def start(self) -> None:
        """Start the main process, unless the start limit forbids it."""
        now = time.monotonic()
        window = self._time("StartLimitIntervalSec", "10s")
        self._starts = [at for at in self._starts if at > now - window] + [now]
        if len(self._starts) > int(self._settings.get("StartLimitBurst", "5")):
            self._answer(1, f"{self.name}: start request repeated too quickly")
            self._act(self._settings.get("StartLimitAction", "none"), "its worker failed too often")
            return
        root = self._machine.root
        program, *arguments = shlex.split(self._settings["ExecStart"])
        environment = dict(self._machine.environment)
        if file := self._settings.get("EnvironmentFile"):
            environment |= read_environment(Path(f"{root}{file}").read_text())
        environment["NOTIFY_SOCKET"] = f"@fleetcopy-{os.getpid()}-{self.name}"
        if watchdog := self._time("WatchdogSec", "0"):
            environment["WATCHDOG_USEC"] = str(int(watchdog * 1_000_000))
        self.active = self.stopping = False
        try:
            self.pid = self._machine.spawn([f"{root}{program}", *arguments], environment, "journal.log")
        except OSError as error:
            self._machine.log(f"{self.name}: {error}")
            self.ended(EXEC_FAILED)
            return
        self._machine.at("unit", self._time("TimeoutStartSec", "90s"), lambda: self._kill("start timed out"))

    def stop(self) -> None:
        """Ask the main process to end, and make it so when it does not."""
        self.stopping = True
        self._machine.at("unit", self._time("TimeoutStopSec", "90s"), lambda: self._kill("stop timed out"))
        os.kill(self.pid, signal.SIGTERM)

    def _kill(self, why: str) -> None:
        self._machine.log(f"{self.name}: {why}; killed")
        end_tree(self.pid)

    def _notified(self) -> None:
        text = self._notify.recv(4096).decode()
        if "READY=1" in text and not self.active:
            self.active = True
            self._machine.tell("ready")
            self._answer(0, "")
        watchdog = self._time("WatchdogSec", "0")
        if self.active and not self.stopping:
            self._machine.disarm("unit")
            if watchdog:
                self._machine.at("unit", watchdog, lambda: self._kill("watchdog timed out"))

    def ended(self, status: int) -> None:
        """Take note that the main process has ended, and do what the unit says then."""
        # Who ends before it was ready has failed, whatever its status.
        clean = status in CLEAN and self.active
        self.pid, self.active = 0, False
        self._machine.disarm("unit")
        self._machine.end_strays()
        self._machine.tell("stopped", status=status)
        self._answer(0 if clean else 1, "" if clean else f"{self.name}: failed with status {status}")
        if clean:
            self._act(self._settings.get("SuccessAction", "none"), "its worker has ended")
        elif not self.stopping and self._settings.get("Restart") == "on-failure":
            self._machine.at("restart", self._time("RestartSec", "100ms"), self.start)

    def _answer(self, status: int, text: str) -> None:
        """Answer those who wait for the unit to have started or stopped."""
        waiting, self.waiting = self.waiting, []
        for answer in waiting:
            answer(status, text)

    def _act(self, action: str, why: str) -> None:
        if action.startswith("poweroff"):
            self._machine.power_off(why)


class Machine:
    """The machine as a whole: its processes, its timers, its socket, its end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # What systemd gives to all that it starts; PYTHONPATH leads from this program to its own modules.
        given: dict[str, str] = json.loads(os.environ["FLEETCOPY_MACHINE"])
        self.environment = given
        self.selector = selectors.DefaultSelector()
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self._unit: Unit | None = None
        self._known: dict[int, Callable[[int], None]] = {}
        self._off = ""

    def run(self) -> None:
        """Boot, and stay up until the end."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        child, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(child, selectors.EVENT_READ, lambda: self._reap(child))
        self.selector.register(sys.stdin, selectors.EVENT_READ, self._abandon)
        os.chdir(self.root / "run")
        asked = socket.socket(socket.AF_UNIX)
        asked.bind("init")
        asked.listen()
        self.selector.register(asked, selectors.EVENT_READ, lambda: self._asked(asked))
        user_data = self.root / "var/lib/cloud/instance/user-data.txt"
        pid = self.spawn([str(user_data)], self.environment, "console.log")
        self._known[pid] = lambda status: self.tell("user data", status=status)
        while True:
            due = min((at for at, _ in self._timers.values()), default=None)
            pause = None if due is None else max(0.0, due - time.monotonic())
            for key, _ in self.selector.select(pause):
                key.data()
            self._run_timers()

    def tell(self, event: str, **values: object) -> None:
        """Tell the fleet."""
        try:
            sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
            sys.stdout.flush()
        except OSError:
            self._abandon()

    def log(self, text: str) -> None:
        """Write to the journal."""
        with (self.root / "journal.log").open("a") as journal:
            journal.write(f"systemd: {text}\n")

    def spawn(self, command: list[str], environment: dict[str, str], log: str) -> int:
        """Start a process whose output goes to a log; its id."""
        with (self.root / log).open("a") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # It is reaped with all others; Popen must not do so too.
        process.returncode = 0
        self._known[process.pid] = lambda _: None
        return process.pid

    def at(self, name: str, delay: float, do: Callable[[], None]) -> None:
        """Arm a timer; one of the same name is armed anew."""
        self._timers[name] = (time.monotonic() + delay, do)

    def disarm(self, name: str) -> bool:
        """Take a timer back; whether there was one."""
        return self._timers.pop(name, None) is not None

    def end_strays(self) -> None:
        """End what a unit's main process has left behind, as the end of a control group does."""
        for pid in children(os.getpid()):
            if pid not in self._known:
                end_tree(pid)

    def power_off(self, why: str) -> None:
        """Stop the unit, if it runs, and then the machine."""
        self._off = self._off or why
        if self._unit and self._unit.pid:
            if not self._unit.stopping:
                self._unit.stop()
        else:
            self.tell("power off", why=self._off)
            sys.exit()

    def _abandon(self) -> None:
        self.end_all()
        shutil.rmtree(self.root, ignore_errors=True)
        sys.exit()

    def _run_timers(self) -> None:
        now = time.monotonic()
        for name, (at, do) in list(self._timers.items()):
            if at <= now and self._timers.get(name) == (at, do):
                del self._timers[name]
                do()

    def _reap(self, child: int) -> None:
        os.read(child, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if ended := self._known.pop(pid, None):
                ended(code)
            if self._unit and pid == self._unit.pid:
                self._unit.ended(code)
                if self._off:
                    self.power_off(self._off)

    def _asked(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        name, *arguments = json.loads(connection.makefile().readline())

        def answer(status: int, text: str) -> None:
            with connection:
                try:
                    connection.sendall(json.dumps([status, text]).encode())
                except OSError:
                    return

        verbs: dict[str, Verb] = {
            "systemctl": self._systemctl,
            "systemd-run": self._systemd_run,
            "poweroff": lambda _, answer: self._systemctl(["poweroff"], answer),
            "journalctl": self._journalctl,
            "dnf": lambda _, answer: answer(1, "Error: there are no packages here"),
        }
        verbs[name](arguments, answer)

    def _journalctl(self, _arguments: list[str], answer: Answer) -> None:
        journal = self.root / "journal.log"
        answer(0, (journal.read_text().splitlines() or [""])[-1] if journal.exists() else "")

    def _systemd_run(self, arguments: list[str], answer: Answer) -> None:
        options = [argument for argument in arguments if argument.startswith("--")]
        command = arguments[len(options) :]
        given = dict(option[2:].split("=", 1) for option in options if "=" in option)
        self.at(
            f"{given['unit']}.timer",
            seconds(given["on-active"]),
            lambda: self._start_command(command),
        )
        answer(0, "")

    def _start_command(self, command: list[str]) -> None:
        self.spawn(command, self.environment, "journal.log")

    def _systemctl(self, arguments: list[str], answer: Answer) -> None:
        words = [argument for argument in arguments if not argument.startswith("-")]
        match words:
            case ["daemon-reload"]:
                answer(0, "")
            case ["poweroff"]:
                self.power_off("systemctl poweroff")
                answer(0, "")
            case ["enable", name] if "--now" not in arguments:
                answer(0, name)
            case ["enable" | "start", name]:
                self._start(name.removesuffix(".service"), answer)
            case ["stop", name] if name.endswith(".timer"):
                found = self.disarm(name)
                answer(0 if found else NOT_LOADED, "" if found else f"Unit {name} not loaded.")
            case ["stop", name]:
                self._stop(name, answer)
            case _:
                answer(1, f"this machine's systemctl does not know: {shlex.join(arguments)}")

    def _start(self, name: str, answer: Answer) -> None:
        file = self.root / f"etc/systemd/system/{name}.service"
        if not file.exists():
            answer(NOT_LOADED, f"Unit {name}.service not found.")
            return
        if self._unit is None:
            self._unit = Unit(self, name, read_unit(file.read_text()))
        if self._unit.active:
            answer(0, "")
            return
        self._unit.waiting.append(answer)
        if not self._unit.pid:
            self._unit.start()

    def _stop(self, name: str, answer: Answer) -> None:
        if self._unit is None or not self._unit.pid:
            answer(0 if self._unit else NOT_LOADED, f"Unit {name} not loaded." if not self._unit else "")
            return
        self._unit.waiting.append(answer)
        self._unit.stop()

    def end_all(self) -> None:
        """End all processes of the machine but this one."""
        while below := children(os.getpid()):
            for pid in below:
                end_tree(pid)


if __name__ == "__main__":
    machine = Machine(Path(sys.argv[1]))
    try:
        machine.run()
    finally:
        machine.end_all()
