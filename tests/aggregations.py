"""Aggregations by themselves, without a node: what a contract's reduction_config begins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import cast

import pyarrow as pa

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.core.aggregates.fold import Fold
from onex_mesh.reducer.core.aggregation import begin as begin_aggregation
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.grouped import Grouped
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload, to_struct


def begin(method: int, field: str = "", state: object = None, parameters: Mapping[str, object] | None = None) -> Fold:
    """One aggregate, continuing from a state."""
    config = reducer_pb2.ReductionConfig(field=field)
    config.aggregation_method = method  # type: ignore[assignment]  # unknown ones are tested too
    config.parameters.CopyFrom(to_struct(parameters or {}))
    return cast("Fold", begin_aggregation(config, state, no_aggregator))


def begin_grouped(config: reducer_pb2.ReductionConfig, state: object = None, *aggregators: Aggregator) -> Grouped:
    """Several aggregates, or one by keys and windows, continuing from a state."""
    known = {aggregator.name: aggregator for aggregator in aggregators}
    return cast("Grouped", begin_aggregation(config, state, lambda name, version: known[name]))


def no_aggregator(name: str, version: str) -> Aggregator:
    """The application has none."""
    raise AssertionError(f"there is no aggregator {name!r}")


def table_payload(table: pa.Table) -> common_pb2.Payload:
    """A table as it travels."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes_payload(sink.getvalue().to_pybytes(), ARROW_TYPE)


def printed_whatever_the_hash_seed(code: str) -> str:
    """What a program prints, in processes of its own with different PYTHONHASHSEED; the same in each."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(printed) == 1
    return printed.pop()
