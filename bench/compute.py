"""`python -m bench.compute`: rows per second of the compute engine against the same work in bare pyarrow.

The work: a table of a number and a value, each row's value doubled and added to. Both sides start from an Arrow IPC
stream in memory and end with one. "transfer" takes the stream out of a message and puts one of the result's size into
another, and does nothing else: every call over the wire pays it. It is a row of its own and not taken off the others:
on the machine of bench/README.md it was slower than whole runs that contain it. Each case runs in a process of its own,
so that its peak memory is its own (above what it had with the input in its message); worker processes are counted too.
"""

# mypy: disable-error-code="name-defined,attr-defined"
# pyarrow ships no types for these.

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc

from onex.v1 import compute_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import AlgorithmRegistry, MergeStrategy
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload

EXECUTORS = {
    "sequential": 0,
    "threads": compute_pb2.EXECUTOR_KIND_THREADS,
    "processes": compute_pb2.EXECUTOR_KIND_PROCESSES,
}


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: `executor` is a name of EXECUTORS, "pyarrow" for the bare library, or "transfer"."""

    executor: str
    workers: int
    rows: int
    runs: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Median seconds of a run, bytes of the data, and bytes of memory that came on top of what the process had."""

    seconds: float
    data_bytes: int
    peak_bytes: int


def priced(data: pa.Table) -> pa.Table:
    """The work: one new column."""
    doubled = pc.multiply(data.column("value"), 2.0)
    return data.append_column("priced", pc.add(doubled, data.column("value")))


def main() -> int:
    """Runs the cases and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.compute", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(
        "| rows | executor | workers | ms | rows/s | time / bare | peak memory / data |\n|---|---|---|---|---|---|---|"
    )
    for rows in options.rows:
        bare = _measured(Case("pyarrow", 1, rows, options.runs))
        transfer = _measured(Case("transfer", 1, rows, options.runs))
        _print(Case("transfer", 1, rows, options.runs), transfer, bare)
        _print(Case("pyarrow", 1, rows, options.runs), bare, bare)
        cases = [Case("sequential", 1, rows, options.runs)]
        cases += [Case(name, n, rows, options.runs) for name in ("threads", "processes") for n in options.workers]
        for case in cases:
            _print(case, _measured(case), bare)
    return 0


def _print(case: Case, figures: Figures, bare: Figures) -> None:
    ratio = figures.seconds / bare.seconds
    memory = figures.peak_bytes / figures.data_bytes
    speed = f"{figures.seconds * 1000:.1f} | {case.rows / figures.seconds:,.0f}"
    print(f"| {case.rows:,} | {case.executor} | {case.workers} | {speed} | {ratio:.2f} | {memory:.2f} |", flush=True)


def _measured(case: Case) -> Figures:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_in_process, args=(case, sender))
    process.start()
    sender.close()
    try:
        figures = receiver.recv()
    finally:
        process.join()
    if not isinstance(figures, Figures):
        raise TypeError(f"{case} failed")
    return figures


def _in_process(case: Case, sender: Connection) -> None:
    sender.send(asyncio.run(_run(case)))


async def _run(case: Case) -> Figures:
    stream = _stream(case.rows)
    payload = bytes_payload(stream.to_pybytes(), ARROW_TYPE)
    size = stream.size
    del stream
    workers = LocalWorkers(case.workers, 2**40)
    registry = AlgorithmRegistry()
    registry.add_function(priced, merge=MergeStrategy.CONCATENATE)
    engine = ComputeEngine(registry, workers)
    contract = compute_pb2.ComputeContract(input_data=payload)
    contract.algorithm_config.algorithm_type = "priced"
    if EXECUTORS.get(case.executor):
        contract.parallel_config.worker_count = case.workers
        contract.parallel_config.executor = EXECUTORS[case.executor]  # type: ignore[assignment]  # by value

    data = contract.input_data.data if case.executor == "pyarrow" else b""
    result = _bare(contract.input_data.data) if case.executor == "transfer" else b""

    async def once() -> None:
        if case.executor == "pyarrow":
            _bare(data)
        elif case.executor == "transfer":
            _transferred(contract, result)
        else:
            await engine.execute(contract, correlation_id="bench")

    peak = _Peak()
    if case.executor == "processes":
        # Starting the workers and importing pyarrow there is paid once, by the first computation.
        small = compute_pb2.ComputeContract()
        small.CopyFrom(contract)
        small.input_data.CopyFrom(bytes_payload(_stream(case.workers).to_pybytes(), ARROW_TYPE))
        await engine.execute(small, correlation_id="bench")
    with peak:
        times = [await _timed(once) for _ in range(case.runs)]
    workers.close()
    return Figures(statistics.median(times), size, peak.bytes)


async def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    await work()  # type: ignore[misc]  # a coroutine function
    return time.perf_counter() - began


def _stream(rows: int) -> pa.Buffer:
    random = np.random.default_rng(1)
    return _written(pa.table({"number": np.arange(rows), "value": random.random(rows)}))


def _bare(data: bytes) -> bytes:
    with pa.ipc.open_stream(data) as reader:
        return bytes(_written(priced(reader.read_all())).to_pybytes())


def _transferred(contract: compute_pb2.ComputeContract, result: bytes) -> compute_pb2.ComputeOutput:
    assert contract.input_data.data
    return compute_pb2.ComputeOutput(processed_data=bytes_payload(result, ARROW_TYPE))


def _written(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


class _Peak:
    """Most resident memory of this process and its children above what they had at the beginning, looked at each ms."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._before = 0
        self.bytes = 0

    def __enter__(self) -> None:
        self._before = self._resident()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        children = self._process.children()
        while not self._is_over.wait(0.001):
            resident = self._process.memory_info().rss + sum(child.memory_info().rss for child in children)
            self.bytes = max(self.bytes, resident - self._before)

    def _resident(self) -> int:
        return sum(entry.memory_info().rss for entry in (self._process, *self._process.children()))


if __name__ == "__main__":
    sys.exit(main())
