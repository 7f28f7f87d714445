"""The commands that look at workflows: get, list, history."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from onex.v1 import action_pb2, orchestrator_pb2, workflow_pb2
from onex_mesh.app.plain_form import to_plain
from onex_mesh.cli import exit_codes
from onex_mesh.cli.client import MeshClient
from onex_mesh.cli.console import notes, print_json, print_table, status_text, table
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
from onex_mesh.cli.show_workflow import show_tables
from onex_mesh.cli.workflow_view import location_text, status_name, step_status_name, time_text
from onex_mesh.runtime.payload import Json

_PAGE = 200


class StatusFilter(enum.StrEnum):
    """Statuses to list."""

    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    ABORTED = "aborted"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"


@shielded
def get(
    workflow_id: WorkflowIdArgument,
    output: OutputOption = OutputForm.TABLE,
    timeout_s: TimeoutOption = 30.0,
    address: AddressOption = "",
    etcd: EtcdOption = "",
    namespace: NamespaceOption = "default",
    ready_file: ReadyFileOption = READY_FILE_DEFAULT,
) -> None:
    """Show a workflow with what is known so far.

    Examples:

        onex-mesh get order-1001

        onex-mesh get order-1001 --output json | jq .result.output
    """
    where = mesh_address(address, etcd, namespace, ready_file)

    async def work() -> workflow_pb2.Workflow:
        async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
            return await client.get(workflow_id)

    workflow = run_async(work())
    if output is OutputForm.JSON:
        print_json(to_plain(workflow))
    else:
        show_tables(workflow, workflow.result)


@shielded
def list_workflows(
    status: Annotated[list[StatusFilter] | None, typer.Option("--status", "-s", help="Only these; repeatable.")] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Only ids that start like this.")] = "",
    name: Annotated[str, typer.Option("--name", help="Only those of this definition.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 100,
    output: OutputOption = OutputForm.TABLE,
    timeout_s: TimeoutOption = 30.0,
    address: AddressOption = "",
    etcd: EtcdOption = "",
    namespace: NamespaceOption = "default",
    ready_file: ReadyFileOption = READY_FILE_DEFAULT,
) -> None:
    """List workflows, by id.

    Examples:

        onex-mesh list --status running --status waiting

        onex-mesh list --prefix order- --limit 1000 --output json
    """
    where = mesh_address(address, etcd, namespace, ready_file)
    request = orchestrator_pb2.ListWorkflowsRequest(
        statuses=[f"WORKFLOW_STATUS_{row.name}" for row in status or ()],
        workflow_id_prefix=prefix,
        name=name,
    )

    async def work() -> tuple[list[workflow_pb2.Workflow], bool]:
        found: list[workflow_pb2.Workflow] = []
        async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
            while len(found) < limit:
                request.page_size = min(limit - len(found), _PAGE)
                page = await client.list(request)
                found.extend(page.workflows)
                request.page_token = page.next_page_token
                if not page.next_page_token:
                    return found, False
        return found, True

    workflows, more = run_async(work())
    if output is OutputForm.JSON:
        rows: list[Json] = [to_plain(workflow) for workflow in workflows]
        print_json(rows)
    else:
        grid = table("workflow", "definition", "status", "epoch", "owner", "updated", "state")
        for workflow in workflows:
            grid.add_row(
                workflow.workflow_id,
                workflow.name,
                status_text(status_name(workflow.status)),
                str(workflow.epoch),
                workflow.owner,
                time_text(workflow.updated_at),
                ", ".join(workflow.fsm_states[key] for key in sorted(workflow.fsm_states)),
            )
        print_table(grid)
    if more:
        notes().print(f"there may be more; --limit shows more than {limit}")


@shielded
def history(
    workflow_id: WorkflowIdArgument,
    after_epoch: Annotated[int, typer.Option("--after-epoch", min=0, help="Epochs after this one.")] = 0,
    output: OutputOption = OutputForm.TABLE,
    timeout_s: TimeoutOption = 30.0,
    address: AddressOption = "",
    etcd: EtcdOption = "",
    namespace: NamespaceOption = "default",
    ready_file: ReadyFileOption = READY_FILE_DEFAULT,
) -> int:
    """Show what made each epoch of a workflow, and whether its records are an unbroken chain.

    Ends with 4 if the chain is broken.

    Examples:

        onex-mesh history order-1001

        onex-mesh history order-1001 --output json | jq '.commits[].actions'
    """
    where = mesh_address(address, etcd, namespace, ready_file)

    async def work() -> tuple[list[workflow_pb2.Commit], bool]:
        async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
            return await whole_history(client, workflow_id, after_epoch=after_epoch)

    commits, valid = run_async(work())
    if output is OutputForm.JSON:
        rows: list[Json] = [to_plain(commit) for commit in commits]
        print_json({"commits": rows, "chain_valid": valid})
    else:
        grid = table("epoch", "status", "actions", "results", "intents", "written by", "token", "at")
        for commit in commits:
            grid.add_row(
                str(commit.epoch),
                status_text(status_name(commit.state.status)),
                "\n".join(_action_text(record.action) for record in commit.actions),
                "\n".join(_result_text(result) for result in commit.results),
                "\n".join(intent.target for intent in commit.intents),
                commit.holder,
                str(commit.fencing_token or ""),
                time_text(commit.committed_at),
            )
        print_table(grid)
    if not valid:
        notes().print("[bold red]error:[/] the chain of records is broken: a record was changed or is missing")
        return exit_codes.REFUSED
    return exit_codes.OK


def _action_text(action: action_pb2.Action) -> str:
    name = action_pb2.ActionType.Name(action.action_type).removeprefix("ACTION_TYPE_")
    return f"{name} {action.step_id}" if action.step_id else name


def _result_text(result: workflow_pb2.StepResult) -> str:
    text = f"{result.step_id} {step_status_name(result.status)}"
    stored = location_text(result.result)
    return f"{text}: {stored}" if stored else text


async def whole_history(
    client: MeshClient, workflow_id: str, *, after_epoch: int = 0
) -> tuple[list[workflow_pb2.Commit], bool]:
    """All records of a workflow after an epoch, and whether their chain is unbroken."""
    request = orchestrator_pb2.GetHistoryRequest(workflow_id=workflow_id, after_epoch=after_epoch, page_size=_PAGE)
    commits: list[workflow_pb2.Commit] = []
    valid = True
    while True:
        page = await client.history(request)
        commits.extend(page.commits)
        valid = valid and page.chain_valid
        if not page.next_after_epoch:
            return commits, valid
        request.after_epoch = page.next_after_epoch
