"""The shell of direct calls that ask for a transaction: load → reduce → commit (R59, R60, R63).

Only direct calls come here. Inside of a workflow the state comes with the action and the orchestrator commits it, so
nothing is written twice.
"""

from __future__ import annotations

import uuid

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.contract import check_transaction
from onex_mesh.reducer.ports import Clock, KeptState, StateName, States
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.runtime.errors import StateConsistencyError


class KeptReductions:
    """Runs reductions on states that the node keeps.

    Args:
        reductions: Runs the reduction itself.
        states: Keeps the states.
        clock: When a state was made.
    """

    def __init__(self, reductions: Reductions, states: States, clock: Clock) -> None:
        self._reductions = reductions
        self._states = states
        self._clock = clock

    async def reduce(self, contract: reducer_pb2.ReducerContract, origin: Origin) -> reducer_pb2.ReducerOutput:
        """Loads the state, reduces, and commits the new state; the output tells its epoch (R64, R65).

        Raises:
            OnexError: The reduction is refused or failed: nothing was written.
            StateConsistencyError: The state was made by another reducer.
            TransactionError: Another call changed the state meanwhile: nothing was written.
            OutcomeUnknownError: etcd's answer was lost: it may have been written.
        """
        check_transaction(contract)
        origin = origin.of(contract)
        name = StateName(origin.correlation_id, contract.reduction_config.state_key or "state")
        kept = await self._states.load(name)
        _require_maker(contract.reduction_config, name, kept)
        loaded = reducer_pb2.ReducerContract()
        loaded.CopyFrom(contract)
        if kept.epoch:
            loaded.current_state.CopyFrom(kept.record.state)
        output = await self._reductions.reduce(loaded, origin)
        record = self._record(contract, origin, output)
        output.state_metadata.epoch = await self._states.commit(name, kept.epoch, record)
        return output

    def _record(
        self, contract: reducer_pb2.ReducerContract, origin: Origin, output: reducer_pb2.ReducerOutput
    ) -> reducer_pb2.BackupRecord:
        state = output.state if output.HasField("state") else output.aggregated_data
        config = contract.reduction_config
        record = reducer_pb2.BackupRecord(
            correlation_id=origin.correlation_id,
            state=state,
            metadata={
                "maker": _maker(config),
                "version": config.version,
                "transition": output.state_metadata.transition,
                "action_id": origin.action_id,
                "commit_id": str(uuid.uuid4()),
            },
        )
        record.timestamp.FromDatetime(self._clock())
        return record


def _maker(config: reducer_pb2.ReductionConfig) -> str:
    return config.reducer or reducer_pb2.AggregationMethod.Name(config.aggregation_method)


def _require_maker(config: reducer_pb2.ReductionConfig, name: StateName, kept: KeptState) -> None:
    """A sum that goes on from the state of an average would be wrong without an error."""
    made_by = kept.record.metadata.get("maker", "")
    if kept.epoch and made_by != _maker(config):
        raise StateConsistencyError(
            f"The state {name.state_key!r} was made by {made_by!r}, not by {_maker(config)!r}.",
            error_context={"state_key": name.state_key, "epoch": kept.epoch},
        )
