"""The aggregates of group_by, and what is the same of them for all rows and for chunks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Literal, cast

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import Params, numbered, refusal
from onex_mesh.compute.core.builtins.numbers import EXACT_MAX
from onex_mesh.compute.core.tables import Column, Table, arrow, arrow_compute

Name = Literal["sum", "mean", "min", "max", "count", "count_distinct", "first", "last", "list", "variance", "stddev"]
_NUMERIC = ("sum", "mean", "variance", "stddev")
INT64_MAX = 2**63 - 1


class Aggregate(Params):
    """One aggregate."""

    function: Name = Field(description="What to compute; variance and stddev are the sample's (n - 1).")
    field: str = Field("", description="Field of the rows. Only count goes without: then it counts rows.")


class GroupParams(Params):
    """What to compute by what."""

    keys: tuple[str, ...] = Field((), description="Fields to group by. Default: all rows are one group.")
    aggregates: dict[str, Aggregate] = Field(description="Aggregate, by the name of the new field.", min_length=1)


def prepared(column: Column, aggregate: Aggregate, count: int) -> Column:
    """The column in a type in which the aggregate cannot overflow, and a mean of integers is not rounded twice."""
    pa = arrow()
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(pa.int64())
    if aggregate.function not in _NUMERIC:
        return column
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise refusal(f"input_data.{aggregate.field}", f"{aggregate.function} needs numbers, found {kind}")
    if aggregate.function in ("variance", "stddev"):
        return column.cast(pa.float64(), safe=False)
    most = EXACT_MAX if aggregate.function == "mean" else INT64_MAX
    if pa.types.is_integer(kind) and largest_in(column) * count > most:
        return column.cast(pa.decimal128(38, 0))
    if pa.types.is_decimal(kind):
        return column.cast(pa.decimal256(76, kind.scale))  # type: ignore[attr-defined]  # a decimal type
    return column


def largest_in(column: Column) -> int:
    """The greatest distance from zero in a column of integers; 0 if there are none."""
    found = arrow_compute().min_max(column).as_py()
    return max(abs(int(found["min"] or 0)), abs(int(found["max"] or 0)))


def keys_of(source: Table, params: GroupParams, count: int) -> dict[str, Column]:
    """The columns to group by, or a constant. Numbered, for Arrow's names of results could clash with theirs."""
    if not params.keys:
        return {"all": arrow().repeat(0, count)}
    return {f"k{at}": source.column(name) for at, name in enumerate(params.keys)}


def aggregated(
    columns: Mapping[str, Column], keys: Iterable[str], asked: Sequence[tuple[str, str, object]], count: int
) -> Table:
    """The groups of so many rows, in the order of first appearance, which Arrow does not keep."""
    pa = arrow()
    grouped = pa.table({**columns, "first": numbered(count)}).group_by(list(keys), use_threads=False)
    found = grouped.aggregate([*asked, ("first", "min", None)])
    table: Table = found.take(arrow_compute().sort_indices(found.column("first_min")))
    return table


def exact_means(sums: Column, counts: Column) -> Column:
    """Means of exact sums, each rounded once."""
    pairs = zip(cast("list[Decimal | None]", sums.to_pylist()), cast("list[int]", counts.to_pylist()), strict=True)
    means = [None if total is None or not count else float(Fraction(total) / count) for total, count in pairs]
    found: Column = arrow().array(means, "float64")
    return found


def narrowed(column: Column) -> Column:
    """A sum of decimals in the usual type, where it fits."""
    pa = arrow()
    try:
        return column.cast(pa.decimal128(38, column.type.scale))  # type: ignore[attr-defined]  # a decimal type
    except pa.ArrowInvalid:
        return column
