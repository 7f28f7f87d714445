"""JSON from clients that is too deep to be carried on is refused when a workflow is submitted, not when it runs."""

from __future__ import annotations

import pytest
from google.protobuf import struct_pb2

from onex.v1 import workflow_pb2
from onex_mesh.orchestrator.core.plan import compile_plan
from onex_mesh.runtime.errors import ValidationError


def nested(depth: int) -> struct_pb2.Value:
    """Objects within each other, as a client in another language may send them."""
    value = struct_pb2.Value()
    innermost = value
    for _ in range(depth):
        innermost = innermost.struct_value.fields["k"]
    innermost.number_value = 1
    return value


def contract(input_depth: int, parameter_depth: int) -> workflow_pb2.OrchestratorContract:
    """A workflow of one step with an input and a parameter of these depths."""
    made = workflow_pb2.OrchestratorContract(workflow_id="w")
    made.initial_state.json.CopyFrom(nested(input_depth))
    step = made.workflow_config.steps.add(step_id="a")
    step.command.compute.algorithm_config.algorithm_type = "sum"
    step.parameters.fields["p"].CopyFrom(nested(parameter_depth))
    return made


def test_what_may_be_carried_is_accepted() -> None:
    """R96: twenty objects within each other are taken, in the input and in parameters."""
    assert len(compile_plan(contract(20, 20)).steps) == 1


@pytest.mark.parametrize(
    ("input_depth", "parameter_depth", "fields"),
    [
        (21, 1, ["initial_state"]),
        (1, 21, ["workflow_config.steps[0].parameters.p"]),
        (30, 30, ["initial_state", "workflow_config.steps[0].parameters.p"]),
    ],
)
def test_deeper_input_is_refused_by_field(input_depth: int, parameter_depth: int, fields: list[str]) -> None:
    """R96: it parses here, but would not in a chain's frame: that would break the stream of all other workflows."""
    sent = contract(input_depth, parameter_depth).SerializeToString()
    with pytest.raises(ValidationError, match="nested too deep") as refused:
        compile_plan(workflow_pb2.OrchestratorContract.FromString(sent))
    assert [field for field, _ in refused.value.violations] == fields
