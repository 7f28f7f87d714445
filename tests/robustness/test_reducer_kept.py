"""Kept states outlive nodes and etcd: a call counts once, in all states of its transaction or in none."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from onex.v1 import reducer_pb2, reducer_pb2_grpc
from onex_lease import EmbeddedEtcd, EtcdClient, Keyspace, OutcomeUnknownError
from onex_mesh.reducer.adapters.etcd_states import EtcdStates
from onex_mesh.reducer.copies import whole_copy
from onex_mesh.reducer.ports import Answer, Change, KeptState, StateName
from onex_mesh.runtime.payload import from_payload, json_payload
from onex_mesh.runtime.payload_store import FsspecPayloads
from tests.kept_app import POINTS
from tests.kept_states import backed_up, run, total
from tests.lease_writers import wait_for_key
from tests.mesh import MeshProcesses
from tests.proof.gates import VARIABLE, Gates
from tests.tcp_proxy import TcpProxy

Stub = reducer_pb2_grpc.ReducerServiceStub
KEYS = ("total", "second")
NOTHING = KeptState(0, reducer_pb2.BackupRecord())


def both(records: list[object], action_id: str, owner: str = "o") -> reducer_pb2.ReducerContract:
    """The same records into two sums, in one commit."""
    contract = total(records, owner=owner)
    contract.action_id = action_id
    part = contract.transaction_config.parts.add()
    part.reduction_config.aggregation_method = reducer_pb2.AGGREGATION_METHOD_SUM
    part.reduction_config.state_key = "second"
    contract.transaction_config.state_keys.append("second")
    return contract


@asynccontextmanager
async def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[MeshProcesses, Gates]]:
    """Two reducer nodes with a payload store, and gates in them."""
    gates = Gates(tmp_path / "gates")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gates"))
    async with MeshProcesses(
        tmp_path,
        app="tests.kept_app:app",
        effects=0,
        computes=0,
        reducers=2,
        orchestrators=0,
        settings={"payload_store": f"file://{tmp_path}/store"},
    ) as mesh:
        yield mesh, gates


@asynccontextmanager
async def kept_states(mesh: MeshProcesses) -> AsyncIterator[EtcdStates]:
    client = await mesh.etcd_client()
    try:
        yield EtcdStates(client, mesh.keys)
    finally:
        await client.close()


async def sums(mesh: MeshProcesses, owner: str = "o") -> list[tuple[int, object]]:
    """Epoch and value of both."""
    async with kept_states(mesh) as states:
        found = [await states.load(StateName(owner, key)) for key in KEYS]
    return [(each.epoch, from_payload(each.record.state)) for each in found]


async def reached(gates: Gates, point: str) -> None:
    async with asyncio.timeout(30):
        while not gates.is_reached(point, "test"):  # noqa: ASYNC110  # another process comes to it
            await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_node_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R59–R61, R63: kill -9 between load and commit, between commit and copy, and after the copy.

    Made again at another node the call counts once, in both states, and there is a copy of each.
    """
    async with nodes(tmp_path, monkeypatch) as (mesh, gates):
        first, second = Stub(mesh.channel("reducer", 0)), Stub(mesh.channel("reducer", 1))
        for point in POINTS:
            owner = f"order-{point}"
            gates.shut(point, "test", owner)
            contract = backed_up(both([5], "once", owner), backup_location=owner, backup_type="incremental")
            call = asyncio.create_task(run(first, contract))
            await reached(gates, point)
            mesh.reducers[0].kill()
            with pytest.raises(grpc.aio.AioRpcError):
                await call
            await mesh.reducers[0].wait()
            gates.open(point, "test")
            is_committed = point != "before-commit"
            assert await sums(mesh, owner) == ([(1, 5), (1, 5)] if is_committed else [(0, None), (0, None)])
            output = await run(second, contract)
            assert output.replayed is is_committed
            assert await sums(mesh, owner) == [(1, 5), (1, 5)]
            store = FsspecPayloads(f"file://{tmp_path}/store")
            for each in (output, *output.parts):
                assert from_payload((await whole_copy(each.backup.location.uri, store)).state) == 5
            # The copies that the killed node made are those that the other one tells of.
            assert len([path for path in (tmp_path / "store" / owner).rglob("*") if path.is_file()]) == 2
            await mesh.reducers[0].start()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_call_that_was_overtaken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R59, R67: others change one of its states, and then both, between its load and its commit: it is reduced anew."""
    async with nodes(tmp_path, monkeypatch) as (mesh, gates):
        slow_node, other = Stub(mesh.channel("reducer", 0)), Stub(mesh.channel("reducer", 1))
        gates.shut("before-commit", "test", "o")
        overtaken = asyncio.create_task(run(slow_node, both([5], "overtaken")))
        await reached(gates, "before-commit")
        # The gate is shut for both nodes; the states are changed by who is not a node.
        async with kept_states(mesh) as states:
            record = reducer_pb2.BackupRecord(state=json_payload(100), metadata={"maker": "AGGREGATION_METHOD_SUM"})
            await states.commit([Change(StateName("o", "second"), NOTHING, record)])
        gates.open("before-commit", "test")
        output = await overtaken
        assert [output.state_metadata.epoch, output.parts[0].state_metadata.epoch] == [1, 2]
        assert await sums(mesh) == [(1, 5), (2, 105)]
        await run(other, both([1], "next"))
        assert await sums(mesh) == [(2, 6), (3, 106)]


async def persist(stubs: list[Stub], contract: reducer_pb2.ReducerContract) -> int:
    """Makes a call until it is answered, at one node after the other; returns how often it was made."""
    for attempt in itertools.count(1):
        try:
            await asyncio.wait_for(run(stubs[attempt % len(stubs)], contract), 5)
        except (grpc.aio.AioRpcError, TimeoutError):
            await asyncio.sleep(0.1)
        else:
            return attempt
    raise AssertionError


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", ["paused", "killed"])
async def test_etcd_is_away_while_states_are_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """R59, R67: etcd stands still, or dies and comes back; every call is answered in the end and counts once."""
    async with nodes(tmp_path, monkeypatch) as (mesh, _):
        stubs = [Stub(mesh.channel("reducer", index)) for index in range(2)]
        calls = 0

        async def caller(number: int) -> int:
            nonlocal calls
            attempts = 0
            for index in range(15):
                attempts += await persist(stubs, both([1], f"{number}-{index}"))
                calls += 1
            return attempts

        callers = [asyncio.create_task(caller(number)) for number in range(4)]
        for _ in range(3):
            before = calls
            while calls < before + 5 and not all(task.done() for task in callers):  # noqa: ASYNC110 - it counts calls
                await asyncio.sleep(0.005)
            if fault == "paused":
                mesh.etcd.pause()
                await asyncio.sleep(1.0)
                mesh.etcd.resume()
            else:
                mesh.etcd.kill()
                await mesh.etcd.restart()
        attempts = sum(await asyncio.gather(*callers))
        assert attempts >= 60
        assert await sums(mesh) == [(60, 60), (60, 60)]


async def test_a_commit_of_several_states_whose_answer_is_lost(
    etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace
) -> None:
    """R59, R67: applied, and the answer lost; and lost on its way: either way it is applied once, and known to be."""
    async with TcpProxy(etcd.endpoint) as proxy:
        remote = await EtcdClient.connect(proxy.endpoint)
        states, names = EtcdStates(remote, keys), [StateName("o", key) for key in KEYS]
        record = reducer_pb2.BackupRecord(state=json_payload(1), metadata={"commit_id": "the-first-commit"})
        proxy.lose_reply_to(b"the-first-commit")
        committing = asyncio.create_task(states.commit([Change(name, NOTHING, record) for name in names]))
        await proxy.reached.wait()
        await wait_for_key(client, keys.root + b"reducer-states/o/second", lambda row: row is not None)
        proxy.cut()
        await committing
        kept = [await states.load(name) for name in names]
        record = reducer_pb2.BackupRecord(state=json_payload(2), metadata={"commit_id": "the-second-commit"})
        proxy.lose_request(b"the-second-commit")
        await states.commit([Change(name, now, record) for name, now in zip(names, kept, strict=True)])
        assert proxy.reached.is_set()
        assert [(await states.load(name)).epoch for name in names] == [2, 2]
        await remote.close()


@pytest.mark.parametrize("action_id", ["", "an-action"])
async def test_a_lost_answer_and_a_state_that_was_changed_since(
    etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace, action_id: str
) -> None:
    """R67: with an action id its answer tells that it was applied; without one nobody can know, and that is told."""
    async with TcpProxy(etcd.endpoint) as proxy:
        remote = await EtcdClient.connect(proxy.endpoint)
        states, name = EtcdStates(remote, keys), StateName("o", "total")
        record = reducer_pb2.BackupRecord(state=json_payload(1), metadata={"commit_id": "the-first-commit"})
        answer = Answer(name, action_id, b"d" * 32, reducer_pb2.ReducerOutput()) if action_id else None
        proxy.lose_reply_to(b"the-first-commit")
        committing = asyncio.create_task(states.commit([Change(name, NOTHING, record)], answer))
        await proxy.reached.wait()
        await wait_for_key(client, keys.root + b"reducer-states/o/total", lambda row: row is not None)
        other = EtcdStates(client, keys)
        await other.commit([Change(name, await other.load(name), reducer_pb2.BackupRecord(state=json_payload(2)))])
        proxy.cut()
        if action_id:
            await committing
        else:
            with pytest.raises(OutcomeUnknownError, match="'total' was changed since"):
                await committing
        assert from_payload((await other.load(name)).record.state) == 2
        await remote.close()
