"""filter: the rows for which an expression in CEL is true.

Comparisons of a field with a constant, joined by && and ||, are computed by Arrow for all rows at once, where that
gives just what CEL would: the field has no nulls, and field and constant are both numbers, texts or booleans. All else,
and all that CEL would refuse, is evaluated row by row.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from cel_expr_python import cel
from pydantic import Field

from onex_mesh.compute.core.builtins.frame import Params, Rows, columns, frame_of, refusal, taken
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import AnyData, json_type
from onex_mesh.compute.core.tables import Column, Table, arrow, arrow_compute, is_table
from onex_mesh.runtime.cel_environment import new_environment
from onex_mesh.runtime.errors import ValidationError

_AT = "algorithm_config.parameters.where"
_COMPARISON = re.compile(
    r"""\s*row\.(?P<field>[A-Za-z_]\w*)\s*(?P<operator>==|!=|<=|>=|<|>)\s*
    (?P<constant>-?\d+(?:\.\d+)?|true|false|"[^"\\]*"|'[^'\\"]*')\s*""",
    re.VERBOSE,
)
_OPERATIONS = {
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_EXACT_MAX = 2**53


class FilterParams(Params):
    """Which rows stay."""

    where: str = Field(description="Expression in CEL over `row`: true for the rows that stay.")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with a constant."""

    field: str
    operator: str
    constant: bool | int | float | str


def filter_rows(data: AnyData, params: FilterParams, ctx: ComputeContext) -> object:
    """The rows for which the expression is true."""
    frame = frame_of(data, offset=ctx.offset)
    try:
        program = new_environment(("row",)).compile(params.where)
    except RuntimeError as error:
        raise refusal(_AT, f"not CEL: {str(error).splitlines()[0]}") from error
    alternatives = comparisons(params.where)
    mask = _mask(frame, alternatives) if alternatives else None
    if mask is None:
        mask = arrow().array(_row_by_row(frame, program, ctx), "bool")
    return taken(frame, arrow_compute().indices_nonzero(mask))


def comparisons(expression: str) -> list[list[Comparison]]:
    """The alternatives of an expression, each a list of comparisons that must all hold; empty if it is none."""
    alternatives: list[list[Comparison]] = [[]]
    position = 0
    while True:
        found = _COMPARISON.match(expression, position)
        if found is None:
            return []
        text = found["constant"]
        constant = json.loads(f'"{text[1:-1]}"' if text[0] in "\"'" else text) if _is_json(text) else None
        if constant is None:
            return []
        alternatives[-1].append(Comparison(found["field"], found["operator"], constant))
        position = found.end()
        match expression[position : position + 2]:
            case "":
                return alternatives
            case "&&":
                pass
            case "||":
                alternatives.append([])
            case _:
                return []
        position += 2


def _is_json(text: str) -> bool:
    """Whether a constant of CEL is read the same way as JSON: 007 and texts with control characters are not."""
    return re.fullmatch(r"-?0\d+.*", text) is None and text.isprintable()


def _mask(frame: Table | Rows, alternatives: list[list[Comparison]]) -> object | None:
    """Which rows stay; None where Arrow would not do as CEL does."""
    pc = arrow_compute()
    names = list(dict.fromkeys(part.field for every in alternatives for part in every))
    try:
        source = columns(frame, names)
    except ValidationError:
        return None
    every_part = [part for every in alternatives for part in every]
    if not all(_comparable(source.column(part.field), part) for part in every_part):
        return None
    whole: object | None = None
    for every in alternatives:
        mask: object | None = None
        for part in every:
            found = getattr(pc, _OPERATIONS[part.operator])(source.column(part.field), part.constant)
            mask = found if mask is None else pc.and_(mask, found)
        whole = mask if whole is None else pc.or_(whole, mask)
    return whole


def _comparable(column: Column, part: Comparison) -> bool:
    kinds = arrow().types
    kind = column.type
    if column.null_count:
        return False
    match part.constant:
        case bool():
            return bool(kinds.is_boolean(kind)) and part.operator in ("==", "!=")
        case str():
            return bool(kinds.is_string(kind) or kinds.is_large_string(kind))
        case int():
            return bool(kinds.is_integer(kind) or kinds.is_float64(kind)) and abs(part.constant) <= _EXACT_MAX
        case _:
            return bool(kinds.is_float64(kind))


def _row_by_row(frame: Table | Rows, program: cel.Expression, ctx: ComputeContext) -> list[bool]:
    kept = []
    for index, row in enumerate(frame.to_pylist() if is_table(frame) else frame, ctx.offset):
        ctx.check()
        result = program.eval(data={"row": row})
        value = result.plain_value()
        if result.type() == cel.Type.ERROR:
            raise refusal(f"input_data[{index}]", str(value).splitlines()[0])
        if not isinstance(value, bool):
            raise refusal(f"input_data[{index}]", f"the filter should give a boolean, not {json_type(value)}")
        kept.append(value)
    return kept
