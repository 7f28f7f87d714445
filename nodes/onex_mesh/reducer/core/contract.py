"""What a contract asks for beyond the reduction itself; what makes no sense is refused, never ignored."""

from __future__ import annotations

from onex.v1 import reducer_pb2
from onex_mesh.runtime.errors import ValidationError

CHUNK_SIZE = 1_000
BUFFER_MIB = 64
_MIB = 1024 * 1024


def check_contract(contract: reducer_pb2.ReducerContract) -> None:
    """Refuses a contract that cannot be fulfilled as it stands.

    Raises:
        ValidationError: With each field that is wrong.
    """
    violations = [*_violations(contract)]
    if violations:
        field, text = violations[0]
        raise ValidationError(f"{field}: {text}", violations=tuple(violations))


def check_whole(contract: reducer_pb2.ReducerContract) -> None:
    """Refuses a contract that is for a stream.

    Raises:
        ValidationError: It is to be resumed.
    """
    for field in ("resume_after", "resume_records"):
        if getattr(contract, field):
            text = "is for StreamReduction; here all records come at once"
            raise ValidationError(f"{field}: {text}", violations=((field, text),))


def check_resumption(contract: reducer_pb2.ReducerContract) -> None:
    """Refuses a stream that is to go on from nowhere (R57): the chunks passed over must be in a state.

    Raises:
        ValidationError: With each field that is wrong.
    """
    fields = ("resume_after", "resume_records")
    violations = [(field, "must not be negative") for field in fields if getattr(contract, field) < 0]
    if contract.resume_after and not contract.HasField("current_state"):
        violations.append(("current_state", "is required with resume_after: the state of the progress that named it"))
    if contract.resume_records and not contract.resume_after:
        violations.append(("resume_records", "is for streams that are resumed, and resume_after is not set"))
    if violations:
        field, text = violations[0]
        raise ValidationError(f"{field}: {text}", violations=tuple(violations))


def is_aggregation(config: reducer_pb2.ReductionConfig) -> bool:
    """Whether records are aggregated; otherwise a state machine takes an action."""
    return config.aggregation_method != reducer_pb2.AGGREGATION_METHOD_UNSPECIFIED or bool(config.aggregates)


def is_streamed(contract: reducer_pb2.ReducerContract) -> bool:
    """Whether the records are reduced chunk by chunk (R56)."""
    return contract.streaming_config.enabled


def chunk_size_of(contract: reducer_pb2.ReducerContract) -> int:
    """Records in a chunk."""
    return contract.streaming_config.chunk_size or CHUNK_SIZE


def buffer_bytes_of(contract: reducer_pb2.ReducerContract) -> int:
    """What may wait in memory, in bytes (R58)."""
    return (contract.memory_management.buffer_size_mb or BUFFER_MIB) * _MIB


def _violations(contract: reducer_pb2.ReducerContract) -> list[tuple[str, str]]:
    config = contract.reduction_config
    found: list[tuple[str, str]] = []
    if is_aggregation(config):
        found.extend(_aggregation_violations(contract))
    else:
        if not config.reducer:
            found.append(("reduction_config", "names neither a reducer nor an aggregation_method"))
        found.extend(_fsm_violations(contract))
    if contract.streaming_config.chunk_size < 0:
        found.append(("streaming_config.chunk_size", "must be at least 1"))
    if contract.memory_management.buffer_size_mb < 0:
        found.append(("memory_management.buffer_size_mb", "must be at least 1"))
    found.extend(_of_direct_calls(contract))
    return found


def _aggregation_violations(contract: reducer_pb2.ReducerContract) -> list[tuple[str, str]]:
    config, custom = contract.reduction_config, reducer_pb2.AGGREGATION_METHOD_CUSTOM
    found = []
    if contract.HasField("fsm_action"):
        found.append(("fsm_action", "is for a state machine; an aggregation reads input_data"))
    if config.aggregation_method == custom and not config.reducer:
        found.append(("reduction_config.reducer", "names the aggregator for CUSTOM, and is missing"))
    if config.aggregates:
        found.extend(
            (f"reduction_config.{field}", "stands in each of aggregates, where there are some")
            for field in ("aggregation_method", "field", "reducer", "version")
            if getattr(config, field)
        )
        if config.parameters.fields:
            found.append(("reduction_config.parameters", "stands in each of aggregates, where there are some"))
    for at, aggregate in enumerate(config.aggregates):
        where = f"reduction_config.aggregates[{at}]"
        if aggregate.method == custom and not aggregate.reducer:
            found.append((f"{where}.reducer", "names the aggregator for CUSTOM, and is missing"))
        if aggregate.method != custom and (aggregate.reducer or aggregate.version):
            found.append((f"{where}.reducer", "is for CUSTOM"))
    if config.as_table and not (config.group_by or config.HasField("window")):
        found.append(("reduction_config.as_table", "is for rows: there is neither group_by nor a window"))
    if contract.HasField("watermark") and not config.HasField("window"):
        found.append(("watermark", "is for reductions with a window"))
    return found


def _fsm_violations(contract: reducer_pb2.ReducerContract) -> list[tuple[str, str]]:
    found = []
    if not contract.fsm_action.action:
        found.append(("fsm_action.action", "is required for a state machine, and missing"))
    if contract.streaming_config.enabled:
        found.append(("streaming_config", "is for aggregations; a state machine takes one action"))
    if contract.reduction_config.field:
        found.append(("reduction_config.field", "is for aggregations; a state machine takes one action"))
    if contract.reduction_config.parameters.fields:
        found.append(("reduction_config.parameters", "are for a custom aggregator; an action has a payload"))
    config = contract.reduction_config
    asked = {
        "reduction_config.group_by": bool(config.group_by),
        "reduction_config.window": config.HasField("window"),
        "reduction_config.as_table": config.as_table,
        "watermark": contract.HasField("watermark"),
    }
    found.extend((field, "is for aggregations; a state machine takes one action") for field in asked if asked[field])
    return found


def _of_direct_calls(contract: reducer_pb2.ReducerContract) -> list[tuple[str, str]]:
    found = []
    own_key = contract.reduction_config.state_key or "state"
    others = [key for key in contract.transaction_config.state_keys if key != own_key]
    if others:
        text = f"several states in one commit are for direct calls: {', '.join(others)}"
        found.append(("transaction_config.state_keys", text))
    found.extend(
        (f"transaction_config.{field}", "is for direct calls: in a workflow each step has one state")
        for field in ("parts", "commit_partially")
        if getattr(contract.transaction_config, field)
    )
    if contract.HasField("backup_config"):
        found.append(("backup_config", "is for direct calls with a transaction_config"))
    return found
