"""Which orchestrator is asked, and what becomes of its answer."""

from __future__ import annotations

import pytest

from onex.v1 import node_pb2, workflow_pb2
from onex_mesh.effect.adapters.orchestrators import OrchestratorCalls
from onex_mesh.runtime.channels import Channels
from onex_mesh.runtime.errors import DependencyResolutionError, OnexError, PayloadTooLargeError
from onex_mesh.runtime.node import DRAINING
from onex_mesh.runtime.settings import NodeSettings


async def test_an_order_that_no_message_can_carry_is_refused_here() -> None:
    """Issue item 5: it would look like overload, and be tried for ever."""
    calls = OrchestratorCalls(list, Channels(NodeSettings()), order_bytes_max=5_000)
    order = workflow_pb2.OrchestratorContract(workflow_id="w", correlation_id="x" * 5_000)
    with pytest.raises(PayloadTooLargeError, match="orchestrators take no such message"):
        await calls.commit(order, correlation_id="c", timeout_s=1)


async def test_those_that_are_about_to_stop_are_not_asked() -> None:
    """R100: one that drains is as good as none."""
    draining = node_pb2.NodeInfo(instance_id="o-1", address="127.0.0.1:1", capabilities=[DRAINING])
    calls = OrchestratorCalls(lambda: [draining], Channels(NodeSettings()), order_bytes_max=5_000)
    with pytest.raises(DependencyResolutionError, match="no orchestrator is registered"):
        await calls.commit(workflow_pb2.OrchestratorContract(), correlation_id="c", timeout_s=1)


async def test_the_last_error_is_told_where_none_answers() -> None:
    """R19: each is asked once; the error is temporary, so the message is given back."""
    nodes = [node_pb2.NodeInfo(instance_id=f"o-{port}", address=f"127.0.0.1:{port}") for port in (1, 2)]
    channels = Channels(NodeSettings())
    calls = OrchestratorCalls(lambda: nodes, channels, order_bytes_max=5_000)
    try:
        with pytest.raises(OnexError) as failed:
            await calls.commit(workflow_pb2.OrchestratorContract(), correlation_id="späti\n", timeout_s=5)
        assert (failed.value.reason, failed.value.retryable) == ("DEPENDENCY_UNAVAILABLE", True)
    finally:
        await channels.close()
