"""JSON Schema over tables: the violations of the rows, told from the columns where that is possible."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import cast

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex_mesh.compute.core.json_schema import schema_validator, schema_violations
from onex_mesh.compute.core.schema_columns import suspects
from onex_mesh.compute.core.validation import validate_input
from onex_mesh.runtime.errors import ValidationError
from tests.unit.test_compute_tabular import compute

names = st.sampled_from(["n", "x", "t", "b", "l", "s", "gone"])
kinds = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
sub_schemas = st.booleans() | st.fixed_dictionaries(
    {},
    optional={
        "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
        "minimum": st.integers(-2, 2) | st.floats(-2, 2),
        "maximum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 3),
        "pattern": st.sampled_from(["^a", "b$", "."]),
        "enum": st.lists(st.none() | st.integers(-1, 1) | st.sampled_from(["a", "ab", 0.5, True]), min_size=1),
        "const": st.sampled_from([1, 0.0, "a", None, False]),
        "multipleOf": st.sampled_from([1, 0.5]),
        "items": st.fixed_dictionaries({"type": kinds}),
        "properties": st.fixed_dictionaries({"a": st.fixed_dictionaries({"type": kinds})}),
        "$ref": st.just("#/$defs/small"),
        "title": st.just("a title"),
    },
)
schemas = st.fixed_dictionaries(
    {"$defs": st.just({"small": {"maximum": 1}})},
    optional={
        "type": st.sampled_from(["object", ["object", "null"], "array"]),
        "properties": st.dictionaries(names, sub_schemas, max_size=4),
        "required": st.lists(names, max_size=3, unique=True),
        "additionalProperties": sub_schemas,
        "minProperties": st.integers(0, 7),
        "$schema": st.sampled_from(
            ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#"]
        ),
    },
)
tables = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.none() | st.integers(-2, 2),
            "x": st.none() | st.sampled_from([0.0, -0.0, 1.0, 0.5, -1.5, float("nan"), float("inf")]),
            "t": st.none() | st.sampled_from(["", "a", "ab", "é", "abba"]),
            "b": st.none() | st.booleans(),
            "l": st.none() | st.lists(st.integers(0, 1), max_size=2),
            "s": st.none() | st.fixed_dictionaries({"a": st.integers(0, 1)}),
        }
    ),
    max_size=6,
)
SCHEMA = pa.schema(
    [
        ("n", pa.int64()),
        ("x", pa.float64()),
        ("t", pa.string()),
        ("b", pa.bool_()),
        ("l", pa.list_(pa.int64())),
        ("s", pa.struct([("a", pa.int64())])),
    ]
)


@settings(max_examples=150, deadline=None)
@given(schemas, tables, st.lists(st.sampled_from(SCHEMA.names), max_size=6, unique=True), st.integers(0, 6))
def test_a_table_has_the_violations_of_its_rows(
    schema: dict[str, object], rows: list[dict[str, object]], kept: list[str], at: int
) -> None:
    """F21: the same ones, in the same order, with the same paths; also of a table in pieces."""
    whole = pa.Table.from_pylist(rows, schema=SCHEMA).select(kept or SCHEMA.names)
    table = pa.concat_tables([whole.slice(0, at), whole.slice(at)])
    validator = schema_validator(schema, "schema")
    expected = list(schema_violations(validator, table.to_pylist(), 7))
    assert list(schema_violations(validator, table, 7)) == expected


def rows_looked_at(schema: dict[str, object], table: pa.Table) -> list[object] | None:
    found = suspects(schema_validator(schema, "schema"), table)
    return None if found is None else found.to_pylist()


TABLE = pa.table(
    {
        "sku": pa.array(["a-1", "b-2", None, "a-1"]).dictionary_encode(),
        "pence": [100, 250, 3, 100],
        "weight": [0.5, None, 2.0, 1.0],
        "note": ["", "fragile", "x", ""],
        "price": [Decimal("1.00"), Decimal("2.50"), None, Decimal("1.00")],
        "day": [datetime.date(2026, 1, 2)] * 4,
    }
)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, []),
        ({"pence": {"type": "integer", "minimum": 3, "maximum": 250}}, []),
        ({"pence": {"exclusiveMinimum": 3}}, [2]),
        ({"weight": {"type": ["number", "null"], "maximum": 2}}, []),
        ({"weight": {"type": "number"}}, [1]),
        ({"weight": {"type": ["integer", "null"]}}, [0]),
        ({"note": {"type": "string", "maxLength": 7}}, []),
        ({"note": {"type": "string", "minLength": 1}}, [0, 3]),
        ({"sku": {"enum": ["a-1", "b-2"]}}, [2]),
        ({"sku": {"pattern": "^a"}}, [1]),
        ({"sku": {"pattern": "^a"}, "note": {"const": ""}}, [1, 2]),
        ({"price": {"type": ["number", "null"], "minimum": 2}}, [0, 3]),
        ({"day": {"type": "string"}}, [0, 1, 2, 3]),
    ],
)
def test_only_rows_with_a_value_that_breaks_its_schema_are_looked_at(
    properties: dict[str, object], expected: list[int]
) -> None:
    """R28: the others are never made into objects."""
    schema = {"type": "object", "required": ["sku"], "properties": properties}
    assert rows_looked_at(schema, TABLE) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"required": ["gone"]},
        {"minProperties": 1},
        {"allOf": [{"required": ["sku"]}]},
        {"if": {"properties": {"pence": {"const": 3}}}, "then": {"required": ["sku"]}},
        {"patternProperties": {"^p": {"type": "integer"}}},
        {"$ref": "#/$defs/row", "$defs": {"row": {"required": ["sku"]}}},
    ],
)
def test_a_schema_that_says_more_is_for_all_rows(schema: dict[str, object]) -> None:
    """F21: what is said of rows as a whole is looked up in whole rows."""
    assert rows_looked_at(schema, TABLE) is None


def test_violations_of_a_large_table_are_bounded_and_named_by_row() -> None:
    """F21: at most a hundred, from the first on."""
    table = pa.table({"n": [-1 if number % 10 == 3 else number for number in range(20_000)]})
    schema = {"properties": {"n": {"minimum": 0}}}
    with pytest.raises(ValidationError) as caught:
        validate_input(table, [], {}, json_schema=schema)
    assert [at for at, _ in caught.value.violations] == [f"input_data[{10 * row + 3}].n" for row in range(100)]
    result = compute("validate", table, schema=schema, violations="result", bound=1)
    assert result == {
        "valid": False,
        "violations": [{"path": "input_data[3].n", "message": "-1 is less than the minimum of 0"}],
    }
    infinite = pa.table({"x": [1.0, float("inf")]})
    result = compute("validate", infinite, schema={"properties": {"x": {"multipleOf": 0.5}}}, violations="result")
    told = cast("dict[str, list[dict[str, str]]]", result)["violations"]
    assert [violation["path"] for violation in told] == ["input_data[1]"]
    assert told[0]["message"].startswith("cannot be checked against the schema: ")
    assert compute("validate", table, schema={"properties": {"n": {"minimum": -1}}}) is table
