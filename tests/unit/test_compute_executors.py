"""Every executor gives the same results; cancelling, deadlines, memory and lost clusters reach the workers."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from onex.v1 import compute_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import AlgorithmRegistry, MergeStrategy
from onex_mesh.compute.core.builtin import with_builtins
from onex_mesh.compute.core.output import read_table
from onex_mesh.compute.core.travel import SealedTable, opened, sealed
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    ComputeFailedError,
    DependencyResolutionError,
    PayloadTooLargeError,
    ValidationError,
)
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload, json_payload, to_struct
from tests.aggregations import table_payload
from tests.algorithms import asking, enriched, fatal, hungry, note_pid, square, sum_of_totals, table_bytes, total
from tests.unit.test_compute_workers import contract, noted_pid, run, until

distributed = pytest.importorskip("distributed", reason="distributed is not installed")

THREADS = compute_pb2.EXECUTOR_KIND_THREADS
PROCESSES = compute_pb2.EXECUTOR_KIND_PROCESSES
DASK = compute_pb2.EXECUTOR_KIND_DASK
EVERY = pytest.mark.parametrize("executor", [THREADS, PROCESSES, DASK], ids=["threads", "processes", "dask"])
MIB = 1024 * 1024


def cluster() -> distributed.LocalCluster:
    """A scheduler and a worker process on free loopback ports."""
    return distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=True,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
        silence_logs=50,
    )


def engine_on(workers: LocalWorkers) -> ComputeEngine:
    registry = with_builtins(AlgorithmRegistry())
    for function in (square, asking, fatal, note_pid, hungry, table_bytes, enriched):
        registry.add_function(function, merge=MergeStrategy.CONCATENATE)
    registry.add_function(square, name="impure", pure=False, merge=MergeStrategy.CONCATENATE)
    registry.add_function(total, merge=sum_of_totals)
    return ComputeEngine(registry, workers)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with cluster() as running:
        yield running.scheduler_address


@pytest.fixture
async def engine(scheduler: str) -> AsyncGenerator[ComputeEngine, None]:
    workers = LocalWorkers(2, 2048 * MIB, scheduler)
    yield engine_on(workers)
    workers.close()


@EVERY
async def test_executors_agree(engine: ComputeEngine, executor: int) -> None:
    """R33-R35, F20: concatenated, reduced and merged by the algorithm's own function, wherever the chunks run."""
    assert await run(engine, contract("square", list(range(11)), 3, executor)) == [n * n for n in range(11)]
    for strategy in (compute_pb2.MERGE_STRATEGY_REDUCE, compute_pb2.MERGE_STRATEGY_CUSTOM):
        made = contract("total", [1, 2, 3, 4, 5], 2, executor)
        made.parallel_config.merge_strategy = strategy
        assert await run(engine, made) == 15


@EVERY
async def test_every_chunk_gets_the_whole_of_the_further_inputs(engine: ComputeEngine, executor: int) -> None:
    """R34: a table and a list, wherever the chunks run."""
    made = contract("enriched", [{"sku": sku} for sku in "abcab"], 3, executor)
    prices = pa.table({"sku": ["a", "b", "c"], "pence": [1, 2, 3]})
    made.inputs["prices"].CopyFrom(table_payload(prices))
    made.inputs["surcharges"].CopyFrom(json_payload([10, 20]))
    assert await run(engine, made) == [
        {"sku": sku, "pence": 30 + pence} for sku, pence in zip("abcab", [1, 2, 3, 1, 2], strict=True)
    ]


@EVERY
async def test_groups_of_a_table_are_merged_wherever_the_chunks_ran(engine: ComputeEngine, executor: int) -> None:
    """R35: partial results travel back with the tables in them."""
    table = pa.table({"k": ["a", "b", "a", "c", "b"], "n": [1, 2**62, 3, None, 2**62]})
    made = contract("group_by", None, 3, executor)
    made.input_data.CopyFrom(table_payload(table))
    aggregates = {"s": {"function": "sum", "field": "n"}, "l": {"function": "list", "field": "n"}}
    made.algorithm_config.parameters.CopyFrom(to_struct({"keys": ["k"], "aggregates": aggregates}))
    output = await engine.execute(made, correlation_id="c")
    assert read_table(output.processed_data.data).to_pylist() == [
        {"k": "a", "l": [1, 3], "s": 4},
        {"k": "b", "l": [2**62, 2**62], "s": 2**63},
        {"k": "c", "l": [None], "s": None},
    ]


