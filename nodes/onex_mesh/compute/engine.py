"""Runs algorithms: reads and checks the data, calls the function here, in a thread or on workers, writes the result.

A quick algorithm runs on the node's own event loop, which costs no hand-over; one whose runs have lately taken longer
than 2 ms, or whose input is large, runs in a thread, so that the others do not wait for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass

import pydantic
from google.protobuf.duration_pb2 import Duration
from pydantic import BaseModel

from onex.v1 import compute_pb2
from onex_mesh.compute.core import chunks
from onex_mesh.compute.core.algorithm import Algorithm, MergeStrategy
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import violations_error
from onex_mesh.compute.core.errors import failure_of
from onex_mesh.compute.core.output import read_data, size_of, write_result
from onex_mesh.compute.core.registry import AlgorithmRegistry
from onex_mesh.compute.core.validation import validate_input
from onex_mesh.compute.ports import Progress, Workers
from onex_mesh.runtime.errors import ComputeFailedError, OnexError, ValidationError
from onex_mesh.runtime.payload import from_struct

SLOW_S = 0.002
INLINE_BYTES_MAX = 64 * 1024
_SMOOTHING = 0.2
_CACHED_MAX = 1_000

_STRATEGIES = {
    compute_pb2.MERGE_STRATEGY_UNSPECIFIED: None,
    compute_pb2.MERGE_STRATEGY_CONCATENATE: MergeStrategy.CONCATENATE,
    compute_pb2.MERGE_STRATEGY_REDUCE: MergeStrategy.REDUCE,
    compute_pb2.MERGE_STRATEGY_CUSTOM: MergeStrategy.CUSTOM,
}


@dataclass(frozen=True, slots=True)
class _Task:
    """A computation, read and checked."""

    algorithm: Algorithm
    data: object
    params: BaseModel | None
    context: ComputeContext


def _run(task: _Task) -> object:
    """One call of an algorithm on data or a chunk of it; what a worker executes."""
    try:
        value = task.algorithm.input.read(task.data)
        return task.algorithm.call(value, task.params, task.context)
    except Exception as error:
        failure = failure_of(error, task.algorithm.name)
        if failure is error:
            raise
        raise failure from error


class ComputeEngine:
    """See the module."""

    def __init__(self, registry: AlgorithmRegistry, workers: Workers) -> None:
        self._registry = registry
        self._workers = workers
        self._usual_s: dict[str, float] = {}
        self._cache: OrderedDict[bytes, tuple[float, compute_pb2.ComputeOutput]] = OrderedDict()

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
            ComputeFailedError: The algorithm raised an exception.
        """
        began = time.monotonic()
        algorithm = self._registry.get(contract.algorithm_config.algorithm_type, contract.algorithm_config.version)
        key = self._cache_key(contract, algorithm)
        cached = self._cached(key)
        if cached is not None:
            cached.correlation_id = correlation_id
            return cached
        data = read_data(contract.input_data)
        rules = contract.input_validation
        validate_input(data, rules.required_fields, rules.data_types)
        context = ComputeContext(correlation_id=correlation_id, deadline=deadline)
        task = _Task(algorithm, data, _params(algorithm, contract), context)
        try:
            if contract.HasField("parallel_config"):
                workers, result = await self._parallel(task, contract.parallel_config, progress)
            else:
                workers, result = 1, await self._single(task, contract.input_data.ByteSize())
                if progress is not None:
                    progress(1, 1)
        except asyncio.CancelledError:
            context.cancellation.requested = True
            raise
        output = self._output(contract, algorithm, result, correlation_id)
        output.performance_metrics.worker_count = workers
        output.performance_metrics.execution_time.CopyFrom(_duration(time.monotonic() - began))
        self._keep(key, contract, output)
        return output

    async def _single(self, task: _Task, size_bytes: int) -> object:
        name = task.algorithm.name
        if self._usual_s.get(name, 0.0) <= SLOW_S and size_bytes <= INLINE_BYTES_MAX:
            began = time.monotonic()
            result = _run(task)
            self._learn(name, time.monotonic() - began)
            return result
        pool = self._workers.pool(compute_pb2.EXECUTOR_KIND_THREADS)
        began = time.monotonic()
        result = await asyncio.get_running_loop().run_in_executor(pool, _run, task)
        self._learn(name, time.monotonic() - began)
        return result

    def _learn(self, name: str, seconds: float) -> None:
        usual = self._usual_s.get(name, seconds)
        self._usual_s[name] = usual + _SMOOTHING * (seconds - usual)

    async def _parallel(
        self, task: _Task, config: compute_pb2.ParallelConfig, progress: Progress | None
    ) -> tuple[int, object]:
        """Runs chunks at the same time and merges their results (R33–R35, R153)."""
        if config.worker_count < 1:
            text = f"must be at least 1, not {config.worker_count}"
            raise ValidationError(
                f"parallel_config.worker_count {text}", violations=(("parallel_config.worker_count", text),)
            )
        strategy = chunks.strategy_of(task.algorithm, _STRATEGIES[config.merge_strategy])
        pieces = chunks.cut(task.data, min(config.worker_count, self._workers.count))
        kind = config.executor or compute_pb2.EXECUTOR_KIND_THREADS
        partials = await self._on_workers(task, pieces, kind, progress)
        if strategy is MergeStrategy.CONCATENATE:
            return len(pieces), chunks.concatenated(partials)
        if strategy is MergeStrategy.CUSTOM:
            try:
                return len(pieces), task.algorithm.merged(partials, task.params)
            except Exception as error:
                raise failure_of(error, task.algorithm.name) from error
        plain = [task.algorithm.output.write(partial) for partial in partials]
        merged = _Task(task.algorithm, plain, task.params, task.context)
        return len(pieces), (await self._on_workers(merged, [plain], kind, None))[0]

    async def _on_workers(
        self, task: _Task, pieces: Sequence[object], kind: compute_pb2.ExecutorKind, progress: Progress | None
    ) -> list[object]:
        loop = asyncio.get_running_loop()
        pool = self._workers.pool(kind)
        done = 0

        async def one(piece: object) -> object:
            nonlocal done
            part = _Task(task.algorithm, piece, task.params, task.context)
            result = await loop.run_in_executor(pool, _run, part)
            done += 1
            if progress is not None:
                progress(done, len(pieces))
            return result

        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(one(piece)) for piece in pieces]
        except* BrokenExecutor as errors:
            self._workers.broken(kind)
            raise ComputeFailedError(
                f"a worker died while it ran the algorithm {task.algorithm.name!r}"
            ) from errors.exceptions[0]
        except* OnexError as errors:
            raise errors.exceptions[0] from None
        return [entry.result() for entry in running]

    def _output(
        self, contract: compute_pb2.ComputeContract, algorithm: Algorithm, result: object, correlation_id: str
    ) -> compute_pb2.ComputeOutput:
        try:
            value = algorithm.output.write(result)
            payload = write_result(value, contract.output_transformation.format)
        except ValueError as error:
            raise ComputeFailedError(f"the result of the algorithm {algorithm.name!r} is refused: {error}") from error
        return compute_pb2.ComputeOutput(
            correlation_id=correlation_id,
            processed_data=payload,
            performance_metrics=compute_pb2.PerformanceMetrics(
                data_size=size_of(value), algorithm_type=algorithm.name, algorithm_version=algorithm.version
            ),
        )

    # Results by content

    def _cache_key(self, contract: compute_pb2.ComputeContract, algorithm: Algorithm) -> bytes:
        """What makes two computations the same; empty for an impure one, or where no cache is asked for."""
        ttl = contract.cache.ttl
        if not algorithm.pure or (ttl.seconds <= 0 and ttl.nanos <= 0):
            return b""
        same = compute_pb2.ComputeContract()
        same.CopyFrom(contract)
        for field in ("correlation_id", "metadata", "cache"):
            same.ClearField(field)
        same.algorithm_config.version = algorithm.version
        return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()

    def _cached(self, key: bytes) -> compute_pb2.ComputeOutput | None:
        until, kept = self._cache.get(key, (0.0, None)) if key else (0.0, None)
        if kept is None or until < time.monotonic():
            return None
        output = compute_pb2.ComputeOutput()
        output.CopyFrom(kept)
        output.performance_metrics.from_cache = True
        return output

    def _keep(self, key: bytes, contract: compute_pb2.ComputeContract, output: compute_pb2.ComputeOutput) -> None:
        if not key:
            return
        kept = compute_pb2.ComputeOutput()
        kept.CopyFrom(output)
        ttl = contract.cache.ttl
        self._cache[key] = (time.monotonic() + ttl.seconds + ttl.nanos / 1e9, kept)
        if len(self._cache) > _CACHED_MAX:
            self._cache.popitem(last=False)


def _params(algorithm: Algorithm, contract: compute_pb2.ComputeContract) -> BaseModel | None:
    given = from_struct(contract.algorithm_config.parameters)
    if algorithm.params_model is None:
        if given:
            text = f"the algorithm {algorithm.name!r} takes no parameters"
            raise ValidationError(text, violations=(("algorithm_config.parameters", text),))
        return None
    try:
        return algorithm.params_model.model_validate(given)
    except pydantic.ValidationError as error:
        raise violations_error(error, "algorithm_config.parameters") from None


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
