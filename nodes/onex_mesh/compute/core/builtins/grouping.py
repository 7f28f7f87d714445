"""group_by: aggregates of the rows that are equal in the keys."""

from __future__ import annotations

from decimal import Decimal
from typing import cast

from onex_mesh.compute.core.builtins.aggregates import (
    Aggregate,
    GroupParams,
    Name,
    aggregated,
    exact_means,
    keys_of,
    narrowed,
    prepared,
)
from onex_mesh.compute.core.builtins.frame import columns, frame_of, present_in, refusal, refusing, require_in_chunks
from onex_mesh.compute.core.builtins.group_merging import GroupedChunk, groups_of_chunk, merged_groups
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.data import AnyData
from onex_mesh.compute.core.partial import Partial
from onex_mesh.compute.core.tables import Column, Table, arrow, arrow_compute, is_table


def group_rows(data: AnyData, params: GroupParams, ctx: ComputeContext) -> object:
    """One row per group, in the order of first appearance: the keys, then the aggregates.

    Aggregates leave nulls out, but for list. Sums of integers and of decimals are exact.
    """
    for name, aggregate in params.aggregates.items():
        at = f"algorithm_config.parameters.aggregates.{name}"
        if not aggregate.field and aggregate.function != "count":
            raise refusal(f"{at}.field", "is required and missing")
        if name in params.keys:
            raise refusal(at, "is the name of a key too")
    frame = frame_of(data, offset=ctx.offset)
    names = _read(params)
    source = columns(frame, names, offset=ctx.offset, may_lack=ctx.is_chunk)
    count = len(frame) if isinstance(frame, list) else frame.num_rows
    with refusing("input_data", "cannot be aggregated"):
        if not ctx.is_chunk or not count:
            groups = _in_form(_grouped(source, count, params), is_table(frame))
            # A chunk without rows is the only one.
            return Partial({"whole": groups}) if ctx.is_chunk else groups
        chunk = groups_of_chunk(source, count, params)
    return Partial({"chunk": chunk, "is_table": is_table(frame), "present": present_in(frame, names)})


def merge_groups(partials: list[Partial], params: GroupParams) -> object:
    """The groups of all chunks."""
    if "whole" in partials[0].parts:
        return partials[0].parts["whole"]
    chunks = [cast("GroupedChunk", one.parts["chunk"]) for one in partials]
    require_in_chunks(partials, _read(params))
    with refusing("input_data", "cannot be aggregated"):
        return _in_form(merged_groups(chunks, params), any(one.parts["is_table"] for one in partials))


def _read(params: GroupParams) -> list[str]:
    """The fields that are looked at."""
    fields = [aggregate.field for aggregate in params.aggregates.values() if aggregate.field]
    return list(dict.fromkeys((*params.keys, *fields)))


def _in_form(groups: Table, is_for_table: bool) -> object:
    return groups if is_for_table else [_plain(row) for row in groups.to_pylist()]


def _grouped(source: Table, count: int, params: GroupParams) -> Table:
    pa = arrow()
    keys = keys_of(source, params, count)
    made = {**keys, "rows": pa.repeat(True, count)}
    asked: list[tuple[str, str, object]] = []
    for at, aggregate in enumerate(params.aggregates.values()):
        column = source.column(aggregate.field) if aggregate.field else made["rows"]
        made[f"v{at}"] = prepared(cast("Column", column), aggregate, count)
        asked.extend((f"v{at}", *way) for way in _ways(aggregate.function, made[f"v{at}"]))
    found = aggregated(made, keys, asked, count)
    results = [found.column(name) for name in keys if params.keys]
    results += [_result(found, at, aggregate) for at, aggregate in enumerate(params.aggregates.values())]
    table: Table = pa.table(results, names=[*params.keys, *params.aggregates])
    return table if count or params.keys else _of_nothing(table, params)


def _of_nothing(groups: Table, params: GroupParams) -> Table:
    """The one group of no rows at all, as in SQL: counts are 0, lists empty, all else is null."""
    row: dict[str, object] = {
        name: 0 if aggregate.function.startswith("count") else [] if aggregate.function == "list" else None
        for name, aggregate in params.aggregates.items()
    }
    table: Table = arrow().Table.from_pylist([row], schema=groups.schema)
    return table


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


def _result(found: Table, at: int, aggregate: Aggregate) -> Column:
    pa = arrow()
    if aggregate.function == "mean" and f"v{at}_mean" not in found.column_names:
        return exact_means(found.column(f"v{at}_sum"), found.column(f"v{at}_count"))
    column = found.column(f"v{at}_{aggregate.function}")
    if aggregate.function == "sum" and pa.types.is_decimal256(column.type):
        return narrowed(column)
    return column


def _plain(row: dict[str, object]) -> dict[str, object]:
    """A row of JSON's types: what was summed as a decimal lest it overflow is an integer."""
    return {name: _integer(value) for name, value in row.items()}


def _integer(value: object) -> object:
    if isinstance(value, Decimal) and value.as_tuple().exponent == 0:
        return int(value)
    return value
