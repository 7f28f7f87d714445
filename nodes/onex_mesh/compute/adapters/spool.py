"""Tables on disk instead of in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from onex_mesh.compute.adapters.shared_memory import mapped_table
from onex_mesh.compute.core.output import write_stream
from onex_mesh.compute.core.tables import Table, arrow


def spilled(table: Table, folder: Path) -> Table:
    """The same table as an Arrow IPC stream in a file, mapped into memory: what is read of it can be dropped again.

    The file has no name, so it goes with the last that uses the table, however that ends.

    Args:
        table: The table.
        folder: Where there is room for it.

    Raises:
        OSError: It cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder, prefix="onex-spilled-") as file, arrow().PythonFile(file, "w") as sink:
        write_stream(table, sink)
        file.flush()
        return mapped_table(file.fileno())
