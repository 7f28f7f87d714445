"""The memory of computations: what is let in together, what is ended, what goes to disk, and what is told of it."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pyarrow as pa
import pytest

from onex.v1 import common_pb2, compute_pb2
from onex_mesh.compute.adapters import spool
from onex_mesh.compute.adapters.resident import held_bytes, with_peak
from onex_mesh.compute.adapters.shared_memory import SharedMemory, write_into
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import AlgorithmRegistry, MergeStrategy, output
from onex_mesh.compute.core.budget import Budget
from onex_mesh.compute.core.needs import Appetite, Needs
from onex_mesh.compute.core.received import Received
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    ComputeFailedError,
    OverloadedError,
    PayloadTooLargeError,
)
from onex_mesh.runtime.payload import ARROW_TYPE, bytes_payload, from_payload
from tests.algorithms import deadly, doubled, gorging, hoarding, last_column, refusing, square, widened
from tests.unit.test_compute_workers import contract, run, until

THREADS = compute_pb2.EXECUTOR_KIND_THREADS
PROCESSES = compute_pb2.EXECUTOR_KIND_PROCESSES
LOCAL = pytest.mark.parametrize("executor", [THREADS, PROCESSES], ids=["threads", "processes"])
MIB = 1024 * 1024


def engine_on(workers: LocalWorkers) -> ComputeEngine:
    registry = AlgorithmRegistry()
    for function in (deadly, doubled, gorging, hoarding, refusing, square):
        registry.add_function(function, merge=MergeStrategy.CONCATENATE)
    registry.add_function(widened, merge=last_column)
    return ComputeEngine(registry, workers)


@pytest.fixture
async def engine() -> AsyncGenerator[ComputeEngine, None]:
    """Two workers of 64 MiB each."""
    workers = LocalWorkers(2, 64 * MIB)
    yield engine_on(workers)
    workers.close()


def stream_of(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def of_table(algorithm: str, table: pa.Table, workers: int, executor: int) -> compute_pb2.ComputeContract:
    made = contract(algorithm, None, workers, executor)
    made.input_data.CopyFrom(bytes_payload(stream_of(table), ARROW_TYPE))
    return made


def pieces_of_shared_memory() -> list[str]:
    """What this process has open of it, and what it has mapped."""
    folder = Path("/proc/self/fd")
    links = [str(file.readlink()) for file in folder.iterdir() if file.is_symlink()]
    mapped = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in links + mapped if "memfd:onex-table" in line]


# What is let in


async def test_shares_are_granted_in_turn_and_come_back() -> None:
    """R44: a large share is not passed by for small ones, and who no longer waits for his takes nothing."""
    budget = Budget(100)
    await budget.take(60)
    large = asyncio.create_task(budget.take(80))
    small = asyncio.create_task(budget.take(10))
    await asyncio.sleep(0)
    assert not large.done()
    assert not small.done()
    large.cancel()
    await asyncio.wait({large, small}, timeout=5)
    assert large.cancelled()
    assert small.done()
    budget.give_back(60)
    budget.give_back(10)
    await asyncio.wait_for(budget.take(100), 5)


async def test_a_share_that_is_granted_to_one_who_leaves_at_the_same_time_is_free_again() -> None:
    """R44: nothing is lost between the grant and the cancelling."""
    budget = Budget(100)
    await budget.take(100)
    waiting = asyncio.create_task(budget.take(100))
    await asyncio.sleep(0)
    budget.give_back(100)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(budget.take(100), 5)


def test_what_is_expected_follows_what_was_needed() -> None:
    """R44: twice the input at first; more as soon as more was needed, less only slowly; tiny inputs tell nothing."""
    needs = Needs()
    appetite = Appetite("a", "1", 10 * MIB)
    assert needs.expected_bytes(appetite) == 20 * MIB
    needs.was(appetite, 70 * MIB)
    assert needs.expected_bytes(appetite) == 70 * MIB
    needs.was(appetite, 20 * MIB)
    assert needs.expected_bytes(appetite) == 60 * MIB
    assert needs.expected_bytes(Appetite("a", "2", 10 * MIB)) == 20 * MIB
    needs.was(Appetite("b", "1", 100), 50 * MIB)
    assert needs.expected_bytes(Appetite("b", "1", MIB)) == 2 * MIB


async def test_computations_wait_for_room(tmp_path: Path) -> None:
    """R44: two that need the whole together begin one after the other; one whose deadline passes has not begun."""
    workers = LocalWorkers(1, 8 * MIB)
    engine = engine_on(workers)
    large = contract("hoarding", [1, 400, *([0] * 200_000)])
    assert 8 * MIB // 4 < large.input_data.ByteSize() < 8 * MIB // 2
    first = asyncio.create_task(run(engine, large))
    await asyncio.sleep(0.1)
    with pytest.raises(ActionExpiredError, match="did not begin before its deadline"):
        await engine.execute(large, correlation_id="c", deadline=time.monotonic() + 0.05)
    assert not first.done()
    assert await run(engine, large) == await first == [MIB]
    workers.close()


# What is ended


async def test_threads_that_need_too_much_are_ended(engine: ComputeEngine) -> None:
    """R44: the largest is told by its context and its caller at once; what is beside it and after it goes on."""
    beside = asyncio.create_task(run(engine, contract("hoarding", [1, 300])))
    with pytest.raises(ComputeFailedError, match="'gorging' was ended: the node needed more than 134217728 bytes"):
        await run(engine, contract("gorging", [200, 0, 0]))
    assert await beside == [MIB]
    # As soon as it has asked, which it does every 10 ms.
    await until(lambda: engine._workers.busy_threads == 0)
    assert await run(engine, contract("square", [3], 1)) == [9]


async def test_no_new_work_begins_while_a_thread_holds_too_much() -> None:
    """R44: code that never asks cannot be ended; its caller is told, and the node refuses work until it is over."""
    workers = LocalWorkers(2, 64 * MIB)
    engine = engine_on(workers)
    with pytest.raises(ComputeFailedError, match="'hoarding' was ended"):
        await run(engine, contract("hoarding", [200, 1000]))
    with pytest.raises(OverloadedError, match="needs more memory") as caught:
        await run(engine, contract("square", [3], 1))
    assert caught.value.retryable
    await until(lambda: workers.busy_threads == 0)
    assert await run(engine, contract("square", [3], 1)) == [9]
    workers.close()


async def test_who_leaves_while_it_is_ended_has_left(engine: ComputeEngine) -> None:
    """R43: a caller's own cancelling is never taken for an error of the computation."""
    task = asyncio.create_task(run(engine, contract("gorging", [1])))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# What is told


