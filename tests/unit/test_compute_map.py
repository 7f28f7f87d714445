"""map and filter on rows and tables: types, failures and chunks."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from dataclasses import replace
from decimal import Decimal
from typing import cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex_mesh.compute.core.chunks import concatenated, cut
from onex_mesh.compute.core.computation import run
from onex_mesh.runtime.errors import ValidationError
from tests.unit.test_compute_expressions import SCHEMA, expressions, typed_rows
from tests.unit.test_compute_tabular import Rows, compute, rows_of, task_of


def mapped(data: object, keep: bool = False, **fields: str) -> object:
    return compute("map", data, fields=fields, keep=keep)


def test_a_table_is_mapped_to_a_table_of_the_types_that_the_expressions_have() -> None:
    """R26: also of no rows, and where a column is renamed it stays what it was."""
    table = pa.table(
        {"n": pa.array([1, 2], pa.int16()), "x": [1.5, None], "d": [Decimal("1.10"), None], "l": [[1], []]}
    )
    fields = {
        "total": "row.n * 2",
        "half": "row.n / 2.0",
        "either": "row.n > 1 ? row.n : row.x",
        "small": "row.n",
        "price": "row.d",
        "list": "row['l']",
        "known": "row.x != null",
        "text": "'n' + string(row.n)",
        "first": "string(row.n).charAt(0)",
        "count": "size(row.l)",
        "nothing": "null",
    }
    expected = {
        "total": pa.int64(),
        "half": pa.float64(),
        "either": pa.float64(),
        "small": pa.int16(),
        "price": table.schema.field("d").type,
        "list": pa.list_(pa.int64()),
        "known": pa.bool_(),
        "text": pa.string(),
        "first": pa.string(),
        "count": pa.int64(),
        "nothing": pa.null(),
    }
    for data in (table, table.slice(0, 0)):
        found = mapped(data, **fields)
        assert isinstance(found, pa.Table)
        assert {field.name: field.type for field in found.schema} == {**expected, "list": table.schema.field("l").type}
    assert rows_of(mapped(table, **fields))[1] == {
        "total": 4,
        "half": 1.0,
        "either": 2.0,
        "small": 2,
        "price": None,
        "list": [],
        "known": False,
        "text": "n2",
        "first": "2",
        "count": 0,
        "nothing": None,
    }


def test_fields_that_are_kept_stay_in_their_places() -> None:
    """R26: of rows and of tables; a new field of the same name takes the place."""
    rows: Rows = [{"a": 1, "b": 2}, {"a": 3, "b": None}]
    for data in (rows, pa.Table.from_pylist(rows)):
        found = rows_of(mapped(data, keep=True, a="row.a + 1", c="row.b"))
        assert found == [{"a": 2, "b": 2, "c": 2}, {"a": 4, "b": None, "c": None}]
        assert [list(row) for row in found] == [["a", "b", "c"]] * 2


@settings(max_examples=150, deadline=None)
@given(st.lists(expressions, min_size=1, max_size=3), typed_rows, st.integers(1, 4), st.booleans())
def test_rows_tables_and_chunks_of_them_are_mapped_alike(
    sources: list[str], rows: Rows, parts: int, keep: bool
) -> None:
    """R34, R35: the same values, or the same failure of the same row; the types of a table do not depend on the cut."""
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    fields = {f"f{at}": source for at, source in enumerate(sources)}
    of_rows, of_table = attempted(rows, parts, fields, keep), attempted(table, parts, fields, keep)
    if isinstance(of_table, str):
        # A table has no column for values of several types, and none for integers that a float rounds.
        assert of_rows == of_table or "does not fit its column" in of_table
        return
    assert not isinstance(of_rows, str), of_rows
    assert repr([normal(row) for row in rows_of(of_table)]) == repr([normal(row) for row in rows_of(of_rows)])


def normal(row: dict[str, object]) -> dict[str, object]:
    """Without the order of fields, and the difference of 1 and 1.0, which a column of numbers does not keep."""
    return {name: float(value) if type(value) is int else value for name, value in sorted(row.items())}


def attempted(data: object, parts: int, fields: dict[str, str], keep: bool) -> object:
    """The result, which is the same in chunks, or what is wrong."""
    try:
        whole = compute("map", data, fields=fields, keep=keep)
    except ValidationError as error:
        return error.message
    task = task_of("map", data, fields=fields, keep=keep)
    pieces = [
        run(replace(task, data=piece.data, context=replace(task.context, offset=piece.offset)))
        for piece in cut(data, parts)
    ]
    joined = concatenated(pieces)
    if isinstance(whole, pa.Table):
        assert isinstance(joined, pa.Table)
        assert joined.schema == whole.schema
        assert repr(joined.to_pylist()) == repr(whole.to_pylist())
    else:
        assert repr(joined) == repr(whole)
    return whole


def test_the_first_row_that_fails_is_told() -> None:
    """R41: of several fields, evaluated at once or row by row, with the offset of a chunk."""
    rows: Rows = [{"a": 1, "b": "x"}, {"a": 1, "b": None}, {"a": 0, "b": "x"}]
    for data in (rows, pa.Table.from_pylist(rows)):
        with pytest.raises(ValidationError, match=r"input_data\[1\]: the field 'y' failed: .*No matching overload"):
            mapped(data, x="1 / row.a", y="row.b + 'x'")
        with pytest.raises(ValidationError, match=r"input_data\[2\]: the field 'x' failed: .*divide by zero"):
            mapped(data, x="1 / row.a", y="row.b == null ? '' : row.b.charAt(0)")
        with pytest.raises(ValidationError, match=r"input_data\[0\]: the field 'z' failed: .*not found"):
            mapped(data, z="row.gone")
    task = task_of("map", rows[2:], fields={"x": "1 / row.a"})
    with pytest.raises(ValidationError, match=r"input_data\[9\]"):
        run(replace(task, context=replace(task.context, offset=9)))


def test_overflow_is_an_error_of_its_row() -> None:
    """F22: 64 bits never wrap around, and a row that does not ask for the sum has none."""
    table = pa.table({"n": [1, 2**63 - 1]})
    with pytest.raises(ValidationError, match=r"input_data\[1\]: the field 'm' failed: .*overflow"):
        mapped(table, m="row.n + 1")
    found = mapped(table, m="row.n > 5 ? 0 : row.n + 1")
    assert isinstance(found, pa.Table)
    assert found.to_pylist() == [{"m": 2}, {"m": 0}]
    assert found.schema.field("m").type == pa.int64()


def test_what_fits_no_column_is_refused_with_its_row() -> None:
    """F22: a column has one type, and integers are not rounded for the floats beside them."""
    table = pa.table({"n": [1, 2**53 + 1], "x": [0.5, 0.5], "t": ["a", "b"]})
    with pytest.raises(ValidationError, match=r"input_data\[1\].m: does not fit its column"):
        mapped(table, m="row.n > 5 ? row.n : row.x")
    with pytest.raises(ValidationError, match=r"input_data\[1\].m: does not fit its column"):
        mapped(table, m="row.n > 5 ? row.t : row.x")


def test_rows_are_mapped_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """R26: it is an extra; without it, row by row."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert mapped([{"a": 1}, {"a": 2}], keep=True, b="row.a + 1") == [{"a": 1, "b": 2}, {"a": 2, "b": 3}]


