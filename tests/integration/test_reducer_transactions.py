"""Several states in one commit, and calls that are made again: a reducer node with a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

import pytest

from onex.v1 import common_pb2, intent_pb2, reducer_pb2, reducer_pb2_grpc
from onex_lease import EmbeddedEtcd, EtcdClient, Keyspace
from onex_mesh.reducer.adapters import etcd_states
from onex_mesh.reducer.adapters.etcd_states import EtcdStates
from onex_mesh.reducer.core.outputs import outputs_of
from onex_mesh.reducer.kept import KeptReductions
from onex_mesh.reducer.node import ReducerNode
from onex_mesh.reducer.ports import Answer, Change, KeptState, StateName
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.inprocess import InProcessMesh
from tests.kept_states import ORDER, failure, place_order, registry, run, total

Stub = reducer_pb2_grpc.ReducerServiceStub
SUM, COUNT = reducer_pb2.AGGREGATION_METHOD_SUM, reducer_pb2.AGGREGATION_METHOD_COUNT
AVERAGE = reducer_pb2.AGGREGATION_METHOD_AVERAGE


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncGenerator[InProcessMesh, None]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture
async def stub(mesh: InProcessMesh) -> Stub:
    return Stub(mesh.channel(await mesh.add(ReducerNode(registry(), "1.0.0"))))


@pytest.fixture
def states(client: EtcdClient, keys: Keyspace) -> EtcdStates:
    return EtcdStates(client, keys)


def with_part(
    contract: reducer_pb2.ReducerContract,
    key: str,
    method: reducer_pb2.AggregationMethod = SUM,
    records: Sequence[object] | None = None,
) -> reducer_pb2.ReducerContract:
    """One more aggregation, of the records of the contract where none are given."""
    part = contract.transaction_config.parts.add()
    part.reduction_config.state_key = key
    part.reduction_config.aggregation_method = method
    if records is not None:
        part.input_data.CopyFrom(json_payload(records))
    contract.transaction_config.state_keys.append(key)
    return contract


def with_order(contract: reducer_pb2.ReducerContract, key: str = "order") -> reducer_pb2.ReducerContract:
    """One more state machine, and its order."""
    part = contract.transaction_config.parts.add()
    part.reduction_config.state_key = key
    part.reduction_config.reducer = "order"
    part.fsm_action.action = "PLACE_ORDER"
    part.fsm_action.payload.CopyFrom(json_payload(ORDER))
    contract.transaction_config.state_keys.append(key)
    return contract


def intents_of(output: reducer_pb2.ReducerOutput) -> list[intent_pb2.Intent]:
    return [intent for each in outputs_of(output) for intent in each.intents]


async def epochs(states: EtcdStates, *keys: str, owner: str = "o") -> list[int]:
    return [(await states.load(StateName(owner, key))).epoch for key in keys]


# Several states in one commit


async def test_several_states_are_one_commit(stub: Stub, states: EtcdStates) -> None:
    """R59, R64, R65: machine and aggregations mixed; each state goes on, each epoch rises, all have one revision."""
    first = with_part(with_part(with_order(total([1, 2])), "count", COUNT), "mean", AVERAGE, [10, 30])
    output = await run(stub, first)
    assert from_payload(output.aggregated_data) == 3
    assert [from_payload(part.aggregated_data) for part in output.parts[1:]] == [2, 20]
    assert output.parts[0].state_metadata.new_state == "ORDER_PLACED"
    assert [part.state_metadata.state_key for part in output.parts] == ["order", "count", "mean"]
    assert [output.state_metadata.epoch, *(part.state_metadata.epoch for part in output.parts)] == [1, 1, 1, 1]
    assert [part.reduction_metrics.records_processed for part in output.parts] == [1, 2, 2]
    kept = [await states.load(StateName("o", key)) for key in ("total", "order", "count", "mean")]
    assert len({each.revision for each in kept}) == 1
    assert len({each.record.metadata["commit_id"] for each in kept}) == 1
    again = await run(stub, with_part(with_part(total([4]), "mean", AVERAGE, [50]), "fresh", COUNT))
    assert from_payload(again.aggregated_data) == 7
    assert [from_payload(part.aggregated_data) for part in again.parts] == [30, 1]
    assert await epochs(states, "total", "order", "count", "mean", "fresh") == [2, 1, 1, 2, 1]


async def test_intents_of_parts_differ_and_are_reproducible(stub: Stub) -> None:
    """R59, F13: ids and keys of each part derive from the call's action id and the part's number."""

    def orders(owner: str, action_id: str = "") -> reducer_pb2.ReducerContract:
        made = with_order(with_order(place_order(owner), "second"), "third")
        made.action_id = action_id
        return made

    action_id = "0b4e3c1e-6f5e-4d4b-9c3d-0d6d4c0f0b11"
    outputs = [await run(stub, orders(owner, action_id)) for owner in ("a", "b")]
    ids = [[intent.intent_id for intent in intents_of(output)] for output in outputs]
    assert len(ids[0]) == len(set(ids[0])) == 9
    assert ids[0] == ids[1]
    order_ids = {from_payload(each.aggregated_data)["order_id"] for each in outputs_of(outputs[0])}
    assert len(order_ids) == 3
    unnamed = [await run(stub, orders(owner)) for owner in ("c", "d")]
    assert len({intent.idempotency_key for output in unnamed for intent in intents_of(output)}) == 18


async def test_two_calls_on_one_state_have_intents_of_their_own(stub: Stub) -> None:
    """R59, F27: without an action id each call is an action of its own; a second intent is no repeat of the first."""
    first = await run(stub, place_order("x"))
    other = place_order("x")
    other.reduction_config.state_key = "other"
    other.transaction_config.state_keys[:] = ["other"]
    second = await run(stub, other)
    assert not {i.intent_id for i in first.intents} & {i.intent_id for i in second.intents}


async def test_a_part_that_fails_leaves_every_state_as_it_was(stub: Stub, states: EtcdStates) -> None:
    """R59: nothing is written; the error is that of the part, and names it."""
    await run(stub, with_order(total([1])))
    bad = with_order(with_part(total([5]), "count", COUNT))
    refused = await failure(stub, bad)
    assert refused.reason == "TRANSITION_REFUSED"
    assert refused.message.startswith("transaction_config.parts[1]: ")
    assert refused.error_context["part"] == "transaction_config.parts[1]"
    wrong = with_part(with_part(total([5]), "count", COUNT), "broken", SUM)
    wrong.transaction_config.parts[1].input_data.CopyFrom(json_payload([1, "x"]))
    refused = await failure(stub, wrong)
    assert refused.reason == "VALIDATION_FAILED"
    assert "transaction_config.parts[1].input_data[1]" in str(refused.error_context)
    assert await epochs(states, "total", "count", "order", "broken") == [1, 0, 1, 0]


async def test_a_state_of_another_reducer_is_refused_in_a_part(stub: Stub, states: EtcdStates) -> None:
    """R67: which part it is about, and nothing is written."""
    await run(stub, with_part(total([1]), "mean", AVERAGE))
    refused = await failure(stub, with_part(total([1]), "mean", COUNT))
    assert "transaction_config.parts[0]: The state 'mean' was made by 'AGGREGATION_METHOD_AVERAGE'" in refused.message
    assert await epochs(states, "total", "mean") == [1, 1]


@pytest.mark.parametrize("failing", ["own", "part"])
async def test_what_succeeds_is_committed_where_that_is_asked_for(stub: Stub, states: EtcdStates, failing: str) -> None:
    """R59: `commit_partially`: the others are one commit; the output tells what failed, and its state is as before."""
    own, other = (["x"], [2]) if failing == "own" else ([2], ["x"])
    contract = with_part(with_part(total(own), "second", SUM, other), "third", COUNT, [1, 2])
    contract.transaction_config.commit_partially = True
    output = await run(stub, contract)
    failed, written = (output, output.parts[0]) if failing == "own" else (output.parts[0], output)
    assert failed.error.reason == "VALIDATION_FAILED"
    assert not failed.HasField("aggregated_data")
    assert ("transaction_config.parts[0]" in failed.error.message) is (failing == "part")
    assert (from_payload(written.aggregated_data), written.state_metadata.epoch) == (2, 1)
    assert from_payload(output.parts[1].aggregated_data) == 2
    expected = [0, 1, 1] if failing == "own" else [1, 0, 1]
    assert await epochs(states, "total", "second", "third") == expected


async def test_where_nothing_succeeds_the_call_fails(stub: Stub, states: EtcdStates) -> None:
    """R59: also with `commit_partially`; the error is that of the contract's own reduction."""
    contract = with_part(total(["x"]), "second", SUM)
    contract.transaction_config.commit_partially = True
    assert "input_data[0]" in str(await failure(stub, contract))
    assert await epochs(states, "total", "second") == [0, 0]


