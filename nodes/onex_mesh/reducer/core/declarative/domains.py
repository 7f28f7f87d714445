"""What is known of the fields of a record before a guard is asked: their ranges, lengths and enumerations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import cast

from onex_mesh.reducer.core.declarative.contradiction import Domain, Domains
from onex_mesh.reducer.core.declarative.schema import Schema
from onex_mesh.reducer.core.declarative.tree import Call, Name, Node
from onex_mesh.reducer.core.declarative.types import Kind, RecordField

_NUMBERS = frozenset((Kind.INT, Kind.DOUBLE))
_SIZED = frozenset((Kind.STRING, Kind.LIST, Kind.MAP))


def domains_of(schema: Schema, variables: Mapping[str, str]) -> Domains:
    """What is known of variables, by the names of their records, and of what is in them."""
    return dict(known for name, record in variables.items() for known in _of_record(schema, (name,), record))


def _of_record(schema: Schema, path: tuple[str, ...], record: str) -> Iterator[tuple[Node, Domain]]:
    for field in schema.record(record).fields:
        name = Name((*path, field.name))
        if field.type.optional:
            # Where it is absent, CEL sees what is empty or zero.
            continue
        if field.type.kind is Kind.RECORD:
            yield from _of_record(schema, name.path, field.type.record)
        elif field.type.kind in _NUMBERS:
            yield name, _of_number(field)
        elif field.one_of:
            yield name, Domain(among=frozenset(field.one_of))
        if field.type.kind in _SIZED:
            least, greatest = field.constraints.get("min_length", 0), field.constraints.get("max_length", math.inf)
            yield Call("size", (name,)), Domain(cast("float", least), cast("float", greatest), is_whole=True)


def _of_number(field: RecordField) -> Domain:
    least, greatest = field.constraints.get("ge", -math.inf), field.constraints.get("le", math.inf)
    among = frozenset(field.one_of) if field.one_of else None
    return Domain(cast("float", least), cast("float", greatest), among, is_whole=field.type.kind is Kind.INT)
