"""Templated fields of intents: any YAML, in whose texts "${…}" stands for the value of an expression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onex_mesh.reducer.core.declarative.language import ExpressionError, Language, Program
from onex_mesh.reducer.core.declarative.scope import Scope
from onex_mesh.runtime.errors import ReductionFailedError
from onex_mesh.runtime.template_split import UnclosedTemplateError, split_templates

_DEPTH_MAX = 32


@dataclass(frozen=True, slots=True)
class Text:
    """Literal texts and expressions, in turn."""

    parts: tuple[str | Program, ...]

    def evaluate(self, scope: Scope) -> object:
        """The value: of the expression itself where there is nothing else, otherwise text.

        Raises:
            ReductionFailedError: An expression fails, or what stands within text is no text, number or bool.
        """
        if len(self.parts) == 1 and isinstance(self.parts[0], Program):
            return self.parts[0].plain(scope)
        return "".join(part if isinstance(part, str) else _spelled(part, scope) for part in self.parts)


class Template:
    """A value with expressions in it.

    Args:
        value: Any YAML.
        language: What the expressions may read.
        path: Path of the value in the file.
        place: Gives "file:line" of a path.
        refuse: Is told path and text of what is wrong.
    """

    def __init__(
        self,
        value: object,
        language: Language,
        path: str,
        place: Callable[[str], str],
        refuse: Callable[[str, str], None],
    ) -> None:
        self._language = language
        self._place = place
        self._refuse = refuse
        self._value = self._compiled(value, path, 0)

    def evaluate(self, scope: Scope) -> object:
        """The value with every expression replaced by its own, as plain JSON.

        Raises:
            ReductionFailedError: See `Text.evaluate`.
        """
        return _evaluated(self._value, scope)

    def _compiled(self, value: object, path: str, depth: int) -> object:
        if depth > _DEPTH_MAX:
            self._refuse(path, f"is nested deeper than {_DEPTH_MAX} levels")
            return None
        match value:
            case str():
                return self._text(value, path)
            case Mapping():
                return {key: self._compiled(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
            case list():
                return [self._compiled(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
            case None | bool() | int() | float():
                return value
        self._refuse(path, f"a {type(value).__name__} is not JSON; put it into quotes")
        return None

    def _text(self, text: str, path: str) -> object:
        if "${" not in text:
            return text
        try:
            return Text(
                tuple(
                    part if isinstance(part, str) else self._language.compile(part.text, self._place(path))
                    for part in split_templates(text)
                )
            )
        except (UnclosedTemplateError, ExpressionError) as error:
            self._refuse(path, str(error))
            return None


def _evaluated(value: object, scope: Scope) -> object:
    match value:
        case Text():
            return value.evaluate(scope)
        case dict():
            return {key: _evaluated(item, scope) for key, item in value.items()}
        case list():
            return [_evaluated(item, scope) for item in value]
    return value


def _spelled(program: Program, scope: Scope) -> str:
    plain = program.plain(scope)
    match plain:
        case str():
            return plain
        case bool():
            return "true" if plain else "false"
        case int() | float():
            return str(plain)
    raise ReductionFailedError(f"{program.place}: ${{{program.source}}} is {type(plain).__name__}, not text")