async def test_transactions_that_make_no_sense_are_refused(stub: Stub, states: EtcdStates) -> None:
    """R59: two parts on one state, a state that is not named, too many, and two answers to one question."""
    twice = with_part(with_part(total([1]), "a"), "a")
    own_again = with_part(total([1]), "total")
    unnamed = with_part(total([1]), "a")
    del unnamed.transaction_config.state_keys[1:]
    many = total([1])
    for index in range(100):
        with_part(many, f"s{index}")
    both = with_part(total([1]), "a")
    both.transaction_config.commit_partially = both.transaction_config.rollback_on_error = True
    empty = total([1])
    empty.transaction_config.parts.add().reduction_config.state_key = "a"
    empty.transaction_config.state_keys.append("a")
    for contract, text in (
        (twice, "transaction_config.parts[1].reduction_config.state_key: 'a' is the state of"),
        (own_again, "'total' is the state of reduction_config already"),
        (unnamed, "does not name 'a', which transaction_config.parts[0].reduction_config changes"),
        (many, "101 states in one commit; at most 100"),
        (both, "transaction_config.commit_partially"),
        (with_part(total([1]), "k" * 513), "transaction_config.parts[0].reduction_config.state_key"),
        (empty, "transaction_config.parts[0]: reduction_config: names neither"),
    ):
        refused = await failure(stub, contract)
        assert refused.reason == "VALIDATION_FAILED"
        assert text in str(refused)
    assert await states.named() == []


