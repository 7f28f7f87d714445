"""What database effects ask for, checked: every name in here is one that the target lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from onex_mesh.runtime.payload import Json

Row = dict[str, Json]


@dataclass(frozen=True, slots=True)
class TableWrite:
    """An insert, update, upsert or delete."""

    table: str
    operation: str
    """insert, update, upsert or delete."""
    rows: tuple[Row, ...]
    """Values to write; one for an update, none for a delete."""
    where: Row
    """Columns and the values that they must equal."""
    key: tuple[str, ...]
    """The columns that an upsert decides by."""
    returning: tuple[str, ...]
    """Columns to return of each row written."""
    expect_rows: int | None = None
    """How many rows have to be written; with another number the transaction is rolled back."""
    field: str = ""
    """Where it stands in the parameters: "" or "operations[2]."."""

    @property
    def label(self) -> str:
        """For records: words, never data."""
        return f"{self.operation} {self.table}"


@dataclass(frozen=True, slots=True)
class Call:
    """A named statement with values for its parameters."""

    statement: str
    arguments: Mapping[str, Json]
    expect_rows: int | None = None
    field: str = ""

    @property
    def label(self) -> str:
        """For records: words, never data."""
        return f"statement {self.statement}"


Write: TypeAlias = "TableWrite | Call"


@dataclass(frozen=True, slots=True)
class Writes:
    """What one effect writes, in one transaction."""

    writes: tuple[Write, ...]
    is_list: bool
    """Whether they came as a list of operations; their results are a list then, too."""

    @property
    def label(self) -> str:
        """For records: words, never data."""
        return f"transaction of {len(self.writes)}" if self.is_list else self.writes[0].label


@dataclass(frozen=True, slots=True)
class TableRead:
    """A select."""

    table: str
    columns: tuple[str, ...]
    where: Row
    order: tuple[tuple[str, bool], ...]
    """(column, whether descending)."""
    limit: int
    offset: int

    @property
    def label(self) -> str:
        """For records: words, never data."""
        return f"select {self.table}"


Read: TypeAlias = "TableRead | Call"
