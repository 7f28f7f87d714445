"""Strings with templates in them: "${…}", any number of them, between literal text."""

from __future__ import annotations

from dataclasses import dataclass

from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.expressions import Expression, compile_expression, failed
from onex_mesh.runtime.scope import Path, Variables
from onex_mesh.runtime.template_split import UnclosedTemplateError, split_templates


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

    @property
    def opens(self) -> frozenset[Path]:
        """The input and the outputs that it may look into."""
        return frozenset(path for part in self.parts if isinstance(part, Expression) for path in part.opens)

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
    try:
        for part in split_templates(text):
            try:
                parts.append(part if isinstance(part, str) else compile_expression(part.text, at))
            except ValidationError as error:
                violations.extend(error.violations)
    except UnclosedTemplateError as error:
        violations.append((at, str(error)))
        return None
    return Text(tuple(parts), at)


def _spelled(value: object, expression: Expression, at: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    shown = "null" if value is None else f"a {type(value).__name__}"
    raise failed(at, f"${{{expression.source}}} is {shown} and cannot stand within a text")
