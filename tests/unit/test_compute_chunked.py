"""Built-in algorithms on chunks: merged, the results are those of all rows at once."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import cast

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onex.v1 import compute_pb2
from onex_mesh.compute.adapters.workers import LocalWorkers
from onex_mesh.compute.core import MergeStrategy
from onex_mesh.compute.core.chunks import concatenated, cut
from onex_mesh.compute.core.travel import opened, run_sealed, sealed_task
from onex_mesh.compute.engine import ComputeEngine
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import from_payload, json_payload, to_struct
from tests.unit.test_compute_tabular import REGISTRY, Rows, compute, rows_of, task_of

wholes = st.integers(-3, 3) | st.sampled_from([2**53 + 1, 2**62, 2**63 - 1, -(2**63)])
reals = st.sampled_from([0.5, -0.0, 1.5, 1e300, -1e300, math.inf, math.nan]) | st.floats(-100, 100)
keys = st.sampled_from(["a", "b", "é", None])
table_rows = st.lists(
    st.fixed_dictionaries(
        {
            "k": keys,
            "n": st.none() | wholes,
            "x": st.none() | reals,
            "d": st.none() | st.decimals(-1000, 1000, places=2),
        }
    ),
    max_size=12,
)
# What JSON brings: fields that are not in every row, and numbers that are whole here and not there.
loose_rows = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "k": keys,
            "n": st.none() | st.integers(-3, 3) | st.sampled_from([2**53 + 1, 0.5, -1.25]),
            "x": st.none() | st.floats(-100, 100) | st.integers(-3, 3),
            "t": st.text("ab", max_size=2) | st.integers(0, 1),
        },
    ),
    max_size=12,
)
SCHEMA = pa.schema([("k", pa.string()), ("n", pa.int64()), ("x", pa.float64()), ("d", pa.decimal128(10, 2))])
parts = st.integers(1, 5)


def chunked(algorithm: str, data: object, count: int, **parameters: object) -> object:
    """The result of chunks that travel to other processes and back, merged."""
    task = task_of(algorithm, data, **parameters)
    partials = []
    for piece in cut(data, count):
        context = replace(task.context, offset=piece.offset, is_chunk=True)
        travelled = pickle.loads(pickle.dumps(sealed_task(replace(task, data=piece.data, context=context))))  # noqa: S301
        partials.append(opened(pickle.loads(pickle.dumps(run_sealed(travelled)))))  # noqa: S301
    if task.algorithm.merge is MergeStrategy.CUSTOM:
        return task.algorithm.merged(partials, task.params)
    return concatenated(partials)


def outcome(algorithm: str, data: object, count: int = 0, **parameters: object) -> object:
    """A result, or that there is none; which of several faults is told may depend on the chunks."""
    try:
        found = chunked(algorithm, data, count, **parameters) if count else compute(algorithm, data, **parameters)
    except ValidationError:
        return "refused"
    return found


def plain(result: object) -> object:
    """A result in which 1 is 1.0, as in JSON, and NaN is itself."""
    if isinstance(result, pa.Table):
        return [str(result.schema), plain(result.to_pylist())]
    if isinstance(result, dict):
        return {name: plain(value) for name, value in result.items()}
    if isinstance(result, list):
        return [plain(value) for value in result]
    return float(result) if type(result) is int and abs(result) <= 2**53 else repr(result)


def near(one: object, two: object) -> bool:
    """Whether results are the same, but for the last digits of floats."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(near(one[name], two[name]) for name in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(near, one, two))
    if isinstance(one, float) and isinstance(two, float | int):
        return one == pytest.approx(two, rel=1e-9, abs=1e-9, nan_ok=True)
    return one == two


