"""Templates: strings of the form "${…}" in the JSON of a command, in CEL over what the workflow knows.

Variables are `input` (the workflow's input), `steps` (`steps.<id>.output`, `steps.<id>.status`), `params` (the step's
parameters) and `workflow` (`id`, `correlation_id`, `name`). A string that is exactly one template takes the type of its
value; several in one string are joined as text; `$${` stands for `${`. A plain path such as `steps.a.output.rows[0]` is
followed through the protobuf values without converting them. A payload that is exactly a whole output or the whole
input is passed on as it is, bytes too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from cel_expr_python import cel
from google.protobuf import struct_pb2
from google.protobuf.message import Message

from onex.v1 import action_pb2, common_pb2
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import JSON_TYPE, Json, fill_value, from_value

EXPRESSION_CHARS_MAX = 4_096
_DEPTH_MAX = 64
_ROOTS = ("input", "steps", "params", "workflow")

_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\])*")
_PART = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]")
_STEP = re.compile(r"\bsteps\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(['\"])([A-Za-z_]\w*)\2\s*\])")
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")

_Parts: TypeAlias = tuple[str | int, ...]
_Place: TypeAlias = common_pb2.Payload | struct_pb2.Struct | tuple[Message, str]
"""A field that may hold templates: a payload, a struct, or a string by its message and name."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What templates read.

    Attributes:
        input: Input of the workflow.
        steps: Output of each step that has one.
        params: Parameters of the step.
        workflow: `id`, `correlation_id` and `name`.
        statuses: Status of steps without output, such as "skipped"; a step with an output is "completed".
    """

    input: common_pb2.Payload
    steps: Mapping[str, common_pb2.Payload]
    params: struct_pb2.Struct
    workflow: Mapping[str, str]
    statuses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Expression:
    """One "${…}"."""

    source: str
    path: _Parts | None
    """Set if the expression only follows a path."""
    reads: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Text:
    """A string with at least one template in it: literal texts and expressions in turn."""

    parts: tuple[str | _Expression, ...]
    at: str

    @property
    def single(self) -> _Expression | None:
        """The expression, if the string is nothing else."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, _Expression) else None

    @property
    def reads(self) -> frozenset[str]:
        """The steps that it reads."""
        return frozenset().union(*(part.reads for part in self.parts if isinstance(part, _Expression)))


class _Variables:
    """The scope as CEL takes it, converted once and only what is asked for."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._known: dict[str, object] = {}

    def get(self, root: str) -> object:
        """Plain value of a root variable."""
        if root not in self._known:
            self._known[root] = self._convert(root)
        return self._known[root]

    def _convert(self, root: str) -> object:
        scope = self.scope
        if root == "input":
            return _plain(scope.input)
        if root == "params":
            return {key: from_value(value) for key, value in scope.params.fields.items()}
        if root == "workflow":
            return dict(scope.workflow)
        outputs: dict[str, object] = {
            step_id: {"output": None, "status": status} for step_id, status in scope.statuses.items()
        }
        for step_id, payload in scope.steps.items():
            status = scope.statuses.get(step_id, "completed")
            outputs[step_id] = {"output": _plain(payload), "status": status}
        return outputs


class CommandTemplate:
    """A command and the templates in it.

    Attributes:
        command: The command as it was given.
        reads: Steps that the templates read.
    """

    def __init__(self, command: action_pb2.Command, slots: Sequence[_Slot]) -> None:
        self.command = command
        self._slots = tuple(slots)
        self.reads: frozenset[str] = frozenset().union(*(slot.reads for slot in self._slots))

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to resolve."""
        return not self._slots

    def resolve(self, scope: Scope) -> action_pb2.Command:
        """The command with its templates replaced; a constant one as it is, not a copy.

        Raises:
            ValidationError: An expression fails, or its value does not fit; the path of its field is in it.
        """
        if not self._slots:
            return self.command
        resolved = action_pb2.Command()
        resolved.CopyFrom(self.command)
        variables = _Variables(scope)
        for slot in self._slots:
            slot.fill(resolved, variables)
        return resolved


