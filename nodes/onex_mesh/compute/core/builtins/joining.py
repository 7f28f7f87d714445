"""join: rows of two tables that are equal in their keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import (
    Params,
    columns,
    frame_of,
    names_of,
    numbered,
    refusal,
    refusing,
    taken,
)
from onex_mesh.compute.core.data import AnyData
from onex_mesh.compute.core.tables import Column, Rows, Table, arrow, arrow_compute, is_table, table_of

_KINDS = {
    "inner": "inner",
    "left": "left outer",
    "right": "right outer",
    "outer": "full outer",
    "semi": "left semi",
    "anti": "left anti",
}
_RIGHT = "algorithm_config.parameters.right"


class JoinParams(Params):
    """How two inputs become one."""

    on: tuple[str, ...] = Field(description="Key fields of the left rows.", min_length=1)
    right_on: tuple[str, ...] = Field((), description="Key fields of the right rows, in that order. Default: as `on`.")
    kind: Literal["inner", "left", "right", "outer", "semi", "anti"] = Field("inner", description="Which rows stay.")
    right: list[dict[str, object]] | None = Field(
        None, description="The right rows. Default: the input right, or the data is an object with left and right."
    )
    suffix: str = Field(
        "_right", description="Added to names of right fields that the left rows have too.", min_length=1
    )


def join_rows(data: AnyData, params: JoinParams, right: AnyData | None = None) -> object:
    """Rows of both inputs that are equal in the keys, in the order of the left ones, then of the right ones.

    Null equals nothing, as in SQL. The keys of the right rows are left out: they are the left ones'.
    """
    both = _both(data, params, right)
    right_on = params.right_on or params.on
    if len(right_on) != len(params.on):
        raise refusal("algorithm_config.parameters.right_on", f"needs {len(params.on)} fields, as on has")
    with refusing("input_data", "cannot be joined"):
        pairs = _pairs(both, params, right_on)
        if params.kind in ("semi", "anti"):
            return taken(both.left, pairs.column("left"))
        if is_table(both.left):
            others = both.right if is_table(both.right) else table_of(both.right)
            return _joined_tables(both.left, others, pairs, params, right_on)
        rows = both.right.to_pylist() if is_table(both.right) else both.right
        return _joined_rows(both.left, rows, pairs, params, right_on)


@dataclass(frozen=True, slots=True)
class _Both:
    """The two inputs and where they stand."""

    left: Table | Rows
    right: Table | Rows
    left_at: str
    right_at: str


def _both(data: object, params: JoinParams, right: object) -> _Both:
    """Both inputs; the result is rows or a table as the left one is."""
    pair = data if isinstance(data, dict) and set(data) == {"left", "right"} else None
    given = [found for found in (right, params.right, pair) if found is not None]
    if len(given) != 1:
        ways = "the input right, the parameter right, or data that is an object with the fields left and right"
        raise refusal("inputs.right", f"the right rows are {'given twice' if given else 'missing'}: {ways}")
    if pair is not None:
        left_at, right_at = "input_data.left", "input_data.right"
        return _Both(frame_of(pair["left"], left_at), frame_of(pair["right"], right_at), left_at, right_at)
    right_at = "inputs.right" if params.right is None else _RIGHT
    return _Both(frame_of(data), frame_of(given[0], right_at), "input_data", right_at)


def _pairs(both: _Both, params: JoinParams, right_on: tuple[str, ...]) -> Table:
    """Which row of the left goes with which of the right; null where there is none."""
    pa = arrow()
    lefts = columns(both.left, params.on, both.left_at)
    rights = columns(both.right, right_on, both.right_at)
    keys = [f"key{number}" for number in range(len(params.on))]
    pairs = [_alike(lefts.column(one), rights.column(two)) for one, two in zip(params.on, right_on, strict=True)]
    first = pa.table([*(one for one, _ in pairs), numbered(lefts.num_rows)], names=[*keys, "left"])
    second = pa.table([*(two for _, two in pairs), numbered(rights.num_rows)], names=[*keys, "right"])
    found = first.join(second, keys=keys, join_type=_KINDS[params.kind], use_threads=False)
    order = [(name, "ascending") for name in ("left", "right") if name in found.column_names]
    table: Table = found.take(arrow_compute().sort_indices(found, sort_keys=order))
    return table


def _alike(left: Column, right: Column) -> tuple[Column, Column]:
    """Two key columns in one type; only such changes as lose nothing."""
    pa = arrow()
    kinds = pa.types
    left, right = (_decoded(column) for column in (left, right))
    one, two = left.type, right.type
    if one != two and all(kinds.is_string(kind) or kinds.is_large_string(kind) for kind in (one, two)):
        return left.cast(pa.large_string()), right.cast(pa.large_string())
    if kinds.is_null(one) or kinds.is_null(two):
        other = two if kinds.is_null(one) else one
        common = pa.int64() if kinds.is_null(other) else other
        return left.cast(common), right.cast(common)
    if one != two and all(kinds.is_integer(kind) or kinds.is_floating(kind) for kind in (one, two)):
        common = pa.int64() if kinds.is_integer(one) and kinds.is_integer(two) else pa.float64()
        return left.cast(common), right.cast(common)
    return left, right


def _decoded(column: Column) -> Column:
    kind = column.type
    return column.cast(kind.value_type) if arrow().types.is_dictionary(kind) else column  # type: ignore[attr-defined]


def _right_names(left: Table | Rows, right: Table | Rows, suffix: str, right_on: tuple[str, ...]) -> dict[str, str]:
    """New name by name of the right fields that are no keys."""
    taken_names = set(names_of(left))
    names: dict[str, str] = {}
    for name in names_of(right):
        if name in right_on:
            continue
        new = f"{name}{suffix}" if name in taken_names else name
        if new in taken_names:
            raise refusal("algorithm_config.parameters.suffix", f"the name {new!r} is taken; choose another suffix")
        taken_names.add(new)
        names[name] = new
    return names


def _joined_tables(left: Table, right: Table, pairs: Table, params: JoinParams, right_on: tuple[str, ...]) -> Table:
    pc = arrow_compute()
    names = _right_names(left, right, params.suffix, right_on)
    lefts, rights = left.take(pairs.column("left")), right.take(pairs.column("right"))
    other = dict(zip(params.on, right_on, strict=True))
    made: dict[str, object] = {}
    for name in left.column_names:
        column = lefts.column(name)
        made[name] = column
        if name in other and params.kind in ("right", "outer"):
            # Where there is no left row the key is the right one's.
            made[name] = pc.coalesce(*_alike(column, rights.column(other[name])))
    made.update({new: rights.column(name) for name, new in names.items()})
    table: Table = arrow().table(made)
    return table


def _joined_rows(left: Rows, right: Rows, pairs: Table, params: JoinParams, right_on: tuple[str, ...]) -> Rows:
    names = _right_names(left, right, params.suffix, right_on)
    left_names = names_of(left) or list(params.on)
    keys = dict(zip(params.on, right_on, strict=True))
    rows: Rows = []
    for one, two in zip(pairs.column("left").to_pylist(), pairs.column("right").to_pylist(), strict=True):
        row = {} if one is None else left[cast("int", one)]
        match = {} if two is None else right[cast("int", two)]
        made = {name: row.get(name) if one is not None else match.get(keys.get(name, "")) for name in left_names}
        made.update({new: match.get(name) for name, new in names.items()})
        rows.append(made)
    return rows
