"""Memory without a name that a node and its worker processes share: tables cross without a pipe and without pickling.

The node makes each piece (`memfd_create`, Linux) and a worker opens it through the node's entry in /proc, so the kernel
frees it with its last user, whoever dies. What has been written is sealed: nobody can shrink what another one reads.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

from onex_mesh.compute.core.output import write_stream
from onex_mesh.compute.core.tables import Table, arrow

COPIED_BYTES_MAX = 4 * 1024 * 1024
"""What is mapped keeps a file open, of which a process may not have many: smaller streams are copied, so a thousand
chunks are no burden."""

_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


@dataclass(frozen=True, slots=True)
class SharedTable:
    """A table in shared memory as one Arrow IPC stream: what is told instead of it.

    Attributes:
        path: Where another process opens the memory, for as long as its owner keeps it.
    """

    path: Path


class SharedMemory:
    """A piece of memory of this process, empty at first.

    It is closed when nobody refers to it any more, and not before: a thread may be writing into it although its task
    was cancelled, and the number of a closed file soon belongs to another one. Tables that were read from it stay.

    Attributes:
        path: Where another process opens it.
    """

    def __init__(self) -> None:
        self._fd = os.memfd_create("onex-table", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._fd}")
        weakref.finalize(self, os.close, self._fd)

    @property
    def size_bytes(self) -> int:
        """How much is in it."""
        return os.fstat(self._fd).st_size

    def write(self, table: Table) -> SharedTable:
        """Puts a table in, once."""
        write_into(self.path, table)
        return SharedTable(self.path)

    def read(self) -> Table:
        """The table in it, whoever wrote it; see `mapped_table`."""
        fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, _SEALS)
        return mapped_table(self._fd)


def write_into(path: Path, table: Table) -> None:
    """Writes a table into shared memory of another process, or of this one."""
    fd = os.open(path, os.O_WRONLY)
    # Buffered, for a plain file may write less than it is told to.
    with os.fdopen(fd, "wb") as file, arrow().PythonFile(file, "w") as sink:
        write_stream(table, sink)


def read_from(path: Path) -> Table:
    """The table in shared memory of another process; see `mapped_table`."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return mapped_table(fd)
    finally:
        os.close(fd)


def mapped_table(fd: int) -> Table:
    """The table in an open file that holds an Arrow IPC stream: a view, which keeps the file, or a small one's copy."""
    pa, size_bytes = arrow(), os.fstat(fd).st_size
    data = os.pread(fd, size_bytes, 0) if size_bytes <= COPIED_BYTES_MAX else mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    table: Table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    return table
