"""The combinations of values that records are grouped by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from onex_mesh.reducer.core.records import scalars_of
from onex_mesh.reducer.core.scalars import Ranked, Scalar, ranked

if TYPE_CHECKING:
    from onex_mesh.reducer.core.value_columns import ValueColumn

Key: TypeAlias = tuple[Ranked, ...]


def keys_of(records: Sequence[object], fields: Sequence[str], offset: int) -> tuple[Sequence[int], list[Key]]:
    """The number of the key of each record, from 0, and the keys; a field that is missing is null.

    The numbers are a list, or an array of NumPy where all fields are columns of a table.

    Raises:
        ValidationError: A value cannot be a key, with the path of each, at most 100.
    """
    columns = [scalars_of(records, field, offset) for field in fields]
    if columns and not any(isinstance(column, list) for column in columns):
        from onex_mesh.reducer.core.key_columns import keys_of_columns

        return keys_of_columns(columns)
    if not columns:
        return [0] * len(records), [()]
    # Lists beside columns: a column of nested values, say, is read row by row.
    lists = [column if isinstance(column, list) else cast("ValueColumn", column).tolist() for column in columns]
    numbers: dict[Key, int] = {}
    codes = [
        numbers.setdefault(tuple(map(ranked, cast("tuple[Scalar, ...]", values))), len(numbers))
        for values in zip(*lists, strict=True)
    ]
    return codes, list(numbers)
