"""Streamed reductions that break and go on: no chunk is counted twice, none is lost, and nothing is told twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.core.registry import ReducerRegistry
from onex_mesh.reducer.core.times import text_of
from onex_mesh.reducer.reduction import Reductions
from onex_mesh.reducer.streamed import StreamedReduction
from onex_mesh.runtime.errors import PayloadTooLargeError, StateConsistencyError, ValidationError
from onex_mesh.runtime.payload import from_payload, json_payload
from tests.unit.test_reducer_aggregation import ORIGIN
from tests.unit.test_reducer_windows import RETURN, SECOND, SESSION, TUMBLING, config

REDUCTIONS = Reductions(ReducerRegistry())
COUNT = reducer_pb2.AGGREGATION_METHOD_COUNT
SUM = reducer_pb2.AGGREGATION_METHOD_SUM


def contract(made: reducer_pb2.ReductionConfig, chunk_size: int = 1) -> reducer_pb2.ReducerContract:
    return reducer_pb2.ReducerContract(
        reduction_config=made,
        streaming_config=reducer_pb2.StreamingConfig(chunk_size=chunk_size),
        memory_management=reducer_pb2.MemoryManagement(buffer_size_mb=1),
    )


def chunk(sequence: int, records: list[object], watermark_s: int | None = None) -> reducer_pb2.ReductionChunk:
    made = reducer_pb2.ReductionChunk(sequence=sequence, data=json_payload(records))
    if watermark_s is not None:
        made.watermark.FromSeconds(watermark_s)
    return made


def listed(payload: common_pb2.Payload) -> list[object]:
    found = from_payload(payload)
    return found if isinstance(found, list) else []


@dataclass
class Client:
    """Sends numbered chunks, keeps what the last state covers, and goes on from there when the stream breaks."""

    made: reducer_pb2.ReducerContract
    chunks: list[list[object]]
    rows: list[object] = field(default_factory=list)
    late: list[object] = field(default_factory=list)
    _kept: reducer_pb2.ReductionProgress = field(default_factory=reducer_pb2.ReductionProgress)

    async def run(self, *, breaks_after: list[int]) -> reducer_pb2.ReducerOutput:
        for count in [*breaks_after, len(self.chunks)]:
            stream = self._opened()
            # All chunks once more, also those that are counted: a client need not know which ones they are.
            for sequence, records in enumerate(self.chunks[:count], start=1):
                progress = await stream.take(chunk(sequence, records))
                if progress is not None and progress.HasField("state"):
                    self._keep(progress)
        output = await stream.finish()
        self.rows.extend(listed(output.aggregated_data))
        self.late.extend(listed(output.late_data))
        return output

    def _opened(self) -> StreamedReduction:
        made = reducer_pb2.ReducerContract()
        made.CopyFrom(self.made)
        if self._kept.sequence:
            made.current_state.CopyFrom(self._kept.state)
            made.resume_after, made.resume_records = self._kept.sequence, self._kept.records_processed
        return StreamedReduction(REDUCTIONS, made, ORIGIN)

    def _keep(self, progress: reducer_pb2.ReductionProgress) -> None:
        self.rows.extend(listed(progress.closed))
        self.late.extend(listed(progress.late_data))
        self._kept = progress


chunks_of = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(-5, 5)), max_size=4),
    min_size=1,
    max_size=8,
)


@given(chunks_of, st.lists(st.integers(0, 8), max_size=3), st.sampled_from([TUMBLING, SESSION]), st.integers(1, 5))
async def test_a_stream_that_broke_gives_what_one_that_did_not_gives(
    drawn: list[list[tuple[str, int, int]]], breaks: list[int], kind: int, chunk_size: int
) -> None:
    """R50, R57: over breaks anywhere: the same rows, each once, the same late records, the same count and state."""
    chunks: list[list[object]] = [
        [{"k": key, "t": text_of(time * SECOND), "v": value} for key, time, value in records] for records in drawn
    ]
    made = contract(config(kind, 10, lateness=5, late=RETURN), chunk_size)
    whole, broken = Client(made, chunks), Client(made, chunks)
    expected = await whole.run(breaks_after=[])
    found = await broken.run(breaks_after=sorted(breaks))
    assert broken.rows == whole.rows
    assert broken.late == whole.late
    assert found.state == expected.state
    assert found.reduction_metrics.records_processed == expected.reduction_metrics.records_processed


async def test_chunks_up_to_the_one_that_is_resumed_after_are_passed_over() -> None:
    """R57: whether they are sent again or not; the next one must follow."""
    made = contract(reducer_pb2.ReductionConfig(aggregation_method=SUM))
    stream = StreamedReduction(REDUCTIONS, made, ORIGIN)
    await stream.take(chunk(1, [1]))
    progress = await stream.take(chunk(2, [2]))
    assert progress is not None
    assert progress.HasField("state")
    made.current_state.CopyFrom(progress.state)
    made.resume_after, made.resume_records = progress.sequence, progress.records_processed
    for first in (1, 2, 3):
        resumed = StreamedReduction(REDUCTIONS, made, ORIGIN)
        for sequence in range(first, 5):
            await resumed.take(chunk(sequence, [sequence]))
        output = await resumed.finish()
        assert from_payload(output.aggregated_data) == 10
        assert output.reduction_metrics.records_processed == 4
    with pytest.raises(ValidationError, match="expected the chunk 3, found 4"):
        await StreamedReduction(REDUCTIONS, made, ORIGIN).take(chunk(4, [4]))
    with pytest.raises(ValidationError, match=r"input_data\[2\]: expected a number"):
        await StreamedReduction(REDUCTIONS, made, ORIGIN).take(chunk(3, ["x"]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resume_after": 1}, "current_state: is required with resume_after"),
        ({"resume_after": -1}, "resume_after: must not be negative"),
        ({"resume_records": -1}, "resume_records: must not be negative"),
        ({"resume_records": 1}, "resume_records: is for streams that are resumed"),
    ],
)
def test_a_stream_is_not_resumed_from_nowhere(fields: dict[str, int], message: str) -> None:
    """R57: chunks that are in no state would be lost."""
    made = contract(reducer_pb2.ReductionConfig(aggregation_method=SUM))
    for name, value in fields.items():
        setattr(made, name, value)
    with pytest.raises(ValidationError, match=message):
        StreamedReduction(REDUCTIONS, made, ORIGIN)


def test_a_stream_is_not_resumed_from_another_state() -> None:
    """R67: the state of an average is none of a sum."""
    made = contract(reducer_pb2.ReductionConfig(aggregation_method=SUM))
    made.resume_after = 1
    made.current_state.CopyFrom(json_payload({"sum": 1, "count": 1}))
    with pytest.raises(StateConsistencyError, match="current_state: expected a number, or a sum"):
        StreamedReduction(REDUCTIONS, made, ORIGIN)


async def test_states_are_told_as_often_as_they_cost_no_more_than_the_records() -> None:
    """R57, R58: a large state is not sent for each small chunk, or a stream would cost the square of its length."""
    made = contract(reducer_pb2.ReductionConfig(aggregation_method=COUNT, group_by=["k"]))
    stream = StreamedReduction(REDUCTIONS, made, ORIGIN)
    sent = told = states = 0
    for sequence in range(1, 400):
        part = chunk(sequence, [{"k": f"{sequence % 300:050d}"}])
        progress = await stream.take(part)
        assert progress is not None
        sent += part.data.ByteSize()
        told += progress.state.ByteSize()
        states += progress.HasField("state")
        assert progress.memory_bytes >= progress.state.ByteSize()
        assert (progress.sequence, progress.records_processed) == (sequence, sequence)
    assert 3 < states < 40
    assert told < 2 * sent


async def test_a_watermark_in_a_stream_closes_windows_before_the_next_chunk() -> None:
    """R50: at once, whatever else waits, and what comes then is late."""
    stream = StreamedReduction(REDUCTIONS, contract(config(TUMBLING, 10, lateness=60, late=RETURN), 1_000), ORIGIN)
    record = {"k": "a", "t": 1, "v": 2}
    assert await stream.take(chunk(1, [record])) is None
    progress = await stream.take(chunk(2, [record], watermark_s=10))
    assert progress is not None
    closed = listed(progress.closed)
    assert [(row["n"], row["final"]) for row in closed] == [(2, True)]  # type: ignore[call-overload, index]  # rows
    assert progress.watermark.ToJsonString() == "1970-01-01T00:00:10Z"
    assert await stream.take(chunk(3, [record])) is None
    output = await stream.finish()
    assert listed(output.aggregated_data) == []
    assert listed(output.late_data) == [record]
    assert output.reduction_metrics.late_records == 1


async def test_the_end_of_a_stream_may_be_a_watermark() -> None:
    """R57: of the contract: then all is final."""
    made = contract(config(TUMBLING, 10), 1_000)
    made.watermark.FromSeconds(1_000)
    stream = StreamedReduction(REDUCTIONS, made, ORIGIN)
    await stream.take(chunk(1, [{"k": "a", "t": 1, "v": 2}]))
    rows = listed((await stream.finish()).aggregated_data)
    assert [row["final"] for row in rows] == [True]  # type: ignore[call-overload, index]  # rows


async def test_a_watermark_without_windows_is_refused() -> None:
    """R54: it would mean nothing."""
    for made in (
        reducer_pb2.ReductionConfig(aggregation_method=SUM),
        reducer_pb2.ReductionConfig(aggregation_method=SUM, group_by=["k"]),
    ):
        stream = StreamedReduction(REDUCTIONS, contract(made), ORIGIN)
        with pytest.raises(ValidationError, match=r"chunk\.watermark: is for reductions with a window"):
            await stream.take(chunk(1, [], watermark_s=1))


async def test_a_state_that_outgrows_the_buffer_ends_the_stream() -> None:
    """R58, R69: bounded by what the contract allows, and told."""
    made = contract(reducer_pb2.ReductionConfig(aggregation_method=COUNT, group_by=["k"]))
    stream = StreamedReduction(REDUCTIONS, made, ORIGIN)

    async def send() -> None:
        for sequence in range(1, 100):
            rows: list[object] = [{"k": f"{sequence:050d}{number:050d}"} for number in range(500)]
            await stream.take(chunk(sequence, rows))

    with pytest.raises(PayloadTooLargeError, match=r"the state of \d+ groups has .* group by less, or raise"):
        await send()
