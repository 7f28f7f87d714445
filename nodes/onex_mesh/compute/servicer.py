"""ComputeService and the executor of actions: translate and call the engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import psutil
from google.protobuf.duration_pb2 import Duration

from onex.v1 import action_pb2, compute_pb2, compute_pb2_grpc
from onex_mesh.compute.core.registry import AlgorithmRegistry
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.command import CommandContext
from onex_mesh.runtime.payload import to_struct


class ComputeExecutor:
    """Executes the computations of actions; see `onex_mesh.runtime.command.CommandExecutor`."""

    def __init__(self, engine: ComputeEngine) -> None:
        self._engine = engine

    async def execute(self, command: action_pb2.Command, context: CommandContext) -> action_pb2.StepOutput:
        """Runs one computation."""
        output = await self._engine.execute(
            command.compute,
            correlation_id=command.compute.correlation_id or context.correlation_id,
            deadline=context.deadline,
        )
        return action_pb2.StepOutput(compute=output)


class ComputeServicer(compute_pb2_grpc.ComputeServiceServicer):
    """See the module."""

    def __init__(self, engine: ComputeEngine, registry: AlgorithmRegistry) -> None:
        self._engine = engine
        self._registry = registry
        self._process = psutil.Process()

    async def ExecuteCompute(
        self, request: compute_pb2.ExecuteComputeRequest, context: CallContext
    ) -> compute_pb2.ExecuteComputeResponse:
        """Runs one computation (R29)."""
        output = await self._engine.execute(
            request.contract, correlation_id=request.contract.correlation_id, deadline=_deadline(context)
        )
        return compute_pb2.ExecuteComputeResponse(output=output)

    async def StreamCompute(
        self, request: compute_pb2.StreamComputeRequest, context: CallContext
    ) -> AsyncIterator[compute_pb2.StreamComputeResponse]:
        """Runs one computation and streams its progress, then its output (R43)."""
        began = time.monotonic()
        steps: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
        work = asyncio.create_task(
            self._engine.execute(
                request.contract,
                correlation_id=request.contract.correlation_id,
                deadline=_deadline(context),
                progress=lambda done, total: steps.put_nowait((done, total)),
            )
        )
        work.add_done_callback(lambda _: steps.put_nowait(None))
        try:
            while (step := await steps.get()) is not None:
                elapsed = Duration()
                elapsed.FromNanoseconds(int((time.monotonic() - began) * 1e9))
                progress = compute_pb2.ComputeProgress(
                    done=step[0], total=step[1], elapsed=elapsed, memory_bytes=self._process.memory_info().rss
                )
                yield compute_pb2.StreamComputeResponse(progress=progress)
            yield compute_pb2.StreamComputeResponse(output=await work)
        finally:
            work.cancel()

    async def ListAlgorithms(
        self, request: compute_pb2.ListAlgorithmsRequest, context: CallContext
    ) -> compute_pb2.ListAlgorithmsResponse:
        """Lists the algorithms with their schemas (R32)."""
        response = compute_pb2.ListAlgorithmsResponse()
        for algorithm in self._registry:
            row = response.algorithms.add(
                algorithm_type=algorithm.name,
                version=algorithm.version,
                description=algorithm.description,
                pure=algorithm.pure,
                chunkable=algorithm.chunkable,
            )
            schemas = (
                (row.input_schema, algorithm.input.schema()),
                (row.output_schema, algorithm.output.schema()),
                (row.parameters_schema, algorithm.params_model.model_json_schema() if algorithm.params_model else None),
            )
            for message, schema in schemas:
                if schema is not None:
                    message.CopyFrom(to_struct(schema))
        return response


def _deadline(context: CallContext) -> float | None:
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + float(remaining)
