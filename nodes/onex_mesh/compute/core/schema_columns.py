"""Which rows of a table may break a JSON Schema: told from its columns, each distinct value looked at once.

That is possible where the schema speaks of fields one by one. Numbers that are only bounded, and texts whose length is,
are told from the least and the greatest; of all other columns the distinct values are validated. Which violations the
rows have is for the validator to say: it sees them whole, but only those.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import cast

from jsonschema.protocols import Validator

from onex_mesh.compute.core.tables import Column, Table, arrow, arrow_compute

_SAID_OF_NOTHING = {"$schema", "$comment", "$defs", "definitions", "title", "description", "default", "examples"}
_SAID_OF_FIELDS = {"type", "properties", "required", "additionalProperties"}
_BOUNDS = {"type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_LENGTHS = {"type", "minLength", "maxLength"}


def suspects(validator: Validator, table: Table) -> Column | None:
    """The numbers of the rows that may break the schema; None if that may be any."""
    schema = validator.schema
    if not isinstance(schema, Mapping) or not set(schema) <= _SAID_OF_NOTHING | _SAID_OF_FIELDS:
        return None
    names = table.column_names
    kinds = schema.get("type", "object")
    if "object" not in ([kinds] if isinstance(kinds, str) else kinds) or len(set(names)) < len(names):
        return None
    if not set(schema.get("required", ())) <= set(names):
        return None
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    masks = []
    for name in names:
        mask = _broken(validator.evolve(schema=properties.get(name, others)), table.column(name))
        if mask is not None:
            masks.append(mask)
    pc = arrow_compute()
    if not masks:
        return cast("Column", arrow().array([], "int64"))
    rows: Column = pc.indices_nonzero(reduce(pc.or_, masks))
    return rows


def _broken(validator: Validator, column: Column) -> Column | None:
    """In which rows a column breaks its schema; None if in none."""
    if validator.schema is True or (_is_told_by_edges(validator.schema, column) and _edges_fit(validator, column)):
        return None
    pa, pc = arrow(), arrow_compute()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)  # type: ignore[attr-defined]  # a dictionary type
    try:
        encoded = pc.dictionary_encode(column, null_encoding="encode")
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        # Lists and structures have no distinct values.
        return cast("Column", pa.array([not _fits(validator, value) for value in column.to_pylist()], "bool"))
    pieces = encoded.chunks
    if not pieces:
        return None
    values = pieces[0].dictionary.to_pylist()  # all pieces have the same
    wrong = [code for code, value in enumerate(values) if not _fits(validator, value)]
    if not wrong:
        return None
    codes = pa.chunked_array([piece.indices for piece in pieces])
    mask: Column = pc.is_in(codes, value_set=pa.array(wrong, codes.type))
    return mask


def _is_told_by_edges(schema: object, column: Column) -> bool:
    """Whether all values fit if the least and the greatest, or the shortest and the longest, do."""
    if not isinstance(schema, Mapping):
        return False
    kinds, said = arrow().types, set(schema) - _SAID_OF_NOTHING
    if kinds.is_integer(column.type):
        return said <= _BOUNDS
    if kinds.is_floating(column.type):
        # 1.0 is an integer, and 1.5 none.
        return said <= _BOUNDS and "integer" not in schema.get("type", ())
    return bool(kinds.is_string(column.type) or kinds.is_large_string(column.type)) and said <= _LENGTHS


def _edges_fit(validator: Validator, column: Column) -> bool:
    pc, kinds = arrow_compute(), arrow().types
    is_text = kinds.is_string(column.type) or kinds.is_large_string(column.type)
    edges = list(pc.min_max(pc.utf8_length(column) if is_text else column).as_py().values())
    values: list[object] = [edge if edge is None or not is_text else "a" * edge for edge in edges]
    if column.null_count:
        values.append(None)
    elif edges[0] is None:
        return True
    return all(_fits(validator, value) for value in values)


def _fits(validator: Validator, value: object) -> bool:
    try:
        return bool(validator.is_valid(value))  # type: ignore[arg-type]  # JSON, which is what it takes
    except (OverflowError, ValueError):
        return False
