"""Aggregations: against the standard library, however the records are grouped, and continued from a state."""

from __future__ import annotations

import itertools
import json
import math
import statistics
from datetime import UTC, datetime
from fractions import Fraction

import loophole
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.core import FrozenDict, ReducerRegistry
from onex_mesh.reducer.core.aggregates.totals import Sum
from onex_mesh.reducer.core.exact import ExactSum
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.reducer.streamed import StreamedReduction
from onex_mesh.runtime.errors import (
    PurityViolationError,
    ReducerNotFoundError,
    ReductionFailedError,
    StateConsistencyError,
    ValidationError,
)
from onex_mesh.runtime.payload import ARROW_TYPE, Json, bytes_payload, from_payload, json_payload, to_struct
from tests.order_machine import Frozen, OrderMachine

SUM = reducer_pb2.AGGREGATION_METHOD_SUM
AVERAGE = reducer_pb2.AGGREGATION_METHOD_AVERAGE
COUNT = reducer_pb2.AGGREGATION_METHOD_COUNT
CUSTOM = reducer_pb2.AGGREGATION_METHOD_CUSTOM
NOW = datetime(2026, 3, 4, tzinfo=UTC)
ORIGIN = Origin("corr-1", "2f4a3a52-1c6d-4f0e-8a44-111111111111", NOW)


class Sale(Frozen):
    """A record."""

    country: str
    pence: int


class Totals(Frozen):
    """A state."""

    by_country: FrozenDict[str, int] = FrozenDict()
    merges: int = 0


class Limit(BaseModel):
    """Parameters."""

    at_least: int = 0


class Revenue:
    """Revenue by country, without the small ones."""

    @staticmethod
    def initial() -> Totals:
        """Nothing."""
        return Totals()

    @staticmethod
    def step(state: Totals, record: Sale, params: Limit) -> Totals:
        """One sale more."""
        if record.pence < params.at_least:
            return state
        before = state.by_country.get(record.country, 0)
        return Totals(by_country=state.by_country | {record.country: before + record.pence}, merges=state.merges)

    @staticmethod
    def finish(state: Totals) -> dict[str, object]:
        """The revenue, largest first."""
        ordered = sorted(state.by_country.items(), key=lambda row: (-row[1], row[0]))
        return {"countries": [country for country, _ in ordered], "pence": sum(state.by_country.values())}


class MergedRevenue(Revenue):
    """Likewise, chunk by chunk."""

    @staticmethod
    def merge(left: Totals, right: Totals) -> Totals:
        """Both."""
        joined = dict(left.by_country)
        for country, pence in right.by_country.items():
            joined[country] = joined.get(country, 0) + pence
        return Totals(by_country=FrozenDict(joined), merges=left.merges + 1)


class Failing(Revenue):
    """Fails in the one way or the other."""

    @staticmethod
    def step(state: Totals, record: object) -> Totals:  # type: ignore[override]  # other records
        """By record."""
        if record == "state":
            return "no state"  # type: ignore[return-value]  # what is tested
        if record == "broken":
            return state.model_copy(update={"merges": "many"})
        raise KeyError(record)


class Impure(Revenue):
    """Counts how often it was ever called."""

    @staticmethod
    def step(state: Totals, record: object) -> Totals:  # type: ignore[override]  # other records
        """Ticks."""
        return Totals(merges=int(loophole.count()))


def reductions(*, development: bool = True) -> Reductions:
    registry = ReducerRegistry()
    for definition in (Revenue, MergedRevenue, Failing, Impure):
        registry.add_class(definition)
    registry.add_class(OrderMachine, name="order")
    return Reductions(registry, development=development)


REDUCTIONS = reductions()


def contract(method: int, data: object = None, state: object = None, **config: object) -> reducer_pb2.ReducerContract:
    made = reducer_pb2.ReducerContract()
    made.reduction_config.aggregation_method = method  # type: ignore[assignment]  # unknown ones are tested too
    parameters = config.pop("parameters", None)
    if parameters is not None:
        made.reduction_config.parameters.CopyFrom(to_struct(parameters))  # type: ignore[arg-type]  # a dict
    for name, value in config.items():
        setattr(made.reduction_config, name, value)
    if data is not None:
        made.input_data.CopyFrom(json_payload(data))
    if state is not None:
        made.current_state.CopyFrom(json_payload(state))
    return made


