"""Runs computations: on the event loop where that is quick, in a thread where it is not, in chunks on workers.

A run that is expected to take less than 2 ms is done on the event loop, which costs no hand-over. What is expected is a
moving average by algorithm and size of the input; the first run of a size, and any run on more than 64 KiB, is done in
a thread. An algorithm that was quick so far and suddenly is not holds the loop that once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog
from google.protobuf.duration_pb2 import Duration

from onex.v1 import compute_pb2
from onex_mesh.compute.core import chunks
from onex_mesh.compute.core.algorithm import Algorithm, MergeStrategy
from onex_mesh.compute.core.computation import Task, finished, input_bytes, prepared, run
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.errors import failure_of
from onex_mesh.compute.core.output import size_of
from onex_mesh.compute.core.results import ResultCache
from onex_mesh.compute.core.timing import INLINE_BYTES_MAX, RunTimes
from onex_mesh.compute.core.travel import has_tables, opened, run_sealed, sealed_task
from onex_mesh.compute.ports import (
    Algorithms,
    PerformanceMonitor,
    Progress,
    Step,
    WorkerDiedError,
    WorkerMemoryError,
    Workers,
)
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    ComputeFailedError,
    OnexError,
    PayloadTooLargeError,
    ValidationError,
)

T = TypeVar("T")

log = structlog.get_logger(__name__)

_DEADLINE_GRACE_S = 0.25
"""An algorithm that asks its context ends itself within this time after its deadline; then its worker is ended."""

_THREADS = compute_pb2.EXECUTOR_KIND_THREADS
_DASK = compute_pb2.EXECUTOR_KIND_DASK
_STRATEGIES = {
    compute_pb2.MERGE_STRATEGY_UNSPECIFIED: None,
    compute_pb2.MERGE_STRATEGY_CONCATENATE: MergeStrategy.CONCATENATE,
    compute_pb2.MERGE_STRATEGY_REDUCE: MergeStrategy.REDUCE,
    compute_pb2.MERGE_STRATEGY_CUSTOM: MergeStrategy.CUSTOM,
}


class ComputeEngine:
    """See the module.

    Args:
        algorithms: What can be computed.
        workers: Where chunks run.
        monitor: How long runs take. Default: a moving average.
    """

    def __init__(self, algorithms: Algorithms, workers: Workers, monitor: PerformanceMonitor | None = None) -> None:
        self._algorithms = algorithms
        self._workers = workers
        self._monitor = monitor or RunTimes()
        self._results = ResultCache()

    async def execute(
        self,
        contract: compute_pb2.ComputeContract,
        *,
        correlation_id: str,
        deadline: float | None = None,
        progress: Progress | None = None,
    ) -> compute_pb2.ComputeOutput:
        """Runs one computation.

        Args:
            contract: What to compute.
            correlation_id: The request.
            deadline: When nobody waits for the result any more, on the monotonic clock.
            progress: Is told about each chunk.

        Raises:
            AlgorithmNotFoundError: There is no such algorithm (R41).
            ValidationError: The data or the parameters do not fit (R36, R37).
            ComputeFailedError: The algorithm raised an exception, or a worker died of it.
        """
        began = time.monotonic()
        context = ComputeContext(correlation_id=correlation_id, deadline=deadline)
        try:
            output = await self._output(contract, context, progress or _nobody)
        except asyncio.CancelledError:
            # What runs in a thread cannot be stopped from outside; an algorithm that asks its context is told.
            context.cancellation.requested = True
            raise
        except OnexError as error:
            log.info(
                "a computation failed",
                correlation_id=correlation_id,
                algorithm=contract.algorithm_config.algorithm_type,
                elapsed_s=round(time.monotonic() - began, 6),
                reason=error.reason,
                why=error.message,
            )
            raise
        output.performance_metrics.execution_time.CopyFrom(_duration(time.monotonic() - began))
        return output

    async def _output(
        self, contract: compute_pb2.ComputeContract, context: ComputeContext, progress: Progress
    ) -> compute_pb2.ComputeOutput:
        config = contract.algorithm_config
        if not config.algorithm_type:
            text = "is required and missing"
            raise ValidationError(
                f"algorithm_config.algorithm_type {text}", violations=(("algorithm_config.algorithm_type", text),)
            )
        algorithm = self._algorithms.get(config.algorithm_type, config.version)
        self._check_size(contract)
        key = self._results.key(contract, algorithm)
        output = self._results.get(key)
        if output is not None:
            output.correlation_id = context.correlation_id
            return output
        if contract.HasField("parallel_config"):
            output = await self._parallel(contract, algorithm, context, progress)
        else:
            output = await self._sequential(contract, algorithm, context, progress)
        self._results.put(key, contract, output)
        return output

    def _check_size(self, contract: compute_pb2.ComputeContract) -> None:
        """Refuses input that does not fit into the memory of a task together with a result of its size."""
        size_bytes, bytes_max = input_bytes(contract), self._workers.memory_bytes_max
        if size_bytes * 2 > bytes_max:
            raise PayloadTooLargeError(
                f"the input has {size_bytes} bytes; with a result of that size it does not fit into the"
                f" {bytes_max} bytes of a task"
            )

    async def _sequential(
        self, contract: compute_pb2.ComputeContract, algorithm: Algorithm, context: ComputeContext, progress: Progress
    ) -> compute_pb2.ComputeOutput:
        size_bytes = input_bytes(contract)

        def whole(_: object) -> tuple[compute_pb2.ComputeOutput, float, int]:
            began = time.perf_counter()
            task = prepared(contract, algorithm, context)
            result = run(task)
            output = finished(contract, algorithm, result, context.correlation_id)
            # Measured where it runs: waiting for a free thread says nothing about the algorithm.
            return output, time.perf_counter() - began, size_of(task.data)

        progress(Step(0, 1))
        if self._monitor.is_quick(algorithm.name, algorithm.version, size_bytes):
            output, seconds, rows = whole(None)
        else:
            output, seconds, rows = await self._workers.run(_THREADS, whole, None, repeatable=False)
        self._monitor.ran(algorithm.name, algorithm.version, size_bytes, seconds)
        progress(Step(1, 1, rows, rows))
        return output

    async def _parallel(
        self, contract: compute_pb2.ComputeContract, algorithm: Algorithm, context: ComputeContext, progress: Progress
    ) -> compute_pb2.ComputeOutput:
        """Runs chunks at the same time and merges their results (R33–R35, R153).

        How the data is cut is for the contract to say and not for the node, lest another node rounds otherwise.
        """
        config = contract.parallel_config
        strategy = _strategy(algorithm, config)
        is_large = input_bytes(contract) > INLINE_BYTES_MAX
        task = await self._here_or_in_thread(is_large, lambda: prepared(contract, algorithm, context))
        pieces = chunks.cut(task.data, config.worker_count)
        tasks = [
            replace(task, data=piece.data, context=replace(context, offset=piece.offset, is_chunk=True))
            for piece in pieces
        ]
        kind = config.executor or _THREADS
        partials = await self._on_workers(kind, tasks, progress)
        result = await self._merged(kind, strategy, task, partials, is_large)
        output = await self._here_or_in_thread(
            is_large, lambda: finished(contract, algorithm, result, context.correlation_id)
        )
        output.performance_metrics.worker_count = min(len(pieces), self._workers.count)
        return output

    async def _merged(
        self,
        kind: compute_pb2.ExecutorKind,
        strategy: MergeStrategy,
        task: Task,
        partials: Sequence[object],
        is_large: bool,
    ) -> object:
        if strategy is MergeStrategy.CONCATENATE:
            return chunks.concatenated(partials)
        if strategy is MergeStrategy.REDUCE:
            plain = [task.algorithm.output.write(partial) for partial in partials]
            return (await self._on_workers(kind, [replace(task, data=plain)], _nobody))[0]

        def merge() -> object:
            try:
                return task.algorithm.merged(partials, task.params)
            except OnexError:
                raise
            except Exception as error:
                raise failure_of(error, task.algorithm.merge_function, task.algorithm.name) from error

        return await self._here_or_in_thread(is_large, merge)

    async def _on_workers(
        self, kind: compute_pb2.ExecutorKind, tasks: Sequence[Task], progress: Progress
    ) -> list[object]:
        """The results of tasks, in their order; the first failure ends the wait for the others."""
        sizes = [size_of(task.data) for task in tasks]
        done = rows_done = 0
        progress(Step(0, len(tasks), 0, sum(sizes)))

        async def one(task: Task, size: int) -> object:
            nonlocal done, rows_done
            result = await self._one(kind, task)
            done, rows_done = done + 1, rows_done + size
            progress(Step(done, len(tasks), rows_done, sum(sizes)))
            return result

        running = [asyncio.ensure_future(one(task, size)) for task, size in zip(tasks, sizes, strict=True)]
        try:
            return list(await asyncio.gather(*running))
        finally:
            for entry in running:
                entry.cancel()

    async def _one(self, kind: compute_pb2.ExecutorKind, task: Task) -> object:
        name = task.algorithm.name
        try:
            async with asyncio.timeout(_seconds_left(task.context)):
                return await self._sent(kind, task)
        except TimeoutError as error:
            raise ActionExpiredError("the computation did not end before its deadline") from error
        except OnexError:
            raise
        except WorkerDiedError as error:
            raise ComputeFailedError(
                f"a worker died while it ran the algorithm {name!r}", error_context={"algorithm_type": name}
            ) from error
        except WorkerMemoryError as error:
            raise ComputeFailedError(
                f"the algorithm {name!r} was ended: its worker needed more than {error.bytes_max} bytes of memory",
                error_context={"algorithm_type": name, "memory_bytes_max": str(error.bytes_max)},
            ) from error
        except Exception as error:
            # `run` turns what the algorithm raises into an error of the mesh: this is the way there or back.
            raise ComputeFailedError(
                f"the algorithm {name!r}, its data or its result cannot be sent to another process: {error}",
                error_context={"algorithm_type": name, "error_type": type(error).__name__},
            ) from error

    async def _sent(self, kind: compute_pb2.ExecutorKind, task: Task) -> object:
        """The result of a task that runs where its data must travel to, or not."""
        repeatable = task.algorithm.pure
        if kind == _THREADS:
            return await self._workers.run(kind, run, task, repeatable=repeatable)
        if kind == _DASK:
            # The clock of another machine counts from elsewhere: the deadline is kept here.
            task = replace(task, context=replace(task.context, deadline=None))
        travelling = await asyncio.to_thread(sealed_task, task) if has_tables(task) else task
        return opened(await self._workers.run(kind, run_sealed, travelling, repeatable=repeatable))

    async def _here_or_in_thread(self, is_large: bool, function: Callable[[], T]) -> T:
        if not is_large:
            return function()
        return await self._workers.run(_THREADS, lambda _: function(), None, repeatable=False)


def _strategy(algorithm: Algorithm, config: compute_pb2.ParallelConfig) -> MergeStrategy:
    if config.worker_count < 1:
        text = f"must be at least 1, not {config.worker_count}"
        raise ValidationError(
            f"parallel_config.worker_count {text}", violations=(("parallel_config.worker_count", text),)
        )
    if config.merge_strategy not in _STRATEGIES:
        text = f"{int(config.merge_strategy)} is no merge strategy"
        raise ValidationError(
            f"parallel_config.merge_strategy: {text}", violations=(("parallel_config.merge_strategy", text),)
        )
    return chunks.strategy_of(algorithm, _STRATEGIES[config.merge_strategy])


def _seconds_left(context: ComputeContext) -> float | None:
    """How long a worker may take; None for any time."""
    if context.deadline is None:
        return None
    return context.deadline - time.monotonic() + _DEADLINE_GRACE_S


def _nobody(step: Step) -> None:
    """Is told of progress where nobody wants to know."""


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
