"""Where chunks run: threads and processes, crashes, cancelling, deadlines, and what is kept of results."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil
import pytest
from google.protobuf.duration_pb2 import Duration

from onex.v1 import compute_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import Algorithm, AlgorithmRegistry, ComputeContext, MergeStrategy
from onex_mesh.compute.core import results as kept
from onex_mesh.compute.core.builtin import with_builtins
from onex_mesh.compute.core.context import cancelled
from onex_mesh.compute.core.results import ResultCache
from onex_mesh.compute.core.timing import INLINE_BYTES_MAX, SLOW_S, RunTimes
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.compute.ports import Step
from onex_mesh.runtime.errors import ActionExpiredError, CancelledError, ComputeFailedError, ValidationError
from onex_mesh.runtime.payload import from_payload, json_payload, to_struct
from tests.algorithms import cheaper, fail_at, fatal, lock, note_pid, patient, square

THREADS = compute_pb2.EXECUTOR_KIND_THREADS
PROCESSES = compute_pb2.EXECUTOR_KIND_PROCESSES


@pytest.fixture
async def engine() -> AsyncGenerator[ComputeEngine, None]:
    registry = with_builtins(AlgorithmRegistry())
    for function in (square, cheaper, fatal, note_pid, lock, fail_at):
        registry.add_function(function, merge=MergeStrategy.CONCATENATE)
    registry.add_function(fatal, name="fatal_once", pure=False, merge=MergeStrategy.CONCATENATE)
    registry.add_function(patient)
    workers = LocalWorkers(2)
    yield ComputeEngine(registry, workers)
    workers.close()


def contract(
    algorithm: str, data: object, workers: int = 0, executor: int = THREADS, **parameters: object
) -> compute_pb2.ComputeContract:
    made = compute_pb2.ComputeContract(input_data=json_payload(data))
    made.algorithm_config.algorithm_type = algorithm
    made.algorithm_config.parameters.CopyFrom(to_struct(parameters))
    if workers:
        made.parallel_config.worker_count = workers
        made.parallel_config.executor = executor  # type: ignore[assignment]  # by value
    return made


async def run(engine: ComputeEngine, made: compute_pb2.ComputeContract) -> object:
    return from_payload((await engine.execute(made, correlation_id="c")).processed_data)


async def until(condition: object, timeout_s: float = 15) -> None:
    """Waits until a function says yes."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110  # nothing tells when
            await asyncio.sleep(0.02)


async def noted_pid(folder: Path) -> int:
    """The number of the process that `note_pid` left behind."""
    await until(lambda: any(folder.iterdir()), 30)
    return int(os.listdir(folder)[0])  # noqa: PTH208 - one name, of which the loop need not wait for more


async def test_models_and_rows_cross_to_processes(engine: ComputeEngine) -> None:
    """R28, R34, R35: chunks of models on worker processes, in order."""
    rows = [{"sku": str(number), "pence": number * 2} for number in range(11)]
    assert await run(engine, contract("cheaper", rows, 3, PROCESSES)) == [
        {"sku": str(number), "pence": number} for number in range(11)
    ]


async def test_a_crash_is_an_error_of_its_task_alone(engine: ComputeEngine) -> None:
    """R28: the worker of one request is killed; requests beside it and after it get their results."""
    beside = [asyncio.create_task(run(engine, contract("square", [n, n], 2, PROCESSES))) for n in range(4)]
    with pytest.raises(ComputeFailedError, match="a worker died while it ran the algorithm 'fatal'"):
        await run(engine, contract("fatal", [1, -1, 2, 3], 4, PROCESSES))
    assert await asyncio.gather(*beside) == [[n * n, n * n] for n in range(4)]
    assert await run(engine, contract("square", [3, 4], 2, PROCESSES)) == [9, 16]


async def test_an_impure_algorithm_is_not_run_again(engine: ComputeEngine) -> None:
    """R27: what may have had an effect is not repeated when its worker dies."""
    with pytest.raises(ComputeFailedError, match="a worker died"):
        await run(engine, contract("fatal_once", [1, -1], 2, PROCESSES))


async def test_what_cannot_travel_to_a_process_is_told(engine: ComputeEngine) -> None:
    """F22: a result that pickle refuses is an error of the algorithm."""
    with pytest.raises(ComputeFailedError, match="cannot be sent to another process"):
        await run(engine, contract("lock", [1], 1, PROCESSES))


