"""Built-in algorithms over rows and tables, against pandas, pyarrow and plain Python as oracles."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import cast

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.v1 import compute_pb2
from onex_mesh.compute.core import AlgorithmRegistry, ComputeContext
from onex_mesh.compute.core.builtin import with_builtins
from onex_mesh.compute.core.computation import Task, prepared, run
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import json_payload, to_struct

REGISTRY = with_builtins(AlgorithmRegistry())
ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(os.environ.get("ONEX_SAMPLE_ORDERS", ROOT.parent / "shared/data/online_retail_sample.csv"))
needs_sample = pytest.mark.skipif(
    not SAMPLE.exists(), reason="optional: no sample of real orders is there; ONEX_SAMPLE_ORDERS names it"
)

Rows = list[dict[str, object]]

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "k": st.sampled_from(["a", "b", "c", None]),
            "n": st.none() | st.integers(-(2**62), 2**62),
            "x": st.none() | st.floats(-1e6, 1e6),
        }
    ),
    max_size=30,
)
SCHEMA = pa.schema([("k", pa.string()), ("n", pa.int64()), ("x", pa.float64())])


def task_of(algorithm: str, data: object, **parameters: object) -> Task:
    contract = compute_pb2.ComputeContract(input_data=json_payload(None))
    contract.algorithm_config.parameters.CopyFrom(to_struct(parameters))
    found = REGISTRY.get(algorithm)
    task = prepared(contract, found, ComputeContext())
    return replace(task, data=data)


def compute(algorithm: str, data: object, **parameters: object) -> object:
    return run(task_of(algorithm, data, **parameters))


def rows_of(result: object) -> Rows:
    return cast("Rows", result.to_pylist() if isinstance(result, pa.Table) else result)


def both(algorithm: str, rows: Rows, **parameters: object) -> Rows:
    """The result over rows, after showing that a table gives the same, as a table."""
    of_rows = compute(algorithm, rows, **parameters)
    of_table = compute(algorithm, pa.Table.from_pylist(rows, schema=SCHEMA), **parameters)
    assert isinstance(of_rows, list)
    assert isinstance(of_table, pa.Table)
    assert of_table.to_pylist() == of_rows
    return of_rows


@pytest.fixture(scope="module")
def sample() -> pa.Table:
    frame = pd.read_csv(SAMPLE, encoding="latin-1").head(20_000)
    return pa.Table.from_pandas(frame, preserve_index=False)


# filter


@given(ROWS, st.integers(-5, 5))
def test_rows_stay_for_which_the_expression_is_true(rows: Rows, edge: int) -> None:
    """R26: what Arrow computes for all rows at once is what CEL gives row by row."""
    known = [row for row in rows if row["x"] is not None and row["k"] is not None]
    expected = [row for row in known if cast("float", row["x"]) > edge or row["k"] == "a"]
    assert both("filter", known, where=f"row.x > {edge} || row.k == 'a'") == expected
    assert both("filter", known, where=f"(row.x > {edge}.0) || row.k == 'a'") == expected
    assert both("filter", rows, where="row.x == null") == [row for row in rows if row["x"] is None]


def test_what_a_filter_cannot_tell_is_refused() -> None:
    """R41: in the words of CEL, with the row."""
    with pytest.raises(ValidationError, match=r"input_data\[1\]: .*No matching overload"):
        compute("filter", [{"a": 1}, {"a": None}], where="row.a > 0")
    with pytest.raises(ValidationError, match=r"input_data\[0\]: the filter should give a boolean, not integer"):
        compute("filter", [{"a": 1}], where="row.a")
    with pytest.raises(ValidationError, match=r"parameters.where: not CEL"):
        compute("filter", [], where="row.(")
    with pytest.raises(ValidationError, match=r"input_data\[1\]: expected a row, found integer"):
        compute("filter", [{}, 1], where="true")
    with pytest.raises(ValidationError, match="input_data: expected rows or a table, found string"):
        compute("filter", "text", where="true")


# project, sort, deduplicate


def test_fields_are_projected_in_order() -> None:
    """R26: a field that a row has not is null, a column that a table has not is refused."""
    assert compute("project", [{"a": 1, "b": 2}, {"b": 3}], fields=["b", "a"]) == [
        {"b": 2, "a": 1},
        {"b": 3, "a": None},
    ]
    table = pa.table({"a": [1], "b": [2]})
    assert rows_of(compute("project", table, fields=["b"])) == [{"b": 2}]
    with pytest.raises(ValidationError, match=r"input_data.z: is required and missing"):
        compute("project", table, fields=["z"])


@given(ROWS, st.booleans(), st.sampled_from(["first", "last"]))
def test_rows_are_sorted_by_several_keys(rows: Rows, descending: bool, nulls: str) -> None:
    """R26: stable, with nulls where they are wanted; integers beyond 2^53 keep their order."""
    expected = list(rows)
    for field, down in (("n", descending), ("k", False)):
        known = [row for row in expected if row[field] is not None]
        known.sort(key=lambda row, field=field: row[field], reverse=down)  # type: ignore[misc]  # no nulls
        unknown = [row for row in expected if row[field] is None]
        expected = unknown + known if nulls == "first" else known + unknown
    assert both("sort", rows, keys=[{"field": "k"}, {"field": "n", "descending": descending}], nulls=nulls) == expected


@given(ROWS, st.sampled_from(["first", "last"]))
def test_of_equal_rows_one_stays(rows: Rows, keep: str) -> None:
    """R26: against pandas, which also takes nulls for equal."""
    frame = pd.DataFrame({"k": pd.Series([row["k"] for row in rows], dtype=object)})
    kept = [rows[index] for index in frame.drop_duplicates(["k"], keep=keep).index]  # type: ignore[call-overload]  # text
    assert both("deduplicate", rows, keys=["k"], keep=keep) == kept


def test_duplicates_by_all_fields() -> None:
    """R26: without keys all fields count; of rows without fields one stays."""
    assert compute("deduplicate", [{"a": 1}, {"a": 1}, {"a": 2}]) == [{"a": 1}, {"a": 2}]
    assert compute("deduplicate", [{}, {}]) == [{}]
    assert compute("deduplicate", []) == []


# group_by


@given(ROWS)
def test_groups_are_aggregated(rows: Rows) -> None:
    """R26, R45: each aggregate against plain Python; sums of integers are exact however large."""
    aggregates = {
        "rows": {"function": "count"},
        "total": {"function": "sum", "field": "n"},
        "mean": {"function": "mean", "field": "n"},
        "least": {"function": "min", "field": "n"},
        "most": {"function": "max", "field": "n"},
        "known": {"function": "count", "field": "n"},
        "kinds": {"function": "count_distinct", "field": "n"},
        "first": {"function": "first", "field": "x"},
        "last": {"function": "last", "field": "x"},
        "all": {"function": "list", "field": "x"},
        "spread": {"function": "stddev", "field": "x"},
        "variance": {"function": "variance", "field": "x"},
    }
    found = cast("Rows", compute("group_by", rows, keys=["k"], aggregates=aggregates))
    assert [row["k"] for row in found] == list(dict.fromkeys(row["k"] for row in rows))
    table = compute("group_by", pa.Table.from_pylist(rows, schema=SCHEMA), keys=["k"], aggregates=aggregates)
    assert rows_of(table) == found
    for group in found:
        members = [row for row in rows if row["k"] == group["k"]]
        whole = [cast("int", row["n"]) for row in members if row["n"] is not None]
        parts = [cast("float", row["x"]) for row in members if row["x"] is not None]
        assert group["rows"] == len(members)
        assert group["total"] == (sum(whole) if whole else None)
        assert group["mean"] == (pytest.approx(sum(whole) / len(whole), rel=1e-15) if whole else None)
        assert (group["least"], group["most"]) == (min(whole, default=None), max(whole, default=None))
        assert (group["known"], group["kinds"]) == (len(whole), len(set(whole)))
        assert (group["first"], group["last"]) == ((parts[0], parts[-1]) if parts else (None, None))
        assert group["all"] == [row["x"] for row in members]
        spread = statistics.stdev(parts) if len(parts) > 1 else None
        assert group["spread"] == (None if spread is None else pytest.approx(spread, rel=1e-6, abs=1e-6))
        assert (group["variance"] is None) == (spread is None)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 3), st.sampled_from("ab")), max_size=40),
    st.sampled_from(["a", "b", "c", "abc", "cb"]),
)
def test_groups_come_in_the_order_of_first_appearance(rows: list[tuple[object, ...]], keys: str) -> None:
    """R48: which Arrow alone does not keep, not even for one key."""
    data = [dict(zip("abc", row, strict=True)) for row in rows]
    found = compute("group_by", data, keys=list(keys), aggregates={"n": {"function": "count"}})
    expected = list(dict.fromkeys(tuple(row[key] for key in keys) for row in data))
    assert [tuple(row[key] for key in keys) for row in rows_of(found)] == expected


def test_no_rows_are_one_group_without_keys_and_none_with_some() -> None:
    """R26: as in SQL."""
    asked = {
        name: {"function": name, "field": "n"}
        for name in ("sum", "mean", "min", "count", "count_distinct", "first", "list", "stddev")
    }
    expected = {**dict.fromkeys(asked), "count": 0, "count_distinct": 0, "list": []}
    for data in ([], pa.table({"n": pa.array([], pa.int64()), "k": pa.array([], pa.string())})):
        assert rows_of(compute("group_by", data, aggregates=asked)) == [expected]
        assert rows_of(compute("group_by", data, keys=["k"], aggregates=asked)) == []
    listed = compute("group_by", [{"n": 2}, {"n": 1}], aggregates={"all": {"function": "list", "field": "n"}})
    assert listed == [{"all": [2, 1]}]


def test_decimals_stay_decimals() -> None:
    """F22: sums of decimals in a table are exact, also where they outgrow 38 digits; means are floats."""
    big = Decimal("9" * 36 + ".99")
    table = pa.table({"d": pa.array([big] * 3, pa.decimal128(38, 2))})
    asked = {"s": {"function": "sum", "field": "d"}, "m": {"function": "mean", "field": "d"}}
    found = compute("group_by", table, aggregates=asked)
    assert rows_of(found) == [{"s": Decimal("2" + "9" * 36 + ".97"), "m": float(big)}]
    small = compute("group_by", pa.table({"d": [Decimal("0.10")] * 3}), aggregates=asked)
    assert isinstance(small, pa.Table)
    assert small.to_pylist() == [{"s": Decimal("0.30"), "m": 0.1}]
    assert small.schema.field("s").type == pa.decimal128(38, 2)


def test_what_cannot_be_grouped_is_refused_with_its_path() -> None:
    """F22: never rounded, never turned into text."""
    total = {"s": {"function": "sum", "field": "n"}}
    for rows, where in (
        ([{"n": 1}, {"n": 2**70}], r"input_data\[1\]\.n: does not fit its column"),
        ([{"n": 0.5}, {"n": 2**53 + 1}], r"input_data\[1\]\.n: does not fit its column"),
        ([{"n": 1}, {"n": "two"}], r"input_data\[1\]\.n: does not fit its column"),
        ([{"n": "one"}], r"input_data\.n: sum needs numbers, found string"),
        ([{"m": 1}], r"input_data\.n: is required and missing"),
    ):
        with pytest.raises(ValidationError, match=where):
            compute("group_by", rows, aggregates=total)
    with pytest.raises(ValidationError, match=r"aggregates.s.field: is required"):
        compute("group_by", [], aggregates={"s": {"function": "sum"}})
    with pytest.raises(ValidationError, match=r"aggregates.n: is the name of a key too"):
        compute("group_by", [], keys=["n"], aggregates={"n": {"function": "count"}})


@needs_sample
def test_real_orders_are_grouped_as_pandas_does(sample: pa.Table) -> None:
    """R26: quantities and prices of real orders by country."""
    asked = {
        "quantity": {"function": "sum", "field": "Quantity"},
        "price": {"function": "mean", "field": "UnitPrice"},
        "spread": {"function": "stddev", "field": "UnitPrice"},
        "customers": {"function": "count_distinct", "field": "CustomerID"},
    }
    found = {row["Country"]: row for row in rows_of(compute("group_by", sample, keys=["Country"], aggregates=asked))}
    groups = sample.to_pandas().groupby("Country")
    assert set(found) == set(groups.groups)
    for country, frame in groups:
        row = found[country]
        assert row["quantity"] == frame["Quantity"].sum()
        assert row["price"] == pytest.approx(frame["UnitPrice"].mean())
        assert row["customers"] == frame["CustomerID"].nunique()
        if len(frame) > 1:
            assert row["spread"] == pytest.approx(frame["UnitPrice"].std())


# join


@settings(max_examples=40)
@given(ROWS, ROWS, st.sampled_from(["inner", "left", "right", "outer", "semi", "anti"]))
def test_rows_are_joined(left: Rows, right: Rows, kind: str) -> None:
    """R26: each kind against nested loops; null equals nothing, as in SQL."""
    expected: list[tuple[object, object]] = []
    met: set[int] = set()
    for row in left:
        mates = [at for at, other in enumerate(right) if row["k"] is not None and other["k"] == row["k"]]
        met.update(mates)
        match kind:
            case "semi" | "anti":
                expected += [(row["n"], None)] if bool(mates) == (kind == "semi") else []
            case _:
                expected += [(row["n"], right[at]["n"]) for at in mates]
                expected += [(row["n"], None)] if not mates and kind in ("left", "outer") else []
    if kind in ("right", "outer"):
        expected += [(None, row["n"]) for at, row in enumerate(right) if at not in met]
    of_rows = rows_of(compute("join", {"left": left, "right": right}, on=["k"], kind=kind))
    tables = {name: pa.Table.from_pylist(rows, schema=SCHEMA) for name, rows in (("left", left), ("right", right))}
    of_tables = rows_of(compute("join", tables, on=["k"], kind=kind))
    assert [(row["n"], row.get("n_right")) for row in of_tables] == expected
    if left and right:  # Rows that are not there have no fields, unlike empty tables.
        assert of_rows == of_tables


@pytest.mark.parametrize("kind", ["inner", "left", "right", "outer"])
def test_keys_of_different_encodings_are_joined(kind: str) -> None:
    """R26: texts with long and short offsets and dictionaries; integers and floats."""
    left = pa.table({"k": pa.array(["a", "b"], pa.large_string()), "n": pa.array([1, 2], pa.int16())})
    right = pa.table({"k": pa.array(["b", "c"]).dictionary_encode(), "n": pa.array([2.0, 2.5])})
    expected = {
        "inner": [("b", 2, 2.0)],
        "left": [("a", 1, None), ("b", 2, 2.0)],
        "right": [("b", 2, 2.0), ("c", None, 2.5)],
        "outer": [("a", 1, None), ("b", 2, 2.0), ("c", None, 2.5)],
    }
    by_text = rows_of(compute("join", {"left": left, "right": right}, on=["k"], kind=kind))
    assert [(row["k"], row["n"], row["n_right"]) for row in by_text] == expected[kind]
    by_number = rows_of(compute("join", {"left": left, "right": right}, on=["n"], kind=kind))
    numbers = {"inner": [2], "left": [1, 2], "right": [2, 2.5], "outer": [1, 2, 2.5]}
    assert [row["n"] for row in by_number] == numbers[kind]


def test_lookups_come_as_a_parameter() -> None:
    """R26: other names of keys, names that clash, and what does not fit."""
    data = [{"sku": "a", "name": 1}, {"sku": "b", "name": 2}]
    right = [{"id": "a", "name": "apple"}]
    assert compute("join", data, on=["sku"], right_on=["id"], right=right, kind="left") == [
        {"sku": "a", "name": 1, "name_right": "apple"},
        {"sku": "b", "name": 2, "name_right": None},
    ]
    assert rows_of(compute("join", pa.Table.from_pylist(data), on=["sku"], right_on=["id"], right=right)) == [
        {"sku": "a", "name": 1, "name_right": "apple"}
    ]
    for changed, where in (
        ({"right_on": ["id", "name"]}, "right_on: needs 1 fields"),
        ({"right_on": ["zip"]}, "parameters.right.zip: is required and missing"),
        ({"right": [{"id": 5}]}, "input_data: cannot be joined"),
    ):
        with pytest.raises(ValidationError, match=where):
            compute("join", data, **{"on": ["sku"], "right_on": ["id"], "right": right, **changed})
    with pytest.raises(
        ValidationError, match=r"the right rows are missing: .* an object with the fields left and right"
    ):
        compute("join", data, on=["sku"])


# describe and normalise


def test_columns_are_described_exactly() -> None:
    """R26: nulls and NaN are counted and left out; the mean of huge integers is rounded once."""
    rows: Rows = [{"n": 2**62, "x": 1.0, "t": "a"}, {"n": 2**62 + 2, "x": math.nan, "t": "b"}, {"n": None, "x": None}]
    found = cast("dict[str, dict[str, object]]", compute("describe", rows))
    assert list(found) == ["n", "x"]
    assert (found["n"]["count"], found["n"]["nulls"], found["n"]["max"]) == (2, 1, 2**62 + 2)
    assert found["n"]["mean"] == float(2**62 + 1)
    assert found["x"] == {
        "count": 1,
        "nulls": 1,
        "nan": 1,
        "mean": 1.0,
        "std": None,
        "min": 1.0,
        "max": 1.0,
        "quantiles": {"0.25": 1.0, "0.5": 1.0, "0.75": 1.0},
    }
    assert compute("describe", []) == {}
    with pytest.raises(ValidationError, match=r"quantiles: 2.0 is not within 0 to 1"):
        compute("describe", rows, quantiles=[2])
    with pytest.raises(ValidationError, match=r"input_data.t: expected numbers, found string"):
        compute("describe", rows, fields=["t"])


@needs_sample
def test_real_orders_are_described_as_pandas_does(sample: pa.Table) -> None:
    """R26: count, mean, deviation and quantiles of each column of numbers."""
    found = cast("dict[str, dict[str, object]]", compute("describe", sample, fields=["Quantity", "UnitPrice"]))
    oracle = sample.to_pandas()[["Quantity", "UnitPrice"]].describe()
    for name, column in found.items():
        for part in ("count", "mean", "std", "min", "max"):
            assert column[part] == pytest.approx(oracle.loc[part, name])
        quantiles = cast("dict[str, float]", column["quantiles"])
        assert quantiles["0.25"] == pytest.approx(oracle.loc["25%", name])
        assert quantiles["0.75"] == pytest.approx(oracle.loc["75%", name])


def test_columns_are_normalised() -> None:
    """R26: onto 0 to 1 or by deviations; constant columns become 0, nulls stay."""
    rows: Rows = [{"n": 1, "x": 5.0, "c": 7}, {"n": None, "x": 7.0, "c": 7}, {"n": 3, "x": 9.0, "c": 7}]
    expected: Rows = [{"n": 0.0, "x": 0.0, "c": 0.0}, {"n": None, "x": 0.5, "c": 0.0}, {"n": 1.0, "x": 1.0, "c": 0.0}]
    assert compute("normalise", rows, fields=["n", "x", "c"]) == expected
    assert rows_of(compute("normalise", pa.Table.from_pylist(rows), fields=["n", "x", "c"])) == expected
    scored = cast("Rows", compute("normalise", rows, fields=["x"], method="z_score"))
    assert [row["x"] for row in scored] == [-1.0, 0.0, 1.0]
    with pytest.raises(ValidationError, match=r"input_data.n: cannot be normalised without rounding"):
        compute("normalise", [{"n": 2**60 + 1}], fields=["n"])


# validate


def test_rows_are_validated_against_json_schema() -> None:
    """R36, R37, F21: all violations with their paths up to a bound, as an error or as the result."""
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"minimum": 1}, "b": {"items": {"type": "string"}}},
    }
    rows = [{"a": 1}, {"a": 0, "b": ["x", 1]}, {}]
    assert compute("validate", rows[:1], schema=schema) == rows[:1]
    with pytest.raises(ValidationError) as caught:
        compute("validate", rows, schema=schema)
    paths = [path for path, _ in caught.value.violations]
    assert sorted(paths) == ["input_data[1].a", "input_data[1].b[1]", "input_data[2]"]
    told = cast("dict[str, object]", compute("validate", rows, schema=schema, violations="result", bound=2))
    assert told["valid"] is False
    assert len(cast("Rows", told["violations"])) == 2
    assert compute("validate", {"a": 5}, schema=schema, violations="result") == {"valid": True, "violations": []}
    assert rows_of(compute("validate", pa.table({"a": [1]}), schema=schema)) == [{"a": 1}]
    with pytest.raises(ValidationError, match=r"parameters.schema.type: not JSON Schema"):
        compute("validate", rows, schema={"type": "nonsense"})


def test_each_is_listed_with_its_schemas() -> None:
    """R32, R42: parameters of every built-in algorithm are told."""
    for name in ("filter", "project", "sort", "deduplicate", "group_by", "join", "describe", "normalise", "validate"):
        model = REGISTRY.get(name).params_model
        assert model is not None
        assert all("description" in entry for entry in model.model_json_schema()["properties"].values())