class ValueTemplate:
    """A JSON value and the templates in it.

    Attributes:
        reads: Steps that the templates read.
    """

    def __init__(self, value: struct_pb2.Value, texts: Sequence[tuple[_Parts, _Text]]) -> None:
        self._value = value
        self._texts = tuple(texts)
        self.reads: frozenset[str] = frozenset().union(*(text.reads for _, text in self._texts))

    def resolve(self, scope: Scope) -> common_pb2.Payload:
        """The value as a payload; a whole output or input is passed on as it is.

        Raises:
            ValidationError: An expression fails; the path of its field is in it.
        """
        variables = _Variables(scope)
        if len(self._texts) == 1 and not self._texts[0][0]:
            whole = _whole_payload(self._texts[0][1], scope)
            if whole is not None:
                return whole
        payload = common_pb2.Payload(json=self._value, content_type=JSON_TYPE)
        _fill_texts(payload.json, self._texts, variables)
        return payload


def compile_value(value: struct_pb2.Value) -> ValueTemplate:
    """Finds and checks the templates in a JSON value.

    Raises:
        ValidationError: With every bad expression and its path.
    """
    violations: list[tuple[str, str]] = []
    texts = list(_find(value, "", (), violations))
    _refuse(violations)
    return ValueTemplate(value, texts)


def compile_command(command: action_pb2.Command) -> CommandTemplate:
    """Finds and checks the templates in a command.

    Raises:
        ValidationError: With every bad expression and the path of its field within the command.
    """
    violations: list[tuple[str, str]] = []
    slots = list(_slots(command, violations))
    _refuse(violations)
    return CommandTemplate(command, slots)


# Where a command may hold templates.


@dataclass(frozen=True, slots=True)
class _Slot:
    """One field of a command that holds templates."""

    reach: Callable[[action_pb2.Command], _Place]
    texts: tuple[tuple[_Parts, _Text], ...]

    @property
    def reads(self) -> frozenset[str]:
        """The steps that it reads."""
        return frozenset().union(*(text.reads for _, text in self.texts))

    def fill(self, command: action_pb2.Command, variables: _Variables) -> None:
        """Replaces the templates in the field."""
        place = self.reach(command)
        if isinstance(place, common_pb2.Payload):
            if len(self.texts) == 1 and not self.texts[0][0]:
                whole = _whole_payload(self.texts[0][1], variables.scope)
                if whole is not None:
                    place.CopyFrom(whole)
                    return
            _fill_texts(place.json, self.texts, variables)
        elif isinstance(place, struct_pb2.Struct):
            for (key, *rest), text in self.texts:
                _fill_texts(place.fields[str(key)], (((tuple(rest)), text),), variables)
        else:
            setattr(*place, _as_text(self.texts[0][1], variables))


def _slots(command: action_pb2.Command, violations: list[tuple[str, str]]) -> Iterator[_Slot]:
    for at, reach in _FIELDS.get(command.WhichOneof("command") or "", ()):
        place = reach(command)
        if isinstance(place, common_pb2.Payload):
            texts = list(_find(place.json, at, (), violations)) if place.WhichOneof("content") == "json" else []
        elif isinstance(place, struct_pb2.Struct):
            texts = []
            for key, value in place.fields.items():
                texts.extend(_find(value, f"{at}.{key}", (key,), violations))
        else:
            text = _compile_text(getattr(*place), at, violations)
            texts = [((), text)] if text is not None else []
        if texts:
            yield _Slot(reach, tuple(texts))
    if command.WhichOneof("command") == "intents":
        for index in range(len(command.intents.intents)):
            yield from _intent_slot(command, index, violations)


def _intent_slot(command: action_pb2.Command, index: int, violations: list[tuple[str, str]]) -> Iterator[_Slot]:
    texts: list[tuple[_Parts, _Text]] = []
    for key, value in command.intents.intents[index].payload.fields.items():
        texts.extend(_find(value, f"intents.intents[{index}].payload.{key}", (key,), violations))
    if texts:
        yield _Slot(lambda target: target.intents.intents[index].payload, tuple(texts))


