"""The rows of an Arrow table as records: columns are summed as they are, rows are made only where one is asked for.

pyarrow ships no types, and is imported only where a table came: its objects are Any here."""

from __future__ import annotations

import importlib
import math
import types
from collections.abc import Iterator, Sequence
from typing import Any, overload

from onex_mesh.reducer.core.exact import ExactSum
from onex_mesh.runtime.errors import ValidationError

_BLOCK = 65_536
_BLOCK_BITS = 17  # one more than it takes to count a block
_PASSES_MAX = 6
_EXPONENT_MAX = 1_020
_INT_LIMIT = 2**63


class TableRows(Sequence[object]):
    """The rows of a table. Slices share its memory."""

    __slots__ = ("_table",)

    def __init__(self, table: Any) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> object: ...
    @overload
    def __getitem__(self, index: slice) -> TableRows: ...
    def __getitem__(self, index: int | slice) -> object:
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            assert step == 1, "records are read in their order"
            return TableRows(self._table.slice(begin, max(0, end - begin)))
        return self._table.slice(range(len(self))[index], 1).to_pylist()[0]

    def __iter__(self) -> Iterator[object]:
        for begin in range(0, len(self), _BLOCK):
            yield from self._table.slice(begin, _BLOCK).to_pylist()

    def present(self, field: str) -> int:
        """In how many rows a field is there and not null."""
        column = self._column(field)
        return 0 if column is None else len(self) - int(column.null_count)

    def summed(self, field: str, total: ExactSum) -> ExactSum | None:
        """A sum with the numbers of a field, exact; None where some of them are no finite numbers.

        Raises:
            ValidationError: The sum is beyond what a double can hold.
        """
        pa = _arrow()
        column = self._column(field)
        if column is None or column.null_count:
            return None
        for array in column.chunks:
            if not len(array):
                continue
            if pa.types.is_integer(array.type):
                total = _with_integers(array, total)
            elif pa.types.is_floating(array.type) and _all_finite(array):
                total = _with_doubles(array.cast(pa.float64()), total)
            else:
                return None
        return total

    def _column(self, field: str) -> Any:
        # Two columns of one name are told by `to_pylist`, which keeps the last.
        return self._table.column(field) if self._table.column_names.count(field) == 1 else None


def table_rows(data: bytes, path: str) -> TableRows:
    """The rows of an Arrow IPC stream, which are not copied.

    Raises:
        ValidationError: It is none, or pyarrow is not installed.
    """
    pa = _arrow()
    try:
        table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        text = f"not an Arrow IPC stream: {str(error).splitlines()[0]}"
        raise ValidationError(f"{path}: {text}", violations=((path, text),)) from error
    return TableRows(table)


def _with_integers(array: Any, total: ExactSum) -> ExactSum:
    compute = importlib.import_module("pyarrow.compute")
    ends = compute.min_max(array).as_py()
    if max(abs(ends["min"]), abs(ends["max"])) * len(array) < _INT_LIMIT:
        return total.add([compute.sum(array).as_py()])
    # 64 bits could overflow, which Arrow would not tell.
    for begin in range(0, len(array), _BLOCK):
        total = total.add(array.slice(begin, _BLOCK).to_pylist())
    return total


def _with_doubles(array: Any, total: ExactSum) -> ExactSum:
    for begin in range(0, len(array), _BLOCK):
        total = total.add(_doubles_of_one_sum(array.slice(begin, _BLOCK)))
    return total


def _doubles_of_one_sum(array: Any) -> list[float]:
    """Doubles with the exact sum of an array of at most `_BLOCK` of them, mostly far fewer than it has.

    Each pass takes the leading bits of all numbers, so few that their sum cannot round, and leaves the rest (Rump,
    Ogita and Oishi 2008, "Accurate floating-point summation", ExtractVector). Numbers of very different size are left.
    """
    compute = importlib.import_module("pyarrow.compute")
    doubles: list[float] = []
    for _ in range(_PASSES_MAX):
        ends = compute.min_max(array).as_py()
        exponent = math.frexp(max(abs(ends["min"]), abs(ends["max"])))[1] + _BLOCK_BITS
        if ends["min"] == ends["max"] == 0.0:
            return doubles
        if exponent > _EXPONENT_MAX:
            break
        grid = math.ldexp(1.0, exponent)
        leading = compute.subtract(compute.add(array, grid), grid)
        doubles.append(compute.sum(leading).as_py())
        array = compute.subtract(array, leading)
    return [*doubles, *array.to_pylist()]


def _all_finite(array: Any) -> bool:
    compute = importlib.import_module("pyarrow.compute")
    return compute.all(compute.is_finite(array)).as_py() is True


def _arrow() -> types.ModuleType:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ValidationError("tables need the extra: pip install 'onex-mesh[arrow]'") from error
