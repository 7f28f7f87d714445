"""States that a reducer node keeps for direct calls, in a real etcd: transactions, conflicts, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from onex.v1 import reducer_pb2, reducer_pb2_grpc
from onex_lease import EmbeddedEtcd, EtcdClient, Keyspace
from onex_mesh.reducer.adapters.etcd_states import EtcdStates
from onex_mesh.reducer.kept import ATTEMPTS_MAX, KeptReductions
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.reducer.ports import Answer, Change, KeptState, StateName, TransactionError
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.reducer.restore import restore
from onex_mesh.runtime import errors
from onex_mesh.runtime.payload import from_payload, json_payload
from onex_mesh.runtime.payload_store import FsspecPayloads
from onex_mesh.runtime.serving import NodeServer
from tests.inprocess import InProcessMesh
from tests.kept_states import backed_up, failure, place_order, registry, run, total


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncGenerator[InProcessMesh, None]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture
async def node(mesh: InProcessMesh) -> NodeServer:
    return await mesh.add(ReducerNode(registry(), "1.0.0"))


@pytest.fixture
def stub(mesh: InProcessMesh, node: NodeServer) -> reducer_pb2_grpc.ReducerServiceStub:
    return reducer_pb2_grpc.ReducerServiceStub(mesh.channel(node))


async def test_a_state_goes_on_where_the_last_call_left_it(
    stub: reducer_pb2_grpc.ReducerServiceStub, client: EtcdClient, keys: Keyspace
) -> None:
    """R59, R60, R63–R65: load, reduce, commit; the epoch counts the commits; who made the state is kept with it."""
    first = await run(stub, total([1, 2]))
    second = await run(stub, total([10]))
    assert [first.state_metadata.epoch, second.state_metadata.epoch] == [1, 2]
    assert from_payload(second.aggregated_data) == 13
    kept = await EtcdStates(client, keys).load(StateName("o", "total"))
    assert kept.epoch == 2
    assert kept.record.correlation_id == "o"
    assert kept.record.metadata["maker"] == "AGGREGATION_METHOD_SUM"
    assert kept.record.HasField("timestamp")


async def test_states_are_apart_by_owner_and_key(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R60: (correlation_id, state_key) names a state; no name reaches into another's."""
    await run(stub, total([1], key="b/c", owner="a"))
    for other in (total([5], key="c", owner="a/b"), total([5], key="b", owner="a"), total([5], key="b/c", owner="x")):
        output = await run(stub, other)
        assert output.state_metadata.epoch == 1
        assert from_payload(output.aggregated_data) == 5


async def test_a_refused_transition_writes_nothing(
    stub: reducer_pb2_grpc.ReducerServiceStub, client: EtcdClient, keys: Keyspace
) -> None:
    """R59: rolled back on error; the state is as before."""
    placed = await run(stub, place_order())
    assert (placed.state_metadata.epoch, placed.state_metadata.new_state) == (1, "ORDER_PLACED")
    before = await EtcdStates(client, keys).load(StateName("order-7", "state"))
    assert (await failure(stub, place_order())).reason == "TRANSITION_REFUSED"
    assert await EtcdStates(client, keys).load(StateName("order-7", "state")) == before


