"""The shell around δ: reads a contract, has the core reduce, and writes the output (R51–R66)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregation import Aggregation, begin
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.contract import (
    buffer_bytes_of,
    check_contract,
    check_whole,
    chunk_size_of,
    is_aggregation,
    is_streamed,
)
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.grouped import Grouped
from onex_mesh.reducer.core.machine import apply_action
from onex_mesh.reducer.core.records import records_of
from onex_mesh.reducer.core.times import microseconds_of
from onex_mesh.reducer.core.wire import intent_messages
from onex_mesh.reducer.ports import Reducers
from onex_mesh.reducer.results import result_payload, rows_of, rows_payload, state_payload
from onex_mesh.runtime.errors import PurityViolationError, ValidationError
from onex_mesh.runtime.payload import from_payload, json_payload

INLINE_BYTES_MAX = 64 * 1024
"""Reductions of more are done in a thread, so that others do not wait for them."""

_STATE_KEY = "state"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a reduction came from; what time, ids and randomness derive from.

    Attributes:
        correlation_id: The request.
        action_id: The action.
        occurred_at: When it was issued, in UTC.
    """

    correlation_id: str
    action_id: str
    occurred_at: datetime

    def of(self, contract: reducer_pb2.ReducerContract) -> Origin:
        """The origin with what the contract itself says."""
        occurred_at = self.occurred_at
        if contract.HasField("occurred_at"):
            occurred_at = contract.occurred_at.ToDatetime(tzinfo=UTC)
        return Origin(contract.correlation_id or self.correlation_id, contract.action_id or self.action_id, occurred_at)


