"""The shell of direct calls that ask for a transaction: load → reduce → commit → backup (R59–R63).

Only direct calls come here. Inside of a workflow the state comes with the action and the orchestrator commits it, so
nothing is written twice.
"""

from __future__ import annotations

import logging
import uuid

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.core.contract import check_transaction
from onex_mesh.reducer.ports import Clock, KeptState, StateName, States
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.runtime.errors import OnexError, StateConsistencyError, ValidationError, to_proto
from onex_mesh.runtime.payload_store import PayloadStore, require_folder

BACKUP_FOLDER = "backups"
_log = logging.getLogger(__name__)


class KeptReductions:
    """Runs reductions on states that the node keeps.

    Args:
        reductions: Runs the reduction itself.
        states: Keeps the states.
        clock: When a state was made.
        backups: Takes the copies; None where no payload store is configured.
    """

    def __init__(
        self, reductions: Reductions, states: States, clock: Clock, backups: PayloadStore | None = None
    ) -> None:
        self._reductions = reductions
        self._states = states
        self._clock = clock
        self._backups = backups

    async def reduce(self, contract: reducer_pb2.ReducerContract, origin: Origin) -> reducer_pb2.ReducerOutput:
        """Loads the state, reduces, and commits the new state; the output tells its epoch (R64, R65).

        Then a copy is made where the contract asks for one (R61); if it cannot be made, the output tells why.

        Raises:
            OnexError: The reduction is refused or failed: nothing was written.
            StateConsistencyError: The state was made by another reducer.
            TransactionError: Another call changed the state meanwhile: nothing was written.
            OutcomeUnknownError: etcd's answer was lost: it may have been written.
        """
        check_transaction(contract)
        backups = self._backups_for(contract)
        origin = origin.of(contract)
        name = StateName(origin.correlation_id, contract.reduction_config.state_key or "state")
        kept = await self._states.load(name)
        _require_maker(contract.reduction_config, name, kept)
        loaded = reducer_pb2.ReducerContract()
        loaded.CopyFrom(contract)
        loaded.ClearField("backup_config")
        if kept.epoch:
            loaded.current_state.CopyFrom(kept.record.state)
        output = await self._reductions.reduce(loaded, origin)
        record = self._record(contract, origin, output)
        output.state_metadata.epoch = await self._states.commit(name, kept.epoch, record)
        if backups is not None:
            record.metadata["epoch"] = str(output.state_metadata.epoch)
            output.backup.CopyFrom(await _copied(record, contract.backup_config, name, backups))
        return output

    def _backups_for(self, contract: reducer_pb2.ReducerContract) -> PayloadStore | None:
        """Where the copy goes; whatever can be refused is refused before anything is written."""
        if not contract.HasField("backup_config"):
            return None
        if self._backups is None:
            text = "no payload store is configured: set ONEX_PAYLOAD_STORE"
            raise ValidationError(f"backup_config: {text}", violations=(("backup_config", text),))
        require_folder(contract.backup_config.backup_location or BACKUP_FOLDER)
        return self._backups

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


async def _copied(
    record: reducer_pb2.BackupRecord, config: reducer_pb2.BackupConfig, name: StateName, backups: PayloadStore
) -> reducer_pb2.BackupResult:
    record.metadata["backup_version"] = config.version
    record.metadata["backup_type"] = config.backup_type or "full"
    record.metadata["state_key"] = name.state_key
    try:
        data = record.SerializeToString(deterministic=True)
        location = await backups.put(data, config.backup_location or BACKUP_FOLDER)
    except OnexError as error:
        # The commit stands: its caller learns that there is no copy, and so does who reads the log.
        _log.warning("No backup of the state %r of %r: %s", name.state_key, name.owner, error)
        return reducer_pb2.BackupResult(error=to_proto(error, node_kind=common_pb2.NODE_KIND_REDUCER))
    return reducer_pb2.BackupResult(location=location)


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
