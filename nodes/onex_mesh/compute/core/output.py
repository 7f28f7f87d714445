"""The shape that a result travels in (R38) and data comes in. What cannot be said exactly is refused (F22)."""

from __future__ import annotations

import importlib

from onex.v1 import common_pb2, compute_pb2
from onex_mesh.compute.core.data import DataForm
from onex_mesh.compute.core.tables import Table, arrow, is_table, table_of
from onex_mesh.compute.core.typed_json import plain_rows, schema_of_table, schema_of_type
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload, from_payload, json_payload

PARQUET_TYPE = "application/vnd.apache.parquet"


def read_data(payload: common_pb2.Payload, at: str = "input_data") -> object:
    """The data of a payload: plain JSON, a table for Arrow and Parquet, or bytes.

    Args:
        payload: The payload.
        at: Where it stands, for the error.

    Raises:
        ValidationError: The bytes are not what their content type says.
    """
    if payload.WhichOneof("content") == "data":
        if payload.content_type == ARROW_TYPE:
            return read_table(payload.data, at)
        if payload.content_type == PARQUET_TYPE:
            return read_parquet(payload.data, at)
    return from_payload(payload)


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


def write_table(table: Table) -> bytes:
    """The Arrow IPC stream of a table."""
    pa = arrow()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


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
    sink = arrow().BufferOutputStream()
    importlib.import_module("pyarrow.parquet").write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


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


def encoded(
    value: object, output_format: compute_pb2.OutputFormat = compute_pb2.OUTPUT_FORMAT_PASSTHROUGH
) -> common_pb2.Payload:
    """What is shaped, as a payload; a table is an Arrow IPC stream unless the format says Parquet.

    Raises:
        ValidationError: A part of it cannot be JSON; with its path.
    """
    if is_table(value):
        if output_format == compute_pb2.OUTPUT_FORMAT_PARQUET:
            return bytes_payload(write_parquet(value), PARQUET_TYPE)
        return bytes_payload(write_table(value), ARROW_TYPE)
    return bytes_payload(value) if isinstance(value, bytes) else json_payload(value)


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