@pytest.mark.parametrize(
    ("algorithm", "parameters"),
    [
        ("sort", {"keys": [{"field": "k"}, {"field": "n", "descending": True}]}),
        ("sort", {"keys": [{"field": "x"}], "nulls": "first"}),
        ("deduplicate", {"keys": ["k"]}),
        ("deduplicate", {"keys": ["k", "n"], "keep": "last"}),
        ("deduplicate", {}),
        ("normalise", {"fields": ["x"]}),
        ("normalise", {"fields": ["x"], "method": "z_score"}),
        ("filter", {"where": "has(row.k) && row.k == 'a'"}),
        ("project", {"fields": ["n", "k"]}),
        ("map", {"fields": {"m": "has(row.x) && row.x != null ? row.x + 1 : null"}, "keep": True}),
        ("validate", {"schema": {"properties": {"n": {"type": "integer"}, "k": {"type": "string"}}}}),
        (
            "validate",
            {"schema": {"properties": {"n": {"type": "integer"}}}, "violations": "result", "bound": 2},
        ),
    ],
)
@settings(max_examples=40, deadline=None)
@given(data=table_rows, loose=loose_rows, count=parts)
def test_chunks_give_what_all_rows_give(
    algorithm: str, parameters: dict[str, object], data: Rows, loose: Rows, count: int
) -> None:
    """R35, R153: to the bit, of rows and of tables."""
    for frame in (loose, pa.Table.from_pylist(data, schema=SCHEMA)):
        whole, merged = outcome(algorithm, frame, **parameters), outcome(algorithm, frame, count, **parameters)
        assert plain(merged) == plain(whole)


EXACT = {
    "rows": {"function": "count"},
    "known": {"function": "count", "field": "n"},
    "total": {"function": "sum", "field": "n"},
    "mean": {"function": "mean", "field": "n"},
    "least": {"function": "min", "field": "n"},
    "most": {"function": "max", "field": "n"},
    "kinds": {"function": "count_distinct", "field": "x"},
    "first": {"function": "first", "field": "n"},
    "last": {"function": "last", "field": "x"},
    "all": {"function": "list", "field": "x"},
}
DECIMALS = {
    "decimals": {"function": "sum", "field": "d"},
    "middle": {"function": "mean", "field": "d"},
    "edge": {"function": "max", "field": "d"},
    "list": {"function": "list", "field": "d"},
}
FLOATS = {
    "sum": {"function": "sum", "field": "x"},
    "mean": {"function": "mean", "field": "x"},
    "stddev": {"function": "stddev", "field": "x"},
    "variance": {"function": "variance", "field": "x"},
    "of_n": {"function": "variance", "field": "n"},
}


@settings(max_examples=150, deadline=None)
@given(table_rows, loose_rows, parts, st.sampled_from([[], ["k"], ["k", "x"]]))
@example([], [{"n": 1}, {"n": 0.5}], 2, [])
@example([], [{"k": "a"}, {"k": "a", "n": 2, "x": 1}], 2, ["k"])
@example([{"k": None, "n": 2**63 - 1, "x": None, "d": None}] * 3, [], 3, [])
def test_groups_of_chunks_are_the_groups_of_all_rows(data: Rows, loose: Rows, count: int, by: list[str]) -> None:
    """R35, R45: the exact aggregates to the bit and in the same types, whatever the chunks."""
    table = pa.Table.from_pylist(data, schema=SCHEMA)
    for frame, aggregates in ((loose, EXACT), (table, {**EXACT, **DECIMALS})):
        asked = {name: value for name, value in aggregates.items() if not _sums_floats(frame, value)}
        whole = outcome("group_by", frame, keys=by, aggregates=asked)
        assert plain(outcome("group_by", frame, count, keys=by, aggregates=asked)) == plain(whole)


def _sums_floats(frame: object, aggregate: dict[str, str]) -> bool:
    """Whether an aggregate is a sum of floats, which is not exact either way."""
    rows = rows_of(frame)
    values = [row.get(aggregate.get("field", "")) for row in rows]
    return aggregate["function"] in ("sum", "mean") and any(isinstance(value, float) for value in values)


@settings(max_examples=100, deadline=None)
@given(loose_rows, parts, st.sampled_from([[], ["k"]]))
def test_moments_of_chunks_are_those_of_all_rows_but_for_rounding(loose: Rows, count: int, by: list[str]) -> None:
    """R35: sums, means and variances of floats."""
    whole = outcome("group_by", loose, keys=by, aggregates=FLOATS)
    assert near(outcome("group_by", loose, count, keys=by, aggregates=FLOATS), whole)


