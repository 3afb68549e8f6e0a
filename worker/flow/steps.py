"""The tasks that are not packs of objects: each is a step, carried out as one job, that may lead to others.

Whoever carries out a step never touches the queue. It says what became of the task, and which messages the
queue must take before the task's own message is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from worker.core.errors import MessageError
from worker.core.message import Task
from worker.core.model import Kind, Outcome
from worker.core.settle import Step
from worker.core.transferrer import Cancellation

Carrier = Callable[[Any, Cancellation], Step]
"""Carries out tasks of one kind; may raise what `core.transferrer` lists."""


class Steps:
    """Hands each task to the one that carries out its kind.

    Args:
        carriers: by class of task.
    """

    def __init__(self, carriers: Mapping[type, Carrier]) -> None:
        self._carriers = carriers

    def perform(self, task: Task, cancel: Cancellation) -> Step:
        """Carry out a task.

        Raises:
            FleetcopyError: of the carrier; the task has failed then.
        """
        carry = self._carriers.get(type(task))
        if carry is None:
            kind = type(task).__name__.removesuffix("Task").lower()
            error = MessageError("UnknownKind", f"this worker carries out no {kind} tasks")
            return Step(Outcome(Kind.FAILED, error=error))
        return carry(task, cancel)