@EVERY
async def test_tables_travel_whole_and_alone(engine: ComputeEngine, executor: int) -> None:
    """R28: a chunk of a table arrives with its own rows only, and rows come back in order."""
    table = pa.table({"n": list(range(10_000))})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    made = contract("table_bytes", None, 4, executor)
    made.input_data.CopyFrom(bytes_payload(sink.getvalue().to_pybytes(), ARROW_TYPE))
    output = await engine.execute(made, correlation_id="c")
    with pa.ipc.open_stream(output.processed_data.data) as reader:
        result = reader.read_all()
    assert result.column("n").to_pylist() == list(range(10_000))
    assert set(result.column("bytes").to_pylist()) == {80_000 if executor == THREADS else 20_000}


def test_a_sealed_slice_is_as_large_as_its_rows() -> None:
    """R28: what is pickled for a chunk is the chunk, not the table that it is a view of."""
    piece = pa.table({"n": pa.array(range(1_000_000))}).slice(500, 1_000)
    assert len(pickle.dumps(sealed(piece))) < 10_000
    assert opened(sealed(piece)).equals(piece)
    assert opened(sealed([1])) == [1]


@pytest.mark.parametrize("offset", [0, 1, 4, 8])
def test_a_table_is_aligned_wherever_it_arrives(offset: int) -> None:
    """R28: Arrow's kernels get numbers at addresses that their size divides."""
    table = pa.table({"n": range(100)})
    sent = sealed(table)
    assert isinstance(sent, SealedTable)
    arrived = pa.py_buffer(bytes(offset) + sent.buffer.to_pybytes()).slice(offset)
    found = opened(SealedTable(arrived))
    assert isinstance(found, pa.Table)
    assert found.equals(table)
    assert found.column("n").chunk(0).buffers()[1].address % 8 == 0


async def test_a_crash_on_the_cluster_is_an_error_of_its_task(engine: ComputeEngine) -> None:
    """R28: Dask gives a task up that kills its workers; the next one runs."""
    with pytest.raises(ComputeFailedError, match="a worker died while it ran the algorithm 'fatal'"):
        await run(engine, contract("fatal", [-1], 1, DASK))
    assert await run(engine, contract("square", [3], 1, DASK)) == [9]


async def test_an_impure_algorithm_is_refused_by_dask(engine: ComputeEngine) -> None:
    """R27: Dask runs again what a dead worker was at."""
    with pytest.raises(ValidationError, match="the executor DASK takes pure algorithms only"):
        await run(engine, contract("impure", [1], 1, DASK))


async def test_a_lost_scheduler_is_told_and_may_be_tried_again(tmp_path: Path) -> None:
    """R28: while a task runs, and when there is none to connect to."""
    running = await asyncio.to_thread(cluster)
    workers = LocalWorkers(1, 0, running.scheduler_address)
    engine = engine_on(workers)
    task = asyncio.create_task(run(engine, contract("note_pid", [60], 1, DASK, folder=str(tmp_path))))
    try:
        await noted_pid(tmp_path)
    finally:
        await asyncio.to_thread(running.close)
    with pytest.raises(DependencyResolutionError, match=r"the Dask scheduler at .* was lost") as caught:
        await task
    assert caught.value.retryable
    with pytest.raises(DependencyResolutionError, match="does not answer"):
        await run(engine, contract("square", [1], 1, DASK))
    workers.close()


async def test_cancelling_ends_code_that_never_asks(engine: ComputeEngine, tmp_path: Path) -> None:
    """R43: its worker process is ended, and another one takes the next task."""
    task = asyncio.create_task(run(engine, contract("note_pid", [60], 1, PROCESSES, folder=str(tmp_path))))
    pid = await noted_pid(tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not psutil.pid_exists(pid))
    assert await run(engine, contract("square", [3, 4], 2, PROCESSES)) == [9, 16]


