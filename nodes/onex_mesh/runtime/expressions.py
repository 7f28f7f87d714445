"""Expressions: what stands between "${" and "}". CEL, with a short way for those that only follow a path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from cel_expr_python import cel
from google.protobuf import struct_pb2

from onex_mesh.runtime.cel_environment import new_environment
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import from_value
from onex_mesh.runtime.scope import INPUT, ROOTS, Path, Variables, is_status, output_of

EXPRESSION_CHARS_MAX = 4_096

_FIELD = r"(?:\.[A-Za-z_]\w*|\[\d{1,9}\]|\[(?:\"[^\"\\]*\"|'[^'\\]*')\])"
_PATH = re.compile(rf"(?:{'|'.join(ROOTS)}){_FIELD}*")
_PART = re.compile(r"\.?([A-Za-z_]\w*)|\[(\d+)\]|\[[\"']([^\"']*)[\"']\]")
_STRING = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_ROOT = re.compile(rf"(?<![.\w])({'|'.join(ROOTS)})\b")
_STEP = re.compile(r"\s*(?:\.\s*([A-Za-z_]\w*)|\[\s*(?:\"(\w+)\"|'(\w+)')\s*\])")


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression.

    Attributes:
        source: As it was written.
        path: Set if it only follows a path.
        roots: The variables that it reads.
        steps: The steps that it reads.
    """

    source: str
    path: Path | None
    roots: frozenset[str]
    steps: frozenset[str]

    @property
    def opens(self) -> frozenset[Path]:
        """The input and the outputs that it may look into."""
        if self.path is not None and is_status(self.path):
            return frozenset()
        outputs = frozenset(output_of(step_id) for step_id in self.steps)
        return outputs | {INPUT} if "input" in self.roots else outputs

    @property
    def passes_on(self) -> Path | None:
        """The input or the output that it names as a whole, if it does nothing else."""
        path = self.path
        is_output = path is not None and len(path) == 3 and (path[0], path[2]) == ("steps", "output")
        return path if is_output or path == INPUT else None

    def find(self, variables: Variables) -> struct_pb2.Value | None:
        """What the path leads to, as it is; None if this is no path, or what it leads to is not JSON or not there."""
        return None if self.path is None else variables.scope.follow(self.path)

    def evaluate(self, variables: Variables, at: str) -> object:
        """The value, as plain Python.

        Args:
            variables: What it reads.
            at: Path of the field that it stands in, for the error.

        Raises:
            ValidationError: It fails: something is not there, or is of another type.
        """
        found = self.find(variables)
        if found is not None:
            return from_value(found)
        try:
            result = _program(self.source).eval(data=variables.get(self.roots, self.steps))
            value: object = result.plain_value()
        except ValidationError as error:
            raise failed(at, f"${{{self.source}}}: {error.message}") from error
        except RuntimeError as error:
            raise failed(at, f"${{{self.source}}}: {first_line(error)}") from error
        if result.type() == cel.Type.ERROR:
            raise failed(at, f"${{{self.source}}}: {first_line(value)}")
        return value


def compile_expression(source: str, at: str) -> Expression:
    """Checks an expression.

    Raises:
        ValidationError: It is not CEL, or reads what there is not.
    """
    if not source:
        raise failed(at, "the template is empty")
    if len(source) > EXPRESSION_CHARS_MAX:
        raise failed(at, f"the template has {len(source)} characters; at most {EXPRESSION_CHARS_MAX} are taken")
    roots, steps = _reads(source, at)
    if _PATH.fullmatch(source):
        return Expression(source, _path(source), roots, steps)
    try:
        _program(source)
    except RuntimeError as error:
        raise failed(at, f"${{{source}}} is not CEL: {first_line(error)}") from error
    return Expression(source, None, roots, steps)


def failed(at: str, text: str) -> ValidationError:
    """The error of a template, with the path of its field."""
    return ValidationError(f"{at}: {text}" if at else text, violations=((at or "value", text),))


def first_line(error: object) -> str:
    """The first line of what CEL has to say, without its codes."""
    line = str(error).splitlines()[0]
    return re.sub(r"^[A-Z_]+: (?:ERROR: <input>:)?", "", line)


def _reads(source: str, at: str) -> tuple[frozenset[str], frozenset[str]]:
    """The variables and the steps that an expression reads; a step must be named, or nobody could wait for it."""
    # Strings are blanked where they stand, so that positions stay; the names of steps are then read from the source.
    bare = _STRING.sub(lambda found: " " * len(found[0]), source)
    roots: set[str] = set()
    steps: set[str] = set()
    for found in _ROOT.finditer(bare):
        roots.add(found[1])
        if found[1] == "steps":
            name = _STEP.match(source, found.end())
            if name is None:
                raise failed(at, f"${{{source}}}: `steps` must be followed by the name of a step, as in steps.read")
            steps.add(name[1] or name[2] or name[3])
    return frozenset(roots), frozenset(steps)


def _path(source: str) -> Path:
    return tuple(int(index) if index else name or key for name, index, key in _PART.findall(source))


_ENVIRONMENT = new_environment(ROOTS)


@lru_cache(maxsize=4_096)
def _program(source: str) -> cel.Expression:
    return _ENVIRONMENT.compile(source)