class Reductions:
    """Runs reductions.

    Args:
        reducers: The reducers that there are.
        development: Whether to run each one twice and compare, to find impure code.
    """

    def __init__(self, reducers: Reducers, *, development: bool = False) -> None:
        self._reducers = reducers
        self._development = development

    async def reduce(self, contract: reducer_pb2.ReducerContract, origin: Origin) -> reducer_pb2.ReducerOutput:
        """Runs one reduction: a transition of a state machine, or an aggregation.

        Raises:
            OnexError: It is refused or failed; see `apply_action` and `begin`.
        """
        began = time.monotonic()
        origin = origin.of(contract)
        check_contract(contract)
        check_whole(contract)
        work = self._aggregate if is_aggregation(contract.reduction_config) else self._transition
        if contract.ByteSize() > INLINE_BYTES_MAX:
            output = await asyncio.to_thread(work, contract, origin)
        else:
            output = work(contract, origin)
        output.reduction_metrics.execution_time.CopyFrom(duration(time.monotonic() - began))
        return output

    def begin(self, contract: reducer_pb2.ReducerContract) -> Aggregation:
        """The aggregation that a contract begins or continues.

        Raises:
            OnexError: It is refused.
        """
        config = contract.reduction_config
        if not is_aggregation(config):
            text = "a state machine takes actions, not chunks of records; name an aggregation_method"
            raise ValidationError(text, violations=(("reduction_config.aggregation_method", text),))
        return begin(config, from_payload(contract.current_state), self._aggregator)

    def _transition(self, contract: reducer_pb2.ReducerContract, origin: Origin) -> reducer_pb2.ReducerOutput:
        config = contract.reduction_config
        fsm = self._fsm(config)
        action = contract.fsm_action.action
        applied = apply_action(
            fsm,
            from_payload(contract.current_state),
            action,
            from_payload(contract.fsm_action.payload),
            lambda: _context(origin),
            twice=self._development,
        )
        payload = json_payload(applied.document)
        return reducer_pb2.ReducerOutput(
            correlation_id=origin.correlation_id,
            aggregated_data=payload,
            state_metadata=reducer_pb2.StateMetadata(
                previous_state=applied.previous,
                new_state=applied.status,
                transition=action,
                intents_emitted=len(applied.intents),
                state_key=config.state_key or _STATE_KEY,
                final=applied.final,
            ),
            reduction_metrics=reducer_pb2.ReductionMetrics(
                records_processed=1, reduction_ratio=1.0, state_size=payload.ByteSize()
            ),
            intents=intent_messages(applied.intents, _context(origin)),
        )

    def _aggregate(self, contract: reducer_pb2.ReducerContract, origin: Origin) -> reducer_pb2.ReducerOutput:
        start = self.begin(contract)
        records = records_of(contract.input_data)
        size = chunk_size_of(contract) if is_streamed(contract) else max(1, len(records))
        reduced = _reduced(start, records, size)
        if self._development:
            again = _reduced(start, records, size)
            if (again.state(), again.result()) != (reduced.state(), reduced.result()):
                raise PurityViolationError(f"two runs of the aggregator {contract.reduction_config.reducer!r} differ")
        if contract.HasField("watermark"):
            reduced = advanced(reduced, contract.watermark)
        return self.output(contract, origin, reduced, len(records))

    def output(
        self, contract: reducer_pb2.ReducerContract, origin: Origin, reduced: Aggregation, records: int
    ) -> reducer_pb2.ReducerOutput:
        """The output of an aggregation, without its execution time.

        Args:
            contract: What was asked for.
            origin: Where it came from.
            reduced: What it came to.
            records: How many records were read.

        Raises:
            PayloadTooLargeError: The state is larger than the buffer that the contract allows.
        """
        config = contract.reduction_config
        result = reduced.result()
        payload, rows = result_payload(result, as_table=config.as_table), rows_of(reduced, result)
        output = reducer_pb2.ReducerOutput(
            correlation_id=origin.correlation_id,
            aggregated_data=payload,
            state_metadata=reducer_pb2.StateMetadata(state_key=config.state_key or _STATE_KEY),
            reduction_metrics=reducer_pb2.ReductionMetrics(
                records_processed=records, reduction_ratio=rows / records if records else 0.0, rows=rows
            ),
        )
        state = reduced.state()
        if state != result:
            output.state.CopyFrom(state_payload(state, buffer_bytes_of(contract)))
        kept = output.state if output.HasField("state") else payload
        output.reduction_metrics.state_size = kept.ByteSize()
        if isinstance(reduced, Grouped):
            output.reduction_metrics.late_records = reduced.late_count
            if reduced.late:
                output.late_data.CopyFrom(rows_payload(reduced.late))
        return output

    def _fsm(self, config: reducer_pb2.ReductionConfig) -> Fsm:
        reducer = self._reducers.get(config.reducer, config.version)
        if isinstance(reducer, Fsm):
            return reducer
        text = f"{config.reducer!r} is an aggregator: say aggregation_method CUSTOM"
        raise ValidationError(text, violations=(("reduction_config.aggregation_method", text),))

    def _aggregator(self, name: str, version: str) -> Aggregator:
        reducer = self._reducers.get(name, version)
        if isinstance(reducer, Aggregator):
            return reducer
        text = f"{name!r} is a state machine: leave aggregation_method unset"
        raise ValidationError(text, violations=(("reduction_config.aggregation_method", text),))


def advanced(aggregation: Aggregation, watermark: Timestamp) -> Aggregation:
    """The aggregation once all records before that time have come."""
    assert isinstance(aggregation, Grouped), "a contract without a window that has a watermark was refused"
    return aggregation.advanced(microseconds_of(watermark.ToDatetime(tzinfo=UTC)))


def _reduced(aggregation: Aggregation, records: Sequence[object], size: int) -> Aggregation:
    for begin_at in range(0, len(records), size):
        aggregation = aggregation.add(records[begin_at : begin_at + size], begin_at)
    return aggregation


def _context(origin: Origin) -> ReducerContext:
    return ReducerContext(now=origin.occurred_at, action_id=origin.action_id, correlation_id=origin.correlation_id)


def duration(seconds: float) -> Duration:
    """Seconds as a message."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
