"""Several aggregates by keys: rows of JSON and tables give the same, in whatever chunks, and the oracles agree."""

from __future__ import annotations

import datetime
import itertools
import json
import os
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.grouped import Grouped
from onex_mesh.reducer.core.registry import ReducerRegistry
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.reducer.reduction import Reductions
from onex_mesh.runtime.errors import PayloadTooLargeError, ReducerNotFoundError, StateConsistencyError, ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, from_payload, json_payload, to_struct
from tests.aggregations import begin, begin_grouped, table_payload
from tests.unit.test_reducer_aggregation import ORIGIN, MergedRevenue, Revenue

METHODS = reducer_pb2.AggregationMethod
NAMES = ("SUM", "AVERAGE", "COUNT", "MIN", "MAX", "VARIANCE", "QUANTILES", "DISTINCT", "TOP_K")
ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(os.environ.get("ONEX_SAMPLE_ORDERS", ROOT.parent / "shared/data/online_retail_sample.csv"))

finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e140, max_value=1e140)
numbers = st.one_of(finite, st.integers(-(2**53), 2**53))
keys = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["a", "b", ""]))
cuts = st.lists(st.integers(0, 25), max_size=3)


def number(method: str) -> int:
    return METHODS.Value(f"AGGREGATION_METHOD_{method}")


def config(*aggregates: tuple[str, str, str], group_by: tuple[str, ...] = ()) -> reducer_pb2.ReductionConfig:
    """Aggregates as (name, method, field)."""
    made = reducer_pb2.ReductionConfig(group_by=group_by)
    for name, method, field in aggregates:
        made.aggregates.add(name=name, method=number(method), field=field)  # type: ignore[arg-type]  # its number
    return made


ALL = config(*((name, name, "value") for name in NAMES), group_by=("key", "other"))


def rows_of(grouped: Grouped) -> list[dict[str, object]]:
    found = grouped.result()
    assert isinstance(found, list)
    return found


def in_chunks(made: reducer_pb2.ReductionConfig, records: object, at: list[int]) -> Grouped:
    """What comes of the records in chunks, each continued from the state of the one before, as JSON has it."""
    assert isinstance(records, list | TableRows)
    bounds = [0, *sorted(min(cut, len(records)) for cut in at), len(records)]
    grouped = begin_grouped(made)
    for start, end in itertools.pairwise(bounds):
        grouped = begin_grouped(made, json.loads(json.dumps(grouped.state()))).add(records[start:end], start)
    return grouped


@given(st.lists(st.tuples(keys, st.sampled_from("xy"), numbers), max_size=25), cuts)
def test_groups_are_what_each_aggregate_is_of_their_records(
    rows: list[tuple[object, str, float]], at: list[int]
) -> None:
    """R49, R55: every method, by two keys of mixed types, in any chunks; true and 1 are two keys, 1 and 1.0 are one."""
    records = [{"key": key, "other": other, "value": value} for key, other, value in rows]
    grouped = in_chunks(ALL, records, at)
    found = {json.dumps([row["key"], row["other"]]): row for row in rows_of(grouped)}
    assert set(found) == {json.dumps([record["key"], record["other"]]) for record in records}
    for text, row in found.items():
        own = [record for record in records if json.dumps([record["key"], record["other"]]) == text]
        for name in NAMES:
            assert row[name] == begin(number(name), "value").add(own, 0).result(), name
    assert grouped.state() == in_chunks(ALL, records, []).state()


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 2), numbers.map(float)), max_size=25),
    cuts,
    cuts,
)
def test_tables_give_what_rows_give(
    rows: list[tuple[str | None, int, float]], at: list[int], pieces: list[int]
) -> None:
    """R49, R55: columns in any pieces and any chunks, and states that go from the one to the other."""
    records: list[object] = [{"key": key, "other": other, "value": value} for key, other, value in rows]
    bounds = [0, *sorted(min(cut, len(rows)) for cut in pieces), len(rows)]
    columns = {
        "key": pa.array([key for key, _, _ in rows], pa.string()),
        "other": pa.array([other for _, other, _ in rows], pa.int32()),
        "value": pa.array([value for _, _, value in rows], pa.float64()),
    }
    whole = pa.table(columns)
    table = pa.concat_tables([whole.slice(start, end - start) for start, end in itertools.pairwise(bounds)])
    by_rows, by_table = in_chunks(ALL, records, at), in_chunks(ALL, TableRows(table), at)
    assert by_table.state() == by_rows.state()
    assert by_table.result() == by_rows.result()
    half = len(rows) // 2
    mixed = begin_grouped(ALL, begin_grouped(ALL).add(TableRows(table)[:half], 0).state()).add(records[half:], half)
    assert mixed.state() == by_rows.state()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=25))