@EVERY
async def test_a_deadline_holds_for_code_that_never_asks(engine: ComputeEngine, tmp_path: Path, executor: int) -> None:
    """R138: the caller hears of it at once, and a worker process is ended."""
    made = contract("note_pid", [3], 1, executor, folder=str(tmp_path))
    with pytest.raises(ActionExpiredError):
        await engine.execute(made, correlation_id="c", deadline=time.monotonic() + 0.3)


async def test_a_task_that_takes_too_much_memory_is_ended_alone() -> None:
    """R44: the machine never swaps for it; tasks beside it and after it get their results."""
    workers = LocalWorkers(2, 400 * MIB)
    engine = engine_on(workers)
    hog = asyncio.create_task(run(engine, contract("hungry", [600], 1, PROCESSES)))
    assert await run(engine, contract("square", [2], 1, PROCESSES)) == [4]
    with pytest.raises(ComputeFailedError, match="'hungry' was ended: its worker needed more than 419430400 bytes"):
        await hog
    assert await run(engine, contract("hungry", [0], 1, PROCESSES)) == [0]
    workers.close()


async def test_input_that_does_not_fit_is_refused() -> None:
    """R44: before it is read, whatever it is to run on."""
    workers = LocalWorkers(1, 1000)
    with pytest.raises(PayloadTooLargeError, match="does not fit into the 1000 bytes of a task"):
        await run(engine_on(workers), contract("square", list(range(500))))
    workers.close()


# What reaches a cluster


async def test_cancelling_reaches_what_runs_on_the_cluster(engine: ComputeEngine, tmp_path: Path) -> None:
    """R43: an algorithm that asks its context there ends, long before its time."""
    task = asyncio.create_task(run(engine, contract("asking", [60], 1, DASK, folder=str(tmp_path))))
    await until((tmp_path / "begun").exists, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until((tmp_path / "CANCELLED").exists)


async def test_a_deadline_reaches_what_runs_on_the_cluster(engine: ComputeEngine, tmp_path: Path) -> None:
    """R138: what is left of the time travels, for the clock there counts from elsewhere."""
    made = contract("asking", [60], 1, DASK, folder=str(tmp_path))
    with pytest.raises(ActionExpiredError):
        await engine.execute(made, correlation_id="c", deadline=time.monotonic() + 1)
    await until((tmp_path / "ACTION_EXPIRED").exists)
    # Its own clock told it: the caller's cancelling came later.
    assert not (tmp_path / "CANCELLED").exists()


async def test_what_a_killed_node_asked_for_ends_on_the_cluster(scheduler: str, tmp_path: Path) -> None:
    """R164: kill -9 of the node breaks its connection, and the scheduler forgets what it asked for."""
    script = tmp_path / "node.py"
    script.write_text(
        "import asyncio\n"
        "from tests.unit.test_compute_executors import *\n"
        "async def main():\n"
        f"    engine = engine_on(LocalWorkers(1, 0, {scheduler!r}))\n"
        f"    await run(engine, contract('asking', [60], 1, DASK, folder={str(tmp_path)!r}))\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    node = await asyncio.create_subprocess_exec(sys.executable, script, env=environment)
    try:
        await until((tmp_path / "begun").exists, 30)
    finally:
        node.send_signal(signal.SIGKILL)
        await node.wait()
    await until((tmp_path / "CANCELLED").exists)


@pytest.mark.slow
async def test_a_worker_of_the_cluster_that_needs_too_much_memory_is_an_error_of_its_task() -> None:
    """R44: the limit is the worker's own, and Dask ends it; the node and the next task go on."""
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=True,
        memory_limit=512 * MIB,
        dashboard_address="127.0.0.1:0",
        host="127.0.0.1",
        silence_logs=50,
    ) as running:
        workers = LocalWorkers(1, 2048 * MIB, running.scheduler_address)
        engine = engine_on(workers)
        with pytest.raises(ComputeFailedError, match="a worker died while it ran the algorithm 'hungry'"):
            await run(engine, contract("hungry", [700], 1, DASK))
        assert await run(engine, contract("square", [3], 1, DASK)) == [9]
        await asyncio.to_thread(workers.close)