async def reduce(made: reducer_pb2.ReducerContract) -> reducer_pb2.ReducerOutput:
    return await REDUCTIONS.reduce(made, ORIGIN)


async def result(method: int, data: object = None, state: object = None, **config: object) -> Json | bytes:
    return from_payload((await reduce(contract(method, data, state, **config))).aggregated_data)


def state_of(output: reducer_pb2.ReducerOutput) -> Json | bytes:
    """What to continue from: the aggregate itself where no other state is given."""
    return from_payload(output.state if output.HasField("state") else output.aggregated_data)


# Sum, average, count


async def test_sum_average_and_count_of_one_to_five() -> None:
    """R54, R64: the built-in methods with their metrics; nothing is emitted."""
    output = await reduce(contract(SUM, [1, 2, 3, 4, 5]))
    assert from_payload(output.aggregated_data) == 15
    assert output.correlation_id == "corr-1"
    metrics = output.reduction_metrics
    assert (metrics.records_processed, metrics.reduction_ratio) == (5, 0.2)
    assert metrics.state_size == output.aggregated_data.ByteSize() > 0
    assert metrics.execution_time.ToNanoseconds() > 0
    assert output.state_metadata == reducer_pb2.StateMetadata(state_key="state")
    assert not output.intents
    assert await result(AVERAGE, [1, 2, 3, 4, 5]) == 3
    assert await result(COUNT, [1, 2, 3, 4, 5]) == 5


@pytest.mark.parametrize(("method", "expected"), [(SUM, 0), (AVERAGE, None), (COUNT, 0)])
async def test_nothing_has_an_aggregate_too(method: int, expected: object) -> None:
    """R54, F29: no records, or no data at all: zero, zero, and no mean; the ratio divides nothing by zero."""
    for made in (contract(method, []), contract(method)):
        output = await reduce(made)
        assert from_payload(output.aggregated_data) == expected
        assert (output.reduction_metrics.records_processed, output.reduction_metrics.reduction_ratio) == (0, 0.0)


async def test_a_field_of_records_is_aggregated() -> None:
    """R53, R49: rows of several sources by field; a count with a field counts those that have it."""
    rows = [{"pence": 5, "note": None}, {"pence": 7.5, "note": "x"}, {"pence": 0}]
    assert await result(SUM, rows, field="pence") == 12.5
    assert await result(AVERAGE, rows, field="pence") == pytest.approx(12.5 / 3)
    assert await result(COUNT, rows, field="note") == 1
    assert await result(COUNT, rows) == 3


async def test_a_single_value_is_one_record() -> None:
    """F21: a number or an object that is no list."""
    assert await result(SUM, 7) == 7
    assert await result(SUM, {"pence": 7}, field="pence") == 7
    assert await result(COUNT, {"pence": 7}) == 1


async def test_an_arrow_table_is_aggregated() -> None:
    """F22: rows of a table that came as an Arrow stream, too many to be done on the loop; a null is no number."""
    count = 20_000
    table = pa.table({"pence": pa.array(range(count), pa.int64())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    made = contract(SUM, field="pence")
    made.input_data.CopyFrom(bytes_payload(sink.getvalue().to_pybytes(), ARROW_TYPE))
    output = await reduce(made)
    assert from_payload(output.aggregated_data) == count * (count - 1) // 2
    made.input_data.data = b"no table"
    with pytest.raises(ValidationError, match="input_data: not an Arrow IPC stream"):
        await reduce(made)


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)
numbers = st.lists(st.one_of(finite, st.integers(-(2**53), 2**53)), max_size=30)


@given(numbers, st.lists(st.integers(0, 30), max_size=4))
def test_a_sum_does_not_depend_on_how_its_numbers_are_grouped(values: list[float], cuts: list[int]) -> None:
    """F24, R55: over any chunks, and through JSON between them, the sum is the exact one, rounded once."""
    bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    total = ExactSum()
    for begin, end in itertools.pairwise(bounds):
        state = json.loads(json.dumps(total.to_json()))
        total = ExactSum.from_json(state, "state").add(values[begin:end])
    expected = sum(map(Fraction, values), Fraction())
    assert total.exact() == expected
    # A sum of integers stays one, however large; anything else is the closest double.
    value = total.value()
    assert value == (expected if isinstance(value, int) else float(expected))
    if values and all(isinstance(value, float) for value in values):
        assert float(value) == math.fsum(values)


@given(st.lists(st.integers(), max_size=20))
def test_integers_are_summed_as_integers(values: list[int]) -> None:
    """R45: of any size, without rounding."""
    assert ExactSum().add(values).value() == sum(values)
    assert ExactSum.from_json(ExactSum().add(values).to_json(), "state").whole == sum(values)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30), st.integers(0, 30))