@settings(max_examples=150, deadline=None)
@given(table_rows, loose_rows, parts, st.sampled_from([[], ["n"], ["n", "x"]]))
def test_descriptions_of_chunks_are_those_of_all_rows(data: Rows, loose: Rows, count: int, fields: list[str]) -> None:
    """R35: counts, edges and means of integers exactly; means of floats and deviations but for rounding."""
    finite: Rows = [{**row, "x": None if row["x"] in (math.inf, 1e300, -1e300) else row["x"]} for row in data]
    for frame in (loose, pa.Table.from_pylist(finite, schema=SCHEMA)):
        whole = outcome("describe", frame, fields=fields, quantiles=[])
        merged = outcome("describe", frame, count, fields=fields, quantiles=[])
        assert near(merged, whole)
        if isinstance(whole, dict):
            for name in cast("dict[str, dict[str, object]]", whole):
                for fact in ("count", "nulls", "nan", "min", "max"):
                    assert plain(merged[name][fact]) == plain(whole[name][fact])  # type: ignore[index]  # alike


def test_a_mean_of_huge_integers_in_chunks_is_rounded_once() -> None:
    """R35: the sum of chunks is exact, beyond 64 bits too."""
    table = pa.table({"n": [2**62, 2**62, 2**62 + 1, 3]})
    exact = float(Decimal(3 * 2**62 + 4) / 4)
    asked = {"m": {"function": "mean", "field": "n"}, "s": {"function": "sum", "field": "n"}}
    for count in (0, 1, 2, 4):
        found = rows_of(outcome("group_by", table, count, aggregates=asked))
        assert found == [{"m": exact, "s": 3 * 2**62 + 4}]
        described = outcome("describe", table, count, quantiles=[])
        assert cast("dict[str, dict[str, object]]", described)["n"]["mean"] == exact


@pytest.mark.parametrize(
    ("algorithm", "data", "parameters", "message"),
    [
        ("sort", [{"n": 1}, {"n": "x"}], {"keys": [{"field": "n"}]}, r"^input_data\.n: does not fit its column"),
        ("sort", [{"n": 1}, {"n": 2}], {"keys": [{"field": "z"}]}, r"^input_data\.z: is required and missing"),
        ("deduplicate", [{"n": 1}, {"n": "x"}], {}, r"^input_data\.n: does not fit its column"),
        ("normalise", [{"n": 1}, {"n": "x"}], {"fields": ["n"]}, r"^input_data\.n: expected numbers, found string"),
        ("normalise", [{"n": 1}, {"n": 1}], {"fields": ["z"]}, r"^input_data\.z: is required and missing"),
        ("describe", [{"n": 1}, {}], {"fields": ["z"], "quantiles": []}, r"^input_data\.z: is required and missing"),
        ("describe", [{"n": 0.5}, {"n": 2**53 + 1}], {"quantiles": []}, r"^input_data\.n: .* among floats"),
        ("describe", [{"n": 1}], {}, r"^parallel_config: quantiles need all rows at once"),
        (
            "group_by",
            [{"n": 0.5}, {"n": 2**53 + 1}],
            {"aggregates": {"s": {"function": "sum", "field": "n"}}},
            r"^input_data\.n: .* among floats",
        ),
        (
            "group_by",
            [{"n": 1}, {"n": "x"}],
            {"keys": ["n"], "aggregates": {"s": {"function": "count"}}},
            r"^input_data: cannot be aggregated",
        ),
        (
            "group_by",
            [{"n": 1}, {"n": 1}],
            {"keys": ["z"], "aggregates": {"s": {"function": "count"}}},
            r"^input_data\.z: is required and missing",
        ),
    ],
)
def test_what_fits_within_chunks_but_not_together_is_refused(
    algorithm: str, data: Rows, parameters: dict[str, object], message: str
) -> None:
    """R41: as all rows at once would be; the path names no row, for no one row is wrong."""
    with pytest.raises(ValidationError, match=message):
        chunked(algorithm, data, 2, **parameters)


