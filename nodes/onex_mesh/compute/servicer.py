"""ComputeService and the executor of actions: translate and call the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import psutil
from google.protobuf.duration_pb2 import Duration

from onex.v1 import action_pb2, compute_pb2, compute_pb2_grpc
from onex_mesh.compute.core.algorithm import Algorithm
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.compute.ports import Algorithms, Step
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.command import CommandContext
from onex_mesh.runtime.payload import to_struct
from onex_mesh.runtime.payloads import Payloads

PROGRESS_S = 1.0
"""A long computation is heard of at least this often."""


class ComputeExecutor:
    """Executes the computations of actions; see `onex_mesh.runtime.command.CommandExecutor`."""

    def __init__(self, engine: ComputeEngine) -> None:
        self._engine = engine

    async def execute(self, command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        """Runs one computation.

        Raises:
            OnexError: It is refused or failed.
        """
        step = action_pb2.StepOutput()
        await self._engine.execute(
            command.compute,
            correlation_id=command.compute.correlation_id or context.correlation_id,
            deadline=context.deadline,
            output=step.compute,
        )
        return step


class ComputeServicer(compute_pb2_grpc.ComputeServiceServicer):
    """See the module."""

    def __init__(self, engine: ComputeEngine, algorithms: Algorithms, payloads: Payloads) -> None:
        self._engine = engine
        self._algorithms = algorithms
        self._payloads = payloads
        self._process = psutil.Process()

    async def ExecuteCompute(
        self, request: compute_pb2.ExecuteComputeRequest, context: CallContext
    ) -> compute_pb2.ExecuteComputeResponse:
        """Runs one computation (R29)."""
        contract = await self._payloads.fetched(request.contract)
        response = compute_pb2.ExecuteComputeResponse()
        await self._engine.execute(
            contract,
            correlation_id=contract.correlation_id,
            deadline=_deadline(context),
            output=response.output,
        )
        await self._payloads.fit_answer(response.output)
        return response

    async def StreamCompute(
        self, request: compute_pb2.StreamComputeRequest, context: CallContext
    ) -> AsyncIterator[compute_pb2.StreamComputeResponse]:
        """Runs one computation and streams its progress, then its output (R43)."""
        began = time.monotonic()
        contract = await self._payloads.fetched(request.contract)
        steps: asyncio.Queue[Step | None] = asyncio.Queue()
        last = compute_pb2.StreamComputeResponse()
        work = asyncio.create_task(
            self._engine.execute(
                contract,
                correlation_id=contract.correlation_id,
                deadline=_deadline(context),
                progress=steps.put_nowait,
                output=last.output,
            )
        )
        work.add_done_callback(lambda _: steps.put_nowait(None))
        step: Step | None = None
        try:
            while True:
                try:
                    step = await asyncio.wait_for(steps.get(), PROGRESS_S)
                except TimeoutError:
                    if step is None:
                        continue
                if step is None:
                    break
                yield compute_pb2.StreamComputeResponse(progress=self._progress(step, time.monotonic() - began))
            await work
            await self._payloads.fit_answer(last.output)
            yield last
        finally:
            work.cancel()

    async def ListAlgorithms(
        self, request: compute_pb2.ListAlgorithmsRequest, context: CallContext
    ) -> compute_pb2.ListAlgorithmsResponse:
        """Lists the algorithms with their schemas (R32)."""
        return compute_pb2.ListAlgorithmsResponse(algorithms=[_described(found) for found in self._algorithms])

    def _progress(self, step: Step, elapsed_s: float) -> compute_pb2.ComputeProgress:
        elapsed = Duration()
        elapsed.FromNanoseconds(int(elapsed_s * 1e9))
        memory_bytes = self._process.memory_info().rss
        return compute_pb2.ComputeProgress(
            done=step.done,
            total=step.total,
            elapsed=elapsed,
            memory_bytes=memory_bytes,
            rows_done=step.rows_done,
            rows_total=step.rows_total,
            rows_per_second=step.rows_done / elapsed_s if elapsed_s > 0 else 0.0,
        )


def _described(algorithm: Algorithm) -> compute_pb2.Algorithm:
    row = compute_pb2.Algorithm(
        algorithm_type=algorithm.name,
        version=algorithm.version,
        description=algorithm.description,
        pure=algorithm.pure,
        chunkable=algorithm.chunkable,
    )
    params = algorithm.params_model
    for message, schema in (
        (row.input_schema, algorithm.input.schema()),
        (row.output_schema, algorithm.output.schema()),
        (row.parameters_schema, params.model_json_schema() if params else None),
    ):
        if schema is not None:
            message.CopyFrom(to_struct(schema))
    for one in algorithm.inputs:
        schema = one.form.schema()
        row.inputs.add(name=one.name, required=one.required, schema=None if schema is None else to_struct(schema))
    return row


def _deadline(context: CallContext) -> float | None:
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + float(remaining)
