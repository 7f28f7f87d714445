"""The work of `bench.compute`, as algorithms of the engine and as the same work in bare pyarrow and pandas."""

# mypy: disable-error-code="attr-defined,name-defined,import-untyped"
# pyarrow and pandas ship no types for these.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

GROUPS = 1_000


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    Attributes:
        arrow: In pyarrow; the algorithm of the engine.
        pandas: The same in pandas.
        merge: From the results of chunks to one; None where chunks gain nothing.
    """

    arrow: Callable[[pa.Table], pa.Table]
    pandas: Callable[[pd.DataFrame], pd.DataFrame]
    merge: Callable[[list[pa.Table]], pa.Table] | None


def table_of(rows: int) -> pa.Table:
    """A number, its group, and a random value: 24 bytes a row."""
    number = np.arange(rows)
    return pa.table({"number": number, "group": number % GROUPS, "value": np.random.default_rng(1).random(rows)})


def mapped(data: pa.Table) -> pa.Table:
    """One new column of two operations."""
    doubled = pc.multiply(data.column("value"), 2.0)
    return data.append_column("priced", pc.add(doubled, data.column("value")))


def _mapped(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(priced=data["value"] * 2.0 + data["value"])


def grouped(data: pa.Table) -> pa.Table:
    """Sum and maximum by group."""
    return _named(data.group_by("group").aggregate([("value", "sum"), ("value", "max")]))


def grouped_again(partials: list[pa.Table]) -> pa.Table:
    """Sums of sums, and maxima of maxima."""
    again = pa.concat_tables(partials).group_by("group").aggregate([("sum", "sum"), ("max", "max")])
    return _named(again)


def _named(table: pa.Table) -> pa.Table:
    return table.rename_columns(["group", "sum", "max"])


def _grouped(data: pd.DataFrame) -> pd.DataFrame:
    return data.groupby("group", sort=False, as_index=False).agg(sum=("value", "sum"), max=("value", "max"))


def sorted_rows(data: pa.Table) -> pa.Table:
    """The rows by their value."""
    return data.sort_by("value")


def _sorted(data: pd.DataFrame) -> pd.DataFrame:
    return data.sort_values("value", ignore_index=True)


def joined(partials: list[pa.Table]) -> pa.Table:
    """Chunks after each other."""
    return pa.concat_tables(partials)


WORKS = {
    "map": Work(mapped, _mapped, joined),
    "group_by": Work(grouped, _grouped, grouped_again),
    "sort": Work(sorted_rows, _sorted, None),
}


def read(data: bytes | pa.Buffer) -> pa.Table:
    """The table of an Arrow IPC stream, without a copy."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


def written(table: pa.Table) -> pa.Buffer:
    """The Arrow IPC stream of a table, as the library writes it without being told its size."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def in_arrow(work: Work, data: bytes) -> pa.Buffer:
    """The work in bare pyarrow, from stream to stream."""
    return written(work.arrow(read(data)))


def in_pandas(work: Work, data: bytes) -> pa.Buffer:
    """The work in pandas, from stream to stream."""
    return written(pa.Table.from_pandas(work.pandas(read(data).to_pandas()), preserve_index=False))
