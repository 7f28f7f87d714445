"""Previews: a reducer node runs a reduction and nothing comes of it. Reductions are pure, so that is all it takes."""

from __future__ import annotations

import grpc

from onex.v1 import action_pb2, common_pb2, orchestrator_pb2, reducer_pb2, reducer_pb2_grpc, workflow_pb2
from onex_lease import Journal, LiveView
from onex_mesh.orchestrator.core.routing import fitting, needs_of
from onex_mesh.orchestrator.engine import not_found
from onex_mesh.runtime import errors
from onex_mesh.runtime.channels import Channels

_TIMEOUT_S = 10.0


class Previews:
    """Asks reducer nodes what an action would do.

    Args:
        journal: Where the states of workflows are.
        view: Which nodes there are.
        channels: Connections to them.
    """

    def __init__(self, journal: Journal, view: LiveView, channels: Channels) -> None:
        self._journal = journal
        self._view = view
        self._channels = channels

    async def preview(
        self, workflow_id: str, command: action_pb2.Command, correlation_id: str
    ) -> orchestrator_pb2.PreviewActionResponse:
        """What a reduction would lead to, from the workflow's committed state or the reducer's initial one.

        Raises:
            ValidationError: It is no reduction.
            WorkflowNotFoundError: There is no such workflow.
            DependencyResolutionError: No reducer node answers.
            OnexError: The reduction is refused or failed.
        """
        if command.WhichOneof("command") != "reduction":
            text = "only a reduction can be previewed: it is pure, and its effects are intents"
            raise errors.ValidationError(f"command: {text}", violations=(("command", text),))
        contract = reducer_pb2.ReducerContract()
        contract.CopyFrom(command.reduction)
        contract.correlation_id = contract.correlation_id or correlation_id
        if workflow_id and not contract.HasField("current_state"):
            await self._continue_from(workflow_id, contract)
        output = await self._reduced(contract, needs_of(command))
        response = orchestrator_pb2.PreviewActionResponse(
            state=output.state if output.HasField("state") else output.aggregated_data, intents=output.intents
        )
        metadata = output.state_metadata
        response.details.update(
            {
                "previous_state": metadata.previous_state,
                "new_state": metadata.new_state,
                "transition": metadata.transition,
                "intents_emitted": metadata.intents_emitted,
                "state_key": metadata.state_key,
                "final": metadata.final,
            }
        )
        return response

    async def _continue_from(self, workflow_id: str, contract: reducer_pb2.ReducerContract) -> None:
        found = await self._journal.read_state(workflow_id)
        if found is None:
            raise not_found(workflow_id)
        state: workflow_pb2.WorkflowState = found[0]
        key = contract.reduction_config.state_key or "state"
        if key in state.reducer_states:
            contract.current_state.CopyFrom(state.reducer_states[key].state)

    async def _reduced(self, contract: reducer_pb2.ReducerContract, needs: frozenset[str]) -> reducer_pb2.ReducerOutput:
        request = reducer_pb2.ExecuteReductionRequest(contract=contract)
        nodes = fitting(self._view.nodes(common_pb2.NODE_KIND_REDUCER), "", needs)
        for node in nodes:
            stub = reducer_pb2_grpc.ReducerServiceStub(self._channels.get(node.address))
            try:
                answer = await stub.ExecuteReduction(request, timeout=_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    continue
                raise errors.from_rpc_error(error) from error
            return answer.output
        raise errors.DependencyResolutionError(
            "no reducer node answers" if nodes else "there is no reducer node", error_context={"needs": sorted(needs)}
        )