async def test_partial_averages_merge_to_the_average_of_all(values: list[float], cut: int) -> None:
    """F24, R55: the state is (sum, count), so it continues exactly."""
    first = await reduce(contract(AVERAGE, values[:cut]))
    both = await reduce(contract(AVERAGE, values[cut:], state_of(first)))
    whole = await reduce(contract(AVERAGE, values))
    assert from_payload(both.aggregated_data) == from_payload(whole.aggregated_data)
    assert from_payload(both.aggregated_data) == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-12)
    assert state_of(both)["count"] == len(values)  # type: ignore[call-overload, index]  # an object


async def test_every_method_continues_from_a_state() -> None:
    """R55: from the aggregate itself, or from the state beside it."""
    assert await result(SUM, [1, 2], 10) == 13
    assert await result(SUM, [1], 0.5) == 1.5
    assert await result(COUNT, [1, 2], 10) == 12
    assert await result(AVERAGE, [5], {"sum": 10, "count": 2}) == 5
    tenths = await reduce(contract(SUM, [0.1] * 5))
    assert from_payload((await reduce(contract(SUM, [0.1] * 5, state_of(tenths)))).aggregated_data) == 1.0


@pytest.mark.parametrize(
    ("method", "state", "message"),
    [
        (SUM, "ten", "current_state: expected a number"),
        (SUM, True, "current_state: expected a number"),
        (SUM, {"whole": "1e3"}, "current_state: expected a number"),
        (SUM, {"whole": 1, "parts": ["x"]}, "current_state: expected a number"),
        (COUNT, -1, "current_state: expected a count"),
        (COUNT, 1.5, "current_state: expected a count"),
        (AVERAGE, 3, "an average continues from its sum and count, not from the mean alone"),
        (AVERAGE, {"sum": 3, "count": -1}, "current_state.count: expected a count"),
        (AVERAGE, {"sum": [], "count": 1}, "current_state.sum: expected a number"),
    ],
)
async def test_a_state_of_another_method_is_refused(method: int, state: object, message: str) -> None:
    """R67: what cannot be continued is a consistency error."""
    with pytest.raises(StateConsistencyError, match=message):
        await reduce(contract(method, [1], state))


async def test_what_is_no_number_is_refused_with_its_path() -> None:
    """R36, R37: all violations at once, with what was expected and found."""
    with pytest.raises(ValidationError) as caught:
        await reduce(contract(SUM, [1, "2", None, True, {"pence": 3}]))
    assert caught.value.violations == (
        ("input_data[1]", "expected a number, found string"),
        ("input_data[2]", "expected a number, found null"),
        ("input_data[3]", "expected a number, found boolean"),
        ("input_data[4]", "expected a number, found object; name the field to aggregate in reduction_config.field"),
    )
    with pytest.raises(ValidationError) as caught:
        await reduce(contract(AVERAGE, [{"pence": 1}, {}, 3, {"pence": []}], field="pence"))
    assert caught.value.violations == (
        ("input_data[1].pence", "is required and missing"),
        ("input_data[2]", "expected an object with the field 'pence', found integer"),
        ("input_data[3].pence", "expected a number, found array"),
    )
    with pytest.raises(ValidationError) as caught:
        await reduce(contract(SUM, ["x"] * 1000))
    assert len(caught.value.violations) == 100