_FIELDS: Mapping[str, tuple[tuple[str, Callable[[action_pb2.Command], _Place]], ...]] = {
    "effect": (
        ("effect.io_operation_config.parameters", lambda c: c.effect.io_operation_config.parameters),
        ("effect.io_operation_config.body", lambda c: c.effect.io_operation_config.body),
        ("effect.idempotency_key", lambda c: (c.effect, "idempotency_key")),
        ("effect.cache.key", lambda c: (c.effect.cache, "key")),
    ),
    "compute": (
        ("compute.input_data", lambda c: c.compute.input_data),
        ("compute.algorithm_config.parameters", lambda c: c.compute.algorithm_config.parameters),
    ),
    "reduction": (
        ("reduction.input_data", lambda c: c.reduction.input_data),
        ("reduction.fsm_action.action", lambda c: (c.reduction.fsm_action, "action")),
        ("reduction.fsm_action.payload", lambda c: c.reduction.fsm_action.payload),
        ("reduction.reduction_config.parameters", lambda c: c.reduction.reduction_config.parameters),
    ),
}


# Compiling


def _find(
    value: struct_pb2.Value, at: str, path: _Parts, violations: list[tuple[str, str]]
) -> Iterator[tuple[_Parts, _Text]]:
    if len(path) > _DEPTH_MAX:
        violations.append((at, f"nested deeper than {_DEPTH_MAX} levels"))
        return
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = _compile_text(value.string_value, at, violations)
        if text is not None:
            yield path, text
    elif kind == "struct_value":
        for key, item in value.struct_value.fields.items():
            yield from _find(item, f"{at}.{key}" if at else key, (*path, key), violations)
    elif kind == "list_value":
        for index, item in enumerate(value.list_value.values):
            yield from _find(item, f"{at}[{index}]", (*path, index), violations)


def _compile_text(text: str, at: str, violations: list[tuple[str, str]]) -> _Text | None:
    if "${" not in text:
        return None
    parts: list[str | _Expression] = []
    position = 0
    while (start := text.find("${", position)) >= 0:
        if start > 0 and text[start - 1] == "$":
            parts.append(text[position : start - 1] + "${")
            position = start + 2
            continue
        end = _closing_brace(text, start + 2)
        if end < 0:
            violations.append((at, f"the template {text[start : start + 40]!r} is not closed by '}}'"))
            return None
        if start > position:
            parts.append(text[position:start])
        expression = _compile_expression(text[start + 2 : end].strip(), at, violations)
        if expression is not None:
            parts.append(expression)
        position = end + 1
    if position < len(text):
        parts.append(text[position:])
    return _Text(tuple(parts), at)


def _closing_brace(text: str, position: int) -> int:
    """Position of the brace that closes a template; braces of CEL maps and those in strings do not."""
    depth = 0
    quote = ""
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}":
            if depth == 0:
                return position
            depth -= 1
        position += 1
    return -1


def _compile_expression(source: str, at: str, violations: list[tuple[str, str]]) -> _Expression | None:
    if not source:
        violations.append((at, "the template is empty"))
        return None
    if len(source) > EXPRESSION_CHARS_MAX:
        violations.append((at, f"the template has {len(source)} characters; at most {EXPRESSION_CHARS_MAX}"))
        return None
    reads = frozenset(found[1] or found[3] for found in _STEP.finditer(_without_other_strings(source)))
    if _PATH.fullmatch(source):
        parts: _Parts = tuple(name if name else int(index) for name, index in _PART.findall(source))
        if parts[0] not in _ROOTS:
            violations.append((at, f"{parts[0]!r} is not one of {', '.join(_ROOTS)}"))
            return None
        return _Expression(source, parts, reads)
    try:
        _program(source)
    except RuntimeError as error:
        violations.append((at, f"not CEL: {_first_line(error)}"))
        return None
    return _Expression(source, None, reads)


def _without_other_strings(source: str) -> str:
    """The source with its string literals blanked, except those that index `steps`."""
    return _STRINGS.sub(
        lambda found: found[0] if re.search(r"steps\s*\[\s*$", source[: found.start()]) else "''", source
    )


def _environment() -> cel.Env:
    return cel.NewEnv(variables=dict.fromkeys(_ROOTS, cel.Type.DYN))


