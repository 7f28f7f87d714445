"""Groups of chunks, and how they become those of all rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from onex_mesh.compute.core.builtins.aggregates import (
    INT64_MAX,
    Aggregate,
    GroupParams,
    aggregated,
    exact_means,
    keys_of,
    largest_in,
    narrowed,
    prepared,
)
from onex_mesh.compute.core.builtins.frame import in_one, numbered, refusal
from onex_mesh.compute.core.builtins.moments import Moments, merged_moments
from onex_mesh.compute.core.builtins.numbers import EXACT_MAX
from onex_mesh.compute.core.tables import Column, Lists, Table, arrow, arrow_compute

_PARTS: Mapping[str, Sequence[str]] = {
    "mean": ("sum", "count"),
    "variance": ("count", "mean", "variance"),
    "stddev": ("count", "mean", "variance"),
    "count_distinct": ("distinct",),
}
"""What Arrow is asked for an aggregate of a chunk; for the others, the aggregate itself."""
_AS_LISTS = ("list", "distinct")


@dataclass(frozen=True, slots=True)
class GroupedChunk:
    """The groups of a chunk.

    Attributes:
        table: A row per group: keys k0, k1, … (or all, where there are none), then by aggregate and part: v0_sum, …
        rows: How many rows it has.
        kinds: Arrow type of the values, by aggregate.
        largest: The greatest distance from zero of integers that are summed, by aggregate.
    """

    table: Table
    rows: int
    kinds: tuple[object, ...]
    largest: tuple[int, ...]


def groups_of_chunk(source: Table, count: int, params: GroupParams) -> GroupedChunk:
    """Aggregates a chunk, in parts that can be merged."""
    pa, kinds = arrow(), arrow().types
    keys = keys_of(source, params, count)
    made = dict(keys)
    values: list[Column] = []
    asked: list[tuple[str, str, object]] = []
    for at, aggregate in enumerate(params.aggregates.values()):
        values.append(source.column(aggregate.field) if aggregate.field else pa.repeat(True, count))
        made[f"v{at}"] = prepared(values[at], aggregate, count)
        asked.extend((f"v{at}", part, None) for part in _parts(aggregate))
    found = aggregated(made, keys, asked, count)
    parts = {name: found.column(name) for name in keys}
    for at, aggregate in enumerate(params.aggregates.values()):
        for part in _parts(aggregate):
            parts[f"v{at}_{part}"] = _part(part, found.column(f"v{at}_{part}"), kinds.is_null(values[at].type))
    return GroupedChunk(
        table=pa.table(parts),
        rows=count,
        kinds=tuple(column.type for column in values),
        largest=tuple(largest_in(column) if kinds.is_integer(column.type) else 0 for column in values),
    )


def merged_groups(chunks: Sequence[GroupedChunk], params: GroupParams) -> Table:
    """The groups of all chunks, in the order of first appearance.

    Raises:
        ValidationError: An integer beyond 2^53 in one chunk stands among floats in another.
    """
    pa = arrow()
    for at, aggregate in enumerate(params.aggregates.values()):
        _require_exact(at, aggregate, chunks)
    whole = pa.concat_tables([_fitting(chunk, chunks, params) for chunk in chunks], promote_options="permissive")
    keys = [f"k{at}" for at in range(len(params.keys))] or ["all"]
    columns = _of_known_types(whole)
    columns["row"] = numbered(whole.num_rows)
    asked: list[tuple[str, str, object]] = [("row", "list", None)]
    simple = {"count": "sum", **{name: name for name in ("sum", "min", "max", "first", "last")}}
    for at, aggregate in enumerate(params.aggregates.values()):
        asked += [(f"v{at}_{part}", simple[part], None) for part in _parts(aggregate) if part in simple]
    found = aggregated(columns, keys, asked, whole.num_rows)
    merged = _Merged(columns, found, chunks)
    results = [found.column(name) for name in keys if params.keys]
    results += [merged.result(at, aggregate) for at, aggregate in enumerate(params.aggregates.values())]
    table: Table = pa.table(results, names=[*params.keys, *params.aggregates])
    return table


@dataclass(frozen=True, slots=True)
class _Merged:
    """Merged parts, to make results of.

    Attributes:
        parts: The groups of all chunks, one below the other.
        found: The merged groups, and which rows of `parts` each is made of.
        chunks: The chunks.
    """

    parts: Mapping[str, Column]
    found: Table
    chunks: Sequence[GroupedChunk]

    def result(self, at: int, aggregate: Aggregate) -> Column:
        """The column of an aggregate."""
        match aggregate.function:
            case "sum":
                return self._sum(at)
            case "mean":
                sums, counts = self.found.column(f"v{at}_sum_sum"), self.found.column(f"v{at}_count_sum")
                if not arrow().types.is_floating(sums.type):
                    return exact_means(sums, counts)
                means: Column = arrow_compute().divide(sums, counts.cast(arrow().float64()))
                return means
            case "variance" | "stddev":
                return self._spread(at, aggregate.function == "stddev")
            case "list":
                return self._lists(f"v{at}_list")
            case "count_distinct":
                return _distinct(self._lists(f"v{at}_distinct"))
            case "count":
                return self.found.column(f"v{at}_count_sum")
            case function:
                return self.found.column(f"v{at}_{function}_{function}")

    def _sum(self, at: int) -> Column:
        """In the type that it has for all rows at once."""
        pa, kinds = arrow(), arrow().types
        column = self.found.column(f"v{at}_sum_sum")
        types = [chunk.kinds[at] for chunk in self.chunks if not kinds.is_null(chunk.kinds[at])]
        if not types:
            return column.cast(pa.int64())
        if kinds.is_integer(types[0]) and not kinds.is_floating(column.type):
            most = max(chunk.largest[at] for chunk in self.chunks) * sum(chunk.rows for chunk in self.chunks)
            if most <= INT64_MAX:
                return column.cast(pa.uint64() if kinds.is_unsigned_integer(types[0]) else pa.int64())
        return narrowed(column) if kinds.is_decimal(column.type) else column

    def _spread(self, at: int, is_root: bool) -> Column:
        counts, means, variances = (self.parts[f"v{at}_{part}"].to_pylist() for part in ("count", "mean", "variance"))
        made: list[float | None] = []
        for rows in cast("list[list[int]]", self.found.column("row_list").to_pylist()):
            known = [row for row in rows if counts[row]]
            parts = [_moments(counts[row], means[row], variances[row]) for row in known]
            moments = merged_moments(parts)
            variance = moments.spread / (moments.count - 1) if moments.count > 1 else None
            made.append(math.sqrt(variance) if is_root and variance is not None else variance)
        column: Column = arrow().array(made, "float64")
        return column

    def _lists(self, name: str) -> Column:
        """The lists of chunks, joined by group without looking into them."""
        pc = arrow_compute()
        groups = _lists_in(self.found.column("row_list"))
        inner = _lists_in(pc.take(self.parts[name], pc.list_flatten(groups)))
        lists: Column = arrow().ListArray.from_arrays(pc.take(inner.offsets, groups.offsets), inner.values)
        return lists


def _moments(count: object, mean: object, variance: object) -> Moments:
    number = cast("int", count)
    return Moments(number, cast("float", mean), cast("float", variance) * number)


def _distinct(lists: Column) -> Column:
    pa, pc = arrow(), arrow_compute()
    members = pa.table({"group": pc.list_parent_indices(lists), "value": pc.list_flatten(lists)})
    valid = pc.CountOptions(mode="only_valid")
    found = members.group_by(["group"], use_threads=False).aggregate([("value", "count_distinct", valid)])
    counts = Counter(
        dict(zip(*(found.column(name).to_pylist() for name in ("group", "value_count_distinct")), strict=True))
    )
    column: Column = pa.array([counts[group] for group in range(len(lists))], "int64")  # type: ignore[arg-type]
    return column


def _parts(aggregate: Aggregate) -> Sequence[str]:
    return _PARTS.get(aggregate.function, (aggregate.function,))


def _part(part: str, column: Column, is_null: bool) -> Column:
    """A part as it is merged: a sum of integers cannot overflow, and nulls fit to any type."""
    pa, kinds = arrow(), arrow().types
    if is_null and part in _AS_LISTS:
        return _lists_of_nulls(column, pa.null())
    if is_null and part != "count":
        return pa.nulls(len(column))  # type: ignore[no-any-return, arg-type]  # a column has a length
    return column.cast(pa.decimal128(38, 0)) if part == "sum" and kinds.is_integer(column.type) else column


def _of_known_types(whole: Table) -> dict[str, Column]:
    """The columns; those that are null in all chunks as `prepared` takes them."""
    pa, kinds = arrow(), arrow().types
    columns = {name: whole.column(name) for name in whole.column_names}
    for name, column in columns.items():
        if name.startswith("v") and kinds.is_null(column.type):
            columns[name] = column.cast(pa.int64())
        elif name.startswith("v") and kinds.is_list(column.type) and kinds.is_null(column.type.value_type):  # type: ignore[attr-defined]
            columns[name] = _lists_of_nulls(column, pa.int64())
    return columns


def _lists_in(column: Column) -> Lists:
    return cast("Lists", in_one(column))


def _lists_of_nulls(column: Column, kind: object) -> Column:
    lists = _lists_in(column)
    nulls = arrow().nulls(len(lists.values), kind)  # type: ignore[arg-type]  # an array has a length
    made: Column = arrow().ListArray.from_arrays(lists.offsets, nulls)
    return made


def _require_exact(at: int, aggregate: Aggregate, chunks: Sequence[GroupedChunk]) -> None:
    is_float = any(arrow().types.is_floating(chunk.kinds[at]) for chunk in chunks)
    if is_float and max(chunk.largest[at] for chunk in chunks) > EXACT_MAX:
        raise refusal(f"input_data.{aggregate.field}", "does not fit its column: an integer beyond 2^53 among floats")


def _fitting(chunk: GroupedChunk, chunks: Sequence[GroupedChunk], params: GroupParams) -> Table:
    """The table of a chunk, with sums of integers as floats where other chunks have floats."""
    pa, kinds = arrow(), arrow().types
    columns = {name: chunk.table.column(name) for name in chunk.table.column_names}
    for at in range(len(params.aggregates)):
        name = f"v{at}_sum"
        is_float = any(kinds.is_floating(other.kinds[at]) for other in chunks)
        if is_float and name in columns and kinds.is_decimal(columns[name].type):
            columns[name] = columns[name].cast(pa.float64())
    table: Table = pa.table(columns)
    return table
