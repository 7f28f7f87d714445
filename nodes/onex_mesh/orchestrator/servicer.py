"""OrchestratorService: translates and calls the engine or the journal; decides nothing itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog

from onex.v1 import common_pb2, orchestrator_pb2, orchestrator_pb2_grpc, workflow_pb2
from onex_lease import Journal, LiveView
from onex_mesh.orchestrator.core import machine, records
from onex_mesh.orchestrator.engine import Engine, not_found
from onex_mesh.orchestrator.ports import ActionPreviews
from onex_mesh.orchestrator.runner import Outcome
from onex_mesh.runtime import errors
from onex_mesh.runtime.call import CallContext

_PAGE_DEFAULT = 100
_PAGE_MAX = 1_000


class OrchestratorServicer(orchestrator_pb2_grpc.OrchestratorServiceServicer):
    """See the module."""

    def __init__(self, engine: Engine, journal: Journal, view: LiveView, previews: ActionPreviews) -> None:
        self._engine = engine
        self._journal = journal
        self._view = view
        self._previews = previews

    async def ExecuteOrchestration(
        self, request: orchestrator_pb2.ExecuteOrchestrationRequest, context: CallContext
    ) -> orchestrator_pb2.ExecuteOrchestrationResponse:
        """Runs a workflow and waits for its end (R95, R112)."""
        started = await self._engine.start(request.contract)
        outcome = await self._engine.outcome(started.contract.workflow_id)
        if outcome.state.status != workflow_pb2.WORKFLOW_STATUS_COMPLETED:
            raise _aborted(outcome)
        return orchestrator_pb2.ExecuteOrchestrationResponse(
            output=workflow_pb2.OrchestratorOutput(
                correlation_id=outcome.state.correlation_id,
                workflow_id=outcome.state.workflow_id,
                orchestration_result=outcome.result,
                lease_id=outcome.lease_id,
                execution_metadata=workflow_pb2.ExecutionMetadata(
                    total_services=len(started.contract.dependency_resolution),
                    execution_time=outcome.result.total_execution_time,
                    success_rate=outcome.result.success_rate,
                    coordination_type=started.contract.workflow_config.coordination_type
                    or workflow_pb2.COORDINATION_TYPE_SEQUENTIAL,
                    epoch=outcome.epoch,
                    replayed=not started.created,
                ),
            )
        )

    async def StartWorkflow(
        self, request: orchestrator_pb2.StartWorkflowRequest, context: CallContext
    ) -> orchestrator_pb2.StartWorkflowResponse:
        """Starts a workflow; returns once its start is committed."""
        started = await self._engine.start(request.contract)
        return orchestrator_pb2.StartWorkflowResponse(
            workflow_id=started.contract.workflow_id,
            correlation_id=started.contract.correlation_id,
            epoch=started.epoch,
            created=started.created,
        )

    async def GetWorkflow(
        self, request: orchestrator_pb2.GetWorkflowRequest, context: CallContext
    ) -> orchestrator_pb2.GetWorkflowResponse:
        """Shows a workflow with what is committed."""
        outcome = await self._engine.load(_required(request.workflow_id, "workflow_id"))
        view = records.workflow_view(
            outcome.state, outcome.epoch, owner=self._owner(request.workflow_id), contract=outcome.contract
        )
        view.result.CopyFrom(outcome.result)
        return orchestrator_pb2.GetWorkflowResponse(workflow=view)

    async def ListWorkflows(
        self, request: orchestrator_pb2.ListWorkflowsRequest, context: CallContext
    ) -> orchestrator_pb2.ListWorkflowsResponse:
        """Lists workflows by id, a page at a time."""
        page = _page_size(request.page_size)
        response = orchestrator_pb2.ListWorkflowsResponse()
        after = request.page_token
        wanted = set(request.statuses)
        while len(response.workflows) < page:
            rows = await self._journal.list_states(prefix=request.workflow_id_prefix, start_after=after, limit=page)
            for state, epoch in rows:
                if len(response.workflows) == page:
                    break
                after = state.workflow_id
                if (not wanted or state.status in wanted) and request.name in ("", state.name):
                    owner = self._owner(state.workflow_id)
                    response.workflows.append(records.workflow_view(state, epoch, owner=owner))
            else:
                if len(rows) < page:
                    return response
        response.next_page_token = after
        return response

    async def WatchWorkflow(
        self, request: orchestrator_pb2.WatchWorkflowRequest, context: CallContext
    ) -> AsyncIterator[orchestrator_pb2.WatchWorkflowResponse]:
        """Reports each epoch as it is committed; ends with the workflow (R107, R115)."""
        workflow_id = _required(request.workflow_id, "workflow_id")
        first = await self._journal.read_commit(workflow_id, 1)
        if first is None:
            raise not_found(workflow_id)
        async for commit in self._engine.follow(workflow_id, after_epoch=request.after_epoch):
            response = orchestrator_pb2.WatchWorkflowResponse(
                epoch=commit.epoch,
                workflow=records.workflow_view(
                    commit.state, commit.epoch, owner=commit.holder, contract=first.contract
                ),
                started_steps=[record.action.step_id for record in commit.actions if record.action.step_id],
            )
            for result in commit.results:
                response.completed_steps.add(
                    workflow_id=workflow_id,
                    step_id=result.step_id,
                    correlation_id=commit.state.correlation_id,
                    result=result,
                )
            if commit.state.status in machine.FINAL:
                response.result.CopyFrom((await self._engine.load(workflow_id)).result)
            yield response

    async def GetHistory(
        self, request: orchestrator_pb2.GetHistoryRequest, context: CallContext
    ) -> orchestrator_pb2.GetHistoryResponse:
        """Shows what made each epoch, and whether the chain of records is unbroken (R146)."""
        workflow_id = _required(request.workflow_id, "workflow_id")
        if request.after_epoch < 0:
            raise _refused("after_epoch", "must not be negative")
        page = _page_size(request.page_size)
        # One record more at either end: before, to check the chain; behind, to know whether there is more.
        before = max(request.after_epoch - 1, 0)
        rows = await self._journal.read_log(workflow_id, after_epoch=before, limit=page + 2)
        if not rows and await self._journal.read_state(workflow_id) is None:
            raise not_found(workflow_id)
        previous = b""
        valid = True
        response = orchestrator_pb2.GetHistoryResponse()
        for record, digest in rows:
            if previous or record.epoch == 1:
                valid = valid and record.previous_hash == previous
            previous = digest
            if record.epoch <= request.after_epoch:
                continue
            if len(response.commits) == page:
                response.next_after_epoch = response.commits[-1].epoch
                break
            response.commits.append(record)
        response.chain_valid = valid
        return response

    async def GetState(
        self, request: orchestrator_pb2.GetStateRequest, context: CallContext
    ) -> orchestrator_pb2.GetStateResponse:
        """Shows the state at an epoch."""
        workflow_id = _required(request.workflow_id, "workflow_id")
        found = await self._journal.read_state(workflow_id)
        if found is None:
            raise not_found(workflow_id)
        state, epoch = found
        if request.epoch == 0:
            return orchestrator_pb2.GetStateResponse(state=state, epoch=epoch, committed_at=state.updated_at)
        commit = await self._journal.read_commit(workflow_id, request.epoch) if request.epoch > 0 else None
        if commit is None:
            raise _refused("epoch", f"{request.epoch} is not within 1 to {epoch}")
        return orchestrator_pb2.GetStateResponse(
            state=commit.state, epoch=commit.epoch, committed_at=commit.state.updated_at
        )

    async def SignalWorkflow(
        self, request: orchestrator_pb2.SignalWorkflowRequest, context: CallContext
    ) -> orchestrator_pb2.SignalWorkflowResponse:
        """Not built yet."""
        raise not_built("SignalWorkflow")

    async def CancelWorkflow(
        self, request: orchestrator_pb2.CancelWorkflowRequest, context: CallContext
    ) -> orchestrator_pb2.CancelWorkflowResponse:
        """Not built yet."""
        raise not_built("CancelWorkflow")

    async def CheckpointWorkflow(
        self, request: orchestrator_pb2.CheckpointWorkflowRequest, context: CallContext
    ) -> orchestrator_pb2.CheckpointWorkflowResponse:
        """Not built yet."""
        raise not_built("CheckpointWorkflow")

    async def RollbackWorkflow(
        self, request: orchestrator_pb2.RollbackWorkflowRequest, context: CallContext
    ) -> orchestrator_pb2.RollbackWorkflowResponse:
        """Not built yet."""
        raise not_built("RollbackWorkflow")

    async def PreviewAction(
        self, request: orchestrator_pb2.PreviewActionRequest, context: CallContext
    ) -> orchestrator_pb2.PreviewActionResponse:
        """Tells what a reduction would do; executes and keeps nothing."""
        correlation_id = str(structlog.contextvars.get_contextvars().get("correlation_id", ""))
        return await self._previews.preview(request.workflow_id, request.command, correlation_id)

    def _owner(self, workflow_id: str) -> str:
        entry = self._view.owner(workflow_id)
        return entry.owner.holder if entry is not None else ""


def not_built(method: str) -> errors.NotBuiltError:
    """The error of a method that is part of the contract but not built yet; docs/not-built.md lists them."""
    return errors.NotBuiltError(f"{method} is part of the contract but not built yet")


def _aborted(outcome: Outcome) -> errors.WorkflowExecutionError:
    state = outcome.state
    error = errors.WorkflowExecutionError(
        f"workflow {state.workflow_id!r} was aborted: {state.error.message}",
        correlation_id=state.correlation_id,
        error_context={
            "workflow_id": state.workflow_id,
            "cause": state.error.reason,
            "failed_node": common_pb2.NodeKind.Name(state.error.node_kind).removeprefix("NODE_KIND_").lower(),
        },
        pipeline=outcome.result.errors if outcome.result.HasField("errors") else None,
    )
    error.__cause__ = errors.from_proto(state.error)
    return error


def _required(value: str, field: str) -> str:
    if not value:
        raise _refused(field, "is required")
    return value


def _page_size(given: int) -> int:
    if given == 0:
        return _PAGE_DEFAULT
    if not 1 <= given <= _PAGE_MAX:
        raise _refused("page_size", f"{given} is not within 1 to {_PAGE_MAX}")
    return given


def _refused(field: str, text: str) -> errors.ValidationError:
    return errors.ValidationError(f"{field}: {text}", violations=((field, text),))