_ENVIRONMENT = _environment()


@lru_cache(maxsize=4_096)
def _program(source: str) -> cel.Expression:
    return _ENVIRONMENT.compile(source)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].removeprefix("INVALID_ARGUMENT: ERROR: ")


# Resolving


def _fill_texts(value: struct_pb2.Value, texts: Sequence[tuple[_Parts, _Text]], variables: _Variables) -> None:
    for path, text in texts:
        place = value
        for part in path:
            place = place.list_value.values[part] if isinstance(part, int) else place.struct_value.fields[str(part)]
        expression = text.single
        if expression is None:
            place.string_value = _as_text(text, variables)
        else:
            _fill_expression(place, expression, variables, text.at)


def _fill_expression(place: struct_pb2.Value, expression: _Expression, variables: _Variables, at: str) -> None:
    if expression.path is not None:
        found = _follow(expression.path, variables.scope)
        if found is not None:
            place.CopyFrom(found)
            return
    fill_value(place, _evaluate(expression, variables, at), at)


def _follow(path: _Parts, scope: Scope) -> struct_pb2.Value | None:
    """The value at a path, where all of it is JSON; None leaves the question, and the error, to CEL."""
    root, *rest = path
    value: struct_pb2.Value
    if root == "steps":
        if len(rest) < 2 or rest[1] != "output" or rest[0] not in scope.steps:
            return None
        payload = scope.steps[str(rest[0])]
        rest = rest[2:]
    elif root == "input":
        payload = scope.input
    elif root == "params" and rest and rest[0] in scope.params.fields:
        return _descend(scope.params.fields[str(rest[0])], rest[1:])
    else:
        return None
    if payload.WhichOneof("content") != "json":
        return None
    value = payload.json
    return _descend(value, rest)


def _descend(value: struct_pb2.Value, path: Sequence[str | int]) -> struct_pb2.Value | None:
    for part in path:
        kind = value.WhichOneof("kind")
        if isinstance(part, int):
            if kind != "list_value" or part >= len(value.list_value.values):
                return None
            value = value.list_value.values[part]
        else:
            if kind != "struct_value" or part not in value.struct_value.fields:
                return None
            value = value.struct_value.fields[part]
    return value


def _whole_payload(text: _Text, scope: Scope) -> common_pb2.Payload | None:
    """The payload that a template names as a whole: `input` or `steps.<id>.output`."""
    expression = text.single
    if expression is None or expression.path is None:
        return None
    path = expression.path
    if path == ("input",):
        return scope.input
    if len(path) == 3 and path[0] == "steps" and path[2] == "output":
        return scope.steps.get(str(path[1]))
    return None


def _as_text(text: _Text, variables: _Variables) -> str:
    return "".join(
        part if isinstance(part, str) else _spelled(_evaluate(part, variables, text.at), text.at) for part in text.parts
    )


def _spelled(value: object, at: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    raise _failed(at, f"a {type(value).__name__} cannot stand within a text")


def _evaluate(expression: _Expression, variables: _Variables, at: str) -> object:
    if expression.path is not None:
        found = _follow(expression.path, variables.scope)
        if found is not None:
            return from_value(found)
    try:
        program = _program(expression.source)
        data = {root: variables.get(root) for root in _ROOTS if root in expression.source}
        result = program.eval(data=data)
        value = result.plain_value()
    except RuntimeError as error:
        raise _failed(at, f"{expression.source!r} failed: {_first_line(error)}") from error
    if result.type() == cel.Type.ERROR:
        raise _failed(at, f"{expression.source!r} failed: {str(value).splitlines()[0]}")
    return value


def _plain(payload: common_pb2.Payload) -> Json | bytes:
    kind = payload.WhichOneof("content")
    if kind == "json":
        return from_value(payload.json)
    return payload.data if kind == "data" else None


def _failed(at: str, text: str) -> ValidationError:
    return ValidationError(f"{at}: {text}", violations=((at, text),))


def _refuse(violations: Sequence[tuple[str, str]]) -> None:
    if violations:
        raise ValidationError(f"{violations[0][0]}: {violations[0][1]}", violations=tuple(violations))
