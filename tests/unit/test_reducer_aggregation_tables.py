"""Aggregations over Arrow tables: the same as over the rows of JSON, however they are cut into chunks."""

from __future__ import annotations

import itertools
import math
import os
from fractions import Fraction
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.core import ReducerRegistry
from onex_mesh.reducer.core.records import records_of
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.reducer.streamed import StreamedReduction
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload, from_payload, json_payload
from tests.aggregations import begin
from tests.unit.test_reducer_aggregation import NOW

SUM = reducer_pb2.AGGREGATION_METHOD_SUM
AVERAGE = reducer_pb2.AGGREGATION_METHOD_AVERAGE
COUNT = reducer_pb2.AGGREGATION_METHOD_COUNT
METHODS = (SUM, AVERAGE, COUNT)

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(os.environ.get("ONEX_SAMPLE_ORDERS", ROOT.parent / "shared/data/online_retail_sample.csv"))

doubles = st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300), max_size=40)
integers = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40)
cuts = st.lists(st.integers(0, 40), max_size=4)


def payload(table: pa.Table) -> common_pb2.Payload:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes_payload(sink.getvalue().to_pybytes(), ARROW_TYPE)


def table_of(values: list[float] | list[int], kind: pa.DataType, at: list[int]) -> pa.Table:
    """A table of one column, in pieces; each piece is a slice of a longer array."""
    bounds = [0, *sorted(min(cut, len(values)) for cut in at), len(values)]
    whole = pa.array(values, kind)
    pieces = [whole.slice(start, end - start) for start, end in itertools.pairwise(bounds)]
    return pa.table({"value": pa.chunked_array(pieces, kind)})


@given(doubles, cuts, cuts)
def test_doubles_of_a_table_have_the_exact_sum(values: list[float], pieces: list[int], at: list[int]) -> None:
    """F24, R54: the one of the rows, to the last bit, over any pieces of the table and any chunks of it."""
    records = records_of(payload(table_of(values, pa.float64(), pieces)))
    bounds = [0, *sorted(min(cut, len(values)) for cut in at), len(values)]
    for method in METHODS:
        rows = begin(method, "value").add([{"value": value} for value in values], 0)
        fold = begin(method, "value")
        for start, end in itertools.pairwise(bounds):
            fold = begin(method, "value", fold.state()).add(records[start:end], start)
        assert fold.result() == rows.result()
    assert begin(SUM, "value").add(records, 0).result() == math.fsum(values)


def test_many_doubles_of_a_table_have_the_exact_sum() -> None:
    """R54: over several blocks, of like size and of very different ones, cancelling, subnormal and huge."""
    drawn = Random(7)
    like = [drawn.gauss(0, 1) for _ in range(70_000)]
    wild = [drawn.choice((-1, 1)) * math.ldexp(drawn.random(), drawn.randint(-1074, 1000)) for _ in range(70_000)]
    for values in (like, wild, [*wild, *(-value for value in wild), 5e-324], [1.5e308, -1.5e308, 1.0], [5e-324] * 9):
        rows = TableRows(table_of(values, pa.float64(), [len(values) // 3]))
        assert begin(SUM, "value").add(rows, 0).result() == math.fsum(values)


@given(integers, cuts)
def test_integers_of_a_table_do_not_overflow(values: list[int], pieces: list[int]) -> None:
    """R45, R54: 64 bits are summed without wrapping around, and averaged without rounding on the way."""
    records = records_of(payload(table_of(values, pa.int64(), pieces)))
    assert begin(SUM, "value").add(records, 0).result() == sum(values)
    mean = begin(AVERAGE, "value").add(records, 0).result()
    assert mean == (float(Fraction(sum(values), len(values))) if values else None)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64(), pa.float16(), pa.float32()])
def test_every_width_of_number_is_summed(kind: pa.DataType) -> None:
    """R54: to the limits of the unsigned ones."""
    values = [0, 1, 100, 2**64 - 1, 2**64 - 1] if kind == pa.uint64() else [0, 1, 100]
    floats = pa.types.is_floating(kind)
    column = pa.array([float(value) for value in values]).cast(kind) if floats else pa.array(values, kind)
    records = TableRows(pa.table({"value": column}))
    assert begin(SUM, "value").add(records, 0).result() == sum(values)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([1, None]), "expected a number, found null"),
        (pa.array([1.0, math.nan]), "expected a finite number, found nan"),
        (pa.array([1.0, math.inf]), "expected a finite number, found inf"),
    ],
)
def test_what_is_no_number_is_refused_with_its_row(column: pa.Array, text: str) -> None:
    """R36, R37: nulls and NaN, with the number of the row over all chunks."""
    for method in (SUM, AVERAGE):
        with pytest.raises(ValidationError) as caught:
            begin(method, "value").add(TableRows(pa.table({"value": column})), 7)
        assert caught.value.violations == (("input_data[8].value", text),)


