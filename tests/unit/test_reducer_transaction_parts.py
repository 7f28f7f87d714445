"""What is told of the reductions of a transaction: their outputs, as they are kept too, and who made a state."""

from __future__ import annotations

import pytest

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.core.contract import check_contract
from onex_mesh.reducer.core.maker import maker_of
from onex_mesh.reducer.core.outputs import ANSWER_BYTES_MAX, failed, fill, joined, outputs_of, shortened
from onex_mesh.reducer.core.transaction import parts_of
from onex_mesh.runtime.errors import TransitionRefusedError, ValidationError
from onex_mesh.runtime.payload import json_payload

EMPTY = common_pb2.Payload()
SUM, QUANTILES = reducer_pb2.AGGREGATION_METHOD_SUM, reducer_pb2.AGGREGATION_METHOD_QUANTILES


def output(result: object, state: object = None, late: object = None) -> reducer_pb2.ReducerOutput:
    made = reducer_pb2.ReducerOutput(correlation_id="o", aggregated_data=json_payload(result))
    made.intents.add(intent_id="i")
    made.state_metadata.epoch = 3
    if state is not None:
        made.state.CopyFrom(json_payload(state))
    if late is not None:
        made.late_data.CopyFrom(json_payload(late))
    return made


def test_outputs_are_joined_with_all_that_they_hold() -> None:
    """R64, R65: results, states, intents, metadata, late records and errors of each part."""
    error = failed("o", "c", TransitionRefusedError("no"))
    whole = joined([output(1), output(2, state=[2, 1], late=["x"]), error])
    own, second, third = outputs_of(whole)
    assert own is whole
    assert (second.aggregated_data, second.state) == (json_payload(2), json_payload([2, 1]))
    assert (second.late_data, second.intents[0].intent_id) == (json_payload(["x"]), "i")
    assert second.state_metadata.epoch == 3
    assert (third.error.reason, third.state_metadata.state_key) == ("TRANSITION_REFUSED", "c")
    assert not third.HasField("aggregated_data")


def test_a_small_answer_is_kept_whole() -> None:
    """R59: nothing is left out."""
    whole = joined([output("x" * 20_000), output(1, state="y" * 20_000, late=["z"])])
    assert shortened(whole) == whole


def test_states_are_left_out_first_and_put_back() -> None:
    """R59: the state that stands beside the answer goes, and what is no state stays; a failed part is left as it is."""
    large = "x" * ANSWER_BYTES_MAX
    whole = joined([output(large), output(7, state=large, late=["z"]), failed("o", "c", TransitionRefusedError("no"))])
    kept = shortened(whole)
    assert kept.ByteSize() < 1000
    assert kept.HasField("aggregated_data")
    assert kept.aggregated_data == EMPTY
    assert (kept.parts[0].aggregated_data, kept.parts[0].state) == (json_payload(7), EMPTY)
    assert kept.parts[0].HasField("state")
    assert kept.parts[0].late_data == json_payload(["z"])
    assert not kept.parts[1].HasField("aggregated_data")
    for each in outputs_of(kept)[:2]:
        fill(each, json_payload(large))
    assert kept == whole


def test_results_are_left_out_where_that_is_not_enough() -> None:
    """R59: metadata and intents are always kept."""
    large = "x" * ANSWER_BYTES_MAX
    whole = output(large, state=[1], late=[large])
    kept = shortened(whole)
    assert (kept.aggregated_data, kept.state, kept.late_data) == (EMPTY, EMPTY, EMPTY)
    assert (kept.intents, kept.state_metadata) == (whole.intents, whole.state_metadata)


def test_what_is_not_left_out_is_not_overwritten() -> None:
    """R59: a part that is there is the answer, whatever the state is now."""
    made = output(None)
    fill(made, json_payload(5))
    assert made.aggregated_data == json_payload(None)


@pytest.mark.parametrize(
    ("config", "maker"),
    [
        (reducer_pb2.ReductionConfig(reducer="order"), "order"),
        (reducer_pb2.ReductionConfig(aggregation_method=SUM), "AGGREGATION_METHOD_SUM"),
        (
            reducer_pb2.ReductionConfig(aggregation_method=SUM, group_by=["a", "b"]),
            "AGGREGATION_METHOD_SUM by a, b",
        ),
        (
            reducer_pb2.ReductionConfig(
                aggregates=[
                    reducer_pb2.Aggregate(name="s", method=SUM),
                    reducer_pb2.Aggregate(name="q", method=QUANTILES),
                ],
                window=reducer_pb2.WindowConfig(kind=reducer_pb2.WINDOW_KIND_TUMBLING),
            ),
            "s=AGGREGATION_METHOD_SUM, q=AGGREGATION_METHOD_QUANTILES in WINDOW_KIND_TUMBLING",
        ),
    ],
)
def test_who_made_a_state(config: reducer_pb2.ReductionConfig, maker: str) -> None:
    """R67: what shapes a state is told apart, so that nothing else goes on from it."""
    assert maker_of(config) == maker


def test_a_workflow_has_one_state_a_step() -> None:
    """R59: what is for direct calls is refused there, and not passed over."""
    made = reducer_pb2.ReducerContract()
    made.reduction_config.aggregation_method = SUM
    made.transaction_config.commit_partially = True
    made.transaction_config.parts.add()
    with pytest.raises(ValidationError) as caught:
        check_contract(made)
    fields = [field for field, _ in caught.value.violations]
    assert fields == ["transaction_config.parts", "transaction_config.commit_partially"]


def test_what_a_part_takes_of_the_contract() -> None:
    """R59: aggregations take records and bounds, and a watermark where they have a window; a machine takes none."""
    contract = reducer_pb2.ReducerContract(input_data=json_payload([1]), action_id="a")
    contract.streaming_config.enabled = True
    contract.memory_management.buffer_size_mb = 5
    contract.watermark.FromSeconds(9)
    contract.backup_config.backup_type = "full"
    parts = contract.transaction_config.parts
    parts.add().reduction_config.aggregation_method = SUM
    windowed = parts.add(input_data=json_payload([2]))
    windowed.reduction_config.aggregates.add(method=SUM)
    windowed.reduction_config.window.kind = reducer_pb2.WINDOW_KIND_TUMBLING
    parts.add().reduction_config.reducer = "order"
    own, plain, window, machine = (part.contract for part in parts_of(contract))
    assert not own.HasField("transaction_config")
    assert not own.HasField("backup_config")
    assert plain.input_data == json_payload([1])
    assert plain.memory_management.buffer_size_mb == 5
    assert not plain.HasField("watermark")
    assert window.input_data == json_payload([2])
    assert window.HasField("watermark")
    assert machine == reducer_pb2.ReducerContract(reduction_config=reducer_pb2.ReductionConfig(reducer="order"))
