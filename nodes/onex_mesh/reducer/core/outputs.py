"""What the reductions of a transaction returned: put together, and as it is kept for the same call made again."""

from __future__ import annotations

from collections.abc import Sequence

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.runtime.errors import OnexError, to_proto

ANSWER_BYTES_MAX = 64 * 1024
"""A larger one is kept without states; if it is still too large, without results. Intents are always kept."""
_SHARED_FIELDS = ("aggregated_data", "state_metadata", "reduction_metrics", "state", "error", "late_data")

Output = reducer_pb2.ReducerOutput | reducer_pb2.TransactionPartOutput


def joined(outputs: Sequence[reducer_pb2.ReducerOutput]) -> reducer_pb2.ReducerOutput:
    """The output of a transaction: the first one, with the others as its parts."""
    whole = outputs[0]
    for output in outputs[1:]:
        part = whole.parts.add(intents=output.intents)
        for field in _SHARED_FIELDS:
            if output.HasField(field):
                getattr(part, field).CopyFrom(getattr(output, field))
    return whole


def failed(correlation_id: str, state_key: str, error: OnexError) -> reducer_pb2.ReducerOutput:
    """The output of a reduction that failed while others were written."""
    return reducer_pb2.ReducerOutput(
        correlation_id=correlation_id,
        state_metadata=reducer_pb2.StateMetadata(state_key=state_key),
        error=to_proto(error, node_kind=common_pb2.NODE_KIND_REDUCER),
    )


def outputs_of(whole: reducer_pb2.ReducerOutput) -> list[Output]:
    """The outputs of all reductions, the contract's own first."""
    return [whole, *whole.parts]


def state_of(output: Output) -> common_pb2.Payload:
    """The state to continue from."""
    return output.state if output.HasField("state") else output.aggregated_data


def shortened(whole: reducer_pb2.ReducerOutput) -> reducer_pb2.ReducerOutput:
    """The output as it is kept; a payload that is left out stays there, empty."""
    kept = reducer_pb2.ReducerOutput()
    kept.CopyFrom(whole)
    succeeded = [output for output in outputs_of(kept) if not output.HasField("error")]
    if kept.ByteSize() > ANSWER_BYTES_MAX:
        for output in succeeded:
            state_of(output).CopyFrom(common_pb2.Payload())
    if kept.ByteSize() > ANSWER_BYTES_MAX:
        for output in succeeded:
            for field in ("aggregated_data", "late_data"):
                if output.HasField(field):
                    getattr(output, field).CopyFrom(common_pb2.Payload())
    return kept


def fill(output: Output, state: common_pb2.Payload) -> None:
    """Puts the state back where it was left out."""
    place = state_of(output)
    if place.WhichOneof("content") is None:
        place.CopyFrom(state)
