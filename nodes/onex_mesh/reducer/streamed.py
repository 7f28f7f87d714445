"""Aggregations whose records come in chunks (R50, R57, R58)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import chain, groupby

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregation import Fold
from onex_mesh.reducer.core.contract import buffer_bytes_of, check_contract, chunk_size_of
from onex_mesh.reducer.core.records import records_of
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.reducer.reduction import INLINE_BYTES_MAX, Origin, Reductions, duration
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import json_payload


class StreamedReduction:
    """One aggregation whose records come in numbered chunks (R50, R57).

    Records wait until there are `chunk_size` of them, or until they fill 80 % of the buffer, and are then folded; only
    the state of the fold is kept.
    """

    def __init__(self, reductions: Reductions, contract: reducer_pb2.ReducerContract, origin: Origin) -> None:
        check_contract(contract)
        self._reductions = reductions
        self._contract = contract
        self._origin = origin.of(contract)
        self._fold = reductions.fold(contract)
        self._chunk_size = chunk_size_of(contract)
        self._buffer_bytes = buffer_bytes_of(contract)
        self._waiting: list[Sequence[object]] = []
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._sequence = 0
        self._records = 0
        self._began = time.monotonic()

    async def take(self, chunk: reducer_pb2.ReductionChunk) -> reducer_pb2.ReductionProgress | None:
        """Takes a chunk; tells how far it is whenever records were counted. A chunk seen before is not counted again.

        Raises:
            ValidationError: A chunk is missing, its records do not fit, or it is larger than the buffer.
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
        records = records_of(chunk.data, "chunk.data")
        self._waiting.append(records)
        self._waiting_records += len(records)
        self._waiting_bytes += size_bytes
        self._sequence = chunk.sequence
        if self._waiting_records >= self._chunk_size or self._waiting_bytes > 0.8 * self._buffer_bytes:
            await self._flush()
            return self._progress()
        return None

    async def finish(self) -> reducer_pb2.ReducerOutput:
        """The output; no chunk comes any more."""
        await self._flush()
        output = self._reductions.output(self._contract, self._origin, self._fold, self._records)
        output.reduction_metrics.execution_time.CopyFrom(duration(time.monotonic() - self._began))
        return output

    async def _flush(self) -> None:
        if self._waiting_bytes > INLINE_BYTES_MAX:
            self._fold = await asyncio.to_thread(self._folded)
        else:
            self._fold = self._folded()
        self._records += self._waiting_records
        self._waiting, self._waiting_records, self._waiting_bytes = [], 0, 0

    def _folded(self) -> Fold:
        """The fold with what waits. Lists are joined; the columns of a table are reduced as they are."""
        fold, offset = self._fold, self._records
        for is_table, batches in groupby(self._waiting, lambda records: isinstance(records, TableRows)):
            for records in batches if is_table else [list(chain.from_iterable(batches))]:
                fold = fold.add(records, offset)
                offset += len(records)
        return fold

    def _progress(self) -> reducer_pb2.ReductionProgress:
        kept = json_payload(self._fold.state()).ByteSize()
        return reducer_pb2.ReductionProgress(
            sequence=self._sequence, records_processed=self._records, memory_bytes=kept + self._waiting_bytes
        )
