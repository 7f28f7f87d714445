"""Rows of a result as JSON, counted and measured while they arrive (F22)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncResult

from onex_mesh.effect.adapters.database.values import from_sql
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError
from onex_mesh.runtime.payload import Json

_FETCHED_AT_ONCE = 100

Values = tuple[object, ...]


class Rows:
    """Rows so far."""

    def __init__(self, *, rows_max: int, size_bytes_max: int) -> None:
        self._rows_max = rows_max
        self._size_bytes_max = size_bytes_max
        self._size_bytes = 2
        self.rows: list[Json] = []

    def add(self, row: Mapping[str, object]) -> None:
        """Takes a row.

        Raises:
            PayloadTooLargeError: That is one too many, or too large.
        """
        if len(self.rows) == self._rows_max:
            raise PayloadTooLargeError(
                f"there are more than {self._rows_max} rows; ask for fewer", error_context={"rows_max": self._rows_max}
            )
        plain = {name: from_sql(value) for name, value in row.items()}
        self._size_bytes += len(json.dumps(plain)) + 1
        if self._size_bytes > self._size_bytes_max:
            raise PayloadTooLargeError(
                f"the first {len(self.rows) + 1} rows are more than {self._size_bytes_max} bytes; ask for fewer",
                error_context={"size_bytes_max": self._size_bytes_max},
            )
        self.rows.append(plain)


async def gather(result: AsyncResult[Values], *, rows_max: int, size_bytes_max: int) -> list[Json]:
    """The rows of a result, fetched a few at a time, so that a large one is refused and never held.

    Raises:
        PayloadTooLargeError: There are too many, or they are too large.
        EffectFailedError: They cannot be told as JSON objects.
    """
    names = require_names(result.keys())
    rows = Rows(rows_max=rows_max, size_bytes_max=size_bytes_max)
    try:
        async for part in _parts(result):
            for row in part:
                rows.add(dict(zip(names, row, strict=True)))
    finally:
        await result.close()
    return rows.rows


def require_names(names: Iterable[str]) -> list[str]:
    """The names of the columns, of which none would hide another.

    Raises:
        EffectFailedError: Two have the same name.
    """
    found = list(names)
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise EffectFailedError(f"two columns of the result are named {', '.join(twice)}; give them names with AS")
    return found


async def _parts(result: AsyncResult[Values]) -> AsyncIterable[Sequence[Sequence[object]]]:
    try:
        async for part in result.partitions(_FETCHED_AT_ONCE):
            yield part
    except (ValueError, ArithmeticError) as error:
        raise EffectFailedError("a value of the result is not what the type of its column holds") from error
