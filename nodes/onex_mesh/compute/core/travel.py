"""Tables on their way to another process and back: as one buffer of Arrow IPC, never row by row.

Pickling a slice of a table sends the whole buffers that it is a view of: each of n chunks would carry the whole table.
Arrow IPC writes the rows of the slice alone, and what it wrote is read without a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from onex_mesh.compute.core.computation import Task, run
from onex_mesh.compute.core.partial import Partial
from onex_mesh.compute.core.tables import arrow, is_table


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table as an Arrow IPC stream.

    Attributes:
        buffer: A pyarrow.Buffer.
    """

    buffer: object


def sealed(value: object) -> object:
    """A value as it travels: a table, or one in a partial result, as a `SealedTable`, anything else as it is."""
    if isinstance(value, Partial):
        return Partial({name: sealed(part) for name, part in value.parts.items()})
    if not is_table(value):
        return value
    pa = arrow()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, value.schema) as writer:
        writer.write_table(value)
    return SealedTable(sink.getvalue())


def opened(value: object) -> object:
    """What was sealed; a table is a view of the buffer that it came in."""
    if isinstance(value, Partial):
        return Partial({name: opened(part) for name, part in value.parts.items()})
    if not isinstance(value, SealedTable):
        return value
    with arrow().ipc.open_stream(value.buffer) as reader:
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
