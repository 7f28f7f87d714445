"""What a workflow's templates look into and lies in the payload store: fetched while the other steps go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from onex.v1 import action_pb2
from onex_mesh.orchestrator.core.actions import Inputs
from onex_mesh.orchestrator.core.plan import PlannedStep
from onex_mesh.runtime import errors
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.resolving import resolved


class Fetching:
    """The commands of steps whose templates have to wait for the payload store.

    Args:
        inputs: What the templates read.
        payloads: Fetches it.
        wake: Called when a command is ready, or there is a reason why it never will be.
    """

    def __init__(self, inputs: Inputs, payloads: Payloads, wake: Callable[[], None]) -> None:
        self._inputs = inputs
        self._payloads = payloads
        self._wake = wake
        self._tasks: dict[int, asyncio.Task[action_pb2.Command]] = {}

    def is_ready(self, step: PlannedStep) -> bool:
        """Whether the step's command can be made at once; begins to fetch what it takes otherwise."""
        task = self._tasks.get(step.index)
        if task is None:
            if not self._inputs.is_stored(step):
                return True
            work = resolved(step.template, self._inputs.scope(step), self._payloads)
            task = self._tasks[step.index] = asyncio.create_task(work)
            task.add_done_callback(self._done)
        return task.done()

    def take(self, step: PlannedStep) -> action_pb2.Command | None:
        """The command of a step that is ready; None if nothing had to be fetched for it. Another attempt fetches anew.

        Raises:
            OnexError: It cannot be made.
        """
        task = self._tasks.pop(step.index, None)
        if task is None:
            return None
        try:
            return task.result()
        except errors.OnexError:
            raise
        except Exception as error:  # a fault of ours fails the step, not the workflow's runner
            raise errors.InternalError("the command of the step could not be made") from error

    def _done(self, task: asyncio.Task[action_pb2.Command]) -> None:
        if not task.cancelled():
            task.exception()  # whoever takes the command sees it; a workflow that ended before does not
        self._wake()

    def close(self) -> None:
        """Ends what is under way; nobody waits for it any more."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
