"""JSON whose texts keep their meaning: decimals, times, UUIDs and bytes (R38, F22)."""

from __future__ import annotations

import datetime
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field, TypeAdapter

from onex.v1 import compute_pb2
from onex_mesh.compute.core import AlgorithmRegistry
from onex_mesh.compute.core.computation import finished
from onex_mesh.runtime.payload import from_payload, from_struct

JSON = compute_pb2.OUTPUT_FORMAT_JSON
ARRAY = compute_pb2.OUTPUT_FORMAT_ARRAY


class Invoice(BaseModel):
    """With each type that JSON has not."""

    id: UUID
    total: Decimal
    at: datetime.datetime
    day: datetime.date


INVOICE = Invoice(
    id=UUID(int=1),
    total=Decimal("1.10"),
    at=datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC),
    day=datetime.date(2026, 1, 2),
)


def bill(data: object) -> Invoice:
    """An invoice."""
    return INVOICE


def plain(data: object) -> object:
    """Its data."""
    return data


class Bounded(BaseModel):
    """With a bound that JSON cannot say."""

    number: int = Field(le=2**63 - 1)


def bounded(data: object) -> Bounded:
    """One."""
    return Bounded(number=1)


ALGORITHMS = AlgorithmRegistry()
BOUNDED = ALGORITHMS.add_function(bounded)
BILL, PLAIN = ALGORITHMS.add_function(bill), ALGORITHMS.add_function(plain)


def output(result: object, asked: compute_pb2.OutputFormat, *, declared: bool = True) -> compute_pb2.ComputeOutput:
    contract = compute_pb2.ComputeContract()
    contract.output_transformation.format = asked
    return finished(contract, BILL if declared else PLAIN, result, "c")


def test_the_schema_of_a_declared_result_tells_what_its_texts_mean() -> None:
    """R38, F22: a reader gets each value back from text and format."""
    found = output(INVOICE, JSON)
    properties = from_struct(found.output_schema)["properties"]
    assert isinstance(properties, dict)
    formats = {name: part["format"] for name, part in properties.items() if isinstance(part, dict)}
    assert formats == {"id": "uuid", "total": "decimal", "at": "date-time", "day": "date"}
    value = from_payload(found.processed_data)
    assert isinstance(value, dict)
    assert value["total"] == "1.10"
    assert TypeAdapter(Invoice).validate_python(value) == INVOICE


def test_one_item_as_an_array_has_the_schema_of_an_array() -> None:
    """R38: what is wrapped is described as wrapped."""
    schema = from_struct(output(INVOICE, ARRAY).output_schema)
    assert schema["type"] == "array"
    items = schema["items"]
    assert isinstance(items, dict)
    assert items["title"] == "Invoice"


def test_rows_of_a_table_are_described_by_its_types() -> None:
    """R38, F22: decimals and times as texts, bytes as base64, nested types too."""
    table = pa.table(
        {
            "d": pa.array([Decimal("0.10"), None]),
            "t": pa.array([datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)] * 2),
            "b": pa.array([b"\x00\xff", None]),
            "l": pa.array([[1], [2]]),
            "s": pa.array([{"x": True}] * 2),
            "c": pa.array(["a", "a"]).dictionary_encode(),
        }
    )
    found = output(table, JSON, declared=False)
    rows = from_payload(found.processed_data)
    assert isinstance(rows, list)
    assert [row["b"] for row in rows if isinstance(row, dict)] == ["AP8=", None]
    assert [row["d"] for row in rows if isinstance(row, dict)] == ["0.10", None]
    items = from_struct(found.output_schema)["items"]
    assert isinstance(items, dict)
    assert items["properties"] == {
        "d": {"type": ["string", "null"], "format": "decimal"},
        "t": {"type": ["string", "null"], "format": "date-time"},
        "b": {"type": ["string", "null"], "contentEncoding": "base64"},
        "l": {"type": ["array", "null"], "items": {"type": ["integer", "null"]}},
        "s": {
            "type": ["object", "null"],
            "properties": {"x": {"type": ["boolean", "null"]}},
            "required": ["x"],
        },
        "c": {"type": ["string", "null"]},
    }


@pytest.mark.parametrize(("asked", "declared"), [(JSON, False), (compute_pb2.OUTPUT_FORMAT_PASSTHROUGH, True)], ids=str)
def test_nothing_is_said_where_nothing_is_known_or_asked(asked: compute_pb2.OutputFormat, declared: bool) -> None:
    """R38: no schema for any JSON, nor where the result passes through."""
    assert not output(INVOICE if declared else {"a": 1}, asked, declared=declared).HasField("output_schema")


def test_a_schema_that_cannot_travel_exactly_is_left_out() -> None:
    """F22: the result is there all the same."""
    contract = compute_pb2.ComputeContract()
    contract.output_transformation.format = JSON
    found = finished(contract, BOUNDED, Bounded(number=1), "c")
    assert from_payload(found.processed_data) == {"number": 1}
    assert not found.HasField("output_schema")
