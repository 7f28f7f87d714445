"""What a JSON schema, as pydantic writes it, says of the values: which kinds they can be, and what a path leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Schema: TypeAlias = "Mapping[str, object]"

ANY = "any"
"""Kind of values that a schema says nothing about."""

_DEPTH_MAX = 32
_KIND_OF_CLASS: Mapping[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema together with the definitions that it refers to."""

    schema: Schema
    definitions: Mapping[str, object]

    @classmethod
    def of(cls, schema: Schema) -> Shape:
        """The shape of a whole schema."""
        definitions = schema.get("$defs", {})
        return cls(schema, definitions if isinstance(definitions, Mapping) else {})

    def properties(self) -> Mapping[str, object]:
        """The schemas of the fields that an object is said to have."""
        found = self._resolved().get("properties", {})
        return found if isinstance(found, Mapping) else {}

    def required(self) -> frozenset[str]:
        """The fields that must be there."""
        found = self._resolved().get("required", ())
        return frozenset(str(name) for name in found) if isinstance(found, Sequence) else frozenset()

    def takes_other_fields(self) -> bool:
        """Whether it says that an object may have fields besides the declared ones."""
        return bool(self._resolved().get("additionalProperties", False))

    def kinds(self) -> frozenset[str]:
        """The JSON types that values can have; `ANY` where the schema does not say."""
        return frozenset(kind for option in self.options() for kind in _kinds_of(option.schema))

    def options(self, depth: int = 0) -> list[Shape]:
        """The alternatives of which a value fits one; itself where there are none."""
        schema = self._resolved()
        for word in ("anyOf", "oneOf"):
            rows = schema.get(word)
            if isinstance(rows, Sequence) and depth < _DEPTH_MAX:
                return [inner for row in rows for inner in self._inner(row).options(depth + 1)]
        return [Shape(schema, self.definitions)]

    def at(self, path: Sequence[str]) -> Shape | str:
        """What stands at a path of field names; a text that says why nothing surely does."""
        shape = self
        for depth, name in enumerate(path):
            found: list[object] = []
            for option in shape.options():
                shown = ".".join(path[:depth]) or "the value"
                if _kinds_of(option.schema) != {"object"}:
                    return f"{shown} may be {' or '.join(sorted(_kinds_of(option.schema)))}, which has no fields"
                if name not in option.properties():
                    return f"{shown} declares no field {name!r}"
                if name not in option.required():
                    return f"{'.'.join(path[: depth + 1])} may be missing"
                found.append(option.properties()[name])
            shape = self._inner(found[0]) if len(found) == 1 else self._inner({"anyOf": found})
        return shape

    def _inner(self, schema: object) -> Shape:
        return Shape(schema if isinstance(schema, Mapping) else {}, self.definitions)

    def _resolved(self) -> Schema:
        schema = self.schema
        for _ in range(_DEPTH_MAX):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                break
            target = self.definitions.get(reference.rpartition("/")[2], {})
            schema = target if isinstance(target, Mapping) else {}
        return schema


def kind_of(value: object) -> str:
    """The JSON type of a plain value; empty for what is not JSON."""
    return _KIND_OF_CLASS.get(type(value), "")


def lacking(given: frozenset[str], taken: frozenset[str]) -> frozenset[str]:
    """The kinds among those given that are not taken; an integer is a number, and what is not known is let through."""
    if ANY in taken or ANY in given:
        return frozenset()
    missing = given - taken
    return missing - {"integer"} if "number" in taken else missing


def _kinds_of(schema: Schema) -> frozenset[str]:
    declared = schema.get("type")
    if isinstance(declared, str):
        return frozenset((declared,))
    if isinstance(declared, Sequence):
        return frozenset(str(kind) for kind in declared)
    if "const" in schema:
        return frozenset((kind_of(schema["const"]),))
    values = schema.get("enum")
    if isinstance(values, Sequence):
        return frozenset(kind_of(value) for value in values)
    return frozenset((ANY,))
