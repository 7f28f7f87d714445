"""Watches over the processes of a mesh: reports one that crashed, and starts it again with a growing pause."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

import psutil

from onex_mesh.cli.dev.child import ChildFailedError
from onex_mesh.cli.dev.mesh import MeshNode, ProcessMesh

_POLL_S = 0.2
_PAUSE_MAX_S = 8.0
_FAILURES_MAX = 5
_STEADY_S = 30.0
_RESTART_TIMEOUT_S = 60.0
_ETCD_POLL_S = 1.0


class Supervisor:
    """Keeps the nodes of a mesh running.

    Args:
        mesh: The mesh, started.
        report: Takes what is to be said, and the last log lines of the process it is about.
        forgiving: Never give up on a node that fails: a change of its code is awaited instead.
        pause_first_s: Pause before the first restart, in seconds; it doubles with each failure in a row.
    """

    def __init__(
        self,
        mesh: ProcessMesh,
        report: Callable[[str, list[str]], None],
        *,
        forgiving: bool = False,
        pause_first_s: float = 0.5,
    ) -> None:
        self._mesh = mesh
        self._report = report
        self._forgiving = forgiving
        self._restarting = False
        self._settled: set[int] = set()
        self._pause_first_s = pause_first_s

    async def run(self) -> None:
        """Watches until it is cancelled.

        Raises:
            ChildFailedError: A node failed again and again.
        """
        async with asyncio.TaskGroup() as tasks:
            for node in self._mesh.nodes:
                tasks.create_task(self._keep(node))
            tasks.create_task(self._keep_etcd())

    async def _keep_etcd(self) -> None:
        while True:
            await asyncio.sleep(_ETCD_POLL_S)
            etcd = self._mesh.etcd
            if etcd is not None and etcd.pid is not None and _has_ended(etcd.pid):
                self._report("etcd ended; starting it again on the same data", [])
                await etcd.restart()

    async def restart_all(self) -> bool:
        """Restarts all nodes, because their code changed; False where one does not come up, which is reported."""
        self._restarting = True
        try:
            await self._mesh.stop_nodes()
            await self._mesh.start_nodes()
            return True
        except ChildFailedError as error:
            self._report(f"{error.message}; waiting for the next change", error.child.last_lines())
            self._settled.update(node.child.pid for node in self._mesh.nodes if not node.child.is_running)
            return False
        finally:
            self._restarting = False

    async def _keep(self, node: MeshNode) -> None:
        failures = 0
        while True:
            if self._restarting or node.child.pid in self._settled:
                await asyncio.sleep(_POLL_S)
                continue
            code = await node.child.wait()
            if self._restarting:
                continue
            self._settled.add(node.child.pid)
            failures = 0 if time.monotonic() - node.child.started_at > _STEADY_S else failures + 1
            if failures <= _FAILURES_MAX:
                await self._start_again(node, code, failures)
            elif self._forgiving:
                self._report(f"{node.name} keeps ending ({_ending(code)}); waiting for a change", [])
            else:
                raise ChildFailedError(node.child, f"{node.name} ended {failures} times in a row; giving up")

    async def _start_again(self, node: MeshNode, code: int, failures: int) -> None:
        pause_s = min(self._pause_first_s * 2 ** max(failures - 1, 0), _PAUSE_MAX_S)
        said = f"{node.name} ended ({_ending(code)}); starting it again in {pause_s:g} s"
        self._report(said, node.child.last_lines())
        await asyncio.sleep(pause_s)
        if self._restarting or node.child.is_running:
            return
        await node.child.start()
        # Where it does not come up it has ended, which is seen next.
        with contextlib.suppress(ChildFailedError):
            await node.child.wait_ready(_RESTART_TIMEOUT_S)
            self._report(f"{node.name} serves again", [])


def _has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
