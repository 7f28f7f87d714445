"""Built-in algorithms, validation by shape and output formats, beyond what the engine's own tests show."""

from __future__ import annotations

import datetime
import statistics

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import common_pb2, compute_pb2
from onex_mesh.compute.core import AlgorithmRegistry, ComputeContext
from onex_mesh.compute.core.builtin import StatisticsParams, describe, with_builtins
from onex_mesh.compute.core.chunks import CHUNKS_MAX, bounds, concatenated, cut
from onex_mesh.compute.core.computation import finished, prepared, run
from onex_mesh.compute.core.output import encoded, read_table, shaped
from onex_mesh.compute.core.validation import validate_input
from onex_mesh.runtime.errors import ComputeFailedError, ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, BYTES_TYPE, from_payload, json_payload, to_struct

REGISTRY = with_builtins(AlgorithmRegistry())
JSON = compute_pb2.OUTPUT_FORMAT_JSON
ARRAY = compute_pb2.OUTPUT_FORMAT_ARRAY
DATAFRAME = compute_pb2.OUTPUT_FORMAT_DATAFRAME
PASSTHROUGH = compute_pb2.OUTPUT_FORMAT_PASSTHROUGH


def write_result(value: object, asked: compute_pb2.OutputFormat) -> common_pb2.Payload:
    payload = common_pb2.Payload()
    encoded(shaped(value, asked)).fill(payload)
    return payload


def compute(algorithm: str, data: object, **parameters: object) -> object:
    made = compute_pb2.ComputeContract(input_data=json_payload(data))
    made.algorithm_config.parameters.CopyFrom(to_struct(parameters))
    found = REGISTRY.get(algorithm)
    result = run(prepared(made, found, ComputeContext()))
    return from_payload(finished(made, found, result, "c").processed_data)


# Statistics


def test_statistics_of_none_and_one() -> None:
    """R26: what cannot be told of so few values is null."""
    nothing = dict.fromkeys(("mean", "min", "max", "variance", "stdev", "median"))
    assert compute("statistics", []) == {
        "count": 0,
        "sum": 0,
        **nothing,
        "quantiles": {"0.25": None, "0.5": None, "0.75": None},
    }
    assert compute("statistics", [7], quantiles=[0, 1]) == {
        "count": 1,
        "sum": 7,
        "mean": 7,
        "min": 7,
        "max": 7,
        "variance": None,
        "stdev": None,
        "median": 7,
        "quantiles": {"0": 7, "1": 7},
    }


@given(st.lists(st.integers(-(10**12), 10**12), min_size=2, max_size=50), st.integers(2, 20))
def test_quantiles_are_those_of_the_standard_library(values: list[int], parts: int) -> None:
    """R26: linear between the closest ranks, for any number of parts."""
    shares = tuple(number / parts for number in range(1, parts))
    found = describe(list(values), StatisticsParams(quantiles=shares))["quantiles"]
    assert isinstance(found, dict)
    expected = statistics.quantiles(values, n=parts, method="inclusive")
    assert list(found.values()) == pytest.approx(expected, rel=1e-9, abs=1e-3)
    assert len(found) == len(shares)


# Map


def test_rows_are_projected_renamed_and_computed() -> None:
    """R26: CEL over the row; prices that are whole on one row and not on another mix."""
    rows = [{"sku": "a", "price": 2, "count": 3}, {"sku": "b", "price": 2.5, "count": 4}]
    assert compute("map", rows, fields={"sku": "row.sku", "article": "row.sku", "total": "row.price * row.count"}) == [
        {"sku": "a", "article": "a", "total": 6},
        {"sku": "b", "article": "b", "total": 10},
    ]
    assert compute("map", rows[:1], fields={"dear": "row.price > 1 ? 'yes' : 'no'"}, keep=True) == [
        {**rows[0], "dear": "yes"}
    ]
    assert compute("map", [], fields={"a": "row.a"}) == []


def test_what_an_expression_gives_must_be_json() -> None:
    """F22: a type, a duration or an infinity is refused with its path."""
    for expression, message in (("type(row)", "a Type cannot be JSON"), ("1.0 / 0.0", "inf is not JSON")):
        with pytest.raises(ComputeFailedError, match=rf"\[0\]\.x: {message}"):
            compute("map", [{"a": 1}], fields={"x": expression})


# Validation


TABLE = pa.table({"sku": ["a", None], "pence": [1, 2]})


def test_a_table_is_checked_like_its_rows() -> None:
    """R36, R37, F21: columns that are missing, and nulls where a type is expected."""
    validate_input(TABLE, ["sku"], {"pence": "integer"})
    with pytest.raises(ValidationError) as caught:
        validate_input(TABLE, ["sku", "country"], {"sku": "string"})
    assert caught.value.violations == (
        ("input_data.country", "is required and missing"),
        ("input_data[1].sku", "has the wrong type: expected string, found null"),
    )


