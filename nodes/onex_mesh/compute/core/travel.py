"""Tables on their way to another machine and back: as one buffer of Arrow IPC, never row by row.

Pickling a slice of a table sends the whole buffers that it is a view of: each of n chunks would carry the whole table.
Arrow IPC writes the rows of the slice alone, and what it wrote is read without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from onex_mesh.compute.core.computation import Task, run
from onex_mesh.compute.core.output import write_stream
from onex_mesh.compute.core.partial import Partial
from onex_mesh.compute.core.tables import arrow, is_table

_ALIGNMENT_BYTES = 8
"""Within a stream, Arrow pads to so many."""


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table as an Arrow IPC stream.

    Attributes:
        buffer: A pyarrow.Buffer.
    """

    buffer: Any


def sealed(value: object) -> object:
    """A value as it travels: a table, or one in a partial result, as a `SealedTable`, anything else as it is."""
    if isinstance(value, Partial):
        return Partial({name: sealed(part) for name, part in value.parts.items()})
    if not is_table(value):
        return value
    sink = arrow().BufferOutputStream()
    write_stream(value, sink)
    return SealedTable(sink.getvalue())


def opened(value: object) -> object:
    """What was sealed; a table is a view of the buffer that it came in, or of an aligned copy.

    What came over a network may begin anywhere in a larger piece of memory; Arrow's kernels want numbers at addresses
    that their size divides.
    """
    if isinstance(value, Partial):
        return Partial({name: opened(part) for name, part in value.parts.items()})
    if not isinstance(value, SealedTable):
        return value
    pa, buffer = arrow(), value.buffer
    if buffer.address % _ALIGNMENT_BYTES:
        aligned = pa.allocate_buffer(buffer.size)
        pa.FixedSizeBufferWriter(aligned).write(buffer)
        buffer = aligned
    with pa.ipc.open_stream(buffer) as reader:
        return reader.read_all()


def sealed_task(task: Task) -> Task:
    """A task as it travels."""
    return replace(task, data=sealed(task.data), inputs={name: sealed(value) for name, value in task.inputs.items()})


def has_tables(task: Task) -> bool:
    """Whether a task has tables to seal."""
    return any(is_table(value) for value in (task.data, *task.inputs.values()))


def run_sealed(task: Task) -> object:
    """Runs a task that has travelled; its result travels back.

    Raises:
        OnexError: See `run`.
    """
    inputs = {name: opened(value) for name, value in task.inputs.items()}
    return sealed(run(replace(task, data=opened(task.data), inputs=inputs)))
