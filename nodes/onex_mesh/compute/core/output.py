"""The shape that a result travels in (R38) and data comes in. What cannot be said exactly is refused (F22)."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass

from onex.v1 import common_pb2, compute_pb2
from onex_mesh.compute.core.data import DataForm
from onex_mesh.compute.core.tables import Table, arrow, is_table, table_of
from onex_mesh.compute.core.typed_json import plain_rows, schema_of_table, schema_of_type
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import (
    ARROW_TYPE,
    BYTES_TYPE,
    JSON_TYPE,
    data_field,
    fill_value,
    from_payload,
    parse_json,
)

PARQUET_TYPE = "application/vnd.apache.parquet"

_MESSAGE_BYTES_MAX = 2**31 - 1024
"""Protobuf takes 2 GiB; the rest of the message needs its share."""

_LEAD_BYTES = 512
"""Where the stream begins: large memory begins at a page, ours and the message's, and copying between addresses that
differ little within their pages is a third slower (4K aliasing)."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A result that is ready to travel, and holds on to nothing that it was made of.

    Attributes:
        content: Plain JSON, bytes, or memory that holds an encoded `data` field (see `data_field`).
        content_type: What it is.
    """

    content: object
    content_type: str

    def fill(self, payload: common_pb2.Payload) -> None:
        """Makes a payload of it, in place: a payload that is copied into its message afterwards is copied twice.

        Raises:
            ValidationError: A part of it cannot be JSON; with its path.
        """
        payload.content_type = self.content_type
        if isinstance(self.content, memoryview):
            payload.MergeFromString(self.content)  # type: ignore[arg-type]  # takes any buffer
        elif isinstance(self.content, bytes):
            payload.data = self.content
        else:
            fill_value(payload.json, self.content)


def read_data(payload: common_pb2.Payload, data: bytes = b"", at: str = "input_data") -> object:
    """The data of a payload: plain JSON, a table for Arrow and Parquet, or bytes.

    Args:
        payload: The payload.
        data: Its bytes, where they were taken out of it already.
        at: Where it stands, for the error.

    Raises:
        ValidationError: The bytes are not what their content type says.
    """
    if payload.WhichOneof("content") != "data":
        return from_payload(payload)
    data = data or payload.data
    if payload.content_type == ARROW_TYPE:
        return read_table(data, at)
    if payload.content_type == PARQUET_TYPE:
        return read_parquet(data, at)
    return parse_json(data) if payload.content_type == JSON_TYPE else data


def read_table(data: bytes, at: str = "input_data") -> Table:
    """The table of an Arrow IPC stream.

    Raises:
        ValidationError: It is not one.
    """
    pa = arrow()
    try:
        table: Table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    except (pa.ArrowException, OSError) as error:
        text = f"not an Arrow IPC stream: {str(error).splitlines()[0]}"
        raise ValidationError(f"{at}: {text}", violations=((at, text),)) from error
    return table


def write_table(table: Table) -> memoryview:
    """The Arrow IPC stream of a table, as an encoded `data` field of a payload.

    Its size is found by a first pass that writes nothing, so the memory is asked for once and does not grow by copying.

    Raises:
        PayloadTooLargeError: No message can hold it.
    """
    pa = arrow()
    size = pa.MockOutputStream()
    write_stream(table, size)
    if size.size() > _MESSAGE_BYTES_MAX:
        raise PayloadTooLargeError(f"a table of {size.size()} bytes is more than a message can hold")
    field = data_field(size.size())
    buffer = pa.allocate_buffer(_LEAD_BYTES + len(field) + size.size())
    sink = pa.FixedSizeBufferWriter(buffer)
    sink.write(bytes(_LEAD_BYTES))
    sink.write(field)
    write_stream(table, sink)
    return memoryview(buffer)[_LEAD_BYTES:]


def write_stream(table: Table, sink: object) -> None:
    """Writes a table as an Arrow IPC stream into a file of pyarrow."""
    with arrow().ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def read_parquet(data: bytes, at: str = "input_data") -> Table:
    """The table of a Parquet file.

    Raises:
        ValidationError: It is not one.
    """
    pa = arrow()
    try:
        table: Table = importlib.import_module("pyarrow.parquet").read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        text = f"not a Parquet file: {str(error).splitlines()[0]}"
        raise ValidationError(f"{at}: {text}", violations=((at, text),)) from error
    return table


def write_parquet(table: Table) -> bytes:
    """The Parquet file of a table."""
    # What a BytesIO holds is taken without a copy.
    sink = io.BytesIO()
    importlib.import_module("pyarrow.parquet").write_table(table, sink)
    return sink.getvalue()


def shaped(value: object, output_format: compute_pb2.OutputFormat) -> object:
    """A result in the shape asked for: plain JSON, bytes or a table.

    Raises:
        ValidationError: It has no such shape.
    """
    if output_format in (compute_pb2.OUTPUT_FORMAT_DATAFRAME, compute_pb2.OUTPUT_FORMAT_PARQUET):
        return value if is_table(value) else table_of(value)
    if output_format in (compute_pb2.OUTPUT_FORMAT_UNSPECIFIED, compute_pb2.OUTPUT_FORMAT_PASSTHROUGH):
        return value
    if isinstance(value, bytes):
        text = "bytes are not JSON; ask for passthrough"
        raise ValidationError(text, violations=(("output_transformation.format", text),))
    plain = plain_rows(value) if is_table(value) else value
    if output_format == compute_pb2.OUTPUT_FORMAT_ARRAY and not isinstance(plain, list | tuple):
        return [plain]
    return plain


def encoded(value: object, output_format: compute_pb2.OutputFormat = compute_pb2.OUTPUT_FORMAT_PASSTHROUGH) -> Encoded:
    """What is shaped, ready for a payload; a table is an Arrow IPC stream unless the format says Parquet.

    Raises:
        PayloadTooLargeError: No message can hold it.
    """
    if is_table(value):
        if output_format == compute_pb2.OUTPUT_FORMAT_PARQUET:
            return Encoded(write_parquet(value), PARQUET_TYPE)
        return Encoded(write_table(value), ARROW_TYPE)
    return Encoded(value, BYTES_TYPE) if isinstance(value, bytes) else Encoded(value, JSON_TYPE)


def output_schema(value: object, form: DataForm, output_format: compute_pb2.OutputFormat) -> dict[str, object] | None:
    """JSON Schema of a result where JSON or ARRAY was asked for and its type is known: declared, or a table's.

    Args:
        value: The result before it is shaped.
        form: The form that the algorithm declares.
        output_format: What was asked for.
    """
    if output_format not in (compute_pb2.OUTPUT_FORMAT_JSON, compute_pb2.OUTPUT_FORMAT_ARRAY):
        return None
    if is_table(value):
        return schema_of_table(value)
    if form.adapter is None:
        return None
    schema = schema_of_type(form.adapter)
    if output_format == compute_pb2.OUTPUT_FORMAT_ARRAY and not isinstance(value, list | tuple):
        # References lead to the root of the whole, so the definitions stay there.
        item = {name: part for name, part in schema.items() if name != "$defs"}
        return {"type": "array", "items": item, **({"$defs": schema["$defs"]} if "$defs" in schema else {})}
    return schema


def size_of(value: object) -> int:
    """Items in a result: rows of a list or table, 1 for anything else."""
    if is_table(value):
        return value.num_rows
    return len(value) if isinstance(value, list | tuple) else 1