@pytest.mark.parametrize(
    ("value", "right", "wrong"),
    [
        ("x", ["string"], ["number", "null", "array"]),
        (1, ["integer", "number"], ["boolean", "string"]),
        (1.5, ["number"], ["integer"]),
        (True, ["boolean"], ["integer", "number"]),
        ({}, ["object"], ["array"]),
        ([], ["array"], ["object"]),
        (None, ["null"], ["string", "object"]),
    ],
)
def test_types_are_those_of_json(value: object, right: list[str], wrong: list[str]) -> None:
    """R37: expected and found type; an integer is a number, a boolean is none."""
    for expected in right:
        validate_input({"field": value}, [], {"field": expected})
    for expected in wrong:
        with pytest.raises(ValidationError, match=f"expected {expected}, found "):
            validate_input({"field": value}, [], {"field": expected})


def test_a_scalar_has_no_fields() -> None:
    """F21: rules over fields need an object or rows; without rules, anything goes."""
    validate_input(7, [], {})
    validate_input([], ["a"], {})
    with pytest.raises(ValidationError, match="input_data should be an object with fields, found integer"):
        validate_input(7, ["a"], {})


def test_violations_are_bounded() -> None:
    """R36: at most a hundred."""
    with pytest.raises(ValidationError) as caught:
        validate_input([{}] * 1000, ["a"], {})
    assert len(caught.value.violations) == 100


# Formats


@pytest.mark.parametrize(
    ("value", "asked", "expected"),
    [
        (7, ARRAY, [7]),
        ({"a": 1}, ARRAY, [{"a": 1}]),
        ([1], ARRAY, [1]),
        (None, ARRAY, [None]),
        (None, JSON, None),
        (TABLE, JSON, [{"sku": "a", "pence": 1}, {"sku": None, "pence": 2}]),
        (TABLE, ARRAY, [{"sku": "a", "pence": 1}, {"sku": None, "pence": 2}]),
        ((1, 2), PASSTHROUGH, [1, 2]),
        (datetime.date(2026, 1, 2), JSON, "2026-01-02"),
    ],
)
def test_results_as_json(value: object, asked: compute_pb2.OutputFormat, expected: object) -> None:
    """R38: json and array; a scalar becomes a list of one."""
    assert from_payload(write_result(value, asked)) == expected


def test_results_as_bytes() -> None:
    """R38, F22: tables as Arrow, bytes as they are, and bytes are never taken for text."""
    for asked in (PASSTHROUGH, DATAFRAME):
        payload = write_result(TABLE, asked)
        assert payload.content_type == ARROW_TYPE
        assert read_table(payload.data).equals(TABLE)
    assert read_table(write_result(7, DATAFRAME).data).to_pylist() == [{"value": 7}]
    assert read_table(write_result([], DATAFRAME).data).num_rows == 0
    raw = write_result(b"\x00", PASSTHROUGH)
    assert (raw.data, raw.content_type) == (b"\x00", BYTES_TYPE)
    for asked in (JSON, ARRAY):
        with pytest.raises(ValidationError, match="bytes are not JSON"):
            write_result(b"\x00", asked)


def test_a_result_of_an_unknown_type_names_its_path() -> None:
    """F22: never its text."""
    with pytest.raises(ValidationError, match=r"rows\[1\]\.tags: a set cannot be JSON"):
        write_result({"rows": [{}, {"tags": {"a"}}]}, JSON)


def wrongly(data: object) -> int:
    """Does not return what it says."""
    return "text"  # type: ignore[return-value]  # what is tested


def test_a_result_of_another_type_than_declared_is_a_failure() -> None:
    """R41: the algorithm's fault, not the caller's."""
    registry = AlgorithmRegistry()
    algorithm = registry.add_function(wrongly)
    with pytest.raises(ComputeFailedError, match="the result of the algorithm 'wrongly' is refused"):
        finished(compute_pb2.ComputeContract(), algorithm, wrongly(1), "c")


# Chunks


@given(st.integers(0, 60), st.integers(1, 20))
def test_tables_and_lists_are_cut_alike_and_joined_again(count: int, parts: int) -> None:
    """R34, R35: offsets, order and nothing lost."""
    rows = [{"n": number} for number in range(count)]
    table = pa.table({"n": pa.array(range(count), pa.int64())})
    pieces = [cut(rows, parts), cut(table, parts)]
    assert [piece.offset for piece in pieces[0]] == [piece.offset for piece in pieces[1]]
    assert concatenated([piece.data for piece in pieces[0]]) == rows
    joined = concatenated([piece.data for piece in pieces[1]])
    assert isinstance(joined, pa.Table)
    assert joined.to_pylist() == rows


def test_chunks_are_bounded() -> None:
    """R34: a worker_count of a billion makes no billion chunks."""
    assert len(bounds(10**7, 10**9)) == CHUNKS_MAX


def test_partials_that_are_no_lists_are_joined_as_items() -> None:
    """R35: concatenating scalars gives a list of them."""
    assert concatenated([1, [2, 3], (4,)]) == [1, 2, 3, 4]