def test_large_integers_are_exact_by_group(rows: list[tuple[int, int]]) -> None:
    """F22: 64 bits do not overflow, and nothing is rounded."""
    made = config(("sum", "SUM", "value"), ("least", "MIN", "value"), ("v", "VARIANCE", "value"), group_by=("key",))
    table = pa.table({"key": [key for key, _ in rows], "value": pa.array([value for _, value in rows], pa.int64())})
    found = rows_of(begin_grouped(made).add(TableRows(table), 0))
    for row in found:
        own = [value for key, value in rows if key == row["key"]]
        assert (row["sum"], row["least"]) == (sum(own), min(own))
    kept = begin_grouped(made).add(TableRows(table), 0).state()
    assert begin_grouped(made, json.loads(json.dumps(kept))).result() == found


def test_unsigned_integers_and_small_types_are_summed() -> None:
    """R54: every type of number that Arrow has."""
    made = config(("sum", "SUM", "value"), ("most", "MAX", "value"), group_by=("key",))
    for kind, values in (
        (pa.uint64(), [2**64 - 1, 2**64 - 2, 3]),
        (pa.uint8(), [255, 254, 3]),
        (pa.int16(), [-(2**15), 5, 3]),
        (pa.float32(), [0.5, 0.25, 3.0]),
    ):
        table = pa.table({"key": ["a", "a", "b"], "value": pa.array(values, kind)})
        assert rows_of(begin_grouped(made).add(TableRows(table), 0)) == [
            {"key": "a", "sum": values[0] + values[1], "most": max(values[:2])},
            {"key": "b", "sum": values[2], "most": values[2]},
        ]


decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=4)


@given(st.lists(st.tuples(st.integers(0, 2), decimals), min_size=1, max_size=25), cuts)
def test_decimals_stay_decimals(rows: list[tuple[int, Decimal]], at: list[int]) -> None:
    """F22, F37: money in tables is summed to the last digit, and is a text in JSON."""
    made = config(("sum", "SUM", "v"), ("least", "MIN", "v"), ("mean", "AVERAGE", "v"), group_by=("key",))
    column = pa.array([value for _, value in rows], pa.decimal128(30, 4))
    table = TableRows(pa.table({"key": [key for key, _ in rows], "v": column}))
    found = in_chunks(made, table, at)
    for row in rows_of(found):
        own = [value for key, value in rows if key == row["key"]]
        assert row["sum"] == sum(own)
        assert isinstance(row["sum"], Decimal)
        assert row["least"] == min(own)
        assert row["mean"] == pytest.approx(float(sum(own) / len(own)), rel=1e-12)
    assert found.state() == begin_grouped(made).add(table, 0).state()


def test_several_aggregates_without_keys_are_an_object() -> None:
    """R49, R54: each under its name; those of nothing too."""
    made = config(("total", "SUM", "v"), ("n", "COUNT", ""), ("mean", "AVERAGE", "v"))
    assert begin_grouped(made).result() == {"total": 0, "n": 0, "mean": None}
    assert begin_grouped(made).add([{"v": 1}, {"v": 2}], 0).result() == {"total": 3, "n": 2, "mean": 1.5}


