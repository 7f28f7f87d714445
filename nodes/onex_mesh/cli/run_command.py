"""`onex-mesh run` and `onex-mesh watch`: start a workflow, follow it to its end, write its result to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated

import typer

from onex.v1 import orchestrator_pb2, workflow_pb2
from onex_mesh.app.workflow_file import load_workflow
from onex_mesh.cli import exit_codes
from onex_mesh.cli.client import MeshClient
from onex_mesh.cli.console import notes, print_json
from onex_mesh.cli.live_steps import LiveSteps
from onex_mesh.cli.options import (
    READY_FILE_DEFAULT,
    AddressOption,
    EtcdOption,
    NamespaceOption,
    OutputForm,
    OutputOption,
    ReadyFileOption,
    TimeoutOption,
    WorkflowIdArgument,
    mesh_address,
)
from onex_mesh.cli.shield import run_async, shielded
from onex_mesh.cli.show_workflow import show_result
from onex_mesh.runtime.document import read_document
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json, from_value, json_payload, to_value

_YAML_SUFFIXES = frozenset({".yaml", ".yml"})


@shielded
def run(
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="Name of a workflow of the App, or path of a YAML file.")
    ],
    input_file: Annotated[
        str, typer.Option("--input", "-i", metavar="FILE", help="Input as JSON or YAML; - reads JSON from stdin.")
    ] = "",
    data: Annotated[str, typer.Option("--data", "-d", metavar="JSON", help="Input as JSON on the command line.")] = "",
    workflow_id: Annotated[
        str, typer.Option("--id", help="Id; starting the same id again returns what exists. Default: a new one.")
    ] = "",
    correlation_id: Annotated[str, typer.Option("--correlation-id", help="Default: a new one.")] = "",
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Show the steps on stderr as they go.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Only start it; do not wait for its end.")] = False,
    output: OutputOption = OutputForm.JSON,
    timeout_s: TimeoutOption = 30.0,
    address: AddressOption = "",
    etcd: EtcdOption = "",
    namespace: NamespaceOption = "default",
    ready_file: ReadyFileOption = READY_FILE_DEFAULT,
) -> int:
    """Run a workflow and write its result to stdout.

    The workflow is durable: if this command is interrupted, it goes on; `onex-mesh watch ID` follows it again.

    Examples:

        onex-mesh run order --input order.json --id order-1001 --watch

        echo '{"file": "1001.csv"}' | onex-mesh run order --input - | jq .output

        onex-mesh run ./order.yaml -d '{"file": "1001.csv"}' --detach
    """
    contract = _contract(workflow)
    contract.workflow_id = workflow_id
    contract.correlation_id = correlation_id
    if input_file or data:
        contract.initial_state.CopyFrom(json_payload(_input(input_file, data)))
    where = mesh_address(address, etcd, namespace, ready_file)

    async def work() -> int:
        async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
            started = await client.start(contract)
            known.append(started.workflow_id)
            if detach:
                print_json(
                    {
                        "workflow_id": started.workflow_id,
                        "correlation_id": started.correlation_id,
                        "epoch": started.epoch,
                        "created": started.created,
                    }
                )
                return exit_codes.OK
            if not started.created:
                notes().print(f"{started.workflow_id} exists already with the same contract; this is what it brought")
            return await _follow(client, started.workflow_id, live=follow, output=output)

    known: list[str] = []
    return _until_interrupted(work, known)


@shielded
def watch(
    workflow_id: WorkflowIdArgument,
    after_epoch: Annotated[int, typer.Option("--after-epoch", min=0, help="Show epochs after this one.")] = 0,
    output: OutputOption = OutputForm.JSON,
    timeout_s: TimeoutOption = 30.0,
    address: AddressOption = "",
    etcd: EtcdOption = "",
    namespace: NamespaceOption = "default",
    ready_file: ReadyFileOption = READY_FILE_DEFAULT,
) -> int:
    """Follow a workflow to its end: its steps on stderr, its result on stdout.

    Examples:

        onex-mesh watch order-1001

        onex-mesh watch order-1001 --output table
    """
    where = mesh_address(address, etcd, namespace, ready_file)

    async def work() -> int:
        async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
            return await _follow(client, workflow_id, live=True, output=output, after_epoch=after_epoch)

    return _until_interrupted(work, [workflow_id])


async def _follow(client: MeshClient, workflow_id: str, *, live: bool, output: OutputForm, after_epoch: int = 0) -> int:
    """Watches a workflow to its end and shows the result; the exit code says how it ended."""
    last: orchestrator_pb2.WatchWorkflowResponse | None = None
    with LiveSteps(enabled=live, transient=output is OutputForm.TABLE) as steps:
        async for update in client.watch(workflow_id, after_epoch=after_epoch):
            steps.show(update)
            last = update
    if last is None or not last.HasField("result"):
        # The epochs asked for were over already, so the stream had nothing to tell.
        workflow = await client.get(workflow_id)
        result = workflow.result
    else:
        workflow, result = last.workflow, last.result
    return show_result(workflow, result, output)


def _until_interrupted(work: Callable[[], Coroutine[object, object, int]], known: Sequence[str]) -> int:
    try:
        return run_async(work())
    except KeyboardInterrupt:
        if known:
            notes().print(f"\ninterrupted; the workflow goes on: onex-mesh watch {known[0]}")
        return exit_codes.INTERRUPTED


def _contract(workflow: str) -> workflow_pb2.OrchestratorContract:
    """The contract of a YAML file, or one that names a definition that the orchestrators know."""
    path = Path(workflow)
    if path.suffix in _YAML_SUFFIXES or path.is_file():
        return load_workflow(path)
    return workflow_pb2.OrchestratorContract(workflow_config=workflow_pb2.WorkflowConfig(name=workflow))


def _input(input_file: str, data: str) -> Json:
    if input_file and data:
        raise ValidationError("--input and --data exclude each other")
    if data:
        return _json(data, "--data")
    if input_file == "-":
        return _json(sys.stdin.read(), "stdin")
    path = Path(input_file)
    if path.suffix in _YAML_SUFFIXES:
        document = read_document(path)
        return from_value(to_value(document.value))
    try:
        return _json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ValidationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValidationError(f"{path}: not UTF-8 text") from error


def _json(text: str, source: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError as error:
        raise ValidationError(f"{source}: not JSON: {error}") from error
    return value
