"""What the texts in JSON mean: the schema that travels with a result, so that they can be read back (R38, F22)."""

from __future__ import annotations

import base64
from functools import cache
from typing import cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from onex_mesh.compute.core.tables import Table, arrow


class _WithDecimals(GenerateJsonSchema):
    """Pydantic's schemas, in which a decimal is told from other texts."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        return {**super().decimal_schema(schema), "format": "decimal"}


@cache
def schema_of_type(adapter: TypeAdapter[object]) -> dict[str, object]:
    """JSON Schema of what an adapter writes."""
    return adapter.json_schema(mode="serialization", schema_generator=_WithDecimals)


def schema_of_table(table: Table) -> dict[str, object]:
    """JSON Schema of the rows of a table."""
    return {"type": "array", "items": _object(table.schema)}


def plain_rows(table: Table) -> list[dict[str, object]]:
    """The rows of a table; columns of bytes as base64."""
    rows = table.to_pylist()
    kinds = arrow().types
    for name in table.column_names:
        kind = table.column(name).type
        if kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind):
            for row in rows:
                value = cast("bytes | None", row[name])
                row[name] = None if value is None else base64.b64encode(value).decode()
    return rows


def _object(fields: object) -> dict[str, object]:
    named = {field.name: field for field in fields}  # type: ignore[attr-defined]  # a schema or a struct type
    return {
        "type": "object",
        "properties": {name: _nullable(_of(field.type), field.nullable) for name, field in named.items()},
        "required": list(named),
    }


def _of(kind: object) -> dict[str, object]:
    """JSON Schema of an Arrow type; empty for one that JSON has no name for."""
    kinds = arrow().types
    if kinds.is_dictionary(kind):
        return _of(kind.value_type)  # type: ignore[attr-defined]  # a dictionary type
    if kinds.is_list(kind) or kinds.is_large_list(kind):
        items = _of(kind.value_type)  # type: ignore[attr-defined]  # a list type
        return {"type": "array", "items": _nullable(items, kind.value_field.nullable)}  # type: ignore[attr-defined]
    if kinds.is_struct(kind):
        return _object(kind)
    for is_kind, schema in (
        (kinds.is_boolean, {"type": "boolean"}),
        (kinds.is_integer, {"type": "integer"}),
        (kinds.is_floating, {"type": "number"}),
        (kinds.is_decimal, {"type": "string", "format": "decimal"}),
        (kinds.is_timestamp, {"type": "string", "format": "date-time"}),
        (kinds.is_date, {"type": "string", "format": "date"}),
        (kinds.is_string, {"type": "string"}),
        (kinds.is_large_string, {"type": "string"}),
        (kinds.is_binary, {"type": "string", "contentEncoding": "base64"}),
        (kinds.is_large_binary, {"type": "string", "contentEncoding": "base64"}),
        (kinds.is_fixed_size_binary, {"type": "string", "contentEncoding": "base64"}),
        (kinds.is_null, {"type": "null"}),
    ):
        if is_kind(kind):
            return dict(schema)
    return {}


def _nullable(schema: dict[str, object], nullable: bool) -> dict[str, object]:
    kind = schema.get("type")
    return {**schema, "type": [kind, "null"]} if nullable and isinstance(kind, str) and kind != "null" else schema
