"""The commands about states that reducer nodes keep for direct calls; they read etcd and the payload store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from onex.v1 import reducer_pb2
from onex_lease import EtcdClient, Keyspace
from onex_mesh.app.plain_form import payload_plain
from onex_mesh.cli.address import check_address
from onex_mesh.cli.console import notes, print_json, print_table, table
from onex_mesh.cli.options import EtcdOption, NamespaceOption, OutputForm, OutputOption, StoreOption
from onex_mesh.cli.shield import run_async, shielded
from onex_mesh.cli.workflow_view import time_text
from onex_mesh.reducer.adapters.etcd_states import EtcdStates
from onex_mesh.reducer.copies import chain
from onex_mesh.reducer.ports import KeptState, StateName
from onex_mesh.reducer.restore import restore as restored
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json
from onex_mesh.runtime.payload_store import FsspecPayloads

ETCD_DEFAULT = "127.0.0.1:2379"

OwnerArgument = Annotated[
    str, typer.Argument(metavar="OWNER", help="Correlation id of the calls that made it.", show_default=False)
]
KeyArgument = Annotated[str, typer.Argument(metavar="STATE_KEY", help="Its name there.", show_default=False)]


@shielded
def states(
    owner: Annotated[str, typer.Option("--owner", metavar="OWNER", help="Only those of this correlation id.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many, in the order of names.")] = 100,
    output: OutputOption = OutputForm.TABLE,
    etcd: EtcdOption = ETCD_DEFAULT,
    namespace: NamespaceOption = "default",
) -> None:
    """List the states that reducer nodes keep for direct calls.

    Examples:

        onex-mesh reducer states --etcd etcd:2379

        onex-mesh reducer states --owner order-7 --output json
    """

    async def work() -> list[tuple[StateName, KeptState]]:
        async with _kept_states(etcd, namespace) as kept:
            return await kept.named(owner, limit + 1)

    found = run_async(work())
    if len(found) > limit:
        notes().print(f"there are more than {limit}; --limit shows more")
    if output is OutputForm.JSON:
        rows: list[Json] = [_facts(name, kept) for name, kept in found[:limit]]
        print_json(rows)
        return
    grid = table("owner", "state", "epoch", "made by", "committed", "bytes")
    for name, kept in found[:limit]:
        made_by = kept.record.metadata.get("maker", "")
        size = str(kept.record.ByteSize())
        grid.add_row(name.owner, name.state_key, str(kept.epoch), made_by, time_text(kept.record.timestamp), size)
    print_table(grid)


@shielded
def state(
    owner: OwnerArgument,
    state_key: KeyArgument,
    etcd: EtcdOption = ETCD_DEFAULT,
    namespace: NamespaceOption = "default",
) -> None:
    """Show a state that a reducer node keeps, with what is known of it, as JSON.

    Examples:

        onex-mesh reducer state order-7 state | jq .state
    """

    async def work() -> tuple[StateName, KeptState]:
        async with _kept_states(etcd, namespace) as kept:
            return await _load(kept, owner, state_key)

    name, kept = run_async(work())
    print_json({**_facts(name, kept), "state": payload_plain(kept.record.state)})


@shielded
def forget(
    owner: OwnerArgument,
    state_key: KeyArgument,
    epoch: Annotated[
        int, typer.Option("--epoch", min=0, help="Only if it is at this epoch. Default: whatever it is at.")
    ] = 0,
    etcd: EtcdOption = ETCD_DEFAULT,
    namespace: NamespaceOption = "default",
) -> None:
    """Delete a state that a reducer node keeps, with what it remembers of calls.

    Its copies stay, and can be listed and restored. The next call begins anew, at epoch 1.

    Examples:

        onex-mesh reducer forget order-7 state --epoch 3
    """

    async def work() -> int:
        async with _kept_states(etcd, namespace) as kept:
            name, found = await _load(kept, owner, state_key)
            if epoch and found.epoch != epoch:
                text = f"the state is at epoch {found.epoch}, not {epoch}; nothing was deleted"
                raise ValidationError(text, violations=(("epoch", text),))
            await kept.forget(name, found)
            return found.epoch

    typer.echo(f"{owner} {state_key}: forgotten at epoch {run_async(work())}")


@shielded
def backups(
    owner: OwnerArgument,
    state_key: KeyArgument,
    store: StoreOption,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many.")] = 20,
    output: OutputOption = OutputForm.TABLE,
    etcd: EtcdOption = ETCD_DEFAULT,
    namespace: NamespaceOption = "default",
) -> None:
    """List the copies of a state, the newest first, as each one names the copy before.

    Examples:

        onex-mesh reducer backups order-7 state --payload-store file:///var/lib/onex/payloads --etcd etcd:2379
    """

    async def work() -> list[tuple[str, reducer_pb2.BackupRecord]]:
        payloads = FsspecPayloads(store)
        async with _kept_states(etcd, namespace) as kept:
            last = await kept.last_copy(StateName(owner, state_key))
        found: list[tuple[str, reducer_pb2.BackupRecord]] = []
        try:
            async for uri, record in chain(last.record.metadata.get("uri", ""), payloads):
                found.append((uri, record))
                if len(found) == limit:
                    break
        except ValidationError as error:
            notes().print(f"the chain of copies ends here: {error.message}", soft_wrap=True)
        return found

    found = run_async(work())
    if output is OutputForm.JSON:
        rows: list[Json] = [{"uri": uri, **_record_facts(record)} for uri, record in found]
        print_json(rows)
        return
    grid = table("epoch", "committed", "type", "bytes", "uri")
    for uri, record in found:
        kind, at = record.metadata.get("backup_type", ""), time_text(record.timestamp)
        grid.add_row(record.metadata.get("epoch", ""), at, kind, str(record.ByteSize()), uri)
    print_table(grid)


@shielded
def restore(
    uri: Annotated[str, typer.Argument(metavar="URI", help="Where the copy is, as `backup.location.uri` told.")],
    store: StoreOption,
    etcd: EtcdOption = ETCD_DEFAULT,
    namespace: NamespaceOption = "default",
) -> None:
    """Restore a state that a reducer keeps from a copy, as a new epoch.

    Examples:

        onex-mesh reducer restore backups/3f/3f… --payload-store file:///var/lib/onex/payloads --etcd etcd:2379
    """

    async def work() -> str:
        payloads = FsspecPayloads(store)
        async with _kept_states(etcd, namespace) as kept:
            name, epoch = await restored(uri, payloads, kept)
        return f"{name.owner} {name.state_key}: restored as epoch {epoch}"

    typer.echo(run_async(work()))


@asynccontextmanager
async def _kept_states(etcd: str, namespace: str) -> AsyncIterator[EtcdStates]:
    client = await EtcdClient.connect(check_address(etcd))
    try:
        yield EtcdStates(client, Keyspace(namespace))
    finally:
        await client.close()


async def _load(kept: EtcdStates, owner: str, state_key: str) -> tuple[StateName, KeptState]:
    name = StateName(owner, state_key)
    found = await kept.load(name)
    if not found.epoch:
        text = f"no state {state_key!r} of {owner!r} is kept"
        raise ValidationError(text, violations=(("state_key", text),))
    return name, found


def _facts(name: StateName, kept: KeptState) -> dict[str, Json]:
    return {"owner": name.owner, "state_key": name.state_key, "epoch": kept.epoch, **_record_facts(kept.record)}


def _record_facts(record: reducer_pb2.BackupRecord) -> dict[str, Json]:
    return {
        "committed_at": record.timestamp.ToJsonString(),
        "size_bytes": record.ByteSize(),
        "metadata": {key: value for key, value in sorted(record.metadata.items()) if value},
    }
