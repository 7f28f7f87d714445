"""Workers of a Dask cluster that runs elsewhere; the App must be importable there."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import time
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Protocol

from onex_mesh.compute.core.computation import Task
from onex_mesh.compute.core.context import Cancellation, cancelled
from onex_mesh.compute.core.travel import opened, run_sealed, sealed_task
from onex_mesh.compute.ports import Done, WorkerDiedError
from onex_mesh.runtime.errors import DependencyResolutionError, OnexError, ValidationError

CONNECT_S = 5.0
"""How long a scheduler may take to answer."""

CHECK_S = 0.5
"""How often the connection to the scheduler is looked at while a task runs."""


class Client(Protocol):
    """What is used of a distributed.Client, which ships no types."""

    status: str

    def get_executor(self, **options: object) -> concurrent.futures.Executor:
        """Its workers as an executor."""

    def close(self, timeout: float) -> None:
        """Leaves the cluster."""


class DaskCluster:
    """Connects with its first use, and anew after the scheduler was lost.

    Args:
        address: Of the scheduler, such as "tcp://scheduler:8786".
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client: Client | None = None
        self._connecting = asyncio.Lock()

    async def run(self, task: Task) -> Done:
        """Runs a task on a worker of the cluster; see `onex_mesh.compute.ports.Workers`.

        Raises:
            ValidationError: It must not be repeated: Dask runs what a dead worker was at again.
            DependencyResolutionError: The scheduler is not there, or was lost.
            WorkerDiedError: Its workers died of it.
        """
        if not task.algorithm.pure:
            text = "the executor DASK takes pure algorithms only: it runs again what a dead worker was at"
            raise ValidationError(f"parallel_config.executor: {text}", violations=(("parallel_config.executor", text),))
        dask = _distributed()
        client = await self._connected(dask)
        # The clock of another machine counts from elsewhere: what is left of the time travels.
        deadline = task.context.deadline
        seconds_left = None if deadline is None else deadline - time.monotonic()
        task = await asyncio.to_thread(sealed_task, replace(task, context=replace(task.context, deadline=None)))
        # Retries are for errors of the function, which a pure one would meet again.
        future = client.get_executor(pure=False, retries=0).submit(_run_there, task, seconds_left)
        del task
        try:
            return Done(opened(await self._answer(client, future)))
        except dask.KilledWorker as error:
            raise WorkerDiedError from error
        finally:
            # Frees what has not begun, and tells what is under way (`_ClusterCancellation`).
            future.cancel()

    def close(self) -> None:
        """Leaves the cluster."""
        client, self._client = self._client, None
        if client is not None:
            client.close(CONNECT_S)

    async def _answer(self, client: Client, future: concurrent.futures.Future[object]) -> object:
        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=CHECK_S)
            if done and not waiting.cancelled():
                return waiting.result()
            if done or client.status != "running":
                raise await self._lost(client)

    async def _connected(self, dask: ModuleType) -> Client:
        async with self._connecting:
            client = self._client
            if client is None:
                try:
                    connect: Callable[..., Client] = dask.Client
                    client = await asyncio.to_thread(connect, self._address, timeout=CONNECT_S, set_as_default=False)
                    self._client = client
                except (OSError, ValueError) as error:
                    raise _unavailable(self._address, f"does not answer: {error}") from error
            return client

    async def _lost(self, client: Client) -> DependencyResolutionError:
        """Gives a connection up; the next use makes another."""
        if self._client is client:
            self._client = None
            await asyncio.to_thread(client.close, CONNECT_S)
        return _unavailable(self._address, "was lost")


class _ClusterCancellation(Cancellation):
    """Whether the scheduler has asked for this task to be forgotten: it was cancelled, or its node is gone.

    A worker knows that without asking: the state of such a task is "cancelled" until it ends (see "Worker State
    Machine" in the documentation of distributed).
    """

    __slots__ = ("_key", "_tasks")

    def __init__(self) -> None:
        super().__init__()
        worker = _distributed().get_worker()
        self._key = worker.get_current_task()
        self._tasks = worker.state.tasks

    def reason(self) -> OnexError | None:
        """See `Cancellation`."""
        state = self._tasks.get(self._key)
        if state is None or state.state == "cancelled":
            return cancelled()
        return super().reason()


def _run_there(task: Task, seconds_left: float | None) -> object:
    """On a worker of the cluster: runs a task, whose context tells of its own clock and of the scheduler's wishes."""
    deadline = None if seconds_left is None else time.monotonic() + seconds_left
    context = replace(task.context, deadline=deadline, cancellation=_ClusterCancellation())
    return run_sealed(replace(task, context=context))


def _unavailable(address: str, what: str) -> DependencyResolutionError:
    return DependencyResolutionError(f"the Dask scheduler at {address} {what}", error_context={"dependency": "dask"})


def _distributed() -> ModuleType:
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise ValidationError("the executor DASK needs the extra: pip install 'onex-mesh[dask]'") from error
