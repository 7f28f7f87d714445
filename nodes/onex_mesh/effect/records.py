"""What an effect leaves behind as messages: its output, and the audit record that the log of the workflow keeps."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import effect_pb2, intent_pb2
from onex_mesh.effect.core.once import to_payload
from onex_mesh.effect.core.request import APP_TARGET, EffectOutcome, EffectRequest
from onex_mesh.runtime.errors import OnexError


def attempts_of(error: OnexError) -> int:
    """How often an effect was tried before it failed; 0 for one that was refused."""
    attempts = error.error_context.get("attempts", 0)
    return attempts if isinstance(attempts, int) else 0


def effect_output(request: EffectRequest, outcome: EffectOutcome) -> effect_pb2.EffectOutput:
    """The output of an effect contract (R13)."""
    return effect_pb2.EffectOutput(
        correlation_id=request.context.correlation_id,
        operation_result=to_payload(outcome.value),
        metadata=effect_pb2.EffectMetadata(
            target=request.target or APP_TARGET,
            effect_type=request.effect_type,
            operation=request.operation or outcome.operation,
            attempts=outcome.attempts,
            execution_time=duration(outcome.execution_time_s),
            idempotency_key=request.context.idempotency_key,
            replayed=outcome.replayed,
            from_cache=outcome.from_cache,
            started_at=timestamp(outcome.started_at_s),
            fencing_token=request.context.fencing_token,
            executed_by=outcome.executed_by,
        ),
    )


def completed_record(request: EffectRequest, outcome: EffectOutcome) -> intent_pb2.EffectRecord:
    """The audit record of an effect that came to its result (R11)."""
    record = _record(request, outcome.operation, outcome.executed_by, outcome.started_at_s)
    record.attempts = outcome.attempts
    record.outcome = "cached" if outcome.from_cache else "replayed" if outcome.replayed else "completed"
    return record


def failed_record(request: EffectRequest, error: OnexError, began_at_s: float) -> intent_pb2.EffectRecord:
    """The audit record of an effect that failed or was refused; the engine has put the facts into the error."""
    facts = {name: error.error_context.get(name) for name in ("operation", "executed_by")}
    operation, executed_by = (fact if isinstance(fact, str) else "" for fact in facts.values())
    record = _record(request, operation, executed_by, began_at_s)
    record.attempts = attempts_of(error)
    record.outcome = "failed"
    return record


def _record(request: EffectRequest, operation: str, executed_by: str, began_at_s: float) -> intent_pb2.EffectRecord:
    return intent_pb2.EffectRecord(
        target=request.target or APP_TARGET,
        effect_type=request.effect_type,
        operation=operation,
        idempotency_key=request.context.idempotency_key,
        fencing_token=request.context.fencing_token,
        executed_by=executed_by,
        started_at=timestamp(began_at_s),
    )


def duration(seconds: float) -> Duration:
    """A protobuf duration."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


def timestamp(seconds: float) -> Timestamp:
    """A protobuf timestamp of seconds since the epoch."""
    whole = int(seconds)
    return Timestamp(seconds=whole, nanos=int((seconds - whole) * 1e9))