def test_one_method_by_keys_is_named_after_itself() -> None:
    """R54: aggregation_method and field, as without keys."""
    made = reducer_pb2.ReductionConfig(field="v", group_by=("k",), aggregation_method=METHODS.AGGREGATION_METHOD_SUM)
    rows = [{"k": "b", "v": 1}, {"k": "a", "v": 2}, {"k": "b", "v": 3}, {"v": 9}]
    assert rows_of(begin_grouped(made).add(rows, 0)) == [
        {"k": None, "sum": 9},
        {"k": "a", "sum": 2},
        {"k": "b", "sum": 4},
    ]


def test_keys_of_tables_are_told_as_json_has_them() -> None:
    """R49: decimals, dates and times are texts, zero has no sign, and large integers are exact in a state."""
    day = datetime.date(2026, 3, 4)
    table = pa.table(
        {
            "amount": pa.array([Decimal("1.50"), Decimal("1.50")], pa.decimal128(5, 2)),
            "day": [day, day],
            "zero": [0.0, -0.0],
            "large": pa.array([2**60 + 1, 2**60 + 1], pa.int64()),
            "dictionary": pa.array(["x", "x"]).dictionary_encode(),
        }
    )
    made = config(("n", "COUNT", ""), group_by=("amount", "day", "zero", "large", "dictionary"))
    grouped = begin_grouped(made).add(TableRows(table), 0)
    expected = {"amount": "1.50", "day": "2026-03-04", "zero": 0, "large": 2**60 + 1, "dictionary": "x", "n": 2}
    assert rows_of(grouped) == [expected]
    assert rows_of(begin_grouped(made, json.loads(json.dumps(grouped.state())))) == [expected]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"key": [1], "value": 1}], r"input_data\[7\]\.key: an array is no value to compare"),
        ([{"key": {}, "value": 1}], r"input_data\[7\]\.key: an object is no value"),
        ([{"key": 1}], r"input_data\[7\]\.value: is required and missing"),
        (
            [{"key": 1, "value": 1}, {"key": 1, "value": "x"}],
            r"input_data\[8\]\.value: expected a number, found string",
        ),
        ([5], r"input_data\[7\]: expected an object with the field 'value'"),
        (TableRows(pa.table({"key": [[1]], "value": [1]})), r"input_data\[7\]\.key: an array is no value"),
        (
            TableRows(pa.table({"value": [1]})),
            r"input_data\.key: is required and missing: the table has no such column",
        ),
        (TableRows(pa.table({"key": [float("nan")], "value": [1]})), r"input_data\[7\]\.key: nan is no value"),
        (
            TableRows(pa.table({"key": [1, 2], "value": [1, None]})),
            r"input_data\[8\]\.value: expected a number, found null",
        ),
        (TableRows(pa.table({"key": [1], "value": [b"x"]})), r"input_data\[7\]\.value: expected a number, found bytes"),
    ],
)
def test_what_cannot_be_grouped_is_refused_with_its_path(records: object, message: str) -> None:
    """R37: the number of the record over all chunks, and the field."""
    made = config(("sum", "SUM", "value"), group_by=("key",))
    with pytest.raises(ValidationError, match=message):
        begin_grouped(made).add(records, 7)  # type: ignore[arg-type]  # records


def test_empty_tables_and_lists_make_no_groups() -> None:
    """R49: nothing has no rows."""
    for records in ([], TableRows(pa.table({"key": pa.array([], pa.string()), "value": pa.array([], pa.int64())}))):
        assert rows_of(begin_grouped(config(("n", "COUNT", ""), group_by=("key",))).add(records, 0)) == []