async def test_a_sum_too_large_for_its_type_is_refused() -> None:
    """F22: never rounded, never infinite."""
    with pytest.raises(ValidationError, match="the sum is beyond what a double can hold"):
        await reduce(contract(SUM, [1.7e308, 1.7e308]))
    with pytest.raises(ValidationError, match="would be rounded"):
        await reduce(contract(SUM, [2**53, 1]))
    with pytest.raises(ValidationError, match="expected a finite number, found nan"):
        Sum().add([float("nan")], 0)


async def test_bytes_are_no_records() -> None:
    """F21: neither JSON nor a table."""
    made = contract(SUM)
    made.input_data.CopyFrom(bytes_payload(b"\x00"))
    with pytest.raises(ValidationError, match="expected JSON or an Arrow table, found bytes"):
        await reduce(made)


# Custom


SALES = [{"country": "DE", "pence": 5}, {"country": "UK", "pence": 9}, {"country": "DE", "pence": 6}]


@pytest.mark.parametrize(("name", "merges"), [("revenue", 0), ("mergedrevenue", 2)])
async def test_a_custom_aggregator_folds_continues_and_merges(name: str, merges: int) -> None:
    """R54, R55: initial, step, finish; its state continues; a merge joins what was folded apart."""
    first = await reduce(contract(CUSTOM, SALES[:2], reducer=name))
    assert from_payload(first.aggregated_data) == {"countries": ["UK", "DE"], "pence": 14}
    second = await reduce(contract(CUSTOM, SALES[2:], from_payload(first.state), reducer=name))
    assert from_payload(second.aggregated_data) == {"countries": ["DE", "UK"], "pence": 20}
    assert from_payload(second.state) == {"by_country": {"DE": 11, "UK": 9}, "merges": merges}


async def test_a_custom_aggregator_takes_parameters() -> None:
    """R53: checked by its model."""
    made = contract(CUSTOM, SALES, reducer="revenue", parameters={"at_least": 6})
    assert from_payload((await reduce(made)).aggregated_data) == {"countries": ["UK", "DE"], "pence": 15}
    with pytest.raises(ValidationError, match=r"reduction_config\.parameters\.at_least"):
        await reduce(contract(CUSTOM, SALES, reducer="revenue", parameters={"at_least": "x"}))
    with pytest.raises(ValidationError, match="takes no parameters"):
        await reduce(contract(CUSTOM, [], reducer="failing", parameters={"at_least": 6}))


async def test_records_of_a_custom_aggregator_are_checked() -> None:
    """R37: with the path of the record."""
    with pytest.raises(ValidationError, match=r"input_data\[1\]\.pence"):
        await reduce(contract(CUSTOM, [SALES[0], {"country": "DE"}], reducer="revenue"))
    with pytest.raises(StateConsistencyError, match=r"current_state\.by_country\.DE"):
        await reduce(contract(CUSTOM, [], {"by_country": {"DE": "x"}}, reducer="revenue"))


async def test_a_failing_aggregator_is_told_with_its_line() -> None:
    """R149: exception and line of the application's code; wrong results and states too."""
    line = Failing.step.__code__.co_firstlineno + 7
    with pytest.raises(ReductionFailedError, match=f"the aggregator failing failed at .*:{line}: KeyError: 'a'"):
        await reduce(contract(CUSTOM, ["a"], reducer="failing"))
    with pytest.raises(ReductionFailedError, match="step of the aggregator failing returned a str, not a Totals"):
        await reduce(contract(CUSTOM, ["state"], reducer="failing"))
    with pytest.raises(StateConsistencyError, match="the aggregator failing left a state"):
        await reduce(contract(CUSTOM, ["broken"], reducer="failing"))


async def test_in_development_two_runs_are_compared() -> None:
    """R48: an aggregator that remembers differs the second time; otherwise nobody notices."""
    with pytest.raises(PurityViolationError, match="two runs of the aggregator 'impure' differ"):
        await reduce(contract(CUSTOM, [1], reducer="impure"))
    assert (await reductions(development=False).reduce(contract(CUSTOM, [1], reducer="impure"), ORIGIN)).HasField(
        "state"
    )


# Contracts


