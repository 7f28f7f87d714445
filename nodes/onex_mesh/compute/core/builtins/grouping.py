"""group_by: aggregates of the rows that are equal in the keys."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal, cast

from pydantic import Field

from onex_mesh.compute.core.builtins.frame import Params, columns, frame_of, refusal, refusing
from onex_mesh.compute.core.data import AnyData
from onex_mesh.compute.core.tables import Column, Table, arrow, arrow_compute, is_table

Name = Literal["sum", "mean", "min", "max", "count", "count_distinct", "first", "last", "list", "variance", "stddev"]
_NUMERIC = ("sum", "mean", "variance", "stddev")
_INT64_MAX = 2**63 - 1


class Aggregate(Params):
    """One aggregate."""

    function: Name = Field(description="What to compute; variance and stddev are the sample's (n - 1).")
    field: str = Field("", description="Field of the rows. Only count goes without: then it counts rows.")


class GroupParams(Params):
    """What to compute by what."""

    keys: tuple[str, ...] = Field((), description="Fields to group by. Default: all rows are one group.")
    aggregates: dict[str, Aggregate] = Field(description="Aggregate, by the name of the new field.", min_length=1)


def group_rows(data: AnyData, params: GroupParams) -> object:
    """One row per group, in the order of first appearance: the keys, then the aggregates.

    Aggregates leave nulls out, but for list. Sums of integers and of decimals are exact.
    """
    for name, aggregate in params.aggregates.items():
        at = f"algorithm_config.parameters.aggregates.{name}"
        if not aggregate.field and aggregate.function != "count":
            raise refusal(f"{at}.field", "is required and missing")
        if name in params.keys:
            raise refusal(at, "is the name of a key too")
    frame = frame_of(data)
    fields = [aggregate.field for aggregate in params.aggregates.values() if aggregate.field]
    source = columns(frame, list(dict.fromkeys((*params.keys, *fields))))
    count = len(frame) if isinstance(frame, list) else frame.num_rows
    with refusing("input_data", "cannot be aggregated"):
        table = _grouped(source, count, params)
    return table if is_table(frame) else [_plain(row) for row in table.to_pylist()]


def _grouped(source: Table, count: int, params: GroupParams) -> Table:
    """Columns are numbered while Arrow works on them, for its own names of results could clash with theirs."""
    pa = arrow()
    made: dict[str, object] = {f"k{at}": source.column(name) for at, name in enumerate(params.keys)}
    made["rows"] = pa.repeat(True, count)
    asked: list[tuple[str, str, object]] = []
    for at, aggregate in enumerate(params.aggregates.values()):
        column = source.column(aggregate.field) if aggregate.field else made["rows"]
        made[f"v{at}"] = _prepared(cast("Column", column), aggregate, count)
        asked.extend((f"v{at}", *way) for way in _ways(aggregate.function, made[f"v{at}"]))
    keys = [f"k{at}" for at in range(len(params.keys))]
    found = pa.table(made).group_by(keys, use_threads=False).aggregate(asked)
    results = [found.column(name) for name in keys]
    results += [_result(found, at, aggregate) for at, aggregate in enumerate(params.aggregates.values())]
    table: Table = pa.table(results, names=[*params.keys, *params.aggregates])
    return table


def _prepared(column: Column, aggregate: Aggregate, count: int) -> Column:
    """The column in a type in which the aggregate cannot overflow."""
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
    if pa.types.is_integer(kind) and _largest(column) * count > _INT64_MAX:
        return column.cast(pa.decimal128(38, 0))
    if pa.types.is_decimal(kind):
        return column.cast(pa.decimal256(76, kind.scale))  # type: ignore[attr-defined]  # a decimal type
    return column


def _largest(column: Column) -> int:
    found = arrow_compute().min_max(column).as_py()
    return max(abs(int(found["min"] or 0)), abs(int(found["max"] or 0)))


def _ways(function: Name, column: object) -> list[tuple[str, object]]:
    """What Arrow is asked for one aggregate."""
    pc = arrow_compute()
    match function:
        case "variance" | "stddev":
            return [(function, pc.VarianceOptions(ddof=1))]
        case "count_distinct":
            return [("count_distinct", pc.CountOptions(mode="only_valid"))]
        case "mean" if arrow().types.is_decimal(cast("Column", column).type):
            return [("sum", None), ("count", None)]
        case _:
            return [(function, None)]


def _result(found: Table, at: int, aggregate: Aggregate) -> object:
    pa = arrow()
    if aggregate.function == "mean" and f"v{at}_mean" not in found.column_names:
        sums, counts = (found.column(f"v{at}_{part}").to_pylist() for part in ("sum", "count"))
        means = [_mean(cast("Decimal | None", one), cast("int", many)) for one, many in zip(sums, counts, strict=True)]
        return pa.array(means, pa.float64())
    column = found.column(f"v{at}_{aggregate.function}")
    if aggregate.function == "sum" and pa.types.is_decimal256(column.type):
        return _narrowed(column)
    return column


def _mean(total: Decimal | None, count: int) -> float | None:
    return None if total is None or not count else float(Fraction(total) / count)


def _narrowed(column: Column) -> Column:
    """A sum of decimals in the usual type, where it fits."""
    pa = arrow()
    try:
        return column.cast(pa.decimal128(38, column.type.scale))  # type: ignore[attr-defined]  # a decimal type
    except pa.ArrowInvalid:
        return column


def _plain(row: dict[str, object]) -> dict[str, object]:
    """A row of JSON's types: what was summed as a decimal lest it overflow is an integer."""
    return {name: _integer(value) for name, value in row.items()}


def _integer(value: object) -> object:
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return int(value)
    return value