@pytest.mark.parametrize("executor", [THREADS, PROCESSES])
async def test_a_failure_in_a_chunk_names_line_and_item(engine: ComputeEngine, executor: int) -> None:
    """R40, F21: the line of the application's code, and numbers of items counted over all chunks."""
    line = fail_at.__code__.co_firstlineno + 4
    with pytest.raises(ComputeFailedError, match=rf"algorithms\.py:{line}: ValueError: item 7 is negative") as caught:
        await run(engine, contract("fail_at", [1] * 7 + [-1], 4, executor))
    assert caught.value.error_context["error_type"] == "ValueError"
    with pytest.raises(ValidationError, match=r"input_data\[7\]"):
        await run(engine, contract("square", [1] * 7 + ["x"], 4, executor))
    with pytest.raises(ValidationError, match=r"input_data\[7\]: expected a number"):
        await run(engine, contract("sum", [1] * 7 + ["x"], 4, executor))


async def test_how_data_is_cut_does_not_depend_on_the_node() -> None:
    """R48: a node with fewer workers cuts as the contract says, so that its result is the same to the last bit."""
    made = contract("sum", [0.1, 1e16, -1e16, 0.3, 0.7, 1e-9, 3e15], 5)
    found = []
    for count in (1, 4):
        workers = LocalWorkers(count)
        output = await ComputeEngine(with_builtins(AlgorithmRegistry()), workers).execute(made, correlation_id="c")
        workers.close()
        found.append((output.performance_metrics.worker_count, output.processed_data))
    assert [count for count, _ in found] == [1, 4]
    assert found[0][1] == found[1][1]


async def test_cancelling_reaches_an_algorithm_that_asks(engine: ComputeEngine) -> None:
    """R43: nobody waits any more, and a long algorithm that checks its context ends."""
    task = asyncio.create_task(run(engine, contract("patient", 60)))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # Its thread is free again long before the minute is over: as many as there are threads fit at once.
    again = [asyncio.create_task(run(engine, contract("patient", 0.01))) for _ in range(2)]
    assert await asyncio.gather(*again) == ["done", "done"]
    assert time.monotonic() - began < 30


async def test_a_deadline_reaches_an_algorithm_that_asks(engine: ComputeEngine) -> None:
    """R138: after it nobody goes on, nor begins."""
    with pytest.raises(ActionExpiredError):
        await engine.execute(contract("patient", 60), correlation_id="c", deadline=time.monotonic() + 0.05)
    with pytest.raises(ActionExpiredError):
        await engine.execute(contract("square", [1]), correlation_id="c", deadline=time.monotonic() - 1)
    context = ComputeContext()
    context.check()
    context.cancellation.request(cancelled)
    with pytest.raises(CancelledError):
        context.check()


async def test_progress_of_chunks_is_told(engine: ComputeEngine) -> None:
    """R43: from none to all."""
    told: list[Step] = []
    await engine.execute(contract("square", [1, 2, 3, 4, 5, 6], 3), correlation_id="c", progress=told.append)
    assert told == [Step(0, 3, 0, 6), Step(1, 3, 2, 6), Step(2, 3, 4, 6), Step(3, 3, 6, 6)]
    told.clear()
    await engine.execute(contract("square", [1, 2]), correlation_id="c", progress=told.append)
    assert told == [Step(0, 1, 0, 0), Step(1, 1, 2, 2)]


async def test_closing_ends_processes_at_once(tmp_path: Path) -> None:
    """R164: workers that are at something are ended, not waited for."""
    registry = AlgorithmRegistry()
    registry.add_function(note_pid, merge=MergeStrategy.CONCATENATE)
    workers = LocalWorkers(1)
    made = contract("note_pid", [60], 1, PROCESSES, folder=str(tmp_path))
    task = asyncio.create_task(run(ComputeEngine(registry, workers), made))
    pid = await noted_pid(tmp_path)
    workers.close()
    with pytest.raises(ComputeFailedError, match="a worker died"):
        await task
    await until(lambda: not psutil.pid_exists(pid))


