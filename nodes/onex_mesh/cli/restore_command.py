"""`onex-mesh reducer restore`: a copy of a kept state becomes the state again."""

from __future__ import annotations

from typing import Annotated

import typer

from onex_lease import EtcdClient, Keyspace
from onex_mesh.cli.address import check_address
from onex_mesh.cli.options import EtcdOption, NamespaceOption
from onex_mesh.cli.shield import run_async, shielded
from onex_mesh.reducer.adapters.etcd_states import EtcdStates
from onex_mesh.reducer.restore import restore as restored
from onex_mesh.runtime.payload_store import FsspecPayloads


@shielded
def restore(
    uri: Annotated[str, typer.Argument(metavar="URI", help="Where the copy is, as `backup.location.uri` told.")],
    store: Annotated[
        str, typer.Option("--payload-store", envvar="ONEX_PAYLOAD_STORE", help="The payload store of the node.")
    ],
    etcd: EtcdOption = "127.0.0.1:2379",
    namespace: NamespaceOption = "default",
) -> None:
    """Restore a state that a reducer keeps from a copy, as a new epoch.

    Examples:

        onex-mesh reducer restore backups/3f/3f… --payload-store file:///var/lib/onex/payloads --etcd etcd:2379
    """

    async def work() -> str:
        backups = FsspecPayloads(store)
        client = await EtcdClient.connect(check_address(etcd))
        try:
            name, epoch = await restored(uri, backups, EtcdStates(client, Keyspace(namespace)))
        finally:
            await client.close()
        return f"{name.owner} {name.state_key}: restored as epoch {epoch}"

    typer.echo(run_async(work()))
