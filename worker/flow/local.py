"""A whole transfer on one machine: the plan in a thread, worker processes beside it, a hub between them.

The plan is `submit`'s, the worker processes are those of `work`; what `work` awaits from SQS, a count that
stays at nothing, is known here for certain. What a signal leaves undone, a rerun finds.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from worker.core.progress import Progress
from worker.flow.local_queue import ClosedError, Hub
from worker.flow.supervise import Supervisor


class LocalTransfer:
    """One transfer.

    Args:
        hub: carries the tasks; `supervisor` connects its worker processes to it.
        supervisor: minds the worker processes.
        plan: sends the hub a task for whatever is to be copied, and counts as `flow.submit` does.
    """

    def __init__(self, hub: Hub, supervisor: Supervisor, plan: Callable[[Counter[str]], object]) -> None:
        self.complete = False
        """Whether every object of the listing was seen to."""
        self._hub = hub
        self._supervisor = supervisor
        self._plan = plan
        self._counts: Counter[str] = Counter()
        self._listed_all = False
        self._fault: Exception | None = None

    def run(self) -> None:
        """Carry it out, or as much of it as comes before a signal.

        Raises:
            FleetcopyError: of the plan, or see `Supervisor.run`; what is under way is finished first.
            Interrupted: by a second signal.
        """
        threading.Thread(target=self._run_plan, daemon=True).start()
        try:
            self._supervisor.run()
        finally:
            self._hub.close()
        self._hub.hear_out()
        if self._fault:
            raise self._fault

    def _run_plan(self) -> None:
        try:
            self._plan(self._counts)
            self._listed_all = True
            self._hub.join()
            self.complete = True
        except ClosedError:
            return
        except Exception as error:  # noqa: BLE001 - raised again by `run`, in the main thread
            self._fault = error
        self._supervisor.done()

    def progress(self) -> Progress:
        """How far it is; may be called from any thread."""
        return Progress(
            planned=dict(self._counts),
            listed_all=self._listed_all,
            tally=self._hub.tally(),
            failed=self._hub.failed,
            stopping=self._supervisor.told_to_stop,
        )
