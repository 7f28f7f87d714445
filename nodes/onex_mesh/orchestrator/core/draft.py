"""The next commit of a workflow, as it grows: what happened since the last one, and what is about to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onex.v1 import action_pb2, common_pb2, intent_pb2, workflow_pb2
from onex_mesh.orchestrator.core import records
from onex_mesh.orchestrator.core.machine import Progress
from onex_mesh.orchestrator.core.plan import Plan

WORK_AT_RISK_S = 0.05
"""Uncommitted work of pure steps that makes a commit worth its cost."""
BYTES_AT_RISK = 512 * 1024
"""Uncommitted result bytes that make a commit due: a transaction of etcd is bounded."""


def first_state(
    plan: Plan, contract: workflow_pb2.OrchestratorContract, start_action_id: str, now: float
) -> workflow_pb2.WorkflowState:
    """The state of a workflow before its first commit; `now` is in seconds since the epoch of UTC."""
    return workflow_pb2.WorkflowState(
        workflow_id=contract.workflow_id,
        correlation_id=contract.correlation_id,
        name=plan.name,
        status=workflow_pb2.WORKFLOW_STATUS_RUNNING,
        contract_digest=records.contract_digest(contract),
        started_at=records.timestamp(now),
        start_action_id=start_action_id,
    )


class Draft:
    """See the module.

    Attributes:
        state: The workflow's state, brought up to date with each commit.
    """

    def __init__(self, plan: Plan, state: workflow_pb2.WorkflowState, committed: Progress | None) -> None:
        """A draft that follows the state of the last commit; `committed` is None if there was none."""
        self.state = state
        self._plan = plan
        self._committed = committed
        self._worked_s = float(state.execution_time.seconds) + state.execution_time.nanos / 1e9
        self._clear()

    def _clear(self) -> None:
        self._actions: list[action_pb2.ActionRecord] = []
        self._results: list[workflow_pb2.StepResult] = []
        self._intents: list[intent_pb2.Intent] = []
        self._bytes = 0
        self._at_risk_s = 0.0

    def add_action(self, record: action_pb2.ActionRecord) -> None:
        """An action was issued."""
        self._actions.append(record)

    def add_result(self, result: workflow_pb2.StepResult, work_s: float = 0.0) -> None:
        """A step ended, or an attempt of it, after `work_s` seconds of work."""
        kept = records.without_large_result(result)
        self._results.append(kept)
        self._bytes += kept.ByteSize()
        self._at_risk_s += work_s

    def add_intents(self, intents: Iterable[intent_pb2.Intent]) -> None:
        """A transition emitted intents: they become due with the next commit (the outbox, F26)."""
        self._intents.extend(intents)

    @property
    def is_due(self) -> bool:
        """Whether a commit is due although nothing leaves the mesh."""
        if self._plan.every_step and self._results:
            return True
        return self._at_risk_s >= WORK_AT_RISK_S or self._bytes >= BYTES_AT_RISK

    def sealed(
        self,
        progress: Progress,
        epoch: int,
        *,
        now: float,
        worked_s: float,
        output: common_pb2.Payload | None = None,
    ) -> workflow_pb2.Commit:
        """The commit that makes `epoch`; the draft begins anew.

        Args:
            progress: Where the workflow stands.
            epoch: The epoch to make.
            now: Seconds since the epoch of UTC.
            worked_s: Seconds that the present owner has worked on the workflow.
            output: Output of the workflow, with its last commit.
        """
        state = self.state
        records.write_steps(state, progress, self._committed, self._brought(epoch))
        state.updated_at.CopyFrom(records.timestamp(now))
        state.execution_time.CopyFrom(records.duration(self._worked_s + worked_s))
        commit = workflow_pb2.Commit(
            workflow_id=state.workflow_id,
            actions=self._actions,
            results=self._results,
            intents=self._intents,
            state=state,
            output=output,
        )
        self._clear()
        return commit

    def committed(self, progress: Progress) -> None:
        """The last sealed commit is in etcd, with this progress."""
        self._committed = progress

    def _brought(self, epoch: int) -> Mapping[int, int]:
        return {self._plan.index_of[row.step_id]: epoch for row in self._results if row.HasField("result")}


def start_record(
    contract: workflow_pb2.OrchestratorContract, start_action_id: str, now: float
) -> action_pb2.ActionRecord:
    """The record of START_WORKFLOW, the parent of all other actions (R135)."""
    action = action_pb2.Action(
        action_id=start_action_id,
        action_type=action_pb2.ACTION_TYPE_START_WORKFLOW,
        correlation_id=contract.correlation_id,
        issued_at=records.timestamp(now),
        workflow_id=contract.workflow_id,
        target_node=common_pb2.NODE_KIND_REDUCER,
    )
    return action_pb2.ActionRecord(action=action, status=action_pb2.ACTION_STATUS_COMPLETED)