async def test_of_concurrent_calls_each_counts_once(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R59, R67: calls at the same time come to the same as if they had come one after the other."""
    outputs = await asyncio.gather(*(run(stub, total([1])) for _ in range(40)))
    assert sorted(output.state_metadata.epoch for output in outputs) == list(range(1, 41))
    assert sorted(from_payload(output.aggregated_data) for output in outputs) == list(range(1, 41))


NOTHING = KeptState(0, reducer_pb2.BackupRecord())


async def test_a_lost_race_writes_nothing(client: EtcdClient, keys: Keyspace) -> None:
    """R67: a commit of a state that was changed since is a TransactionError, and the state stays the other's."""
    states, name = EtcdStates(client, keys), StateName("o", "s")
    record = reducer_pb2.BackupRecord(state=json_payload(1), metadata={"commit_id": "a"})
    await states.commit([Change(name, NOTHING, record)])
    other = reducer_pb2.BackupRecord(state=json_payload(2), metadata={"commit_id": "b"})
    with pytest.raises(TransactionError) as caught:
        await states.commit([Change(name, NOTHING, other)])
    assert caught.value.reason == "STATE_CONFLICT"
    assert caught.value.error_context["states"] == [{"state_key": "s", "epoch": 0, "found": 1}]
    assert (await states.load(name)).record == record


async def test_a_commit_whose_answer_was_lost_is_known_again(client: EtcdClient, keys: Keyspace) -> None:
    """R60: the same commit sent again finds itself, also where one of its states was changed since: it counts once."""
    states, names = EtcdStates(client, keys), (StateName("o", "s"), StateName("o", "t"))
    record = reducer_pb2.BackupRecord(state=json_payload(1), metadata={"commit_id": "a"})
    changes = [Change(name, NOTHING, record) for name in names]
    await states.commit(changes)
    await states.commit(changes)
    kept = await states.load(names[0])
    await states.commit([Change(names[0], kept, reducer_pb2.BackupRecord(state=json_payload(2)))])
    await states.commit(changes)
    assert [(await states.load(name)).epoch for name in names] == [2, 1]


async def test_a_state_that_was_forgotten_and_made_anew_is_another(client: EtcdClient, keys: Keyspace) -> None:
    """R67: the epoch is the same again, and a commit from before is refused all the same."""
    states, name = EtcdStates(client, keys), StateName("o", "s")
    record = reducer_pb2.BackupRecord(state=json_payload(1), metadata={"commit_id": "a"})
    await states.commit([Change(name, NOTHING, record)])
    before = await states.load(name)
    await states.forget(name, before)
    assert (await states.load(name)).epoch == 0
    await states.commit([Change(name, NOTHING, record)])
    assert (await states.load(name)).epoch == before.epoch == 1
    with pytest.raises(TransactionError):
        await states.commit([Change(name, before, reducer_pb2.BackupRecord(state=json_payload(2)))])
    with pytest.raises(TransactionError):
        await states.forget(name, before)


async def test_a_state_of_another_reducer_is_refused(client: EtcdClient, keys: Keyspace) -> None:
    """R67: a sum does not go on from the state of a machine."""
    reductions = KeptReductions(Reductions(registry()), EtcdStates(client, keys), lambda: datetime.now(UTC))
    origin = Origin("o", "0b4e3c1e-6f5e-4d4b-9c3d-0d6d4c0f0b11", datetime.now(UTC))
    await reductions.reduce(place_order("o"), origin)
    with pytest.raises(errors.StateConsistencyError, match="was made by 'order'"):
        await reductions.reduce(total([1], key="state"), origin)


class OvertakenStates(EtcdStates):
    """Another call is always faster."""

    commits = 0

    async def commit(self, changes: Sequence[Change], answer: Answer | None = None) -> None:
        """Commits the state as it is before."""
        self.commits += 1
        await super().commit([replace(change, record=change.before.record) for change in changes])
        await super().commit(changes, answer)


async def test_a_call_that_is_always_overtaken_is_told_so(client: EtcdClient, keys: Keyspace) -> None:
    """R67: it is reduced a bounded number of times, then it is a conflict, and nothing of it is written."""
    states = OvertakenStates(client, keys)
    reductions = KeptReductions(Reductions(registry()), states, lambda: datetime.now(UTC))
    record = reducer_pb2.BackupRecord(state=json_payload(7), metadata={"maker": "AGGREGATION_METHOD_SUM"})
    await EtcdStates(client, keys).commit([Change(StateName("o", "total"), NOTHING, record)])
    with pytest.raises(TransactionError):
        await reductions.reduce(total([1]), Origin("o", "a", datetime.now(UTC)))
    assert states.commits == ATTEMPTS_MAX
    kept = await states.load(StateName("o", "total"))
    assert (kept.epoch, from_payload(kept.record.state)) == (1 + ATTEMPTS_MAX, 7)


async def test_a_state_that_is_too_large_is_refused(client: EtcdClient, keys: Keyspace) -> None:
    """R67: more than etcd takes is PAYLOAD_TOO_LARGE, and nothing is written."""
    states, name = EtcdStates(client, keys), StateName("o", "s")
    with pytest.raises(errors.PayloadTooLargeError):
        await states.commit([Change(name, NOTHING, reducer_pb2.BackupRecord(state=json_payload("x" * (1024 * 1024))))])
    assert (await states.load(name)).epoch == 0


async def test_what_a_transaction_does_not_name_it_does_not_change(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R59: the state reduced is named; a state comes from the store and not with the call; names are bounded."""
    unnamed, brought, long = total([1]), total([1]), total([1], owner="o" * 513)
    del unnamed.transaction_config.state_keys[:]
    brought.current_state.CopyFrom(json_payload(5))
    for contract, field in (
        (unnamed, "transaction_config.state_keys"),
        (brought, "current_state"),
        (long, "correlation_id"),
        (total([1], key="k" * 513), "reduction_config.state_key"),
    ):
        refused = await failure(stub, contract)
        assert refused.reason == "VALIDATION_FAILED"
        assert field in str(refused)


async def test_a_stream_keeps_no_state(stub: reducer_pb2_grpc.ReducerServiceStub) -> None:
    """R59: refused, not ignored."""
    contract = total([])
    contract.ClearField("input_data")
    call = stub.StreamReduction(iter([reducer_pb2.StreamReductionRequest(contract=contract)]), timeout=20)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [update async for update in call]
    assert "contract.transaction_config" in str(errors.from_rpc_error(caught.value))


@pytest.fixture
async def keeper(mesh: InProcessMesh, tmp_path: Path) -> reducer_pb2_grpc.ReducerServiceStub:
    """A node with a payload store in the folder "store"."""
    server = await mesh.add(ReducerNode(registry(), "1.0.0"), payload_store=f"file://{tmp_path}/store")
    return reducer_pb2_grpc.ReducerServiceStub(mesh.channel(server))


async def test_a_copy_is_made_after_the_commit(keeper: reducer_pb2_grpc.ReducerServiceStub, tmp_path: Path) -> None:
    """R61–R63: time, correlation id, state and metadata of the epoch that was committed; one copy for each."""
    await run(keeper, backed_up(total([1])))
    output = await run(keeper, backed_up(total([4]), backup_location="night/orders", version="v2"))
    assert output.backup.location.uri.startswith("night/orders/")
    assert not output.backup.HasField("error")
    store = FsspecPayloads(f"file://{tmp_path}/store")
    copy = reducer_pb2.BackupRecord.FromString(await store.get(output.backup.location))
    assert (from_payload(copy.state), copy.correlation_id) == (5, "o")
    expected = {"epoch": "2", "state_key": "total", "backup_version": "v2", "backup_type": "full"}
    assert {name: copy.metadata[name] for name in expected} == expected
    assert copy.HasField("timestamp")


async def test_a_call_made_again_copies_what_was_not_copied(
    keeper: reducer_pb2_grpc.ReducerServiceStub, tmp_path: Path
) -> None:
    """R61: while the state is at that epoch; later it tells that this is not known any more."""
    contract = backed_up(total([1]))
    contract.action_id = "a"
    (tmp_path / "store").write_text("no folder")
    assert (await run(keeper, contract)).backup.HasField("error")
    (tmp_path / "store").unlink()
    again, third = await run(keeper, contract), await run(keeper, contract)
    assert again.replayed
    assert again.backup.location.uri
    assert third.backup == again.backup
    await run(keeper, total([5]))
    later = await run(keeper, contract)
    assert (later.replayed, later.state_metadata.epoch, from_payload(later.aggregated_data)) == (True, 1, 1)
    assert later.backup.error.reason == "STATE_CONFLICT"
    assert "at epoch 2 by now" in later.backup.error.message


async def test_a_copy_that_fails_does_not_undo_the_commit(
    keeper: reducer_pb2_grpc.ReducerServiceStub, tmp_path: Path
) -> None:
    """R61, R63: the output tells both; the next call goes on from the committed state."""
    (tmp_path / "store").write_text("no folder")
    output = await run(keeper, backed_up(total([1])))
    assert output.state_metadata.epoch == 1
    assert output.backup.error.reason == "DEPENDENCY_UNAVAILABLE"
    assert not output.backup.HasField("location")
    (tmp_path / "store").unlink()
    again = await run(keeper, backed_up(total([1])))
    assert (from_payload(again.aggregated_data), again.state_metadata.epoch) == (2, 2)
    assert again.backup.location.digest


async def test_a_copy_that_cannot_be_asked_for_is_refused_before_the_commit(
    stub: reducer_pb2_grpc.ReducerServiceStub,
    keeper: reducer_pb2_grpc.ReducerServiceStub,
    client: EtcdClient,
    keys: Keyspace,
) -> None:
    """R61: no store, no folder in it, another type, a call without a transaction: refused, and nothing is written."""
    alone = backed_up(total([1]))
    alone.ClearField("transaction_config")
    for asked, contract, text in (
        (stub, backed_up(total([1])), "ONEX_PAYLOAD_STORE"),
        (keeper, backed_up(total([1]), backup_location="../out"), "backup_location"),
        (keeper, backed_up(total([1]), backup_type="weekly"), "backup_type"),
        (keeper, backed_up(total([1]), version="v" * 513), "backup_config.version"),
        (keeper, alone, "transaction_config"),
    ):
        refused = await failure(asked, contract)
        assert refused.reason == "VALIDATION_FAILED"
        assert text in str(refused)
    assert (await EtcdStates(client, keys).load(StateName("o", "total"))).epoch == 0


async def test_what_is_no_copy_is_not_restored(client: EtcdClient, keys: Keyspace, tmp_path: Path) -> None:
    """R61: other bytes of the store, whether they can be read as a message or not."""
    store = FsspecPayloads(f"file://{tmp_path}")
    for data in (b"", b"\xff\xff"):
        location = await store.put(data)
        with pytest.raises(errors.ValidationError, match="no copy of a state"):
            await restore(location.uri, store, EtcdStates(client, keys))
