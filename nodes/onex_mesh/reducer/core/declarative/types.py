"""The types of fields: what is written, what CEL takes it for, and what pydantic checks.

A type is `string`, `int`, `double`, `bool`, `decimal`, `timestamp`, `json`, the name of one under `types:`, `list(T)`,
`map(T)` or, for those that can be absent, `T?`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

_GENERIC = re.compile(r"(list|map)\((.+)\)")


class Kind(StrEnum):
    """What a value is."""

    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    DECIMAL = "decimal"
    TIMESTAMP = "timestamp"
    JSON = "json"
    RECORD = "record"
    LIST = "list"
    MAP = "map"


_SCALARS = {kind.value: kind for kind in Kind if kind not in (Kind.RECORD, Kind.LIST, Kind.MAP)}


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field.

    Attributes:
        kind: What it is.
        record: Name of the record, for RECORD.
        item: Type of the items, for LIST and MAP.
        optional: Whether it may be absent (null).
    """

    kind: Kind
    record: str = ""
    item: FieldType | None = None
    optional: bool = False

    def __str__(self) -> str:
        text = self.record or self.kind.value
        return (f"{text}({self.item})" if self.item else text) + ("?" if self.optional else "")


@dataclass(frozen=True, slots=True)
class RecordField:
    """A field of a record.

    Attributes:
        name: Its name.
        type: Its type.
        constraints: What pydantic checks beside the type: ge, le, min_length, max_length, pattern.
        one_of: The values that it may have; empty: any.
        default: Its default; None together with `required` where it has none.
        required: Whether it must be given.
        description: For people.
    """

    name: str
    type: FieldType
    constraints: Mapping[str, object]
    one_of: tuple[str | int, ...]
    default: object
    required: bool
    description: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A record: a set of fields under a name."""

    name: str
    fields: tuple[RecordField, ...]


class TypeTextError(ValueError):
    """A text that is no type; the message says why."""


def parse_type(text: str, records: Collection[str]) -> FieldType:
    """The type that a text names.

    Args:
        text: Such as "list(Item)" or "timestamp?".
        records: Names of the records that there are.

    Raises:
        TypeTextError: It names none.
    """
    stripped = text.strip()
    optional = stripped.endswith("?")
    bare = stripped.removesuffix("?").strip()
    generic = _GENERIC.fullmatch(bare)
    if generic is not None:
        item = parse_type(generic[2], records)
        if optional:
            raise TypeTextError(f"{text!r}: a list or a map is empty rather than absent; drop the '?'")
        if item.optional or item.kind in (Kind.LIST, Kind.MAP):
            raise TypeTextError(f"{text!r}: the items are neither optional nor lists or maps; use json, or a type")
        return FieldType(Kind(generic[1]), item=item)
    if bare in _SCALARS:
        kind = _SCALARS[bare]
        if optional and kind is Kind.JSON:
            raise TypeTextError(f"{text!r}: json may be null as it is; drop the '?'")
        return FieldType(kind, optional=optional)
    if bare in records:
        return FieldType(Kind.RECORD, record=bare, optional=optional)
    known = ", ".join([*_SCALARS, "list(T)", "map(T)", *sorted(records)])
    raise TypeTextError(f"{text!r} is no type; there are {known}")
