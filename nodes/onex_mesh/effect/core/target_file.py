"""The operator's YAML file of targets: read, variables filled in, checked; every error names file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import pydantic
import yaml

from onex_mesh.effect.core.request import APP_TARGET
from onex_mesh.effect.core.subscription_models import SubscriptionConfig, holds_templates, problems_with_target
from onex_mesh.effect.core.target_models import BUILT_IN_MODELS
from onex_mesh.effect.core.targets import AuditSettings, TargetConfig
from onex_mesh.runtime.errors import ValidationError

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_SUBSCRIPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_DEPTH_MAX = 32

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"
_Model = TypeVar("_Model", bound=pydantic.BaseModel)


@dataclass(frozen=True, slots=True)
class TargetFile:
    """What the file declares."""

    targets: Mapping[str, TargetConfig] = field(default_factory=dict)
    audit: AuditSettings = field(default_factory=AuditSettings)
    subscriptions: Mapping[str, SubscriptionConfig] = field(default_factory=dict)
    source: str = ""
    """Path of the file; empty where there is none."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line at which each target is declared."""
    subscription_lines: Mapping[str, int] = field(default_factory=dict)
    """Line at which each subscription is declared."""

    def where(self, target: str) -> str:
        """File, line and field of a target's declaration, for errors that show only when it is opened."""
        return f"{self.source}:{self.lines.get(target, 1)}: targets.{target}"

    def where_subscribed(self, name: str) -> str:
        """The same of a subscription."""
        return f"{self.source}:{self.subscription_lines.get(name, 1)}: subscriptions.{name}"


