"""The COMPUTE engine: the built-in algorithms against the standard library, chunks, validation, formats, failures."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.v1 import compute_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import chunks
from onex_mesh.compute.core.algorithm import MergeStrategy
from onex_mesh.compute.core.builtin import exact_sum, with_builtins
from onex_mesh.compute.core.output import read_table
from onex_mesh.compute.core.registry import AlgorithmRegistry
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.runtime.errors import AlgorithmNotFoundError, ComputeFailedError, ValidationError
from onex_mesh.runtime.payload import ARROW_TYPE, from_payload, json_payload, to_struct

calls: list[object] = []


def failing(data: object) -> object:
    """Fails."""
    raise RuntimeError("no luck")


def sleepy(data: object) -> object:
    """Takes longer than the loop should wait."""
    time.sleep(0.05)
    return data


def counted(data: list[object]) -> int:
    """Remembers that it was called."""
    calls.append(data)
    return len(data)


def square(data: list[int]) -> list[int]:
    """Squares."""
    return [item * item for item in data]


@pytest.fixture
def engine() -> Iterator[ComputeEngine]:
    registry = AlgorithmRegistry()
    registry.add_function(failing)
    registry.add_function(sleepy)
    registry.add_function(counted)
    registry.add_function(square, merge=MergeStrategy.CONCATENATE)
    workers = LocalWorkers(4)
    yield ComputeEngine(with_builtins(registry), workers)
    workers.close()


def contract(algorithm: str, data: object, **parameters: object) -> compute_pb2.ComputeContract:
    made = compute_pb2.ComputeContract(input_data=json_payload(data))
    made.algorithm_config.algorithm_type = algorithm
    made.algorithm_config.parameters.CopyFrom(to_struct(parameters))
    return made


async def run(engine: ComputeEngine, made: compute_pb2.ComputeContract) -> object:
    output = await engine.execute(made, correlation_id="c")
    return from_payload(output.processed_data)


async def test_sum_of_one_to_five_is_fifteen(engine: ComputeEngine) -> None:
    """R45, R39: the sum, with the metrics that say how it was computed."""
    output = await engine.execute(contract("sum", [1, 2, 3, 4, 5]), correlation_id="corr")
    assert from_payload(output.processed_data) == 15
    assert (output.correlation_id, output.performance_metrics.algorithm_type) == ("corr", "sum")
    assert (output.performance_metrics.data_size, output.performance_metrics.worker_count) == (1, 1)
    assert output.performance_metrics.execution_time.ToNanoseconds() > 0


@pytest.mark.parametrize("executor", [compute_pb2.EXECUTOR_KIND_THREADS, compute_pb2.EXECUTOR_KIND_PROCESSES])
async def test_parallel_gives_what_sequential_gives(engine: ComputeEngine, executor: int) -> None:
    """R33–R35, R153: chunks run on workers and merge to the same result, in order."""
    for algorithm in ("sum", "square"):
        made = contract(algorithm, list(range(101)))
        expected = await run(engine, made)
        made.parallel_config.worker_count = 3
        made.parallel_config.executor = executor  # type: ignore[assignment]  # parametrised by value
        output = await engine.execute(made, correlation_id="c")
        assert from_payload(output.processed_data) == expected
        assert output.performance_metrics.worker_count == 3


@settings(max_examples=200)
@given(st.integers(0, 500), st.integers(1, 40))
def test_chunks_are_contiguous_balanced_and_never_empty(count: int, parts: int) -> None:
    """R34, F19: every item once and in order, sizes differ by one at most, no chunk is empty."""
    found = chunks.bounds(count, parts)
    sizes = [end - begin for begin, end in found]
    assert [item for begin, end in found for item in range(begin, end)] == list(range(count))
    assert len(found) == max(1, min(parts, count))
    assert max(sizes) - min(sizes) <= 1
    assert count == 0 or min(sizes) >= 1


@settings(max_examples=100)
@given(st.lists(st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6)), min_size=0, max_size=40))
def test_statistics_are_those_of_the_standard_library(values: list[float]) -> None:
    """R26: count, mean, variance, standard deviation, median and quartiles; null where there are too few values."""
    engine = ComputeEngine(with_builtins(AlgorithmRegistry()), LocalWorkers(1))
    found = asyncio.run(run(engine, contract("statistics", values)))
    assert isinstance(found, dict)
    assert found["count"] == len(values)
    if not values:
        assert (found["mean"], found["median"], found["quantiles"]["0.5"]) == (None, None, None)
        return
    assert found["mean"] == pytest.approx(statistics.fmean(values))
    assert found["median"] == pytest.approx(statistics.median(values))
    assert found["quantiles"]["0.5"] == pytest.approx(statistics.median(values), abs=1e-6)
    if len(values) == 1:
        assert found["variance"] is None
        return
    assert found["variance"] == pytest.approx(statistics.variance(values))
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    assert [found["quantiles"][key] for key in ("0.25", "0.75")] == pytest.approx(
        [quartiles[0], quartiles[2]], abs=1e-6
    )


def test_sums_are_exact() -> None:
    """R27: integers of any size are exact, floats correctly rounded."""
    assert exact_sum([2**60, 1]) == 2**60 + 1
    assert exact_sum([0.1] * 10) == 1.0


async def test_fields_of_rows_are_summed_and_mapped(engine: ComputeEngine) -> None:
    """R26: sum over a field, and fields computed by CEL."""
    rows = [{"price": 250, "count": 2}, {"price": 100, "count": 3}]
    assert await run(engine, contract("sum", rows, field="price")) == 350
    mapped = await run(engine, contract("map", rows, fields={"total": "row.price * row.count"}, keep=True))
    assert mapped == [{"price": 250, "count": 2, "total": 500}, {"price": 100, "count": 3, "total": 300}]


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (contract("sum", [1, "2"]), "input_data[1]"),
        (contract("sum", [{"a": 1}], field="b"), "input_data[0].b"),
        (contract("sum", [1], wrong=1), "algorithm_config.parameters.wrong"),
        (contract("map", [{}], fields={"a": "row."}), "algorithm_config.parameters.fields.a"),
        (contract("map", [{}], fields={"a": "row.missing"}), "input_data[0]"),
        (contract("statistics", [1], quantiles=[2]), "parameters.quantiles"),
        (contract("identity", 1, x=1), "algorithm_config.parameters"),
    ],
)
async def test_bad_input_says_what_and_where(
    engine: ComputeEngine, made: compute_pb2.ComputeContract, field: str
) -> None:
    """R36, R37: each refusal names the field."""
    with pytest.raises(ValidationError) as caught:
        await engine.execute(made, correlation_id="c")
    assert field in [name for name, _ in caught.value.violations]


async def test_rules_hold_for_every_row_and_all_violations_come_at_once(engine: ComputeEngine) -> None:
    """R36, R37, F21: by the shape of the data, with path, expected and found type."""
    made = contract("identity", [{"a": 1}, {"b": "x"}, 5])
    made.input_validation.required_fields.append("a")
    made.input_validation.data_types["b"] = "number"
    with pytest.raises(ValidationError) as caught:
        await engine.execute(made, correlation_id="c")
    assert caught.value.violations == (
        ("input_data[1].a", "is required and missing"),
        ("input_data[1].b", "has the wrong type: expected number, found string"),
        ("input_data[2]", "should be an object with fields, found integer"),
    )
    made = contract("identity", {"a": 1})
    made.input_validation.data_types["a"] = "money"
    with pytest.raises(ValidationError, match="'money' is none of"):
        await engine.execute(made, correlation_id="c")


async def test_formats(engine: ComputeEngine) -> None:
    """R38, F22: json, array, dataframe (Arrow) and passthrough."""
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    made = contract("identity", rows)
    made.output_transformation.format = compute_pb2.OUTPUT_FORMAT_DATAFRAME
    output = await engine.execute(made, correlation_id="c")
    assert output.processed_data.content_type == ARROW_TYPE
    assert read_table(output.processed_data.data).to_pylist() == rows
    back = contract("identity", None)
    back.input_data.CopyFrom(output.processed_data)
    assert await run(engine, back) == rows
    back.output_transformation.format = compute_pb2.OUTPUT_FORMAT_JSON
    assert await run(engine, back) == rows
    scalar = contract("identity", 7)
    scalar.output_transformation.format = compute_pb2.OUTPUT_FORMAT_ARRAY
    assert await run(engine, scalar) == [7]
    broken = contract("identity", None)
    broken.input_data.data = b"junk"
    broken.input_data.content_type = ARROW_TYPE
    with pytest.raises(ValidationError, match="not an Arrow IPC stream"):
        await engine.execute(broken, correlation_id="c")


async def test_an_exception_becomes_an_error_with_its_line(engine: ComputeEngine) -> None:
    """R40, R41: the exception's type and text and the line of the application's code, and nothing more."""
    with pytest.raises(ComputeFailedError, match=r"test_compute_engine\.py:\d+: RuntimeError: no luck"):
        await engine.execute(contract("failing", 1), correlation_id="c")


async def test_unknown_algorithms_and_versions_are_named(engine: ComputeEngine) -> None:
    """R41: the error says what there is."""
    with pytest.raises(AlgorithmNotFoundError, match="no algorithm 'nope' is registered; known: counted"):
        await engine.execute(contract("nope", 1), correlation_id="c")
    made = contract("sum", [1])
    made.algorithm_config.version = "9.9"
    with pytest.raises(AlgorithmNotFoundError, match=r"no version '9\.9'"):
        await engine.execute(made, correlation_id="c")


async def test_wrong_parallel_work_is_refused(engine: ComputeEngine) -> None:
    """R33, R35: no workers, no way to cut, no such merge, data that is no list, no Dask."""
    for made, workers, strategy, executor, text in (
        (contract("sum", [1]), 0, 0, 0, "at least 1"),
        (contract("statistics", [1]), 2, 0, 0, "cannot work on chunks"),
        (contract("square", [1]), 2, compute_pb2.MERGE_STRATEGY_CUSTOM, 0, "declares no merge function"),
        (contract("identity", {"a": 1}), 2, 0, 0, "needs a list or a table"),
        (contract("sum", [1]), 2, 0, compute_pb2.EXECUTOR_KIND_DASK, "Dask"),
    ):
        made.parallel_config.worker_count = workers
        made.parallel_config.merge_strategy = strategy  # type: ignore[assignment]  # from a table of values
        made.parallel_config.executor = executor  # type: ignore[assignment]  # likewise
        made.parallel_config.SetInParent()
        with pytest.raises(ValidationError, match=text):
            await engine.execute(made, correlation_id="c")


async def test_a_slow_algorithm_leaves_the_loop_free(engine: ComputeEngine) -> None:
    """R28: once an algorithm is known to be slow it runs in a thread, and others go on meanwhile."""
    await run(engine, contract("sleepy", 1))
    slow = asyncio.create_task(run(engine, contract("sleepy", 2)))
    await asyncio.sleep(0)
    assert await run(engine, contract("sum", [1, 2])) == 3
    assert not slow.done()
    assert await slow == 2


async def test_results_are_cached_where_the_contract_asks(engine: ComputeEngine) -> None:
    """R23: the same algorithm, version and input answers from the cache until the time to live is over."""
    calls.clear()
    made = contract("counted", [1, 2, 3])
    made.cache.ttl.CopyFrom(Duration(seconds=60))
    first = await engine.execute(made, correlation_id="one")
    made.correlation_id = "two"
    second = await engine.execute(made, correlation_id="two")
    assert (first.performance_metrics.from_cache, second.performance_metrics.from_cache) == (False, True)
    assert (second.correlation_id, from_payload(second.processed_data), len(calls)) == ("two", 3, 1)
    made.cache.ttl.CopyFrom(Duration())
    await engine.execute(made, correlation_id="three")
    assert len(calls) == 2