async def test_as_many_states_as_are_allowed(stub: Stub, states: EtcdStates) -> None:
    """R59: a hundred states of long names, with an action id, are one transaction of etcd."""
    contract = total([1])
    contract.action_id = "a" * 512
    for index in range(99):
        with_part(contract, f"{index:03d}" + "n" * 400)
    output = await run(stub, contract)
    assert {part.state_metadata.epoch for part in output.parts} == {1}
    assert len(await states.named("o")) == 100


async def test_a_commit_that_is_too_large_for_etcd_is_refused(stub: Stub, states: EtcdStates) -> None:
    """R67: each state is small enough and all together are not: PAYLOAD_TOO_LARGE, and nothing is written."""
    contract = place_order()
    large = ORDER | {"items": [{"sku": "x" * 600_000, "price": "1", "quantity": 1}]}
    contract.fsm_action.payload.CopyFrom(json_payload(large))
    for key in ("second", "third"):
        part = with_order(contract, key).transaction_config.parts[-1]
        part.fsm_action.payload.CopyFrom(json_payload(large))
    refused = await failure(stub, contract)
    assert refused.reason == "PAYLOAD_TOO_LARGE"
    assert await states.named() == []


async def test_many_states_crosswise(stub: Stub, mesh: InProcessMesh, states: EtcdStates) -> None:
    """R59, R67: two nodes move amounts between four accounts in every direction at once: none is lost, all end."""
    other = Stub(mesh.channel(await mesh.add(ReducerNode(registry(), "1.0.0"))))

    def move(number: int) -> reducer_pb2.ReducerContract:
        source, target = number % 4, (number // 4) % 4
        target = (target + 1) % 4 if source == target else target
        return with_part(total([-number], key=f"account-{source}"), f"account-{target}", SUM, [number])

    numbers = range(1, 49)
    async with asyncio.timeout(60):
        await asyncio.gather(*(run(stub if number % 2 else other, move(number)) for number in numbers))
    kept = [await states.load(StateName("o", f"account-{index}")) for index in range(4)]
    balances = [from_payload(each.record.state) for each in kept]
    expected = [0] * 4
    for number in numbers:
        contract = move(number)
        expected[int(contract.reduction_config.state_key[-1])] -= number
        expected[int(contract.transaction_config.parts[0].reduction_config.state_key[-1])] += number
    assert balances == expected
    assert sum(each.epoch for each in kept) == 2 * len(numbers)


class ChangedMeanwhile(EtcdStates):
    """Before the first commit of the call somebody else commits."""

    def __init__(self, client: EtcdClient, keys: Keyspace, change: Change) -> None:
        super().__init__(client, keys)
        self.changes = [change]

    async def commit(self, changes: Sequence[Change], answer: Answer | None = None) -> None:
        if self.changes:
            await super().commit([self.changes.pop()])
        await super().commit(changes, answer)


async def test_a_failure_that_is_over_is_not_committed(stub: Stub, client: EtcdClient, keys: Keyspace) -> None:
    """R59, R67: the state of a part that fails is compared too: where it changed meanwhile, the part is tried again."""
    await run(stub, place_order("elsewhere"))
    placed = await EtcdStates(client, keys).load(StateName("elsewhere", "state"))
    nothing = KeptState(0, reducer_pb2.BackupRecord())
    states = ChangedMeanwhile(client, keys, Change(StateName("o", "order"), nothing, placed.record))
    contract = with_order(total([1]))
    confirmation = contract.transaction_config.parts[0].fsm_action
    confirmation.action = "CONFIRM_PAYMENT"
    confirmation.payload.CopyFrom(json_payload({"reference": "r", "amount": "7.50"}))
    contract.transaction_config.commit_partially = True
    reductions = KeptReductions(Reductions(registry()), states, lambda: datetime.now(UTC))
    output = await reductions.reduce(contract, Origin("o", "a", datetime.now(UTC)))
    assert not output.parts[0].HasField("error")
    assert output.parts[0].state_metadata.new_state == "PAYMENT_CONFIRMED"
    assert await epochs(states, "total", "order") == [1, 2]


# Calls that are made again


async def test_a_repeated_call_is_answered_and_not_counted_again(stub: Stub, states: EtcdStates) -> None:
    """R59: with an action id; the same epochs, results and intents, also after other calls and on all parts."""
    contract = with_order(with_part(total([5]), "mean", AVERAGE))
    contract.action_id = "first"
    first = await run(stub, contract)
    await run(stub, with_part(total([100]), "mean", AVERAGE))
    again = await run(stub, contract)
    assert again.replayed
    assert not first.replayed
    again.replayed = False
    assert again == first
    assert await epochs(states, "total", "mean", "order") == [2, 2, 1]
    without = total([5])
    assert [(await run(stub, without)).state_metadata.epoch for _ in range(2)] == [3, 4]


async def test_the_same_call_at_the_same_time_counts_once(stub: Stub, mesh: InProcessMesh, states: EtcdStates) -> None:
    """R59: on two nodes, while others change the state."""
    other = Stub(mesh.channel(await mesh.add(ReducerNode(registry(), "1.0.0"))))
    contract = with_part(total([5]), "second")
    contract.action_id = "once"
    calls = [run(node, contract) for node in (stub, other) for _ in range(10)]
    calls += [run(node, total([1])) for node in (stub, other) for _ in range(5)]
    outputs = (await asyncio.gather(*calls))[:20]
    assert sum(not output.replayed for output in outputs) == 1
    assert len({output.state_metadata.epoch for output in outputs}) == 1
    kept = await states.load(StateName("o", "total"))
    assert (kept.epoch, from_payload(kept.record.state)) == (11, 15)
    assert await epochs(states, "second") == [1]


async def test_an_action_id_is_for_one_contract(stub: Stub, states: EtcdStates) -> None:
    """R59: another contract under the same id is refused; on another state it is another call."""
    contract, changed, elsewhere = total([5]), total([6]), total([6], key="other")
    for each in (contract, changed, elsewhere):
        each.action_id = "a/b"
    await run(stub, contract)
    refused = await failure(stub, changed)
    assert refused.reason == "VALIDATION_FAILED"
    assert "action_id: 'a/b' was committed by a call with another contract" in str(refused)
    assert not (await run(stub, elsewhere)).replayed
    assert await epochs(states, "total", "other") == [1, 1]
    contract.action_id = "x" * 513
    assert "action_id" in str(await failure(stub, contract))


async def test_a_call_that_failed_is_made_again(stub: Stub) -> None:
    """R59: only what was committed is remembered."""
    contract = total(["x"])
    contract.action_id = "a"
    await failure(stub, contract)
    contract.input_data.CopyFrom(json_payload([1]))
    assert (await run(stub, contract)).state_metadata.epoch == 1


async def test_a_partial_commit_is_answered_with_its_errors(stub: Stub, states: EtcdStates) -> None:
    """R59: the part that failed is not tried again under the same action id."""
    contract = with_part(total(["x"]), "second", SUM, [2])
    contract.action_id = "a"
    contract.transaction_config.commit_partially = True
    first = await run(stub, contract)
    again = await run(stub, contract)
    assert again.replayed
    assert (again.error.reason, again.parts) == (first.error.reason, first.parts)
    assert await epochs(states, "total", "second") == [0, 1]


async def test_large_results_are_answered_as_long_as_the_state_is_there(stub: Stub) -> None:
    """R59: epoch and intents always; the state only until it changes; a payload that is left out is there and empty."""
    large = ORDER | {"items": [{"sku": "x" * 100_000, "price": "1", "quantity": 1}]}
    contract = place_order()
    contract.fsm_action.payload.CopyFrom(json_payload(large))
    contract.action_id = "a"
    first = await run(stub, contract)
    again = await run(stub, contract)
    again.replayed = False
    assert again == first
    paid = place_order()
    paid.fsm_action.action = "CONFIRM_PAYMENT"
    paid.fsm_action.payload.CopyFrom(json_payload({"reference": "r", "amount": "1"}))
    assert (await run(stub, paid)).state_metadata.epoch == 2
    later = await run(stub, contract)
    assert later.replayed
    assert (later.state_metadata, later.intents) == (first.state_metadata, first.intents)
    assert later.HasField("aggregated_data")
    assert later.aggregated_data == common_pb2.Payload()


async def test_the_last_calls_are_remembered(
    stub: Stub, client: EtcdClient, keys: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R59: as many as are allowed for each state; what is older counts again."""
    monkeypatch.setattr(etcd_states, "ANSWERS_MAX", 4)

    def call(number: int) -> reducer_pb2.ReducerContract:
        contract = total([number])
        contract.action_id = f"call-{number}"
        return contract

    for number in range(6):
        await run(stub, call(number))
    kept, _ = await client.prefix(keys.root + b"reducer-answers/o/total/", keys_only=True)
    assert sorted(bytes(row.key).rpartition(b"/")[2] for row in kept) == [b"call-2", b"call-3", b"call-4", b"call-5"]
    assert (await run(stub, call(2))).replayed
    assert (await run(stub, call(1))).state_metadata.epoch == 7
