"""One instance of a stack: a machine that boots from its user data, its metadata service where EC2 has it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.boot.machine import Machine
from tests.boot.stack import Stack
from tests.cloud import Cloud
from tests.cloud.metadata import ACTION, Metadata, values_of


class Instance:
    """The stack's instance: `with Instance(cloud, stack, root, folder) as instance: ...`.

    Attributes:
        id: as EC2 calls it.
        machine: what boots.
        secrets: by name, what the instance's role was given and must not write anywhere.
    """

    def __init__(self, cloud: Cloud, stack: Stack, root: Path, folder: Path) -> None:
        self._cloud = cloud
        self.id = stack.instance_id
        self.secrets: dict[str, str] = {}
        # FLEETCOPY_PAUSE: one that fails to start would wait for minutes before it ends.
        environment = {"AWS_ENDPOINT_URL": cloud.url, "FLEETCOPY_PAUSE": "1"}
        self.machine = Machine(root, folder, self.id, stack.user_data, environment)
        self._metadata = Metadata(("169.254.169.254", 80))
        self._metadata.change(values_of(self._shown, self._credentials))
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self._running.enter_context(self._metadata)
        self._running.enter_context(self.machine)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)

    @property
    def _shown(self) -> dict[str, Any]:
        machines: list[dict[str, Any]] = self._cloud.control("GET", "machines")
        return next(machine for machine in machines if machine["id"] == self.id)

    def _credentials(self) -> dict[str, str]:
        given: dict[str, str] = self._cloud.control("POST", "credentials", {"instance": self.id})
        number = len(self.secrets) // 2
        self.secrets[f"secret access key {number}"] = given["SecretAccessKey"]
        self.secrets[f"session token {number}"] = given["Token"]
        return given

    def interrupt(self) -> None:
        """Interrupt it, as EC2 does when it wants the capacity back."""
        self._cloud.control("POST", "interrupt", {"instance": self.id})
        self._metadata.values[ACTION] = json.dumps(self._shown["notice"])
