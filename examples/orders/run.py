"""Runs the orders example from end to end and checks what came out.

An embedded etcd and four node processes are started, every invoice of an export runs as a durable workflow, several at
a time, and the table, the mailbox and the event log are compared with an independent computation. The same folder can
be used again: what was placed is not placed twice.

    python -m examples.orders.run --orders my-export.csv --concurrency 16 --out /tmp/orders
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    # Started as a file and not with -m: the package `examples` is found all the same.
    sys.path.insert(0, str(ROOT))

from examples.orders.inbox import OrderFile, fill_inbox  # noqa: E402 - needs the path above
from examples.orders.invoice import NotAnInvoiceError  # noqa: E402
from examples.orders.mailbox import Mailbox  # noqa: E402
from examples.orders.report import Result, report  # noqa: E402
from examples.orders.verify import expectations, look  # noqa: E402
from onex.v1 import intent_pb2, orchestrator_pb2, workflow_pb2  # noqa: E402
from onex.v1.orchestrator_pb2_grpc import OrchestratorServiceStub  # noqa: E402
from onex_mesh.cli.dev.child import ChildFailedError  # noqa: E402
from onex_mesh.cli.dev.data_dir import DataDir  # noqa: E402
from onex_mesh.cli.dev.mesh import MeshOptions, ProcessMesh  # noqa: E402
from onex_mesh.runtime.errors import OnexError, from_rpc_error  # noqa: E402
from onex_mesh.runtime.payload import json_payload  # noqa: E402

if TYPE_CHECKING:
    from onex.v1.orchestrator_pb2_grpc import OrchestratorServiceAsyncStub

_TRIES = 10
_PAUSE_S = 0.5
_DEADLINE_S = 120.0


async def place_all(address: str, files: Sequence[OrderFile], concurrency: int) -> list[Result]:
    """Runs the workflow of every order at an orchestrator, several at a time; the results in the order of the files."""
    turn = asyncio.Semaphore(concurrency)
    async with grpc.aio.insecure_channel(address) as channel:
        orchestrator = OrchestratorServiceStub(channel)

        async def place(file: OrderFile) -> Result:
            async with turn:
                return await _place(orchestrator, file)

        return list(await asyncio.gather(*(place(file) for file in files)))


async def _place(orchestrator: OrchestratorServiceAsyncStub, file: OrderFile) -> Result:
    """Runs one workflow. Its id makes it safe to ask again: what exists is not started a second time."""
    contract = workflow_pb2.OrchestratorContract(
        workflow_id=file.workflow_id,
        workflow_config=workflow_pb2.WorkflowConfig(name="order"),
        initial_state=json_payload({"file": file.path.name, "sha256": file.digest}),
    )
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract)
    for attempt in range(1, _TRIES + 1):
        try:
            reply = await orchestrator.ExecuteOrchestration(request, timeout=_DEADLINE_S)
            return _result(file, reply.output)
        except grpc.aio.AioRpcError as raw:
            error = from_rpc_error(raw)
            if not error.retryable or attempt == _TRIES:
                return Result(file, status=error.reason, error=_described(error))
            await asyncio.sleep(_PAUSE_S)
    raise AssertionError("unreachable")


def _result(file: OrderFile, output: workflow_pb2.OrchestratorOutput) -> Result:
    rows = [row for step in output.orchestration_result.step_results for row in step.intent_results]
    state = next(
        (
            step.state_metadata.new_state
            for step in reversed(output.orchestration_result.step_results)
            if step.HasField("state_metadata")
        ),
        "",
    )
    return Result(
        file=file,
        status=workflow_pb2.WorkflowStatus.Name(output.orchestration_result.status).removeprefix("WORKFLOW_STATUS_"),
        epoch=output.execution_metadata.epoch,
        state=state,
        intents_done=sum(1 for row in rows if row.status == intent_pb2.INTENT_STATUS_COMPLETED),
        intents=len(rows),
        replayed=output.execution_metadata.replayed,
    )


def _described(error: OnexError) -> str:
    if error.reason == "WORKFLOW_EXISTS":
        return "was placed before with other lines; use another --out, or delete the folder"
    return f"{error.message} (correlation id {error.correlation_id or 'unknown'})"


async def run(orders: Path, folder: Path, concurrency: int, orchestrators: int) -> int:
    """Runs the example; 0 only if everything is as it should be."""
    files = fill_inbox(orders, folder / "inbox")
    expected = expectations(orders)
    async with Mailbox(folder / "mailbox") as mailbox:
        options = MeshOptions(
            data_dir=folder / "mesh",
            app="examples.orders.app:app",
            app_dir=ROOT,
            targets=ROOT / "examples/orders/targets.yaml",
            counts={"orchestrator": orchestrators},
            settings={"ORDERS_DIR": str(folder), "ORDERS_SMTP_PORT": str(mailbox.port)},
        )
        async with ProcessMesh(options) as mesh:
            for node in mesh.nodes:
                print(f"{node.name} at {node.address}, process {node.child.pid}", file=sys.stderr)
            results = await place_all(mesh.of_kind("orchestrator")[0].address, files, concurrency)
    return 1 if report(results, expected, look(folder), folder) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="examples.orders.run", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    parser.add_argument("--orders", type=Path, default=ROOT / "examples/orders/orders.csv", help="export to run")
    parser.add_argument("--concurrency", type=_positive, default=8, help="orders at a time (default 8)")
    parser.add_argument("--orchestrators", type=_positive, default=1, help="orchestrator processes (default 1)")
    parser.add_argument("--out", type=Path, default=Path(".run/orders"), help="folder of everything it leaves")
    given = parser.parse_args(arguments)
    folder = given.out.resolve()
    try:
        with DataDir(folder / "mesh"):
            return asyncio.run(_until_told(run(given.orders, folder, given.concurrency, given.orchestrators)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; run it again to go on", file=sys.stderr)
        return 130
    except ChildFailedError as error:
        print(f"error: {error.message}", *error.child.last_lines(), sep="\n  ", file=sys.stderr)
        return 3
    except (NotAnInvoiceError, OSError, OnexError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


async def _until_told(work: Coroutine[object, object, int]) -> int:
    task = asyncio.create_task(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
