"""How many rows a second an aggregation reads from an Arrow stream, beside bare pyarrow on the same bytes.

    python -m bench.aggregation [--rows 1000 100000 10000000] [--rounds 3]

Both read the same IPC stream of one column that is in memory already. The best of the rounds is printed, and by how
much the resident memory grew at its highest, as a share of the data (Linux only; of little data it says nothing).
pyarrow's sums wrap around and round; ours do neither.
"""

# pyarrow ships no types for these.
# mypy: disable-error-code="name-defined,attr-defined"

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregation import begin
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.rows import table_rows

_METHODS = {
    "sum": (reducer_pb2.AGGREGATION_METHOD_SUM, pc.sum),
    "average": (reducer_pb2.AGGREGATION_METHOD_AVERAGE, pc.mean),
}


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="bench.aggregation", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 100_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    sys.stdout.write("| column | method | rows | rows/s | bare rows/s | time ratio | memory / data |\n")
    sys.stdout.write("|---|---|---:|---:|---:|---:|---:|\n")
    for kind in ("int64", "float64"):
        _reduced(reducer_pb2.AGGREGATION_METHOD_SUM, _stream(kind, 100_000))  # what is loaded once, is loaded
        for rows in options.rows:
            data = _stream(kind, rows)
            for name, (method, bare) in _METHODS.items():
                ours_s, grown = _best(lambda: _reduced(method, data), options.rounds)  # noqa: B023 - called at once
                bare_s, _ = _best(lambda: bare(_column(data)), options.rounds)  # noqa: B023 - called at once
                sys.stdout.write(
                    f"| {kind} | {name} | {rows:,} | {rows / ours_s:,.0f} | {rows / bare_s:,.0f} | "
                    f"{ours_s / bare_s:.1f} | {grown / len(data):.2f} |\n"
                )
    return 0


def _stream(kind: str, rows: int) -> bytes:
    values = np.arange(rows) if kind == "int64" else np.random.default_rng(7).normal(size=rows)
    table = pa.table({"value": values})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _reduced(method: reducer_pb2.AggregationMethod, data: bytes) -> object:
    config = reducer_pb2.ReductionConfig(aggregation_method=method, field="value")
    return begin(config, None, _no_aggregator).add(table_rows(data, "data"), 0).result()


def _no_aggregator(name: str, version: str) -> Aggregator:
    raise KeyError(name)


def _column(data: bytes) -> object:
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()["value"]


def _best(work: Callable[[], object], rounds: int) -> tuple[float, int]:
    """Seconds of the best round, and by how many bytes the resident memory grew at most."""
    seconds, before = [], psutil.Process().memory_info().rss
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # the highest value so far is forgotten
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds), max(0, _highest() - before)


def _highest() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    sys.exit(main())