class _Problems:
    """What is wrong with a file, each with its line."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._found: list[tuple[int, str, str]] = []

    def add(self, line: int, path: str, text: str) -> None:
        self._found.append((line, path, text))

    def raise_if_any(self) -> None:
        if not self._found:
            return
        self._found.sort(key=lambda row: row[0])
        message = "\n".join(
            f"{self._source}:{line}: {f'{path}: ' if path else ''}{text}" for line, path, text in self._found
        )
        raise ValidationError(message, violations=tuple((path, text) for _, path, text in self._found))


def read_target_file(
    path: Path, environment: Mapping[str, str], models: Mapping[str, type[TargetConfig]] = BUILT_IN_MODELS
) -> TargetFile:
    """Reads and checks a file of targets.

    `${NAME}` and `${NAME:-default}` in its texts are replaced by variables of the environment, `$${` is a plain `${`.
    Relative paths are taken from the folder of the file.

    Args:
        path: The file.
        environment: The variables.
        models: The model of each kind of target.

    Raises:
        ValidationError: The file cannot be read or is wrong; all violations, with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValidationError(f"{path}: cannot be read: {reason}") from error
    problems = _Problems(str(path))
    reader = _Reader(environment, problems)
    try:
        root = yaml.SafeLoader(text).get_single_node()
        value = reader.read(root, "", 0) if root is not None else {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise ValidationError(f"{path}:{mark.line + 1 if mark else 1}: {problem}") from error
    problems.raise_if_any()
    file = _checked(value, path.resolve().parent, models, reader, problems)
    problems.raise_if_any()
    lines = {name: reader.line_of(f"targets.{name}") for name in file.targets}
    subscribed = {name: reader.line_of(f"subscriptions.{name}") for name in file.subscriptions}
    return replace(file, source=str(path), lines=lines, subscription_lines=subscribed)


def _checked(
    value: Plain, folder: Path, models: Mapping[str, type[TargetConfig]], reader: _Reader, problems: _Problems
) -> TargetFile:
    if not isinstance(value, dict):
        problems.add(1, "", "is not a mapping with the key `targets`")
        return TargetFile()
    for key in value.keys() - {"targets", "subscriptions", "audit"}:
        problems.add(reader.line_of(key), key, "unknown; known here: targets, subscriptions, audit")
    declared = value.get("targets") or {}
    if not isinstance(declared, dict):
        problems.add(reader.line_of("targets"), "targets", "is not a mapping of names to targets")
        return TargetFile()
    targets: dict[str, TargetConfig] = {}
    for name, body in declared.items():
        config = _target(name, body, models, reader, problems)
        if config is not None:
            targets[name] = config.resolved(folder)
    audit = _model(AuditSettings, value.get("audit") or {}, "audit", reader, problems)
    subscriptions = _subscriptions(value.get("subscriptions") or {}, targets, folder, reader, problems)
    return TargetFile(targets, AuditSettings() if audit is None else audit.resolved(folder), subscriptions)


def _subscriptions(
    declared: Plain, targets: Mapping[str, TargetConfig], folder: Path, reader: _Reader, problems: _Problems
) -> dict[str, SubscriptionConfig]:
    found: dict[str, SubscriptionConfig] = {}
    if not isinstance(declared, dict):
        problems.add(reader.line_of("subscriptions"), "subscriptions", "is not a mapping of names to subscriptions")
        return found
    for name, body in declared.items():
        path = f"subscriptions.{name}"
        if not _SUBSCRIPTION.fullmatch(name):
            problems.add(reader.line_of(path), path, f"{name!r} cannot be the name of a subscription")
            continue
        config = _model(SubscriptionConfig, body, path, reader, problems)
        if config is None:
            continue
        for field_name, text in problems_with_target(config, targets):
            problems.add(reader.line_of(f"{path}.{field_name}"), f"{path}.{field_name}", text)
        found[name] = config.resolved(folder)
    return found


def _target(
    name: str, body: Plain, models: Mapping[str, type[TargetConfig]], reader: _Reader, problems: _Problems
) -> TargetConfig | None:
    path = f"targets.{name}"
    line = reader.line_of(path)
    if not _NAME.fullmatch(name) or name == APP_TARGET:
        problems.add(line, path, f"{name!r} cannot be the name of a target")
        return None
    if not isinstance(body, dict):
        problems.add(line, path, "is not a mapping with the key `kind`")
        return None
    kind = body.get("kind")
    model = models.get(kind) if isinstance(kind, str) else None
    if model is None:
        problems.add(reader.line_of(f"{path}.kind"), f"{path}.kind", f"{kind!r} is not one of {', '.join(models)}")
        return None
    return _model(model, body, path, reader, problems)


def _model(model: type[_Model], body: Plain, path: str, reader: _Reader, problems: _Problems) -> _Model | None:
    try:
        return model.model_validate(body)
    except pydantic.ValidationError as error:
        # The input is left out of the message: it may be what a variable held.
        for row in error.errors(include_url=False, include_input=False, include_context=False):
            where = ".".join((path, *(str(part) for part in row["loc"])))
            problems.add(reader.line_of(where), where, row["msg"].removeprefix("Value error, "))
        return None


class _Reader:
    """Turns YAML nodes into plain values; remembers the line of each."""

    def __init__(self, environment: Mapping[str, str], problems: _Problems) -> None:
        self._environment = environment
        self._problems = problems
        self._lines: dict[str, int] = {}
        self._construct: Callable[[yaml.Node], Plain] = yaml.SafeLoader("").construct_object

    def line_of(self, path: str) -> int:
        """Line of a field, or of the nearest one around it."""
        while path and path not in self._lines:
            path = path.rpartition(".")[0]
        return self._lines.get(path, 1)

    def read(self, node: yaml.Node, path: str, depth: int) -> Plain:
        self._lines.setdefault(path, node.start_mark.line + 1)
        line = node.start_mark.line + 1
        if depth > _DEPTH_MAX:
            self._problems.add(line, path, f"nested deeper than {_DEPTH_MAX} levels")
            return None
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path, depth)
            case yaml.SequenceNode():
                return [self.read(item, f"{path}.{index}", depth + 1) for index, item in enumerate(node.value)]
            case _:
                value = self._construct(node)
                return self._filled(value, path, line) if isinstance(value, str) else value

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Plain]:
        values: dict[str, Plain] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            where = f"{path}.{key}" if path else key
            line = key_node.start_mark.line + 1
            if key in values:
                self._problems.add(line, where, "stands here twice")
            self._lines[where] = line
            values[key] = self.read(value_node, where, depth + 1)
        return values

    def _filled(self, text: str, path: str, line: int) -> str:
        if holds_templates(path):
            return text

        def value_of(match: re.Match[str]) -> str:
            name, default = match.group(1), match.group(2)
            if name is None:
                return "${"
            value = self._environment.get(name) or default
            if value is None:
                self._problems.add(line, path, f"the variable {name} is not set and has no default")
                return ""
            return value

        return _VARIABLE.sub(value_of, text)