def test_a_column_that_is_not_there_or_no_number_is_refused() -> None:
    """R36: at most 100 rows are named; no rows have nothing to refuse."""
    rows = TableRows(pa.table({"value": ["a"] * 1000, "flag": [True] * 1000}))
    for field, text in (
        ("value", "expected a number, found string"),
        ("flag", "expected a number, found boolean"),
        ("other", "is required and missing"),
    ):
        with pytest.raises(ValidationError) as caught:
            begin(SUM, field).add(rows, 0)
        assert len(caught.value.violations) == 100
        assert caught.value.violations[0] == (f"input_data[0].{field}", text)
        assert begin(SUM, field).add(rows[:0], 0).result() == 0
    with pytest.raises(ValidationError, match="name the field to aggregate"):
        begin(SUM, "").add(rows, 0)


def test_a_count_of_a_field_leaves_out_nulls() -> None:
    """R54: and is 0 of a column that is not there."""
    rows = TableRows(pa.table({"value": ["a", None, "b"]}))
    counts = [begin(COUNT, field).add(rows, 0).result() for field in ("", "value", "other")]
    assert counts == [3, 2, 0]


def test_rows_are_read_where_they_are_asked_for() -> None:
    """R49: a table is a sequence of rows."""
    rows = TableRows(pa.table({"value": [1, 2, 3]}))
    assert [*rows] == [{"value": 1}, {"value": 2}, {"value": 3}]
    assert (rows[-1], [*rows[1:2]], len(rows[2:1])) == ({"value": 3}, [{"value": 2}], 0)


async def test_a_stream_of_tables_and_lists_is_one_aggregation() -> None:
    """R50, R57: each chunk as it comes, counted in order; the sum has the digits of all of them."""
    contract = reducer_pb2.ReducerContract()
    contract.reduction_config.aggregation_method = SUM
    contract.reduction_config.field = "value"
    contract.streaming_config.chunk_size = 5
    stream = StreamedReduction(Reductions(ReducerRegistry()), contract, Origin("c", "a", NOW))
    parts = [[0.1] * 2, [0.2], [0.3] * 3, [7.0]]
    told = []
    for sequence, values in enumerate(parts, 1):
        rows = [{"value": value} for value in values]
        data = payload(pa.table({"value": values})) if sequence % 2 else json_payload(rows)
        progress = await stream.take(reducer_pb2.ReductionChunk(sequence=sequence, data=data))
        told.append(None if progress is None else progress.records_processed)
    assert told == [None, None, 6, None]
    output = await stream.finish()
    assert from_payload(output.aggregated_data) == math.fsum(itertools.chain.from_iterable(parts))
    assert output.reduction_metrics.records_processed == 7


def test_the_order_lines_of_a_shop_agree_with_arrow() -> None:
    """R54: real records."""
    if not SAMPLE.exists():
        pytest.skip("optional: the sample of a shop's orders is not beside the checkout")
    table = pyarrow.csv.read_csv(SAMPLE)
    records = records_of(payload(table))
    fold = begin(SUM, "Quantity").add(records, 0)
    assert fold.result() == pc.sum(table["Quantity"]).as_py()
    mean = begin(AVERAGE, "UnitPrice").add(records, 0).result()
    assert mean == pytest.approx(pc.mean(table["UnitPrice"]).as_py(), rel=1e-12)
    count = begin(COUNT, "CustomerID").add(records, 0).result()
    assert count == pc.count(table["CustomerID"]).as_py() < len(records)
