"""Where payloads stand in messages."""

from __future__ import annotations

from onex.v1 import action_pb2, compute_pb2, intent_pb2, reducer_pb2
from onex_mesh.runtime.payload import bytes_payload, json_payload
from onex_mesh.runtime.payload_fields import payloads_in


def test_every_payload_is_found_with_its_path() -> None:
    """R96: in fields, in maps, in lists, at any depth; what is not set is not there."""
    contract = compute_pb2.ComputeContract(input_data=json_payload(1))
    contract.inputs["right"].CopyFrom(json_payload(2))
    contract.inputs["left"].CopyFrom(bytes_payload(b"3"))
    command = action_pb2.Command(compute=contract)
    assert [path for path, _ in payloads_in(command)] == [
        "compute.input_data",
        "compute.inputs.left",
        "compute.inputs.right",
    ]
    output = action_pb2.StepOutput()
    output.intents.results.add(intent_id="a")
    output.intents.results.add(intent_id="b", result=json_payload({"n": 1}))
    assert [path for path, _ in payloads_in(output)] == ["intents.results[1].result"]
    assert next(path for path, _ in payloads_in(contract, "contract")) == "contract.input_data"


def test_the_payloads_are_the_messages_own() -> None:
    """R129: changing one changes the message."""
    reduction = reducer_pb2.ReducerContract(current_state=json_payload({"n": 1}))
    for _, payload in payloads_in(reduction):
        payload.CopyFrom(bytes_payload(b"other"))
    assert reduction.current_state.data == b"other"


def test_messages_without_payloads_are_passed_over() -> None:
    """R83: the payload of an intent is a struct and stays one."""
    intent = intent_pb2.Intent(intent_id="i")
    intent.payload.update({"operation": "insert"})
    assert list(payloads_in(intent_pb2.IntentBatch(intents=[intent]))) == []