@pytest.mark.parametrize(
    ("made", "field", "message"),
    [
        (contract(99, [1]), "reduction_config.aggregation_method", "the aggregation method 99 is not supported"),
        (contract(0, [1]), "reduction_config", "names neither a reducer nor an aggregation_method"),
        (contract(CUSTOM, [1]), "reduction_config.reducer", "names the aggregator for CUSTOM"),
        (contract(0, reducer="order"), "fsm_action.action", "is required for a state machine"),
        (contract(SUM, [1], parameters={"a": 1}), "reduction_config.parameters", "takes no parameters"),
        (contract(CUSTOM, [], reducer="revenue", field="x"), "reduction_config.field", "is given whole records"),
        (contract(CUSTOM, [], reducer="order"), "reduction_config.aggregation_method", "is a state machine"),
    ],
)
async def test_a_contract_that_makes_no_sense_is_refused(
    made: reducer_pb2.ReducerContract, field: str, message: str
) -> None:
    """R54: the error names the field, and the method where it is not one of sum, average, count, custom."""
    with pytest.raises(ValidationError, match=message) as caught:
        await reduce(made)
    assert field in [path for path, _ in caught.value.violations]


async def test_what_is_not_built_is_refused_and_never_ignored() -> None:
    """R59, R61: several states in one commit, and backups; the own state is no other."""
    made = contract(SUM, [1], state_key="total")
    made.transaction_config.state_keys.append("total")
    assert from_payload((await reduce(made)).aggregated_data) == 1
    made.transaction_config.state_keys.append("other")
    with pytest.raises(ValidationError, match="several states in one commit are for direct calls: other"):
        await reduce(made)
    made = contract(SUM, [1])
    made.backup_config.backup_location = "copies"
    with pytest.raises(ValidationError, match="backup_config: is for direct calls with a transaction_config"):
        await reduce(made)


async def test_bounds_are_checked() -> None:
    """R56, R58: negative sizes, and what belongs to the other kind of reduction."""
    made = contract(SUM, [1])
    made.streaming_config.chunk_size = -1
    made.memory_management.buffer_size_mb = -1
    made.fsm_action.action = "GO"
    with pytest.raises(ValidationError) as caught:
        await reduce(made)
    assert [path for path, _ in caught.value.violations] == [
        "fsm_action",
        "streaming_config.chunk_size",
        "memory_management.buffer_size_mb",
    ]
    made = contract(0, reducer="order", field="x", parameters={"a": 1})
    made.streaming_config.enabled = True
    made.fsm_action.action = "PLACE_ORDER"
    with pytest.raises(ValidationError) as caught:
        await reduce(made)
    assert [path for path, _ in caught.value.violations] == [
        "streaming_config",
        "reduction_config.field",
        "reduction_config.parameters",
    ]
    with pytest.raises(ReducerNotFoundError):
        await reduce(contract(CUSTOM, [], reducer="nobody"))


@given(st.lists(st.floats(-1e6, 1e6), max_size=40), st.integers(1, 50))
async def test_chunks_of_a_batch_change_nothing(values: list[float], chunk_size: int) -> None:
    """R56, R57: reduced chunk by chunk or at once, the result is the same."""
    made = contract(SUM, values)
    made.streaming_config.enabled = True
    made.streaming_config.chunk_size = chunk_size
    assert await result(SUM, values) == from_payload((await reduce(made)).aggregated_data)


# Streams


def chunk(sequence: int, data: object) -> reducer_pb2.ReductionChunk:
    return reducer_pb2.ReductionChunk(sequence=sequence, data=json_payload(data))


def streamed(method: int = SUM, chunk_size: int = 3, buffer_size_mb: int = 1) -> StreamedReduction:
    made = contract(method)
    made.streaming_config.chunk_size = chunk_size
    made.memory_management.buffer_size_mb = buffer_size_mb
    return StreamedReduction(REDUCTIONS, made, ORIGIN)


