"""The driver: a process of its own, so that what the client costs is not counted as the mesh's.

It reads one JSON object per line (a `Task`), runs it, and writes JSON lines: {"event": "opened"} and
{"event": "closed"} at the ends of the window, then {"event": "result", …}.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass

import uvloop

from bench.callers import mesh_caller, restate_caller
from bench.load import Load, LoadOptions, LoadResult, RunWorkflow


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement that the driver is asked for.

    Attributes:
        system: "mesh" or "restate".
        address: host:port of the orchestrator, or of Restate's ingress.
        workflow: Name of the workflow; Restate has but one.
        in_flight, window_s, warm_up_s, workflows: As in LoadOptions.
    """

    system: str
    address: str
    workflow: str
    in_flight: int
    window_s: float
    warm_up_s: float
    workflows: int = 0

    def caller(self) -> AbstractAsyncContextManager[RunWorkflow]:
        """The client that runs one workflow."""
        if self.system == "mesh":
            return mesh_caller(self.address, self.workflow)
        return restate_caller(self.address, self.in_flight)


async def measure(task: Task) -> LoadResult:
    """Runs one task, reporting the ends of its window on standard output."""
    options = LoadOptions(task.in_flight, task.window_s, task.warm_up_s, task.workflows)
    async with task.caller() as run_workflow:
        load = Load(run_workflow, options, opened=lambda: _say("opened"), closed=lambda: _say("closed"))
        return await load.run()


def _say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serves tasks until standard input ends."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            result = runner.run(measure(Task(**json.loads(line))))
            _say("result", **asdict(result))


if __name__ == "__main__":
    main()
