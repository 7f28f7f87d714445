"""The records of a file: its types, its state, and the payloads of its transitions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

import pydantic
from pydantic import BaseModel, Field
from pydantic_core import SchemaError

from onex_mesh.reducer.core.declarative.form import FieldForm, Fields, MachineForm
from onex_mesh.reducer.core.declarative.schema import CONTEXT, PAYLOAD, STATE, natural_default
from onex_mesh.reducer.core.declarative.types import FieldType, Kind, Record, RecordField, TypeTextError, parse_type
from onex_mesh.runtime.violations import Violations

_RESERVED = re.compile(rf"{STATE}|{CONTEXT}|{PAYLOAD}\d*")
_TAKEN = frozenset(name for name in dir(BaseModel) if name.startswith("model_"))
_NUMBERS = frozenset((Kind.INT, Kind.DOUBLE, Kind.DECIMAL))
_SIZED = frozenset((Kind.STRING, Kind.LIST, Kind.MAP))


def records_of(form: MachineForm, violations: Violations) -> list[Record]:
    """The records, each after those that it uses; what is wrong with them is added to the violations."""
    for name in form.types:
        if _RESERVED.fullmatch(name):
            violations.add(f"types.{name}", f"{name} is a name of the machine's own")
        elif name in list(Kind):
            violations.add(f"types.{name}", f"{name} is a type already")
    names = frozenset(form.types)
    records = {
        name: Record(name, _fields(fields, f"types.{name}", names, violations, has_defaults=False))
        for name, fields in form.types.items()
    }
    ordered = _ordered(records, violations)
    if form.status in form.data:
        violations.add(f"data.{form.status}", "holds the state of the machine, which `states` declares")
    status = RecordField(form.status, FieldType(Kind.STRING), {}, (), None, True, "The state of the machine.")
    state = _fields(form.data, "data", names, violations, has_defaults=True)
    ordered.append(Record(STATE, (status, *state)))
    for index, row in enumerate(form.transitions):
        if isinstance(row.payload, dict):
            path = f"transitions[{index}].payload"
            fields = _fields(row.payload, path, names, violations, has_defaults=False)
            ordered.append(Record(f"{PAYLOAD}{index}", fields))
        elif row.payload is not None and row.payload not in names:
            known = ", ".join(sorted(names)) or "none"
            violations.add(f"transitions[{index}].payload", f"{row.payload!r} is no type; under `types` stand: {known}")
    text = FieldType(Kind.STRING)
    ordered.append(
        Record(
            CONTEXT,
            (
                RecordField("now", FieldType(Kind.TIMESTAMP), {}, (), None, True),
                RecordField("action_id", text, {}, (), None, True),
                RecordField("correlation_id", text, {}, (), None, True),
            ),
        )
    )
    return ordered


def _fields(
    fields: Fields, path: str, names: frozenset[str], violations: Violations, *, has_defaults: bool
) -> tuple[RecordField, ...]:
    found = []
    known: dict[str, str] = {}
    for name, written in fields.items():
        twin = known.setdefault(name.replace("_", "").lower(), name)
        if twin != name:
            violations.add(
                f"{path}.{name}", f"differs from {twin} in case and '_' only, which the messages of CEL do not"
            )
            continue
        if name in _TAKEN:
            violations.add(f"{path}.{name}", f"{name} cannot be the name of a field: models have it for themselves")
            continue
        form = FieldForm(type=written) if isinstance(written, str) else written
        where = f"{path}.{name}"
        try:
            kind = parse_type(form.type, names)
        except TypeTextError as error:
            violations.add(where if isinstance(written, str) else f"{where}.type", str(error))
            continue
        has_natural, natural = natural_default(kind) if has_defaults or kind.optional else (False, None)
        required = not form.has_default and not has_natural
        if required and has_defaults and kind.kind is not Kind.RECORD:
            violations.add(where, f"a new machine has no {name}: give a default, or {kind}? if it can be absent")
        if required and has_defaults and kind.kind is Kind.RECORD:
            violations.add(where, f"a new machine has no {name}: make it {kind}?, or give a default")
        default = form.default if form.has_default else natural
        constraints = _constraints(form, kind, where, violations)
        one_of = tuple(form.one_of or ())
        if one_of and kind.kind not in (Kind.STRING, Kind.INT):
            violations.add(f"{where}.one_of", "is for string and int")
        shared = tuple(default) if isinstance(default, list) else default
        found.append(RecordField(name, kind, constraints, one_of, shared, required, form.description))
    return tuple(found)


def _constraints(form: FieldForm, kind: FieldType, path: str, violations: Violations) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for written, name, kinds in (
        ("minimum", "ge", _NUMBERS),
        ("maximum", "le", _NUMBERS),
        ("min_length", "min_length", _SIZED),
        ("max_length", "max_length", _SIZED),
        ("pattern", "pattern", frozenset((Kind.STRING,))),
    ):
        value = getattr(form, written)
        if value is None:
            continue
        if kind.kind not in kinds:
            allowed = ", ".join(sorted(entry.value for entry in kinds))
            violations.add(f"{path}.{written}", f"is for {allowed}, not for {kind}")
            continue
        found[name] = value
    _check_constraints(found, path, violations)
    return found


def _check_constraints(found: Mapping[str, object], path: str, violations: Violations) -> None:
    for least, greatest, written in (("ge", "le", "minimum"), ("min_length", "max_length", "min_length")):
        low, high = found.get(least), found.get(greatest)
        if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
            violations.add(f"{path}.{written}", f"{low} is more than {high}, the most that there may be")
    if "pattern" in found:
        try:
            pydantic.TypeAdapter(Annotated[str, Field(pattern=str(found["pattern"]))])
        except SchemaError as error:
            lines = str(error).splitlines()
            violations.add(f"{path}.pattern", f"is no regular expression: {lines[-1].strip().removeprefix('error: ')}")


def _ordered(records: Mapping[str, Record], violations: Violations) -> list[Record]:
    """Each record after those that it uses."""
    ordered: dict[str, Record] = {}
    under_way: list[str] = []

    def visit(name: str) -> None:
        if name in ordered:
            return
        if name in under_way:
            circle = " → ".join((*under_way[under_way.index(name) :], name))
            violations.add(f"types.{name}", f"contains itself: {circle}; use json")
            return
        under_way.append(name)
        for field in records[name].fields:
            used = field.type.item.record if field.type.item is not None else field.type.record
            if used:
                visit(used)
        under_way.pop()
        ordered[name] = records[name]

    for name in records:
        visit(name)
    return list(ordered.values())
