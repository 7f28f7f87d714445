"""How many rows a second the aggregations of a reducer read from an Arrow stream, beside bare pyarrow.

    python -m bench.aggregation [--rows 1000 100000 10000000] [--rounds 3] [--case sum_int by_7_keys]

Both read the same IPC stream, which is in memory already: a time, a key of 7 values, a key of 10,000, an integer, a
double and a price of two decimals. Each case runs in a process of its own. The best of the rounds is printed, and by
how much the resident memory grew at its highest, as a share of the data that the case reads (Linux only; of little data
it says nothing). "transfer" is what every call over the wire pays: the bytes out of one message and into another.

pyarrow's sums wrap around and round, ours do neither; pyarrow has no count of distinct values and no top k in bounded
memory: beside them stand its exact ones, and its t-digest beside the quantiles.
"""

# pyarrow ships no types for these.
# mypy: disable-error-code="name-defined,attr-defined,no-untyped-call"

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregation import begin
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.rows import table_rows
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload

_TOTALS = (("n", "COUNT", ""), ("sum", "SUM", "integer"), ("least", "MIN", "double"), ("most", "MAX", "double"))
_BARE_TOTALS = [([], "count_all"), ("integer", "sum"), ("double", "min"), ("double", "max")]


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured.

    Attributes:
        columns: What the stream holds.
        aggregates: Name, method and field of each.
        bare: The same in pyarrow.
        group_by: The keys.
        window_s: Length of tumbling windows in seconds; 0 for none.
    """

    columns: tuple[str, ...]
    aggregates: tuple[tuple[str, str, str], ...]
    bare: Callable[[pa.Table], object]
    group_by: tuple[str, ...] = ()
    window_s: int = 0
    parameters: Mapping[str, object] = field(default_factory=dict)

    def config(self) -> reducer_pb2.ReductionConfig:
        """What a contract says."""
        made = reducer_pb2.ReductionConfig(group_by=self.group_by)
        for name, method, of in self.aggregates:
            number = reducer_pb2.AggregationMethod.Value(f"AGGREGATION_METHOD_{method}")
            made.aggregates.add(name=name, method=number, field=of)
        if self.window_s:
            made.window.kind, made.window.time_field = reducer_pb2.WINDOW_KIND_TUMBLING, "time"
            made.window.size.FromSeconds(self.window_s)
            made.window.allowed_lateness.FromSeconds(86_400 * 365)
        return made


def _single(method: str, column: str, bare: Callable[[object], object]) -> Case:
    return Case((column,), (("value", method, column),), lambda table: bare(table[column]))


def _grouped(keys: list[str]) -> Callable[[pa.Table], object]:
    return lambda table: table.group_by(keys).aggregate(_BARE_TOTALS)


def _by_hour(table: pa.Table) -> object:
    hours = table.set_column(0, "time", pc.floor_temporal(table["time"], unit="hour"))
    return hours.group_by(["time", "few"]).aggregate(_BARE_TOTALS)


CASES: Mapping[str, Case] = {
    "sum_int": _single("SUM", "integer", pc.sum),
    "sum_double": _single("SUM", "double", pc.sum),
    "sum_decimal": _single("SUM", "price", lambda column: pc.sum(column.cast(pa.decimal256(76, 2)))),
    "average_double": _single("AVERAGE", "double", pc.mean),
    "min_double": _single("MIN", "double", pc.min_max),
    "variance_double": _single("VARIANCE", "double", pc.variance),
    "quantiles_double": _single("QUANTILES", "double", lambda column: pc.tdigest(column, [0.5, 0.9, 0.99])),
    "distinct_few": _single("DISTINCT", "many", pc.count_distinct),
    "distinct_all": _single("DISTINCT", "integer", pc.count_distinct),
    "top_10": _single("TOP_K", "many", lambda column: pc.value_counts(column).sort(by="counts")),
    "by_7_keys": Case(("few", "integer", "double"), _TOTALS, _grouped(["few"]), ("few",)),
    "by_10000_keys": Case(("many", "integer", "double"), _TOTALS, _grouped(["many"]), ("many",)),
    "by_2_keys": Case(("few", "many", "integer", "double"), _TOTALS, _grouped(["few", "many"]), ("few", "many")),
    "sum_double_by_7_keys": Case(
        ("few", "double"),
        (("sum", "SUM", "double"),),
        lambda table: table.group_by("few").aggregate([("double", "sum")]),
        ("few",),
    ),
    "by_hour_and_key": Case(("time", "few", "integer", "double"), _TOTALS, _by_hour, ("few",), 3_600),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of the best round of each way, bytes of the data, and bytes of memory that ours came to."""

    ours_s: float
    bare_s: float
    transfer_s: float
    data_bytes: int
    grown_bytes: int


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="bench.aggregation", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 100_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    options = parser.parse_args(arguments)
    sys.stdout.write(
        "| case | rows | ms | rows/s | pyarrow ms | time / pyarrow | transfer ms | memory / data |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    for name in options.case:
        for rows in options.rows:
            found = _measured(name, rows, options.rounds)
            sys.stdout.write(
                f"| {name} | {rows:,} | {found.ours_s * 1e3:.1f} | {rows / found.ours_s:,.0f} |"
                f" {found.bare_s * 1e3:.1f} | {found.ours_s / found.bare_s:.1f} | {found.transfer_s * 1e3:.1f} |"
                f" {found.grown_bytes / found.data_bytes:.2f} |\n"
            )
            sys.stdout.flush()
    return 0


def _measured(name: str, rows: int, rounds: int) -> Figures:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        # Made here: what making it took would hide what reducing it takes.
        file = Path(folder) / "stream.arrow"
        file.write_bytes(_stream(CASES[name].columns, rows))
        process = context.Process(target=_in_process, args=(name, file, rounds, sender))
        process.start()
        sender.close()
        try:
            figures = receiver.recv()
        finally:
            process.join()
    if not isinstance(figures, Figures):
        raise TypeError(f"{name} failed")
    return figures


def _in_process(name: str, file: Path, rounds: int, sender: Connection) -> None:
    case = CASES[name]
    _ours(case, _stream(case.columns, 1_000))  # what is loaded once, is loaded
    data = file.read_bytes()
    ours_s, grown = _best(lambda: _ours(case, data), rounds)
    bare_s, _ = _best(lambda: case.bare(_table(data)), rounds)
    transfer_s, _ = _best(lambda: bytes_payload(bytes_payload(data, ARROW_TYPE).data, ARROW_TYPE), rounds)
    sender.send(Figures(ours_s, bare_s, transfer_s, len(data), grown))


def _stream(columns: tuple[str, ...], rows: int) -> bytes:
    random = np.random.default_rng(7)
    made: dict[str, Callable[[], object]] = {
        "time": lambda: pa.array(np.sort(random.integers(0, 86_400 * 10**6, rows)), pa.timestamp("us", "UTC")),
        "few": lambda: pa.array(random.integers(0, 7, rows)),
        "many": lambda: pa.array(random.integers(0, 10_000, rows)),
        "integer": lambda: pa.array(np.arange(rows)),
        "double": lambda: pa.array(random.normal(size=rows)),
        "price": lambda: pa.array(random.integers(0, 10**6, rows)).cast(pa.decimal128(22, 2)),
    }
    table = pa.table({name: made[name]() for name in columns})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _ours(case: Case, data: bytes) -> object:
    return begin(case.config(), None, _no_aggregator).add(table_rows(data, "data"), 0).result()


def _no_aggregator(name: str, version: str) -> Aggregator:
    raise KeyError(name)


def _table(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


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
