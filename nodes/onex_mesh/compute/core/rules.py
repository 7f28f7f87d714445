"""Ranges, patterns, lengths and enumerations of fields (R36, R37, F21).

A column of a table is looked at as a whole first; its values one by one only where one of them breaks a rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from onex_mesh.compute.core.tables import Column, arrow, arrow_compute, is_table
from onex_mesh.runtime.errors import ValidationError

Violation = tuple[str, str]

_TEXT_MAX = 80


@dataclass(frozen=True, slots=True)
class Rules:
    """What the values of a field must be like. Each rule is for values of its kind; null breaks none.

    Attributes:
        minimum: Least value of a number.
        maximum: Greatest value of a number.
        pattern: RE2 expression that a text must match somewhere; empty for none.
        min_length: Fewest characters of a text, or items of a list.
        max_length: Most of them.
        one_of: The values that there may be; empty for any.
    """

    minimum: float | None = None
    maximum: float | None = None
    pattern: str = ""
    min_length: int | None = None
    max_length: int | None = None
    one_of: Sequence[object] = ()

    def check(self, at: str) -> None:
        """Checks the rules themselves.

        Raises:
            ValidationError: The pattern is not RE2; `at` says where the rules stand.
        """
        if self.pattern:
            try:
                _matching(["a"], self.pattern)
            except arrow().ArrowException as error:
                text = f"not RE2: {str(error).splitlines()[0]}"
                raise ValidationError(f"{at}.pattern: {text}", violations=((f"{at}.pattern", text),)) from error

    def broken(self, values: Sequence[object]) -> Iterator[tuple[int, str]]:
        """Number and text of each violation among the values of a field."""
        texts = list(dict.fromkeys(value for value in values if isinstance(value, str))) if self.pattern else []
        matching = _matching(texts, self.pattern) if texts else set()
        for index, value in enumerate(values):
            if value is None:
                continue
            if isinstance(value, str) and self.pattern and value not in matching:
                yield index, f"does not match {self.pattern!r}: {value[:_TEXT_MAX]!r}"
            if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
                # Asked so that NaN is within no range.
                if self.minimum is not None and not value >= self.minimum:
                    yield index, f"is less than {self.minimum:g}: {value}"
                if self.maximum is not None and not value <= self.maximum:
                    yield index, f"is greater than {self.maximum:g}: {value}"
            if isinstance(value, str | list):
                if self.min_length is not None and len(value) < self.min_length:
                    yield index, f"is shorter than {self.min_length}: {len(value)}"
                if self.max_length is not None and len(value) > self.max_length:
                    yield index, f"is longer than {self.max_length}: {len(value)}"
            if self.one_of and not any(_same(value, one) for one in self.one_of):
                yield index, f"is none of {', '.join(map(repr, self.one_of))}: {str(value)[:_TEXT_MAX]!r}"


def rule_violations(data: object, rules: Mapping[str, Rules]) -> Iterator[Violation]:
    """Path and text of each violation in an object, in rows or in a table; items that are no objects have no fields."""
    for field, rule in rules.items():
        if is_table(data):
            if field in data.column_names and _may_break(data.column(field), rule):
                for index, text in rule.broken(data.column(field).to_pylist()):
                    yield f"input_data[{index}].{field}", text
            continue
        rows = data if isinstance(data, list) else [data]
        values = [row.get(field) if isinstance(row, dict) else None for row in rows]
        for index, text in rule.broken(values):
            yield (f"input_data[{index}].{field}" if isinstance(data, list) else f"input_data.{field}"), text


def _may_break(column: Column, rule: Rules) -> bool:
    """Whether a value of a column may break a rule: told from its least and greatest, or from its distinct values."""
    kinds, pc = arrow().types, arrow_compute()
    if kinds.is_integer(column.type) or kinds.is_floating(column.type):
        if rule.one_of:
            return any(True for _ in rule.broken(pc.unique(column).to_pylist()))
        edges = pc.min_max(column).as_py()
        has_nan = kinds.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py()
        return bool(has_nan) or any(True for _ in rule.broken(list(edges.values())))
    if kinds.is_string(column.type) or kinds.is_large_string(column.type):
        return any(True for _ in rule.broken(pc.unique(column).to_pylist()))
    return True


def _matching(texts: Sequence[str], pattern: str) -> set[str]:
    """The texts that match. By RE2, which takes linear time whatever the pattern."""
    mask = arrow_compute().match_substring_regex(arrow().array(texts, "string"), pattern).to_pylist()
    return {text for text, matches in zip(texts, mask, strict=True) if matches}


def _same(value: object, one: object) -> bool:
    return value == one and isinstance(value, bool) == isinstance(one, bool)