async def test_a_stream_tells_what_it_counted_and_counts_nothing_twice() -> None:
    """R50, R57: progress when records were counted, a repeated chunk is ignored, and the output is that of all."""
    stream = streamed()
    assert await stream.take(chunk(1, [1, 2])) is None
    progress = await stream.take(chunk(2, [3, 4]))
    assert progress is not None
    assert (progress.sequence, progress.records_processed) == (2, 4)
    assert progress.memory_bytes > 0
    assert await stream.take(chunk(1, [1, 2])) is None
    assert await stream.take(chunk(2, [3, 4])) is None
    assert await stream.take(chunk(3, [5])) is None
    output = await stream.finish()
    assert from_payload(output.aggregated_data) == 15
    assert (output.reduction_metrics.records_processed, output.reduction_metrics.reduction_ratio) == (5, 0.2)


async def test_a_gap_in_a_stream_is_refused() -> None:
    """R57: chunks are numbered from 1 without gaps."""
    stream = streamed()
    for sequence in (0, 2, -1):
        with pytest.raises(ValidationError, match=f"chunk.sequence: expected the chunk 1, found {sequence}"):
            await stream.take(chunk(sequence, [1]))


async def test_the_buffer_is_flushed_above_eighty_percent() -> None:
    """R58: records that wait fill at most 80 % of the buffer; a chunk beyond it is refused."""
    stream = streamed(COUNT, chunk_size=10**6)
    text = "x" * 100_000
    counted = []
    for sequence in range(1, 13):
        progress = await stream.take(chunk(sequence, [text]))
        if progress is not None:
            counted.append(progress.sequence)
            assert progress.memory_bytes < 1000
    assert counted == [9]
    assert from_payload((await stream.finish()).aggregated_data) == 12
    with pytest.raises(ValidationError, match="is larger than the buffer of 1048576"):
        await stream.take(chunk(13, ["x" * 1_100_000]))


async def test_a_path_in_a_stream_counts_from_its_beginning() -> None:
    """R37: the number of the record over all chunks."""
    stream = streamed(chunk_size=2)
    await stream.take(chunk(1, [1, 2]))
    with pytest.raises(ValidationError, match=r"input_data\[3\]: expected a number, found string"):
        await stream.take(chunk(2, [3, "x"]))


def test_a_state_machine_takes_no_stream() -> None:
    """R57: it takes actions."""
    made = contract(0, reducer="order")
    made.fsm_action.action = "PLACE_ORDER"
    with pytest.raises(ValidationError, match="a state machine takes actions, not chunks of records"):
        StreamedReduction(REDUCTIONS, made, ORIGIN)


# Origin


async def test_the_contract_may_say_itself_when_and_by_what_action() -> None:
    """F13: occurred_at and action_id of the contract win over those of the action."""
    made = contract(0, reducer="order")
    made.fsm_action.action = "PLACE_ORDER"
    made.fsm_action.payload.CopyFrom(
        json_payload({"items": [{"sku": "a", "price": "1"}], "customer_email": "a@example.org"})
    )
    by_origin = await reduce(made)
    made.occurred_at.FromDatetime(datetime(2020, 1, 1, tzinfo=UTC))
    made.action_id = "another"
    made.correlation_id = "own"
    by_contract = await reduce(made)
    placed = [from_payload(output.aggregated_data) for output in (by_origin, by_contract)]
    assert [state["placed_at"] for state in placed] == [  # type: ignore[call-overload, index]  # objects
        "2026-03-04T00:00:00Z",
        "2020-01-01T00:00:00Z",
    ]
    assert by_origin.intents[0].intent_id != by_contract.intents[0].intent_id
    assert (by_origin.correlation_id, by_contract.correlation_id) == ("corr-1", "own")
    assert by_contract.intents[0].correlation_id == "own"
    assert by_contract.state_metadata == reducer_pb2.StateMetadata(
        previous_state="IDLE", new_state="ORDER_PLACED", transition="PLACE_ORDER", intents_emitted=3, state_key="state"
    )
    assert common_pb2.Payload() == by_contract.state


@pytest.mark.parametrize("field", ["resume_after", "resume_records"])
async def test_only_a_stream_is_resumed(field: str) -> None:
    """R57: passing it over would count chunks twice."""
    made = contract(SUM, [1])
    setattr(made, field, 3)
    with pytest.raises(ValidationError, match=f"{field}: is for StreamReduction"):
        await reduce(made)