async def test_the_peak_of_worker_processes_is_told() -> None:
    """R39, R44: the most that one of them held; nothing where no process of its own was at it."""
    workers = LocalWorkers(1, 2048 * MIB)
    engine = engine_on(workers)
    peaks = []
    for size, executor in ((0, PROCESSES), (200, PROCESSES), (0, PROCESSES), (0, THREADS)):
        made = contract("hoarding", [size, 0], 1, executor)
        metrics = (await engine.execute(made, correlation_id="c")).performance_metrics
        peaks.append(metrics.peak_memory_bytes)
    workers.close()
    small, large, small_again, none = peaks
    assert small > 0
    assert large >= 200 * MIB
    assert small_again < 200 * MIB
    assert none == 0


def test_the_peak_is_that_of_the_call_alone() -> None:
    """R44: memory that was taken before and given back does not count."""
    taken = b"x" * (300 * MIB)
    del taken
    before = held_bytes()
    size, peak = with_peak(lambda: len(b"x" * (100 * MIB)))
    assert size == 100 * MIB
    assert peak >= 100 * MIB
    assert peak < before + 200 * MIB + 300 * MIB // 2


# What goes to disk


@LOCAL
async def test_results_of_chunks_go_to_disk_beyond_half_of_the_memory(
    executor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R44: the result is the same, what was written is told, and the files have no names that could be left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[list[str]] = []
    write_stream = spool.write_stream

    def watched(table: pa.Table, sink: object) -> None:
        write_stream(table, sink)
        seen.append([file.name for file in tmp_path.iterdir()])

    monkeypatch.setattr(spool, "write_stream", watched)
    made = of_table("widened", pa.table({"n": range(1_000_000)}), 4, executor)
    # Each of four chunks becomes 48 MB and a little, of which three fit into 150 MiB.
    for limit, spilled_mb in ((2048 * MIB, 0), (300 * MIB, 48)):
        workers = LocalWorkers(2, limit)
        found = await engine_on(workers).execute(made, correlation_id="c")
        workers.close()
        assert found.performance_metrics.spilled_bytes // 10**6 == spilled_mb
        result = pa.ipc.open_stream(found.processed_data.data).read_all()
        assert result.column("c23").to_pylist() == list(range(23, 1_000_023))
    assert seen == [[]]


async def test_a_disk_that_takes_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R44: the task fails, may be tried again, and the node goes on."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    workers = LocalWorkers(2, 300 * MIB)
    engine = engine_on(workers)
    with pytest.raises(OverloadedError, match=r"cannot be written to disk: .*missing") as caught:
        await engine.execute(of_table("widened", pa.table({"n": range(1_000_000)}), 4, THREADS), correlation_id="c")
    assert caught.value.retryable
    assert await run(engine, contract("square", [3], 1)) == [9]
    workers.close()


# How tables cross to worker processes


def test_shared_memory_is_sealed_once_it_is_read() -> None:
    """R28: what one process reads no other can shrink or overwrite; the memory goes with the table."""
    table = pa.table({"n": range(10**6), "text": ["abc"] * 10**6})
    memory = SharedMemory()
    write_into(memory.path, table)
    found = memory.read()
    assert memory.size_bytes > 8 * 10**6
    with pytest.raises(PermissionError):
        write_into(memory.path, table)
    with pytest.raises(PermissionError):
        os.truncate(memory.path, 0)
    del memory
    assert found.equals(table)
    assert pieces_of_shared_memory() != []
    del found
    assert pieces_of_shared_memory() == []


def test_many_small_tables_keep_no_files_open() -> None:
    """R28: as many as there may be chunks, more than the files that a process may usually have."""
    tables = []
    for number in range(1_100):
        memory = SharedMemory()
        memory.write(pa.table({"n": [number]}))
        tables.append(memory.read())
        del memory
    assert pieces_of_shared_memory() == []
    assert [table.column("n").to_pylist() for table in tables] == [[number] for number in range(1_100)]


@pytest.mark.parametrize("rows", [0, 1, 2_000_000])
async def test_tables_cross_to_processes_and_nothing_of_them_stays(rows: int) -> None:
    """R28: also empty ones; the memory that they crossed in is free when the output is made."""
    workers = LocalWorkers(2, 2048 * MIB)
    engine = engine_on(workers)
    found = await engine.execute(
        of_table("doubled", pa.table({"n": pa.array(range(rows))}), 2, PROCESSES), correlation_id="c"
    )
    result = pa.ipc.open_stream(found.processed_data.data).read_all()
    assert result.column("n").to_pylist() == list(range(0, 2 * rows, 2))
    await until(lambda: not pieces_of_shared_memory(), 2)
    workers.close()


async def test_a_crash_leaves_no_shared_memory() -> None:
    """R28: a worker that dies over a table takes nothing of the node with it."""
    workers = LocalWorkers(1, 2048 * MIB)
    engine = engine_on(workers)
    with pytest.raises(ComputeFailedError, match="a worker died"):
        await engine.execute(of_table("deadly", pa.table({"n": [1.0]}), 1, PROCESSES), correlation_id="c")
    await until(lambda: not pieces_of_shared_memory(), 2)
    workers.close()


@pytest.mark.parametrize("executor", [0, THREADS, PROCESSES], ids=["sequential", "threads", "processes"])
async def test_an_error_lets_its_data_go(executor: int) -> None:
    """R44: as soon as nobody holds the error, not only when the garbage collector comes by, which counts no bytes."""
    workers = LocalWorkers(2, 2048 * MIB)
    engine = engine_on(workers)
    made = of_table("refusing", pa.table({"n": range(5_000_000)}), 2 if executor else 0, executor)
    gc.collect()
    gc.disable()
    try:
        before = held_bytes()
        for _ in range(6):
            with pytest.raises(ComputeFailedError, match="rows are not welcome"):
                await engine.execute(made, correlation_id="c")
            # The futures of a thread pool and the loop's callbacks are gone a moment later.
            await asyncio.sleep(0.05)
        assert held_bytes() - before < 100 * 10**6
    finally:
        gc.enable()
        workers.close()


# How results reach their message


def test_the_bytes_of_a_message_are_taken_once_and_let_go() -> None:
    """R28: what was read is a view of them, and nothing else holds them."""
    table = pa.table({"n": range(100_000)})
    payload = bytes_payload(stream_of(table), ARROW_TYPE)
    received = Received(payload)
    assert received.size_bytes == len(payload.data)
    before = pa.total_allocated_bytes()
    found = received.read()
    assert isinstance(found, pa.Table)
    assert found.equals(table)
    assert pa.total_allocated_bytes() - before < 10_000
    assert received.__reduce_ex__(2)[2][1]["_data"] == b""


def test_a_result_is_encoded_as_protobuf_would() -> None:
    """R38: what is written around a table is what the message's own encoder writes."""
    payload = common_pb2.Payload()
    output.encoded(pa.table({"n": range(1000)})).fill(payload)
    assert output.read_table(payload.data).column("n").to_pylist() == list(range(1000))
    again = common_pb2.Payload.FromString(payload.SerializeToString())
    assert again == payload
    assert again.WhichOneof("content") == "data"


def test_a_table_that_no_message_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """R41: before memory is asked for."""
    monkeypatch.setattr(output, "_MESSAGE_BYTES_MAX", 1000)
    with pytest.raises(PayloadTooLargeError, match="more than a message can hold"):
        output.encoded(pa.table({"n": range(1000)}))


async def test_a_given_message_is_filled_in_place(engine: ComputeEngine) -> None:
    """R29: also from the cache, with the request's own correlation id."""
    response = compute_pb2.ExecuteComputeResponse()
    made = contract("square", [1, 2])
    made.cache.ttl.seconds = 60
    for kept in (False, True):
        response = compute_pb2.ExecuteComputeResponse()
        await engine.execute(made, correlation_id=str(kept), output=response.output)
        assert from_payload(response.output.processed_data) == [1, 4]
        assert response.output.correlation_id == str(kept)
        assert response.output.performance_metrics.from_cache is kept
