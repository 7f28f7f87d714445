"""Runs computations: on the event loop where that is quick, in a thread where it is not, in chunks on workers.

A run that is expected to take less than 2 ms is done on the event loop, which costs no hand-over. What is expected is a
moving average by algorithm and size of the input; the first run of a size, and any run on more than 64 KiB, is done in
a thread. An algorithm that was quick so far and suddenly is not holds the loop that once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog
from google.protobuf.duration_pb2 import Duration

from onex.v1 import compute_pb2
from onex_mesh.compute.chunk_runs import ChunkRuns
from onex_mesh.compute.core import chunks
from onex_mesh.compute.core.algorithm import Algorithm, MergeStrategy
from onex_mesh.compute.core.computation import Task, finished, prepared, run
from onex_mesh.compute.core.context import ComputeContext, cancelled
from onex_mesh.compute.core.errors import failure_of
from onex_mesh.compute.core.needs import Appetite
from onex_mesh.compute.core.output import size_of
from onex_mesh.compute.core.received import Received
from onex_mesh.compute.core.results import ResultCache
from onex_mesh.compute.core.timing import INLINE_BYTES_MAX, RunTimes
from onex_mesh.compute.memory import NodeMemory
from onex_mesh.compute.ports import Algorithms, PerformanceMonitor, Progress, Step, Workers
from onex_mesh.runtime.errors import OnexError, PayloadTooLargeError, ValidationError

T = TypeVar("T")

log = structlog.get_logger(__name__)

_THREADS = compute_pb2.EXECUTOR_KIND_THREADS
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
        self._memory = NodeMemory(workers)

    async def execute(
        self,
        contract: compute_pb2.ComputeContract,
        *,
        correlation_id: str,
        deadline: float | None = None,
        progress: Progress | None = None,
        output: compute_pb2.ComputeOutput | None = None,
    ) -> compute_pb2.ComputeOutput:
        """Runs one computation.

        Args:
            contract: What to compute.
            correlation_id: The request.
            deadline: When nobody waits for the result any more, on the monotonic clock.
            progress: Is told about each chunk.
            output: The message to fill, such as that of a response: a large one need not be copied into it. Default: a
                new one.

        Raises:
            AlgorithmNotFoundError: There is no such algorithm (R41).
            ValidationError: The data or the parameters do not fit (R36, R37).
            ComputeFailedError: The algorithm raised an exception, or a worker died of it.
        """
        began = time.monotonic()
        context = ComputeContext(correlation_id=correlation_id, deadline=deadline)
        output = compute_pb2.ComputeOutput() if output is None else output
        try:
            await self._fill(output, contract, context, progress or _nobody)
        except asyncio.CancelledError:
            # What runs in a thread cannot be stopped from outside; an algorithm that asks its context is told.
            context.cancellation.request(cancelled)
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

    async def _fill(
        self,
        output: compute_pb2.ComputeOutput,
        contract: compute_pb2.ComputeContract,
        context: ComputeContext,
        progress: Progress,
    ) -> None:
        config = contract.algorithm_config
        if not config.algorithm_type:
            text = "is required and missing"
            raise ValidationError(
                f"algorithm_config.algorithm_type {text}", violations=(("algorithm_config.algorithm_type", text),)
            )
        algorithm = self._algorithms.get(config.algorithm_type, config.version)
        key = self._results.key(contract, algorithm)
        kept = self._results.get(key)
        if kept is not None:
            output.CopyFrom(kept)
            output.correlation_id = context.correlation_id
            return
        inputs = {name: Received(contract.inputs[name]) for name in sorted(contract.inputs)}
        call = _Call(contract, algorithm, context, Received(contract.input_data), inputs, output)
        self._check_size(call.size_bytes)
        await (self._parallel if contract.HasField("parallel_config") else self._sequential)(call, progress)
        self._results.put(key, contract, output)

    def _check_size(self, size_bytes: int) -> None:
        """Refuses input that does not fit into the memory of a task together with a result of its size."""
        bytes_max = self._workers.memory_bytes_max
        if size_bytes * 2 > bytes_max:
            raise PayloadTooLargeError(
                f"the input has {size_bytes} bytes; with a result of that size it does not fit into the"
                f" {bytes_max} bytes of a task"
            )

    async def _sequential(self, call: _Call, progress: Progress) -> None:
        algorithm, size_bytes = call.algorithm, call.size_bytes

        def whole() -> tuple[float, int]:
            began = time.perf_counter()
            task = call.prepared()
            rows = size_of(task.data)
            results = [run(task)]
            # What the result does not need of the input is let go before it is encoded.
            del task
            call.finish(results)
            # Measured where it runs: waiting for a free thread says nothing about the algorithm.
            return time.perf_counter() - began, rows

        progress(Step(0, 1))
        if self._monitor.is_quick(algorithm.name, algorithm.version, size_bytes):
            seconds, rows = whole()
        else:
            async with self._memory.held(call.appetite, call.context, in_threads=True):
                seconds, rows = await self._workers.in_thread(whole)
        self._monitor.ran(algorithm.name, algorithm.version, size_bytes, seconds)
        progress(Step(1, 1, rows, rows))

    async def _parallel(self, call: _Call, progress: Progress) -> None:
        """Runs chunks at the same time and merges their results (R33–R35, R153).

        How the data is cut is for the contract to say and not for the node, lest another node rounds otherwise.
        """
        config = call.contract.parallel_config
        strategy = _strategy(call.algorithm, config)
        kind = config.executor or _THREADS
        runs = ChunkRuns(self._workers, kind)
        async with self._memory.held(call.appetite, call.context, in_threads=kind == _THREADS):
            task = await self._here_or_in_thread(call, call.prepared)
            tasks = [
                replace(task, data=piece.data, context=replace(call.context, offset=piece.offset, is_chunk=True))
                for piece in chunks.cut(task.data, config.worker_count)
            ]
            count = len(tasks)
            # What the results do not need of the input is let go with its tasks.
            task = replace(task, data=None)
            partials = await runs.results(tasks, progress)
            tasks.clear()
            results = [await self._merged(call, runs, strategy, task, partials)]
            partials.clear()
            await self._here_or_in_thread(call, lambda: call.finish(results))
        metrics = call.output.performance_metrics
        metrics.worker_count = min(count, self._workers.count)
        metrics.peak_memory_bytes, metrics.spilled_bytes = runs.peak_bytes, runs.spilled_bytes

    async def _merged(
        self, call: _Call, runs: ChunkRuns, strategy: MergeStrategy, task: Task, partials: Sequence[object]
    ) -> object:
        if strategy is MergeStrategy.CONCATENATE:
            return chunks.concatenated(partials)
        if strategy is MergeStrategy.REDUCE:
            plain = [task.algorithm.output.write(partial) for partial in partials]
            return (await runs.results([replace(task, data=plain)], _nobody))[0]

        def merge() -> object:
            try:
                return task.algorithm.merged(partials, task.params)
            except OnexError:
                raise
            except Exception as error:
                raise failure_of(error, task.algorithm.merge_function, task.algorithm.name) from error

        return await self._here_or_in_thread(call, merge)

    async def _here_or_in_thread(self, call: _Call, function: Callable[[], T]) -> T:
        if call.size_bytes <= INLINE_BYTES_MAX:
            return function()
        return await self._workers.in_thread(function)


@dataclass(frozen=True, slots=True)
class _Call:
    """One computation under way.

    Attributes:
        contract: What to compute.
        algorithm: With what.
        context: What the algorithm is told.
        received: The data to work on.
        inputs: Further inputs, by name.
        output: The message to fill.
    """

    contract: compute_pb2.ComputeContract
    algorithm: Algorithm
    context: ComputeContext
    received: Received
    inputs: Mapping[str, Received]
    output: compute_pb2.ComputeOutput

    @property
    def size_bytes(self) -> int:
        """How many bytes all that it works on comes to."""
        return self.received.size_bytes + sum(received.size_bytes for received in self.inputs.values())

    @property
    def appetite(self) -> Appetite:
        """What is known beforehand of the memory that it needs."""
        return Appetite(self.algorithm.name, self.algorithm.version, self.size_bytes)

    def prepared(self) -> Task:
        """See `prepared`."""
        return prepared(self.contract, self.algorithm, self.context, self.received, self.inputs)

    def finish(self, results: list[object]) -> None:
        """Fills the output with a result, which is taken out of the list, lest the caller holds on to it."""
        finished(self.contract, self.algorithm, results.pop(), self.context.correlation_id, self.output)


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


def _nobody(step: Step) -> None:
    """Is told of progress where nobody wants to know."""


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