def test_an_aggregator_of_the_application_is_one_of_several() -> None:
    """R54: custom ones, with and without a merge, by keys and in chunks."""
    registry = ReducerRegistry()
    with_merge, without = registry.add_class(MergedRevenue), registry.add_class(Revenue)
    made = reducer_pb2.ReductionConfig(group_by=("country",))
    for name in ("mergedrevenue", "revenue"):
        made.aggregates.add(name=name, method=METHODS.AGGREGATION_METHOD_CUSTOM, reducer=name)
        made.aggregates[-1].parameters.CopyFrom(to_struct({"at_least": 2}))
    records = [{"country": country, "pence": pence} for country, pence in (("UK", 1), ("FR", 2), ("UK", 3), ("UK", 4))]
    grouped = begin_grouped(made, None, with_merge, without)  # type: ignore[arg-type]  # aggregators
    for at, record in enumerate(records):
        grouped = grouped.add([record], at)
    expected = {"countries": ["UK"], "pence": 7}
    assert rows_of(grouped)[1] == {"country": "UK", "mergedrevenue": expected, "revenue": expected}
    again = begin_grouped(made, grouped.state(), with_merge, without)  # type: ignore[arg-type]  # aggregators
    assert again.result() == grouped.result()


REDUCTIONS = Reductions(ReducerRegistry(), development=True)


async def reduced(made: reducer_pb2.ReductionConfig, data: object, **fields: object) -> reducer_pb2.ReducerOutput:
    contract = reducer_pb2.ReducerContract(reduction_config=made)
    contract.input_data.CopyFrom(table_payload(data) if isinstance(data, pa.Table) else json_payload(data))
    for name, value in fields.items():
        getattr(contract, name).CopyFrom(value)
    return await REDUCTIONS.reduce(contract, ORIGIN)


async def test_groups_are_rows_with_metrics_and_a_state_to_continue_from() -> None:
    """R55, R64: rows in the order of the keys, how many there are, and what they were made of."""
    made = config(("n", "COUNT", ""), ("sum", "SUM", "v"), group_by=("k",))
    first = await reduced(made, [{"k": "b", "v": 1}, {"k": "a", "v": 2}])
    assert from_payload(first.aggregated_data) == [{"k": "a", "n": 1, "sum": 2}, {"k": "b", "n": 1, "sum": 1}]
    metrics = first.reduction_metrics
    assert (metrics.records_processed, metrics.rows, metrics.reduction_ratio) == (2, 2, 1.0)
    assert metrics.state_size == first.state.ByteSize() > 0
    second = await reduced(made, [{"k": "b", "v": 5}], current_state=first.state)
    assert from_payload(second.aggregated_data) == [{"k": "a", "n": 1, "sum": 2}, {"k": "b", "n": 2, "sum": 6}]


async def test_the_rows_may_be_a_table() -> None:
    """R64: with integers that JSON would round, and decimals as such."""
    made = config(("sum", "SUM", "v"), ("money", "SUM", "m"), group_by=("k",))
    made.as_table = True
    money = pa.array([Decimal("0.10"), Decimal("0.20")], pa.decimal128(10, 2))
    output = await reduced(made, pa.table({"k": ["a", "a"], "v": [2**60, 1], "m": money}))
    assert output.aggregated_data.content_type == ARROW_TYPE
    table = pa.ipc.open_stream(output.aggregated_data.data).read_all()
    assert table.to_pylist() == [{"k": "a", "sum": 2**60 + 1, "money": Decimal("0.30")}]
    made.as_table = False
    with pytest.raises(ValidationError, match=r"\[0\]\.sum: the integer \d+ is beyond"):
        await reduced(made, pa.table({"k": ["a", "a"], "v": [2**60, 1], "m": money}))


async def test_rows_that_are_no_table_are_refused() -> None:
    """R64: keys of one field that are texts here and numbers there have no column."""
    made = config(("n", "COUNT", ""), group_by=("k",))
    made.as_table = True
    with pytest.raises(ValidationError, match="the rows cannot be a table"):
        await reduced(made, [{"k": "a"}, {"k": 1}])