@pytest.mark.parametrize("begun", [True, False], ids=["at work", "idle"])
async def test_workers_end_with_a_node_that_is_killed(tmp_path: Path, begun: bool) -> None:
    """R164: kill -9 of the node leaves no worker behind, whether it works or waits."""
    script = tmp_path / "node.py"
    folder = tmp_path / "pids"
    folder.mkdir()
    seconds = 60 if begun else 0
    script.write_text(
        "import asyncio, time\n"
        "from tests.unit.test_compute_workers import *\n"
        "async def main():\n"
        "    registry = AlgorithmRegistry()\n"
        "    registry.add_function(note_pid, merge=MergeStrategy.CONCATENATE)\n"
        "    engine = ComputeEngine(registry, LocalWorkers(1))\n"
        f"    await run(engine, contract('note_pid', [{seconds}], 1, PROCESSES, folder={str(folder)!r}))\n"
        "    await asyncio.sleep(60)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    node = await asyncio.create_subprocess_exec(sys.executable, script, env=environment)
    try:
        pid = await noted_pid(folder)
    finally:
        node.send_signal(signal.SIGKILL)
        await node.wait()
    await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


# When a run may hold the loop


def test_a_run_holds_the_loop_once_it_is_known_to_be_quick() -> None:
    """R28: not before one of that size was seen, not when it is usually slow, never when the input is large."""
    times = RunTimes()
    assert not times.is_quick("a", "1", 100)
    times.ran("a", "1", 100, 0.0001)
    assert times.is_quick("a", "1", 100)
    assert times.is_quick("a", "1", 127)
    assert not times.is_quick("a", "1", 10_000)
    assert not times.is_quick("a", "2", 100)
    times.ran("a", "1", INLINE_BYTES_MAX + 1, 0.0001)
    assert not times.is_quick("a", "1", INLINE_BYTES_MAX + 1)


def test_an_algorithm_moves_between_loop_and_thread_as_its_times_change() -> None:
    """R28: some slow runs move it to a thread, some quick ones back."""
    times = RunTimes()
    times.ran("a", "1", 100, 0.0001)
    for _ in range(3):
        times.ran("a", "1", 100, SLOW_S * 3)
    assert not times.is_quick("a", "1", 100)
    for _ in range(10):
        times.ran("a", "1", 100, 0.0001)
    assert times.is_quick("a", "1", 100)


# What is kept of results


def cached(data: object, ttl_s: int = 10, key: str = "", correlation_id: str = "") -> compute_pb2.ComputeContract:
    made = contract("square", data)
    made.correlation_id = correlation_id
    made.cache.ttl.CopyFrom(Duration(seconds=ttl_s))
    made.cache.key = key
    return made


def test_results_are_kept_as_long_as_the_contract_says() -> None:
    """R23: by content or by the contract's own key, within the time to live, for pure algorithms only."""
    now = [100.0]
    cache = ResultCache(lambda: now[0])
    algorithm = Algorithm.from_function(square)
    one = cached([1])
    key = cache.key(one, algorithm)
    assert cache.get(key) is None
    cache.put(key, one, compute_pb2.ComputeOutput(processed_data=json_payload([1])))
    found = cache.get(cache.key(cached([1], correlation_id="other"), algorithm))
    assert found is not None
    assert found.performance_metrics.from_cache
    assert cache.get(cache.key(cached([2]), algorithm)) is None
    now[0] += 10
    assert cache.get(key) is None
    named = [cache.key(cached([number], key="mine"), algorithm) for number in (1, 2)]
    assert named[0] == named[1] != key
    assert cache.key(cached([1], ttl_s=0), algorithm) == b""
    assert cache.key(cached([1]), Algorithm.from_function(square, pure=False)) == b""
    assert cache.get(b"") is None


def test_kept_results_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """R28: large results are not kept, and the ones that were used longest ago go first."""
    monkeypatch.setattr(kept, "RESULT_BYTES_MAX", 1000)
    monkeypatch.setattr(kept, "TOTAL_BYTES_MAX", 2000)
    cache = ResultCache()
    algorithm = Algorithm.from_function(square)
    output = compute_pb2.ComputeOutput(processed_data=json_payload("x" * 800))
    keys = []
    for number in range(3):
        made = cached([number])
        keys.append(cache.key(made, algorithm))
        cache.put(keys[-1], made, output)
        cache.get(keys[0])
    assert [cache.get(key) is not None for key in keys] == [True, False, True]
    made = cached([9])
    large = compute_pb2.ComputeOutput(processed_data=json_payload("x" * 2000))
    cache.put(cache.key(made, algorithm), made, large)
    assert cache.get(cache.key(made, algorithm)) is None
