"""Keeps one real server: starts its processes, awaits that they serve, ends them, removes their folder.

Each process gets the signal to die with its keeper from the kernel, so that none outlives a killed test run.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests import tls

# Below the ports that the kernel gives to outgoing connections, so that none takes one meanwhile.
PORTS = range(20_000, 32_000)
POLL_SECONDS = 0.05


class Keeper:
    """The folder and the processes of one server.

    Attributes:
        folder: for all that the server writes.
        authority: the certificate that it shall show.
    """

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="fleetcopy-server-"))
        self.authority = tls.authority(self.folder)
        self._processes: list[subprocess.Popen[bytes]] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing of theirs is kept, so that there is nothing to end in good order.
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        shutil.rmtree(self.folder)

    def run(self, *command: str | Path, **environment: str) -> str:
        """Run a command to its end; its output.

        Raises:
            RuntimeError: it failed, with what it said.
        """
        done = subprocess.run(
            command,
            env=self._environment(environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *command: str | Path, **environment: str) -> None:
        """Start a process of the server's; what it says goes to `output` in the folder."""
        with (self.folder / "output").open("ab") as output:
            self._processes.append(
                subprocess.Popen(
                    ["/usr/bin/setpriv", "--pdeathsig", "KILL", *command],
                    env=self._environment(environment),
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            )

    def wait_for(self, url: str, seconds: float) -> None:
        """Wait until a GET of an https URL is answered with 200, under the keeper's certificate.

        Raises:
            RuntimeError: a process ended, or the time is over; with the last of what they said.
        """
        until = time.monotonic() + seconds
        trust = ssl.create_default_context(cafile=self.authority.certificate)
        while not _answers(url, trust):
            ended = [process.args for process in self._processes if process.poll() is not None]
            if ended or time.monotonic() > until:
                said = (self.folder / "output").read_text(errors="replace")[-4000:]
                what = f"{ended} ended" if ended else f"{url} does not answer after {seconds} s"
                raise RuntimeError(f"{what}:\n{said}")
            time.sleep(POLL_SECONDS)

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return kept | {"HOME": str(self.folder)} | more


def _answers(url: str, trust: ssl.SSLContext) -> bool:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=5, context=trust)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Loopback ports on which nobody listens now."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in random.sample(PORTS, len(PORTS)):
            if len(ports) == count:
                break
            try:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            ports.append(port)
    return ports
