"""Reductions on several states in one commit: what a contract names, part by part (R59)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.contract import is_aggregation
from onex_mesh.runtime.errors import OnexError, ValidationError

NAME_BYTES_MAX = 512
"""Of the two parts of a state's name and of an action id, each."""
STATES_MAX = 100
"""States in one commit: etcd takes 128 operations in a transaction."""
_OWN_FIELDS = ("transaction_config", "backup_config", "action_id")
_INHERITED_FIELDS = ("input_data", "streaming_config", "memory_management", "watermark")
_PARTS = uuid.UUID("b4b1f3a6-6c0c-5d0b-8f43-0f6a9c0d5e21")


@dataclass(frozen=True, slots=True)
class Part:
    """One reduction of a transaction.

    Attributes:
        path: Where it stands in the contract; empty for the contract's own.
        state_key: The state that it changes.
        contract: The reduction alone.
    """

    path: str
    state_key: str
    contract: reducer_pb2.ReducerContract

    def action_id(self, call: str) -> str:
        """The id that its time, ids and randomness derive from: the call's, and one derived from it for each part."""
        return str(uuid.uuid5(_PARTS, f"{call}/{self.path}")) if self.path else call

    def told(self, error: OnexError) -> OnexError:
        """The error, saying which part it is about; that of the contract's own is left as it is."""
        if self.path:
            error.message = f"{self.path}: {error.message}"
            error.args = (error.message,)
            error.error_context["part"] = self.path
            if isinstance(error, ValidationError) and error.violations:
                error.error_context["violations"] = [
                    {"field": f"{self.path}.{field}", "description": text} for field, text in error.violations
                ]
        return error


def parts_of(contract: reducer_pb2.ReducerContract) -> list[Part]:
    """The reductions of a transaction, the contract's own first; each can be run by itself."""
    own = reducer_pb2.ReducerContract()
    own.CopyFrom(contract)
    for field in _OWN_FIELDS:
        own.ClearField(field)
    parts = [Part("", _key(contract.reduction_config), own)]
    for index, row in enumerate(contract.transaction_config.parts):
        alone = reducer_pb2.ReducerContract(
            reduction_config=row.reduction_config,
            fsm_action=row.fsm_action if row.HasField("fsm_action") else None,
        )
        if is_aggregation(row.reduction_config):
            for field in _INHERITED_FIELDS:
                if contract.HasField(field):
                    getattr(alone, field).CopyFrom(getattr(contract, field))
            if not row.reduction_config.HasField("window"):
                alone.ClearField("watermark")
        if row.HasField("input_data"):
            alone.input_data.CopyFrom(row.input_data)
        parts.append(Part(f"transaction_config.parts[{index}]", _key(row.reduction_config), alone))
    return parts


def check_transaction(contract: reducer_pb2.ReducerContract) -> None:
    """Refuses a direct call whose transaction is not whole: it names what it may change, and brings no state (R59).

    Raises:
        ValidationError: With each field that is wrong.
    """
    violations = [*_part_violations(contract), *_call_violations(contract), *_backup_violations(contract.backup_config)]
    if violations:
        field, text = violations[0]
        raise ValidationError(f"{field}: {text}", violations=tuple(violations))


def _part_violations(contract: reducer_pb2.ReducerContract) -> list[tuple[str, str]]:
    config = contract.transaction_config
    count = 1 + len(config.parts)
    if count > STATES_MAX:
        return [("transaction_config.parts", f"{count} states in one commit; at most {STATES_MAX} are allowed")]
    found = []
    keys = [_key(contract.reduction_config), *(_key(row.reduction_config) for row in config.parts)]
    named, seen = set(config.state_keys), dict[str, str]()
    for index, key in enumerate(keys):
        path = f"transaction_config.parts[{index - 1}].reduction_config" if index else "reduction_config"
        if key not in named:
            found.append(("transaction_config.state_keys", f"does not name {key!r}, which {path} changes"))
        if key in seen:
            found.append((f"{path}.state_key", f"{key!r} is the state of {seen[key]} already"))
        if len(key.encode()) > NAME_BYTES_MAX:
            found.append((f"{path}.state_key", f"must be at most {NAME_BYTES_MAX} bytes long"))
        seen.setdefault(key, path)
    return found


def _call_violations(contract: reducer_pb2.ReducerContract) -> list[tuple[str, str]]:
    found = []
    if contract.HasField("current_state"):
        found.append(("current_state", "is loaded by the node in a transaction; leave it unset"))
    found.extend(
        (field, f"must be at most {NAME_BYTES_MAX} bytes long in a transaction")
        for field in ("correlation_id", "action_id")
        if len(getattr(contract, field).encode()) > NAME_BYTES_MAX
    )
    if contract.transaction_config.commit_partially and contract.transaction_config.rollback_on_error:
        text = "says the opposite of rollback_on_error; set one of the two"
        found.append(("transaction_config.commit_partially", text))
    return found


def _backup_violations(config: reducer_pb2.BackupConfig) -> list[tuple[str, str]]:
    found = []
    if config.backup_type not in ("", "full", "incremental"):
        found.append(("backup_config.backup_type", "must be 'full' or 'incremental'"))
    if len(config.version.encode()) > NAME_BYTES_MAX:
        found.append(("backup_config.version", f"must be at most {NAME_BYTES_MAX} bytes long"))
    return found


def _key(config: reducer_pb2.ReductionConfig) -> str:
    return config.state_key or "state"
