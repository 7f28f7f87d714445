"""Strings with templates in them: "${…}", any number of them, between literal text."""

from __future__ import annotations

from dataclasses import dataclass

from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.expressions import Expression, compile_expression, failed
from onex_mesh.runtime.scope import Variables


@dataclass(frozen=True, slots=True)
class Text:
    """A string with at least one "${" in it.

    Attributes:
        parts: Literal texts and expressions, in turn.
        at: Path of the field that it stands in.
    """

    parts: tuple[str | Expression, ...]
    at: str

    @property
    def single(self) -> Expression | None:
        """The expression, if the string is nothing else: its value then keeps its type."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, Expression) else None

    @property
    def steps(self) -> frozenset[str]:
        """The steps that it reads."""
        return frozenset(name for part in self.parts if isinstance(part, Expression) for name in part.steps)

    @property
    def roots(self) -> frozenset[str]:
        """The variables that it reads."""
        return frozenset(name for part in self.parts if isinstance(part, Expression) for name in part.roots)

    def spell(self, variables: Variables) -> str:
        """The string with each expression replaced by the text of its value.

        Raises:
            ValidationError: An expression fails, or its value is no text: null, a list or an object.
        """
        return "".join(
            part if isinstance(part, str) else _spelled(part.evaluate(variables, self.at), part, self.at)
            for part in self.parts
        )


def compile_text(text: str, at: str, violations: list[tuple[str, str]]) -> Text | None:
    """The templates of a string; None if it has none. "$${" stands for "${".

    Args:
        text: The string.
        at: Path of its field.
        violations: What is wrong is added here, with the path.
    """
    if "${" not in text:
        return None
    parts: list[str | Expression] = []
    literal = ""
    position = 0
    while (start := text.find("${", position)) >= 0:
        if start > position and text[start - 1] == "$":
            literal += text[position : start - 1] + "${"
            position = start + 2
            continue
        end = _closing_brace(text, start + 2)
        if end < 0:
            violations.append((at, f"the template {text[start : start + 40]!r} is not closed by '}}'"))
            return None
        literal += text[position:start]
        if literal:
            parts.append(literal)
            literal = ""
        try:
            parts.append(compile_expression(text[start + 2 : end].strip(), at))
        except ValidationError as error:
            violations.extend(error.violations)
        position = end + 1
    literal += text[position:]
    if literal:
        parts.append(literal)
    return Text(tuple(parts), at)


def _closing_brace(text: str, position: int) -> int:
    """Position of the brace that closes a template; braces of CEL maps and those in strings do not. -1: none."""
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


def _spelled(value: object, expression: Expression, at: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    shown = "null" if value is None else f"a {type(value).__name__}"
    raise failed(at, f"${{{expression.source}}} is {shown} and cannot stand within a text")
