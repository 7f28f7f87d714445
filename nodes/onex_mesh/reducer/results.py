"""Results and states of aggregations as they travel."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import cast

from onex.v1 import common_pb2
from onex_mesh.reducer.core.aggregation import Aggregation
from onex_mesh.reducer.core.grouped import Grouped
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, JSON_TYPE, bytes_payload, json_payload

_GROUPS_READABLE_MAX = 200
"""A state of more groups travels as the text of JSON: nobody reads it, and protobuf takes ten times as long for it."""


def rows_of(reduced: Aggregation, result: object) -> int:
    """How many rows a result has; 1 where it is no list of rows."""
    is_rows = isinstance(reduced, Grouped) and reduced.shape.has_rows
    return len(cast("Sequence[object]", result)) if is_rows else 1


def result_payload(result: object, *, as_table: bool) -> common_pb2.Payload:
    """A result as JSON, or its rows as an Arrow IPC stream.

    Raises:
        ValidationError: A part of it cannot be either, with its path; or pyarrow is not installed.
    """
    if not as_table:
        return json_payload(result)
    try:
        pa = importlib.import_module("pyarrow")
    except ImportError as error:
        raise ValidationError("as_table needs the extra: pip install 'onex-mesh[arrow]'") from error
    try:
        table = pa.Table.from_pylist(list(cast("Sequence[object]", result)))
    except (pa.ArrowException, OverflowError) as error:
        text = f"the rows cannot be a table: {str(error).splitlines()[0]}"
        raise ValidationError(text, violations=(("reduction_config.as_table", text),)) from error
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes_payload(sink.getvalue().to_pybytes(), ARROW_TYPE)


def rows_payload(rows: Sequence[object]) -> common_pb2.Payload:
    """Rows as JSON."""
    return json_payload(list(rows))


def state_payload(state: object, size_bytes_max: int) -> common_pb2.Payload:
    """A state as JSON; a large one as its text.

    Raises:
        PayloadTooLargeError: It is larger than `size_bytes_max`.
    """
    groups = state.get("groups") if isinstance(state, dict) else None
    if isinstance(groups, list) and len(groups) > _GROUPS_READABLE_MAX:
        payload = bytes_payload(json.dumps(state, separators=(",", ":"), allow_nan=False).encode(), JSON_TYPE)
    else:
        payload = json_payload(state)
    size_bytes = payload.ByteSize()
    if size_bytes > size_bytes_max:
        count = f" of {len(groups)} groups" if isinstance(groups, list) else ""
        raise PayloadTooLargeError(
            f"the state{count} has {size_bytes} bytes, more than the buffer of {size_bytes_max}: group by less, or"
            " raise memory_management.buffer_size_mb",
            error_context={"size_bytes": size_bytes, "size_bytes_max": size_bytes_max},
        )
    return payload
