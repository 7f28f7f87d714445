"""YAML documents whose every field knows the line it stands on.

Contracts are checked field by field, long after the text was parsed; the positions kept here let each complaint name
the line. Duplicate keys are refused: YAML lets the last one win without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from onex_mesh.runtime.errors import ValidationError

_DEPTH_MAX = 64
_VALUES_MAX = 100_000
_MERGE_TAG = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed document: its value as plain Python, and the line of every field."""

    source: str
    """Where it comes from, for messages: usually the path of the file."""
    value: object
    lines: Mapping[str, int] = field(default_factory=dict)
    """Line, from 1, by field path such as `steps[0].compute.input_data`."""

    def line_of(self, path: str) -> int | None:
        """The line of a field, or of the nearest field around it that is in the text; None where nothing is known."""
        for candidate in _around(path):
            if candidate in self.lines:
                return self.lines[candidate]
        return self.lines.get("")

    def refused(self, violations: tuple[tuple[str, str], ...]) -> ValidationError:
        """The error that names file, line and field of each violation, one a line."""
        located = [(path, text, self.line_of(path)) for path, text in violations]
        located.sort(key=lambda row: row[2] or 0)
        message = "\n".join(
            f"{self.source}{f':{line}' if line else ''}: {f'{path}: ' if path else ''}{text}"
            for path, text, line in located
        )
        return ValidationError(message, violations=tuple((path, text) for path, text, _ in located))


def read_document(path: Path) -> Document:
    """Reads a YAML file.

    Raises:
        ValidationError: The file cannot be read, is not UTF-8 or not YAML; file and line are in the message.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValidationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValidationError(f"{path}: not UTF-8 text") from error
    return parse_document(text, str(path))


def parse_document(text: str, source: str) -> Document:
    """Parses YAML text; `source` names it in messages.

    Raises:
        ValidationError: The text is not one YAML document; the line is in the message.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ValidationError(f"{source}: the document is empty")
        reader = _Reader(loader, source)
        value = reader.read(node, "", 0)
        return Document(source=source, value=value, lines=reader.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}" if mark is not None else source
        raise ValidationError(f"{where}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValidationError(f"{source}: not valid YAML: {error}") from error
    finally:
        loader.dispose()


class _Reader:
    """Turns YAML nodes into plain values and remembers where each stood."""

    def __init__(self, loader: yaml.SafeLoader, source: str) -> None:
        self._loader = loader
        self._source = source
        self._count = 0
        self.lines: dict[str, int] = {}

    def read(self, node: yaml.Node, path: str, depth: int) -> object:
        self._count += 1
        line = node.start_mark.line + 1
        if depth > _DEPTH_MAX or self._count > _VALUES_MAX:
            limit = f"{_DEPTH_MAX} levels" if depth > _DEPTH_MAX else f"{_VALUES_MAX} values"
            raise ValidationError(f"{self._source}:{line}: more than {limit}; does an alias refer to itself?")
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        try:
            value: object = self._loader.construct_object(node)
        except ValueError as error:
            raise ValidationError(f"{self._source}:{line}: {path}: {error}") from error
        return value

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, object]:
        result: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE_TAG:
                raise ValidationError(f"{self._source}:{line}: merge keys (<<) are not supported; write the fields out")
            if not isinstance(key_node, yaml.ScalarNode):
                raise ValidationError(f"{self._source}:{line}: a key must be a plain string")
            # The text of the key, not what YAML 1.1 makes of it: `on` and `no` are names here, not booleans.
            key = str(key_node.value)
            where = f"{path}.{key}" if path else key
            if key in result:
                raise ValidationError(f"{self._source}:{line}: {where}: the key is there twice")
            self.lines[where] = line
            result[key] = self.read(value_node, where, depth + 1)
        return result


def _around(path: str) -> Iterator[str]:
    """The path itself, then each path around it, innermost first."""
    while path:
        yield path
        cut = max(path.rfind("."), path.rfind("["))
        path = path[:cut] if cut > 0 else ""