def test_times_of_a_table_are_compared() -> None:
    """R26: row by row, for they are not JSON's."""
    at = datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC)
    table = pa.table({"at": pa.array([at, None], pa.timestamp("us", "UTC"))})
    found = mapped(table, late="row.at != null && row.at > timestamp('2026-01-01T00:00:00Z')", at="row.at")
    assert rows_of(found) == [{"late": True, "at": at}, {"late": False, "at": None}]
    kept = compute("filter", table, where="row.at == null")
    assert rows_of(kept) == [{"at": None}]


def test_a_filter_reports_what_is_no_boolean_of_rows_and_tables() -> None:
    """R41: the first row that is neither true nor false, also where Arrow found it."""
    rows: Rows = [{"b": True, "n": 1}, {"b": None, "n": 1}, {"b": False, "n": 0}]
    for data in (rows, pa.Table.from_pylist(rows)):
        with pytest.raises(ValidationError, match=r"input_data\[1\]: the filter should give a boolean, not null"):
            compute("filter", data, where="row.b")
        with pytest.raises(ValidationError, match=r"input_data\[2\]: .*divide by zero"):
            compute("filter", data, where="1 / row.n > 0")
        assert rows_of(compute("filter", data, where="row.b == null || row.b")) == cast("Rows", rows[:2])
    assert compute("filter", rows, where="1 < 2") == rows
    assert compute("filter", rows, where="has(row.gone)") == []
