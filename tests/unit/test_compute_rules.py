"""Rules for fields, JSON Schema of the input, and Parquet: the same for objects, rows and tables."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import common_pb2, compute_pb2
from onex_mesh.compute.core import AlgorithmRegistry, ComputeContext
from onex_mesh.compute.core.builtin import with_builtins
from onex_mesh.compute.core.computation import finished, prepared, run
from onex_mesh.compute.core.output import PARQUET_TYPE, read_data, read_parquet, write_parquet
from onex_mesh.compute.core.rules import Rules, rule_violations
from onex_mesh.compute.core.validation import validate_input
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import json_payload, to_struct, to_value

RULES = {
    "n": Rules(minimum=0, maximum=10),
    "t": Rules(pattern="^[a-c]+$", min_length=2, max_length=3),
    "c": Rules(one_of=("UK", "FR", 1)),
}


def violations(data: object) -> list[tuple[str, str]]:
    return list(rule_violations(data, RULES))


def test_each_rule_says_what_breaks_it() -> None:
    """R37, F21: ranges, patterns, lengths and enumerations of an object; null and what is not there break none."""
    assert violations({"n": 11, "t": "dddd", "c": "DE"}) == [
        ("input_data.n", "is greater than 10: 11"),
        ("input_data.t", "does not match '^[a-c]+$': 'dddd'"),
        ("input_data.t", "is longer than 3: 4"),
        ("input_data.c", "is none of 'UK', 'FR', 1: 'DE'"),
    ]
    assert violations({"n": -0.5, "t": "a", "c": True}) == [
        ("input_data.n", "is less than 0: -0.5"),
        ("input_data.t", "is shorter than 2: 1"),
        ("input_data.c", "is none of 'UK', 'FR', 1: 'True'"),
    ]
    assert violations({"n": None, "t": ["x", "y"], "c": 1}) == []
    assert violations([{}, 7, {"n": 0}]) == []


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "n": st.none() | st.floats(-3, 13) | st.just(float("nan")),
                "t": st.none() | st.text("abcd", max_size=4),
                "c": st.sampled_from([None, "UK", "FR", "DE"]),
            }
        ),
        max_size=12,
    )
)
def test_a_table_breaks_the_rules_that_its_rows_break(rows: list[dict[str, object]]) -> None:
    """F21: looking at columns as a whole finds the same; NaN is within no range."""
    schema = pa.schema([("n", pa.float64()), ("t", pa.string()), ("c", pa.string())])
    assert violations(pa.Table.from_pylist(rows, schema=schema)) == violations(rows)


def test_huge_integers_and_decimals_are_compared_exactly() -> None:
    """R37: no rounding to floats on the way to a comparison."""
    rule = {"n": Rules(maximum=float(2**62))}
    for values in ([2**62, 2**62 + 1], [Decimal(2**62), Decimal(2**62 + 1)]):
        found = list(rule_violations(pa.table({"n": values}), rule))
        assert [path for path, _ in found] == ["input_data[1].n"]


def contract(data: common_pb2.Payload) -> compute_pb2.ComputeContract:
    made = compute_pb2.ComputeContract(input_data=data)
    made.algorithm_config.algorithm_type = "filter"
    made.algorithm_config.parameters.CopyFrom(to_struct({"where": "true"}))
    return made


def test_a_contract_carries_rules_and_a_schema() -> None:
    """R36, R37: all violations of required fields, types, rules and schema come at once."""
    algorithm = with_builtins(AlgorithmRegistry()).get("filter")
    made = contract(json_payload([{"n": 5, "c": "UK"}, {"n": -1, "c": "XX"}]))
    rules = made.input_validation.rules
    rules["n"].minimum, rules["n"].maximum = 0, 10
    rules["c"].one_of.append(to_value("UK"))
    rules["c"].max_length, rules["c"].min_length, rules["c"].pattern = 1, 1, "U"
    made.input_validation.required_fields.append("z")
    made.input_validation.json_schema.CopyFrom(to_struct({"properties": {"n": {"multipleOf": 5}}}))
    with pytest.raises(ValidationError) as caught:
        prepared(made, algorithm, ComputeContext())
    assert [path for path, _ in caught.value.violations] == [
        *("input_data[0].z", "input_data[1].z"),
        *("input_data[0].c", "input_data[1].c", "input_data[1].c", "input_data[1].c"),
        *("input_data[1].n", "input_data[1].n"),
    ]


def test_wrong_rules_are_refused() -> None:
    """R37: a pattern that is not RE2 and a schema that is none, with where they stand."""
    with pytest.raises(ValidationError, match=r"input_validation\.rules\.a\.pattern: not RE2"):
        validate_input({}, [], {}, {"a": Rules(pattern="(?=x)")})
    with pytest.raises(ValidationError, match=r"input_validation\.json_schema\.type: not JSON Schema"):
        validate_input({}, [], {}, {}, {"type": "nonsense"})
    with pytest.raises(ValidationError, match=r"input_data 'a' is a required property"):
        validate_input({}, [], {}, {}, {"required": ["a"]})


def test_tables_travel_as_parquet() -> None:
    """R38: decimals and nulls stay; what is no Parquet is refused."""
    table = pa.table({"d": [Decimal("1.10"), None], "n": [1, 2**60]})
    algorithm = with_builtins(AlgorithmRegistry()).get("filter")
    made = contract(common_pb2.Payload(data=write_parquet(table), content_type=PARQUET_TYPE))
    made.output_transformation.format = compute_pb2.OUTPUT_FORMAT_PARQUET
    made.algorithm_config.parameters.CopyFrom(to_struct({"where": "row.n > 1"}))
    output = finished(made, algorithm, run(prepared(made, algorithm, ComputeContext())), "c")
    assert output.processed_data.content_type == PARQUET_TYPE
    assert output.performance_metrics.data_size == 1
    back = read_parquet(output.processed_data.data)
    assert isinstance(back, pa.Table)
    assert back.equals(table.slice(1))
    with pytest.raises(ValidationError, match="input_data: not a Parquet file"):
        read_data(common_pb2.Payload(data=b"nothing", content_type=PARQUET_TYPE))
