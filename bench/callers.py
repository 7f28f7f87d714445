"""The two ways to run one workflow from outside: gRPC to an orchestrator, HTTP/1.1 to Restate's ingress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from bench.load import RunWorkflow, WorkflowFailedError
from onex.v1 import orchestrator_pb2, workflow_pb2
from onex.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from onex_mesh.runtime.errors import from_rpc_error

STEPS = 5
_DEADLINE_S = 120.0


@asynccontextmanager
async def mesh_caller(address: str, workflow: str) -> AsyncIterator[RunWorkflow]:
    """Runs a workflow of bench.app by OrchestratorService.ExecuteOrchestration, over one channel."""
    contract = workflow_pb2.OrchestratorContract(workflow_config=workflow_pb2.WorkflowConfig(name=workflow))
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract)
    async with grpc.aio.insecure_channel(address) as channel:
        execute = OrchestratorServiceStub(channel).ExecuteOrchestration

        async def run_workflow() -> int:
            try:
                reply = await execute(request, timeout=_DEADLINE_S)
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                raise WorkflowFailedError(f"{failure.reason}: {failure.message}") from error
            _check(reply.output.orchestration_result)
            return reply.output.execution_metadata.epoch

        yield run_workflow


def _check(result: workflow_pb2.OrchestrationResult) -> None:
    completed = sum(step.status == workflow_pb2.STEP_STATUS_COMPLETED for step in result.step_results)
    if result.status != workflow_pb2.WORKFLOW_STATUS_COMPLETED or completed != STEPS:
        raise WorkflowFailedError(f"{workflow_pb2.WorkflowStatus.Name(result.status)}, {completed} steps completed")


@asynccontextmanager
async def restate_caller(address: str, in_flight: int) -> AsyncIterator[RunWorkflow]:
    """Calls the handler of bench.restate_service through the ingress, each workflow over a connection of its own.

    The client is written out because a general one would cost more processor time per call than the handler does.
    """
    host, _, port = address.rpartition(":")
    idle: asyncio.LifoQueue[_Connection] = asyncio.LifoQueue()
    connections = [_Connection(host, int(port)) for _ in range(in_flight)]
    for connection in connections:
        idle.put_nowait(connection)

    async def run_workflow() -> int:
        connection = await idle.get()
        try:
            body = await asyncio.wait_for(connection.post("/Bench/journalled"), _DEADLINE_S)
        except (OSError, EOFError, TimeoutError) as error:
            connection.close()
            raise WorkflowFailedError(f"{type(error).__name__}: {error}") from error
        finally:
            idle.put_nowait(connection)
        if body.strip() != str(STEPS).encode():
            raise WorkflowFailedError(f"the handler answered {body[:200]!r}")
        return STEPS

    try:
        yield run_workflow
    finally:
        for connection in connections:
            connection.close()


class _Connection:
    """One kept-alive HTTP/1.1 connection, for one call at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str) -> bytes:
        """The body that answers an empty POST.

        Raises:
            WorkflowFailedError: The status is not 200.
            OSError: The connection failed.
            EOFError: It ended in the middle of an answer.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(f"POST {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\ncontent-length: 0\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if " 200 " not in f"{lines[0]} ":
            raise WorkflowFailedError(f"{lines[0]}: {body[:200]!r}")
        return body

    def close(self) -> None:
        """Closes it; the next call opens a new one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