@pytest.mark.parametrize(
    ("algorithm", "parameters"),
    [
        ("sort", {"keys": [{"field": "n"}]}),
        ("deduplicate", {"keys": ["n"]}),
        ("normalise", {"fields": ["n"]}),
        ("group_by", {"keys": ["n"], "aggregates": {"s": {"function": "count"}}}),
    ],
)
def test_a_value_that_fits_no_column_is_named_by_its_row(algorithm: str, parameters: dict[str, object]) -> None:
    """R41: of all rows, not of the chunk."""
    rows: Rows = [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}, {"n": 5}, {"n": "x"}]
    with pytest.raises(ValidationError, match=r"^input_data\[5\]\.n: does not fit its column"):
        chunked(algorithm, rows, 2, **parameters)
    with pytest.raises(ValidationError, match=r"^input_data\[5\]: expected a row, found integer"):
        chunked(algorithm, [*rows[:5], 7], 2, **parameters)


def test_violations_of_chunks_come_in_the_order_of_the_rows() -> None:
    """F21: bounded over all chunks."""
    rows: Rows = [{"n": 1}, {"n": "a"}, {"n": 2}, {"n": "b"}, {"n": "c"}]
    schema = {"properties": {"n": {"type": "integer"}}}
    for count in (0, 1, 2, 5):
        with pytest.raises(ValidationError) as caught:
            (chunked if count else compute)("validate", rows, *([count] if count else []), schema=schema, bound=2)
        assert [at for at, _ in caught.value.violations] == ["input_data[1].n", "input_data[3].n"]


@pytest.fixture
def engine() -> Iterator[ComputeEngine]:
    workers = LocalWorkers(2)
    yield ComputeEngine(REGISTRY, workers)
    workers.close()


def contract(algorithm: str, data: object, parameters: dict[str, object]) -> compute_pb2.ComputeContract:
    made = compute_pb2.ComputeContract(input_data=json_payload(data))
    made.algorithm_config.algorithm_type = algorithm
    made.algorithm_config.parameters.CopyFrom(to_struct(parameters))
    return made


@pytest.mark.parametrize("executor", [compute_pb2.EXECUTOR_KIND_THREADS, compute_pb2.EXECUTOR_KIND_PROCESSES])
async def test_the_engine_merges_what_workers_made(engine: ComputeEngine, executor: int) -> None:
    """R33-R35: on threads and in processes, of each algorithm that works on chunks by a merge of its own."""
    rows = [{"k": "ab"[number % 2], "n": number % 7} for number in range(20)]
    for algorithm, parameters in (
        ("sort", {"keys": [{"field": "n"}]}),
        ("deduplicate", {"keys": ["n"]}),
        ("group_by", {"keys": ["k"], "aggregates": {"s": {"function": "stddev", "field": "n"}}}),
        ("describe", {"quantiles": []}),
        ("normalise", {"fields": ["n"]}),
        ("validate", {"schema": {"required": ["n"]}}),
    ):
        made = contract(algorithm, rows, cast("dict[str, object]", parameters))
        whole = from_payload((await engine.execute(made, correlation_id="c")).processed_data)
        made.parallel_config.worker_count = 3
        made.parallel_config.executor = cast("compute_pb2.ExecutorKind", executor)
        output = await engine.execute(made, correlation_id="c")
        assert near(from_payload(output.processed_data), whole), algorithm
        assert output.performance_metrics.worker_count == 2


async def test_what_is_for_an_own_merge_is_for_no_other(engine: ComputeEngine) -> None:
    """R35: and what needs all rows at once says so."""
    made = contract("group_by", [{"n": 1}], {"aggregates": {"s": {"function": "count"}}})
    made.parallel_config.worker_count = 2
    made.parallel_config.merge_strategy = compute_pb2.MERGE_STRATEGY_CONCATENATE
    with pytest.raises(ValidationError, match="for its own merge function only; ask for CUSTOM"):
        await engine.execute(made, correlation_id="c")
    made.parallel_config.merge_strategy = compute_pb2.MERGE_STRATEGY_CUSTOM
    assert from_payload((await engine.execute(made, correlation_id="c")).processed_data) == [{"s": 1}]
    made = contract("join", [{"n": 1}], {"on": ["n"], "right": []})
    made.parallel_config.worker_count = 2
    with pytest.raises(ValidationError, match="the algorithm 'join' cannot work on chunks"):
        await engine.execute(made, correlation_id="c")
