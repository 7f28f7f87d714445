"""The ORCHESTRATOR node as a black box: only calls, through the fixtures of pytest-grpc."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import grpc
import pytest

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc, workflow_pb2
from onex_lease import EmbeddedEtcd
from onex_mesh.compute.core import AlgorithmRegistry
from onex_mesh.compute.node import ComputeNode
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.orchestrator.node import OrchestratorNode
from onex_mesh.runtime.errors import from_rpc_error
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.blackbox import served


@pytest.fixture(scope="module")
def grpc_addr(etcd: EmbeddedEtcd) -> Iterator[str]:
    namespace = uuid.uuid4().hex
    with (
        served(ComputeNode(AlgorithmRegistry(), "1.0.0"), etcd, namespace),
        served(OrchestratorNode(WorkflowRegistry(), "1.0.0"), etcd, namespace) as address,
    ):
        yield address


@pytest.fixture(scope="module")
def grpc_server(grpc_addr: str) -> str:
    return grpc_addr


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[orchestrator_pb2_grpc.OrchestratorServiceStub]:
    return orchestrator_pb2_grpc.OrchestratorServiceStub


def contract(algorithm: str = "sum") -> workflow_pb2.OrchestratorContract:
    made = workflow_pb2.OrchestratorContract(workflow_id=uuid.uuid4().hex, correlation_id="black-box")
    step = made.workflow_config.steps.add(step_id="a")
    step.command.compute.algorithm_config.algorithm_type = algorithm
    step.command.compute.input_data.CopyFrom(json_payload([1, 2, 3]))
    return made


def test_a_workflow_runs(grpc_stub: orchestrator_pb2_grpc.OrchestratorServiceStub) -> None:
    """R95, R112: the output, the lease it ran under and how it went."""
    request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract())
    output = grpc_stub.ExecuteOrchestration(request, timeout=20).output
    assert from_payload(output.orchestration_result.output) == 6
    assert (output.correlation_id, output.execution_metadata.epoch) == ("black-box", 2)
    assert uuid.UUID(output.lease_id)


def test_a_workflow_that_fails(grpc_stub: orchestrator_pb2_grpc.OrchestratorServiceStub) -> None:
    """R104, R151: the call ends with WORKFLOW_ABORTED and names the cause."""
    with pytest.raises(grpc.RpcError) as caught:
        grpc_stub.ExecuteOrchestration(
            orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract("nope")), timeout=20
        )
    error = from_rpc_error(caught.value)
    assert (error.reason, error.error_context["cause"]) == ("WORKFLOW_ABORTED", "ALGORITHM_NOT_FOUND")


def test_a_workflow_is_watched_to_its_end(grpc_stub: orchestrator_pb2_grpc.OrchestratorServiceStub) -> None:
    """R107, R115: every epoch, then the result."""
    made = contract()
    started = grpc_stub.StartWorkflow(orchestrator_pb2.StartWorkflowRequest(contract=made), timeout=20)
    assert started.created
    updates = list(
        grpc_stub.WatchWorkflow(orchestrator_pb2.WatchWorkflowRequest(workflow_id=made.workflow_id), timeout=20)
    )
    assert [update.epoch for update in updates] == [1, 2]
    assert updates[-1].result.status == workflow_pb2.WORKFLOW_STATUS_COMPLETED