async def test_a_state_larger_than_the_buffer_is_refused() -> None:
    """R58, R69: memory is bounded by what the contract allows."""
    made = config(("n", "COUNT", ""), group_by=("k",))
    rows = [{"k": f"{number:0100d}"} for number in range(10_000)]
    memory = reducer_pb2.MemoryManagement(buffer_size_mb=1)
    with pytest.raises(
        PayloadTooLargeError,
        match=r"the state of 10000 groups has \d+ bytes, more than the buffer of 1048576: group by less",
    ):
        await reduced(made, rows, memory_management=memory)
    output = await reduced(made, rows, memory_management=reducer_pb2.MemoryManagement(buffer_size_mb=2))
    assert output.reduction_metrics.rows == 10_000
    again = await reduced(made, rows[:1], current_state=output.state)
    assert from_payload(again.aggregated_data)[0] == {"k": f"{0:0100d}", "n": 2}  # type: ignore[index]  # rows


GOOD = config(("n", "COUNT", ""), group_by=("k",))


def changed(**fields: object) -> dict[str, object]:
    """A state of GOOD with other fields."""
    state = begin_grouped(GOOD).add([{"k": "a"}], 0).state()
    assert isinstance(state, dict)
    return {**state, **fields}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (5, "current_state: expected the state of a grouped aggregation"),
        (changed(of={"aggregates": {}}), r"current_state\.of: the state is one of \{'aggregates': \{\}\}"),
        (changed(groups={}), r"current_state\.groups: expected a list"),
        (changed(groups=[[]]), r"current_state\.groups\[0\]: expected a list of key, start, end and values"),
        (changed(groups=[[["a", "b"], None, None, [1]]]), r"groups\[0\]\[0\]: expected a key of 1 values"),
        (changed(groups=[[[[]], None, None, [1]]]), r"groups\[0\]\[0\]: expected a value"),
        (changed(groups=[[["a"], None, None, []]]), r"groups\[0\]\[3\]: expected 1 values"),
        (changed(groups=[[["a"], None, None, [-1]]]), r"groups\[0\]\[3\]\[0\]: expected a count"),
        (changed(groups=[[["a"], None, None, [1]]] * 2), r"groups\[1\]: is there twice"),
        (changed(watermark=7), r"current_state\.watermark: expected microseconds"),
    ],
)
def test_a_state_of_something_else_is_refused(state: object, message: str) -> None:
    """R67: with what it is and where it is wrong."""
    with pytest.raises(StateConsistencyError, match=message):
        begin_grouped(GOOD, state)


def wrong(**fields: object) -> reducer_pb2.ReductionConfig:
    made = reducer_pb2.ReductionConfig()
    made.CopyFrom(GOOD)
    for name, value in fields.items():
        if isinstance(value, list):
            del getattr(made, name)[:]
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def aggregate(**fields: object) -> reducer_pb2.Aggregate:
    return reducer_pb2.Aggregate(**fields)  # type: ignore[arg-type]  # its fields


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (wrong(field="x"), r"reduction_config\.field: stands in each of aggregates"),
        (wrong(aggregation_method=1), r"reduction_config\.aggregation_method: stands in each of aggregates"),
        (wrong(reducer="x"), r"reduction_config\.reducer: stands in each of aggregates"),
        (wrong(group_by=["k", "k"]), r"reduction_config\.group_by\[1\]: 'k' is there twice"),
        (wrong(group_by=[""]), r"reduction_config\.group_by\[0\]: is empty"),
        (wrong(group_by=["n"]), r"reduction_config\.aggregates\[0\]: the name 'n' is that of a key"),
        (wrong(group_by=[], as_table=True), r"reduction_config\.as_table: is for rows"),
        (wrong(aggregates=[aggregate(method=1)]), r"reduction_config\.aggregates\[0\]\.name: is required and missing"),
        (wrong(aggregates=[aggregate(name="x")]), "the aggregation method 0 is not supported"),
        (
            wrong(aggregates=[aggregate(name="x", method=1)] * 2),
            r"reduction_config\.aggregates\[1\]\.name: is there twice",
        ),
        (
            wrong(aggregates=[aggregate(name="x", method=4)]),
            r"aggregates\[0\]\.reducer: names the aggregator for CUSTOM",
        ),
        (wrong(aggregates=[aggregate(name="x", method=1, reducer="r")]), r"aggregates\[0\]\.reducer: is for CUSTOM"),
        (
            wrong(aggregates=[aggregate(name=f"n{at}", method=3) for at in range(65)]),
            r"reduction_config\.aggregates: at most 64, not 65",
        ),
        (
            wrong(aggregates=[aggregate(name="x", method=1, parameters=to_struct({"a": 1}))]),
            r"reduction_config\.aggregates\[0\]\.parameters: the method takes no parameters",
        ),
    ],
)
async def test_a_config_that_makes_no_sense_is_refused(made: reducer_pb2.ReductionConfig, message: str) -> None:
    """R54: with the path of what is wrong."""
    with pytest.raises(ValidationError, match=message):
        await reduced(made, [{"k": 1, "x": 1}])


