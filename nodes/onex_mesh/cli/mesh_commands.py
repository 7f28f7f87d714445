"""The commands that look at the mesh itself: nodes, lease."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from onex.v1 import common_pb2, node_pb2
from onex_mesh.app.plain_form import to_plain
from onex_mesh.cli.client import MeshClient
from onex_mesh.cli.console import print_json, print_table, table
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
from onex_mesh.cli.workflow_view import duration_text, kind_name, time_text
from onex_mesh.runtime.payload import Json


class KindFilter(enum.StrEnum):
    """Kinds of node to list."""

    EFFECT = "effect"
    COMPUTE = "compute"
    REDUCER = "reducer"
    ORCHESTRATOR = "orchestrator"


_KINDS = {
    KindFilter.EFFECT: common_pb2.NODE_KIND_EFFECT,
    KindFilter.COMPUTE: common_pb2.NODE_KIND_COMPUTE,
    KindFilter.REDUCER: common_pb2.NODE_KIND_REDUCER,
    KindFilter.ORCHESTRATOR: common_pb2.NODE_KIND_ORCHESTRATOR,
}


@shielded
def nodes(
    kind: Annotated[KindFilter | None, typer.Option("--kind", help="Only of this kind.")] = None,
    output: OutputOption = OutputForm.TABLE,
    timeout_s: TimeoutOption = 30.0,
    address: AddressOption = "",
    etcd: EtcdOption = "",
    namespace: NamespaceOption = "default",
    ready_file: ReadyFileOption = READY_FILE_DEFAULT,
) -> None:
    """List the nodes whose session is alive.

    With --etcd the registry itself is read; otherwise an orchestrator is asked.

    Examples:

        onex-mesh nodes

        onex-mesh nodes --kind effect --etcd 127.0.0.1:2379 --output json
    """
    where = mesh_address(address, etcd, namespace, ready_file)
    wanted = _KINDS[kind] if kind is not None else None

    async def work() -> list[node_pb2.NodeInfo]:
        if etcd and not address:
            return await where.registered(wanted)
        async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
            return list(await client.nodes(node_pb2.ListNodesRequest(kind=wanted)))

    found = run_async(work())
    if output is OutputForm.JSON:
        rows: list[Json] = [to_plain(node) for node in found]
        print_json(rows)
        return
    grid = table("kind", "instance", "address", "service", "version", "since", "can do")
    for node in found:
        grid.add_row(
            kind_name(node.kind),
            node.instance_id,
            node.address,
            node.service_name,
            node.version,
            time_text(node.started_at),
            ", ".join(node.capabilities),
        )
    print_table(grid)


@shielded
def lease(
    workflow_id: WorkflowIdArgument,
    output: OutputOption = OutputForm.TABLE,
    timeout_s: TimeoutOption = 30.0,
    address: AddressOption = "",
    etcd: EtcdOption = "",
    namespace: NamespaceOption = "default",
    ready_file: ReadyFileOption = READY_FILE_DEFAULT,
) -> None:
    """Show who holds the lease of a workflow.

    Ends with 4 (LEASE_EXPIRED) if nobody does, as for a workflow that has ended.

    Examples:

        onex-mesh lease order-1001
    """
    where = mesh_address(address, etcd, namespace, ready_file)

    async def work() -> Json:
        async with MeshClient(await where.orchestrators(), timeout_s=timeout_s) as client:
            held = await client.lease(workflow_id)
            if output is OutputForm.JSON:
                return to_plain(held)
            grid = table("workflow", "holder", "epoch", "fencing token", "expires", "time to live")
            grid.add_row(
                held.workflow_id,
                held.holder,
                str(held.epoch),
                str(held.fencing_token),
                time_text(held.expires_at),
                duration_text(held.ttl) if held.HasField("ttl") else "",
            )
            print_table(grid)
            return None

    plain = run_async(work())
    if output is OutputForm.JSON:
        print_json(plain)
