"""Aggregations whose records come in chunks (R50, R57, R58)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import chain, groupby

from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregation import Aggregation
from onex_mesh.reducer.core.contract import buffer_bytes_of, check_contract, check_resumption, chunk_size_of
from onex_mesh.reducer.core.grouped import Grouped
from onex_mesh.reducer.core.records import records_of
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.reducer.core.times import clamped
from onex_mesh.reducer.reduction import INLINE_BYTES_MAX, Origin, Reductions, advanced, duration
from onex_mesh.reducer.results import result_payload, rows_payload, state_payload
from onex_mesh.runtime.errors import ValidationError

_FLUSH_SHARE = 0.8


class StreamedReduction:
    """One aggregation whose records come in numbered chunks (R50, R57).

    Records wait until there are `chunk_size` of them, or until they fill 80 % of the buffer, and are then reduced; only
    the state is kept. A progress carries the state as often as that costs no more than the records since the last time,
    and with it whatever has left the state. A client that keeps the last such progress, and the chunks since, loses
    nothing when the stream breaks.
    """

    def __init__(self, reductions: Reductions, contract: reducer_pb2.ReducerContract, origin: Origin) -> None:
        check_contract(contract)
        check_resumption(contract)
        self._reductions = reductions
        self._contract = contract
        self._origin = origin.of(contract)
        self._reduced: Aggregation = reductions.begin(contract)
        self._chunk_size = chunk_size_of(contract)
        self._buffer_bytes = buffer_bytes_of(contract)
        self._waiting: list[Sequence[object]] = []
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._sequence = contract.resume_after
        self._records = contract.resume_records
        self._state_bytes = 0
        self._bytes_since_state = 0
        self._began = time.monotonic()

    async def take(self, chunk: reducer_pb2.ReductionChunk) -> reducer_pb2.ReductionProgress | None:
        """Takes a chunk; tells how far it is whenever records were counted. A chunk seen before is not counted again.

        Raises:
            ValidationError: A chunk is missing, its records do not fit, or it is larger than the buffer.
            PayloadTooLargeError: The state is larger than the buffer.
        """
        if chunk.sequence <= 0 or chunk.sequence > self._sequence + 1:
            text = f"expected the chunk {self._sequence + 1}, found {chunk.sequence}"
            raise ValidationError(f"chunk.sequence: {text}", violations=(("chunk.sequence", text),))
        if chunk.sequence <= self._sequence:
            return None
        size_bytes = chunk.data.ByteSize()
        if size_bytes > self._buffer_bytes:
            text = f"a chunk of {size_bytes} bytes is larger than the buffer of {self._buffer_bytes}; send smaller ones"
            raise ValidationError(f"chunk.data: {text}", violations=(("chunk.data", text),))
        has_watermark = chunk.HasField("watermark")
        if has_watermark and not self._contract.reduction_config.HasField("window"):
            text = "is for reductions with a window"
            raise ValidationError(f"chunk.watermark: {text}", violations=(("chunk.watermark", text),))
        records = records_of(chunk.data, "chunk.data")
        self._waiting.append(records)
        self._waiting_records += len(records)
        self._waiting_bytes += size_bytes
        self._bytes_since_state += size_bytes
        self._sequence = chunk.sequence
        is_full = self._waiting_bytes > _FLUSH_SHARE * self._buffer_bytes
        if not (self._waiting_records >= self._chunk_size or is_full or has_watermark):
            return None
        await self._flush()
        if has_watermark:
            # Before the next chunk: its records meet this watermark.
            self._reduced = advanced(self._reduced, chunk.watermark)
        return self._progress()

    async def finish(self) -> reducer_pb2.ReducerOutput:
        """The output; no chunk comes any more."""
        await self._flush()
        if self._contract.HasField("watermark"):
            self._reduced = advanced(self._reduced, self._contract.watermark)
        output = self._reductions.output(self._contract, self._origin, self._reduced, self._records)
        output.reduction_metrics.execution_time.CopyFrom(duration(time.monotonic() - self._began))
        return output

    async def _flush(self) -> None:
        if self._waiting_bytes > INLINE_BYTES_MAX:
            self._reduced = await asyncio.to_thread(self._with_waiting)
        else:
            self._reduced = self._with_waiting()
        self._records += self._waiting_records
        self._waiting, self._waiting_records, self._waiting_bytes = [], 0, 0

    def _with_waiting(self) -> Aggregation:
        """The aggregation with what waits. Lists are joined; the columns of a table are reduced as they are."""
        reduced, offset = self._reduced, self._records
        for is_table, batches in groupby(self._waiting, lambda records: isinstance(records, TableRows)):
            for records in batches if is_table else [list(chain.from_iterable(batches))]:
                reduced = reduced.add(records, offset)
                offset += len(records)
        return reduced

    def _progress(self) -> reducer_pb2.ReductionProgress:
        progress = reducer_pb2.ReductionProgress(sequence=self._sequence, records_processed=self._records)
        if self._bytes_since_state >= self._state_bytes:
            self._give_state(progress)
        progress.memory_bytes = self._state_bytes + self._waiting_bytes
        reduced = self._reduced
        if isinstance(reduced, Grouped) and reduced.watermark is not None:
            progress.watermark.CopyFrom(_timestamp(reduced.watermark))
        return progress

    def _give_state(self, progress: reducer_pb2.ReductionProgress) -> None:
        progress.state.CopyFrom(state_payload(self._reduced.state(), self._buffer_bytes))
        self._state_bytes, self._bytes_since_state = progress.state.ByteSize(), 0
        reduced = self._reduced
        if isinstance(reduced, Grouped):
            if reduced.closed:
                as_table = self._contract.reduction_config.as_table
                progress.closed.CopyFrom(result_payload(list(reduced.closed), as_table=as_table))
            if reduced.late:
                progress.late_data.CopyFrom(rows_payload(reduced.late))
            self._reduced = reduced.released()


def _timestamp(microseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(clamped(microseconds))
    return stamp