async def test_an_aggregator_that_is_not_there_is_told() -> None:
    """R66: also where it is one of several."""
    made = wrong(aggregates=[aggregate(name="x", method=4, reducer="revenue")])
    with pytest.raises(ReducerNotFoundError, match="no reducer 'revenue'"):
        await reduced(made, [])


async def test_a_state_machine_has_no_groups() -> None:
    """R46: it takes one action."""
    contract = reducer_pb2.ReducerContract(reduction_config={"reducer": "order", "group_by": ["k"], "as_table": True})
    contract.fsm_action.action = "GO"
    with pytest.raises(ValidationError, match=r"reduction_config\.group_by: is for aggregations") as caught:
        await REDUCTIONS.reduce(contract, ORIGIN)
    assert [path for path, _ in caught.value.violations] == ["reduction_config.group_by", "reduction_config.as_table"]


def test_the_sample_by_country_is_as_pandas_and_pyarrow_have_it() -> None:
    """R49: real order lines, with nulls, and prices that do not round well."""
    if not SAMPLE.exists():
        pytest.skip("optional: the sample of a shop's orders is not beside the checkout")
    frame, table = pd.read_csv(SAMPLE), pyarrow.csv.read_csv(SAMPLE)
    made = config(
        ("lines", "COUNT", ""),
        ("known", "COUNT", "CustomerID"),
        ("quantity", "SUM", "Quantity"),
        ("least", "MIN", "UnitPrice"),
        ("most", "MAX", "UnitPrice"),
        ("price", "AVERAGE", "UnitPrice"),
        ("spread", "VARIANCE", "UnitPrice"),
        ("articles", "DISTINCT", "StockCode"),
        ("best", "TOP_K", "StockCode"),
        group_by=("Country",),
    )
    found = {row["Country"]: row for row in rows_of(begin_grouped(made).add(TableRows(table), 0))}
    by = frame.groupby("Country")
    assert set(found) == set(by.groups)
    for country, row in found.items():
        own = by.get_group(country)
        assert row["lines"] == len(own)
        assert row["known"] == own["CustomerID"].notna().sum()
        assert row["quantity"] == own["Quantity"].sum()
        assert (row["least"], row["most"]) == (own["UnitPrice"].min(), own["UnitPrice"].max())
        assert row["price"] == pytest.approx(own["UnitPrice"].mean(), rel=1e-12)
        spread = row["spread"]
        assert isinstance(spread, dict)
        assert spread["variance_sample"] == pytest.approx(own["UnitPrice"].var(), rel=1e-9, nan_ok=True)
        assert row["articles"] == own["StockCode"].nunique()
        best = row["best"]
        assert isinstance(best, dict)
        assert best["values"][0]["count"] == own["StockCode"].value_counts().max()
    sums = table.group_by("Country").aggregate([("Quantity", "sum")]).to_pylist()
    assert {row["Country"]: row["Quantity_sum"] for row in sums} == {key: row["quantity"] for key, row in found.items()}
    assert pc.sum(table["Quantity"]).as_py() == sum(row["quantity"] for row in found.values())  # type: ignore[misc]  # ints
