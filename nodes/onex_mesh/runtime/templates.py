"""Templates: strings of the form "${…}" in the JSON of a command, in CEL over what the workflow knows.

Variables are `input` (the workflow's input), `steps` (`steps.<id>.output`, `steps.<id>.status`), `params` (the step's
parameters) and `workflow` (`id`, `correlation_id`, `name`). A string that is exactly one template takes the type of its
value; several in one string are joined as text; `$${` stands for `${`. A plain path such as `steps.a.output.rows[0]` is
followed through the protobuf values without converting them. A payload that is exactly a whole output or the whole
input is passed on as it is, bytes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf import struct_pb2

from onex.v1 import action_pb2, common_pb2
from onex_mesh.runtime.command_fields import PayloadField, StringField, StructField, fields_of
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.expressions import failed
from onex_mesh.runtime.payload import JSON_TYPE, LEVELS_MAX, fill_value, levels_of, require_shallow
from onex_mesh.runtime.scope import Path, Scope, Variables
from onex_mesh.runtime.template_text import Text, compile_text

__all__ = ["CommandTemplate", "Scope", "ValueTemplate", "compile_command", "compile_value"]

TEMPLATES_MAX = 1_000
"""Templates in one command: each may bring a whole output."""
RESOLVED_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Place:
    """A string within a JSON value."""

    path: Path
    text: Text
    levels: int
    """How deep it stands in the field; see `onex_mesh.runtime.payload.LEVELS_MAX`."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """One field of a command that holds templates."""

    field: PayloadField | StructField | StringField
    places: tuple[_Place, ...]

    @property
    def opens(self) -> frozenset[Path]:
        """The input and the outputs whose content it takes to fill the field."""
        if isinstance(self.field, PayloadField) and _passed_on(self.places) is not None:
            return frozenset()
        return frozenset(path for place in self.places for path in place.text.opens)

    def fill(self, command: action_pb2.Command, variables: Variables) -> None:
        """Replaces the templates in the field."""
        if isinstance(self.field, PayloadField):
            _fill_payload(self.field.reach(command), self.places, variables)
        elif isinstance(self.field, StructField):
            fields = self.field.reach(command).fields
            for place in self.places:
                _fill_place(fields[str(place.path[0])], place.path[1:], place, variables)
        else:
            text = self.places[0].text
            spelled = text.spell(variables)
            if not spelled:
                # An empty key would silently mean "no key".
                raise failed(text.at, "the template gives an empty string")
            setattr(self.field.reach(command), self.field.name, spelled)


class CommandTemplate:
    """A command and the templates in it.

    Attributes:
        command: The command as it was given.
        reads: Steps that the templates read.
        is_constant: Whether there is nothing to resolve.
        opens: The input and the outputs that the templates may look into, by their paths; where they are locations,
            their contents must be in the scope.
    """

    def __init__(self, command: action_pb2.Command, slots: Sequence[_Slot]) -> None:
        self.command = command
        self._slots = tuple(slots)
        self.is_constant = not self._slots
        self.reads = frozenset(name for slot in self._slots for place in slot.places for name in place.text.steps)
        self.opens = frozenset(path for slot in self._slots for path in slot.opens)

    def resolve(self, scope: Scope) -> action_pb2.Command:
        """The command with its templates replaced; a constant one as it is, not a copy.

        Raises:
            ValidationError: An expression fails, or its value does not fit; the path of its field is in it.
            PayloadTooLargeError: The whole comes to more than 16 MiB.
        """
        if not self._slots:
            return self.command
        resolved = action_pb2.Command()
        resolved.CopyFrom(self.command)
        variables = Variables(scope)
        for slot in self._slots:
            slot.fill(resolved, variables)
        if resolved.ByteSize() > RESOLVED_BYTES_MAX:
            raise PayloadTooLargeError(
                f"the command comes to {resolved.ByteSize()} bytes with its templates resolved; "
                f"at most {RESOLVED_BYTES_MAX} are taken"
            )
        return resolved


class ValueTemplate:
    """A JSON value and the templates in it.

    Attributes:
        reads: Steps that the templates read.
        roots: Variables that they read.
        opens: As of `CommandTemplate`.
    """

    def __init__(self, value: struct_pb2.Value, places: Sequence[_Place]) -> None:
        self._value = value
        self._places = tuple(places)
        self.reads = frozenset(name for place in self._places for name in place.text.steps)
        self.roots = frozenset(name for place in self._places for name in place.text.roots)
        opened = frozenset(path for place in self._places for path in place.text.opens)
        self.opens = frozenset() if _passed_on(self._places) is not None else opened

    def resolve(self, scope: Scope) -> common_pb2.Payload:
        """The value as a payload; a whole output or input is passed on as it is.

        Raises:
            ValidationError: An expression fails; the path of its field is in it.
        """
        payload = common_pb2.Payload(json=self._value, content_type=JSON_TYPE)
        _fill_payload(payload, self._places, Variables(scope))
        return payload


def compile_value(value: struct_pb2.Value) -> ValueTemplate:
    """Finds and checks the templates in a JSON value.

    Raises:
        ValidationError: With every bad expression and its path.
    """
    violations: list[tuple[str, str]] = []
    places = list(_find(value, "", (), violations))
    _refuse(violations, len(places))
    return ValueTemplate(value, places)


def compile_command(command: action_pb2.Command) -> CommandTemplate:
    """Finds and checks the templates in a command.

    Raises:
        ValidationError: With every bad expression and the path of its field within the command.
    """
    violations: list[tuple[str, str]] = []
    slots = [_Slot(field, places) for field in fields_of(command) if (places := _places(field, command, violations))]
    _refuse(violations, sum(len(slot.places) for slot in slots))
    return CommandTemplate(command, slots)


def _places(
    field: PayloadField | StructField | StringField, command: action_pb2.Command, violations: list[tuple[str, str]]
) -> tuple[_Place, ...]:
    if isinstance(field, PayloadField):
        payload = field.reach(command)
        is_json = payload.WhichOneof("content") == "json"
        return tuple(_find(payload.json, field.at, (), violations)) if is_json else ()
    if isinstance(field, StructField):
        items = field.reach(command).fields.items()
        return tuple(place for key, value in items for place in _find(value, f"{field.at}.{key}", (key,), violations))
    text = compile_text(str(getattr(field.reach(command), field.name)), field.at, violations)
    return () if text is None else (_Place((), text, 0),)


def _find(value: struct_pb2.Value, at: str, path: Path, violations: list[tuple[str, str]]) -> Iterator[_Place]:
    if levels_of(path) > LEVELS_MAX:
        violations.append((at[:80], "nested too deep"))
        return
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = compile_text(value.string_value, at, violations)
        if text is not None:
            yield _Place(path, text, levels_of(path))
    elif kind == "struct_value":
        for key, item in value.struct_value.fields.items():
            yield from _find(item, f"{at}.{key}" if at else key, (*path, key), violations)
    elif kind == "list_value":
        for index, item in enumerate(value.list_value.values):
            yield from _find(item, f"{at}[{index}]", (*path, index), violations)


def _refuse(violations: Sequence[tuple[str, str]], count: int) -> None:
    if violations:
        raise ValidationError(f"{violations[0][0]}: {violations[0][1]}", violations=tuple(violations))
    if count > TEMPLATES_MAX:
        raise failed("", f"{count} strings with templates; at most {TEMPLATES_MAX} are taken")


def _passed_on(places: Sequence[_Place]) -> Path | None:
    """The input or the output that takes the place of a whole payload, as it is."""
    only = places[0].text.single if len(places) == 1 and not places[0].path else None
    return None if only is None else only.passes_on


def _fill_payload(payload: common_pb2.Payload, places: Sequence[_Place], variables: Variables) -> None:
    passed_on = _passed_on(places)
    whole = variables.scope.whole(passed_on) if passed_on is not None else None
    if whole is not None:
        payload.CopyFrom(whole)
        return
    for place in places:
        _fill_place(payload.json, place.path, place, variables)


def _fill_place(value: struct_pb2.Value, path: Path, place: _Place, variables: Variables) -> None:
    for part in path:
        value = value.list_value.values[part] if isinstance(part, int) else value.struct_value.fields[part]
    text = place.text
    expression = text.single
    if expression is None:
        value.string_value = text.spell(variables)
        return
    found = expression.find(variables)
    if found is None:
        fill_value(value, expression.evaluate(variables, text.at), text.at, place.levels)
        return
    if place.levels:
        # Each step may put the output of the one before a little deeper: unchecked, nobody could read it at the end.
        require_shallow(found, text.at, place.levels)
    value.CopyFrom(found)
