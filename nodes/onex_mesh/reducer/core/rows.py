"""The rows of an Arrow table as records: columns are read as they are, rows are made only where one is asked for.

pyarrow ships no types, and is imported only where a table came: its objects are Any here."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterator, Sequence
from typing import Any, overload

from onex_mesh.runtime.errors import ValidationError

_BLOCK = 65_536


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

    def pick(self, indices: Sequence[int]) -> TableRows:
        """The rows at these places."""
        return TableRows(self._table.take(_arrow().array(indices, "int64")))

    def column(self, field: str) -> Any:
        """The column of a field; None where there is none, or two."""
        # Two columns of one name are told by `to_pylist`, which keeps the last.
        return self._table.column(field) if self._table.column_names.count(field) == 1 else None

    def present(self, field: str) -> int:
        """In how many rows a field is there and not null."""
        column = self.column(field)
        return 0 if column is None else len(self) - int(column.null_count)


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


def _arrow() -> types.ModuleType:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ValidationError("tables need the extra: pip install 'onex-mesh[arrow]'") from error
