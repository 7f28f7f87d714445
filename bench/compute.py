"""`python -m bench.compute`: the compute engine against the same work in bare pyarrow and pandas, with memory.

The work (bench/compute_work.py): a new column, a group-by, a sort. Every side starts from an Arrow IPC stream in memory
and ends with one; the engine's is in a message on both ends, as a call over the wire has it. What that alone costs is
measured as "transfer": the bytes taken out of one message, and bytes of the result's size put into another one.

Each case runs in a process of its own, in turn with the others, `--rounds` times: once to warm up, then `--runs` times
0.1 s apart. The fastest of all counts, for what else the machine does only adds to it. Two more runs are for the
memory: the most that came on top of what the process had at first, with the input in its message and the result of
"transfer" in memory. Anonymous pages of the process and its workers are looked at each ms, and pages of shared memory
where there are workers: those of the whole machine, so nothing else may use any meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from bench.compute_work import WORKS, in_arrow, in_pandas, table_of, written
from bench.peak import Peak
from onex.v1 import compute_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import AlgorithmRegistry
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.runtime.payload import ARROW_TYPE

BARE = {"pyarrow": in_arrow, "pandas": in_pandas}
EXECUTORS = {
    "threads": compute_pb2.EXECUTOR_KIND_THREADS,
    "processes": compute_pb2.EXECUTOR_KIND_PROCESSES,
    "dask": compute_pb2.EXECUTOR_KIND_DASK,
}
PAUSE_S = 0.1
CONTENDERS = ["transfer", *BARE, "sequential", *EXECUTORS]


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: a work, by one of CONTENDERS, on the Arrow IPC stream in a file."""

    work: str
    contender: str
    workers: int
    rows: int
    runs: int
    stream: Path
    result_bytes: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of the fastest run; bytes of the input's stream; most bytes of memory on top."""

    seconds: float
    input_bytes: int
    peak_bytes: int

    def with_(self, other: Figures) -> Figures:
        """The fastest run and the most memory of both."""
        seconds, peak_bytes = min(self.seconds, other.seconds), max(self.peak_bytes, other.peak_bytes)
        return Figures(seconds, self.input_bytes, peak_bytes)


def main() -> int:
    """Runs the cases and prints a table."""
    options = _options()
    print("| work | rows | contender | workers | ms | rows/s | time / pyarrow | beyond transfer | peak MB | / input |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for work in options.work:
            for rows in options.rows:
                for line in _lines(work, rows, options, Path(folder, "stream")):
                    print(line, flush=True)
    return 0


def _lines(work: str, rows: int, options: argparse.Namespace, stream: Path) -> Iterator[str]:
    data = written(table_of(rows))
    stream.write_bytes(data)
    result_bytes = in_arrow(WORKS[work], data).size
    del data
    runs = max(options.runs, min(20, 10**6 // rows))
    cases = [
        Case(work, contender, workers, rows, runs, stream, result_bytes)
        for contender in options.contenders
        for workers in _workers(contender, work, options)
    ]
    found: dict[Case, Figures] = {}
    for _ in range(options.rounds):
        for case in cases:
            figures = _measured(case)
            found[case] = found[case].with_(figures) if case in found else figures
    by_name = {case.contender: figures for case, figures in found.items()}
    yield from (_line(case, figures, by_name) for case, figures in found.items())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compute", description=__doc__)
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--rows", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


def _workers(contender: str, work: str, options: argparse.Namespace) -> list[int]:
    if contender not in EXECUTORS:
        return [1]
    return [] if WORKS[work].merge is None else options.workers


def _line(case: Case, figures: Figures, by_name: dict[str, Figures]) -> str:
    bare, transfer = by_name.get("pyarrow"), by_name.get("transfer")
    ratio = f"{figures.seconds / bare.seconds:.2f}" if bare else ""
    beyond = ""
    if bare and transfer and case.contender not in ("transfer", *BARE):
        beyond = f"{(figures.seconds - transfer.seconds) / bare.seconds:.2f}"
    cells = (
        case.work,
        f"{case.rows:,}",
        case.contender,
        case.workers,
        f"{figures.seconds * 1000:.1f}",
        f"{case.rows / figures.seconds:,.0f}",
        ratio,
        beyond,
        f"{figures.peak_bytes / 1e6:.0f}",
        f"{figures.peak_bytes / figures.input_bytes:.1f}" if case.rows >= 10**6 else "",
    )
    return f"| {' | '.join(map(str, cells))} |"


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
    with _cluster(case) as address:
        sender.send(asyncio.run(_run(case, address)))


@contextmanager
def _cluster(case: Case) -> Iterator[str]:
    if case.contender != "dask":
        yield ""
        return
    import distributed  # the others need none

    # No limit: what the workers need is measured, not ended.
    options = {"threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0, "host": "127.0.0.1"}
    with distributed.LocalCluster(n_workers=case.workers, **options) as cluster:  # type: ignore[no-untyped-call]
        yield cluster.scheduler_address


async def _run(case: Case, scheduler: str) -> Figures:
    work = WORKS[case.work]
    stream = case.stream.read_bytes()
    workers = LocalWorkers(case.workers, 2**40, scheduler)
    registry = AlgorithmRegistry()
    registry.add_function(work.arrow, name=case.work, merge=work.merge)
    engine = ComputeEngine(registry, workers)
    contract = _contract(case, stream)
    once = _once(case, engine, contract, stream)
    if case.contender in EXECUTORS:
        # Starting the workers and importing pyarrow there is paid once, by the first computation.
        await engine.execute(_contract(case, written(table_of(case.workers)).to_pybytes()), correlation_id="bench")
    input_bytes = len(stream)
    del stream
    peak = Peak(shared=case.contender in EXECUTORS)
    await once()
    times = [await _timed(once) for _ in range(case.runs)]
    with peak:
        for _ in range(2):
            await _timed(once)
    workers.close()
    return Figures(min(times), input_bytes, peak.bytes)


def _contract(case: Case, stream: bytes) -> compute_pb2.ComputeContract:
    contract = compute_pb2.ComputeContract()
    contract.input_data.content_type, contract.input_data.data = ARROW_TYPE, stream
    contract.algorithm_config.algorithm_type = case.work
    if case.contender in EXECUTORS:
        contract.parallel_config.worker_count = case.workers
        contract.parallel_config.executor = EXECUTORS[case.contender]
    return contract


def _once(
    case: Case, engine: ComputeEngine, contract: compute_pb2.ComputeContract, stream: bytes
) -> Callable[[], Awaitable[object]]:
    work = WORKS[case.work]
    if case.contender == "transfer":
        result = bytes(case.result_bytes)

        async def transfer() -> object:
            assert contract.input_data.data
            output = compute_pb2.ComputeOutput()
            output.processed_data.data = result
            return output

        return transfer
    if case.contender in BARE:
        bare = BARE[case.contender]

        async def library() -> object:
            return bare(work, stream)

        return library

    async def computed() -> object:
        return await engine.execute(contract, correlation_id="bench")

    return computed


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    # Else memory that a run has just freed is there for the next one, in a loop as no server knows it.
    await asyncio.sleep(PAUSE_S)
    began = time.perf_counter()
    result = await work()
    seconds = time.perf_counter() - began
    del result
    return seconds


if __name__ == "__main__":
    sys.exit(main())
