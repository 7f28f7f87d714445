"""Quantiles, distinct values and the top k: within their bounds, exact where they say so, in any grouping and order."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections import Counter
from pathlib import Path
from random import Random

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregates.fold import Fold
from onex_mesh.reducer.core.aggregates.quantiles import bits_for, bucket_of, middle_of
from onex_mesh.reducer.core.columns import number_column
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.runtime.errors import StateConsistencyError, ValidationError
from tests.aggregations import begin, printed_whatever_the_hash_seed

QUANTILES = reducer_pb2.AGGREGATION_METHOD_QUANTILES
DISTINCT = reducer_pb2.AGGREGATION_METHOD_DISTINCT
TOP_K = reducer_pb2.AGGREGATION_METHOD_TOP_K

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(os.environ.get("ONEX_SAMPLE_ORDERS", ROOT.parent / "shared/data/online_retail_sample.csv"))

normal = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
numbers = st.one_of(normal, st.integers(-(2**53), 2**53), st.integers(-5, 5))
scalars = st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=2))
cuts = st.lists(st.integers(0, 40), max_size=4)


def in_chunks(method: int, values: list[object], at: list[int], **parameters: object) -> Fold:
    """What comes of the values in chunks, each continued from the state of the one before, as JSON has it."""
    bounds = [0, *sorted(min(cut, len(values)) for cut in at), len(values)]
    fold = begin(method, parameters=parameters)
    for start, end in itertools.pairwise(bounds):
        state = json.loads(json.dumps(fold.state()))
        fold = begin(method, state=state, parameters=parameters).add(values[start:end], start)
    return fold


def table(values: list[object], kind: pa.DataType) -> TableRows:
    return TableRows(pa.table({"v": pa.array(values, kind)}))


def result(fold: Fold) -> dict[str, object]:
    found = fold.result()
    assert isinstance(found, dict)
    return found


# Quantiles


@given(st.lists(numbers, min_size=1, max_size=40), cuts, st.sampled_from([0.5, 0.1, 0.01, 0.0005]))
def test_quantiles_are_within_the_relative_error(values: list[float], at: list[int], relative_error: float) -> None:
    """R54: of the number that has the rank, for all shares, in any chunks."""
    shares = (0.0, 0.001, 0.25, 0.5, 0.9, 0.999, 1.0)
    parameters = {"quantiles": list(shares), "relative_error": relative_error}
    found = result(in_chunks(QUANTILES, list(values), at, **parameters))
    ordered = sorted(values)
    for share in shares:
        exact = ordered[max(1, math.ceil(share * len(ordered))) - 1]
        estimate = found[f"{share:g}"]
        assert isinstance(estimate, int | float)
        assert abs(estimate - exact) <= abs(exact) * relative_error
    assert (found["0"], found["1"]) == (ordered[0], ordered[-1])


@given(st.lists(numbers, max_size=40), cuts, st.randoms(use_true_random=False))
def test_quantiles_do_not_depend_on_order_or_grouping(values: list[float], at: list[int], random: Random) -> None:
    """R48, R55: the same state, to the bit; of rows and of tables."""
    shuffled = list(values)
    random.shuffle(shuffled)
    state = in_chunks(QUANTILES, list(values), []).state()
    assert in_chunks(QUANTILES, list(shuffled), at).state() == state
    doubles = [float(value) for value in values]
    of_rows = begin(QUANTILES).add(doubles, 0)
    assert begin(QUANTILES, "v").add(table(list(doubles), pa.float64()), 0).state() == of_rows.state()


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 10),
)
def test_buckets_are_in_the_order_of_their_numbers(one: float, other: float, bits: int) -> None:
    """R54: also around zero, and those of a table are the same; and the middle of a bucket is in it."""
    first, second = bucket_of(one, bits), bucket_of(other, bits)
    assert (first > second) <= (one > other)
    assert bucket_of(middle_of(first, bits), bits) == first
    column = number_column(pa.chunked_array([[one, other]], pa.float64()))
    assert column is not None
    assert column.buckets(bits) == Counter([first, second])


def test_the_relative_error_decides_how_many_buckets_there_are() -> None:
    """R54: as few as will do."""
    for relative_error in (0.5, 0.25, 0.1, 0.01, 0.001, 0.0005):
        assert 2.0 ** -(bits_for(relative_error) + 1) <= relative_error
        assert bits_for(relative_error) == 0 or 2.0 ** -bits_for(relative_error) > relative_error
    # 10,000 numbers over nine decades take less than 10 KiB.
    drawn = Random(3)
    state = begin(QUANTILES).add([10 ** drawn.uniform(0, 9) for _ in range(10_000)], 0).state()
    assert len(json.dumps(state)) < 30_000
    assert isinstance(state, dict)
    assert len(state["buckets"]) <= 30 * 64


def test_ranks_are_those_of_the_share_as_it_is_written() -> None:
    """R54: 0.07 of 100 is the seventh, though 0.07 * 100 is 7.000000000000001 in doubles."""
    found = result(
        begin(QUANTILES, parameters={"quantiles": [0.07], "relative_error": 0.0005}).add(list(range(1, 101)), 0)
    )
    assert found["0.07"] == pytest.approx(7, rel=0.0005)


def test_quantiles_of_nothing_are_null() -> None:
    """R54: under their names."""
    assert begin(QUANTILES).result() == {"0.5": None, "0.9": None, "0.99": None}


def test_quantiles_of_the_sample_are_near_those_of_pandas() -> None:
    """R54: prices of real order lines."""
    if not SAMPLE.exists():
        pytest.skip("optional: the sample of a shop's orders is not beside the checkout")
    frame = pd.read_csv(SAMPLE)
    found = result(begin(QUANTILES, "UnitPrice").add(TableRows(pyarrow.csv.read_csv(SAMPLE)), 0))
    for share in (0.5, 0.9, 0.99):
        exact = frame["UnitPrice"].quantile(share, interpolation="lower")
        assert found[f"{share:g}"] == pytest.approx(exact, rel=0.02)


# Distinct


@given(st.lists(scalars, max_size=40), cuts, st.randoms(use_true_random=False))
def test_few_distinct_values_are_counted_exactly(values: list[object], at: list[int], random: Random) -> None:
    """R54: true, 1 and "1" are three, 1 and 1.0 are one, null is none; in any order and chunks."""
    expected = len({(type(value) is bool, isinstance(value, str), value) for value in values if value is not None})
    fold = in_chunks(DISTINCT, list(values), at)
    assert fold.result() == expected
    shuffled = list(values)
    random.shuffle(shuffled)
    assert in_chunks(DISTINCT, shuffled, []).state() == fold.state()


@pytest.mark.parametrize(("precision", "error"), [(4, 0.9), (8, 0.25), (12, 0.06), (14, 0.03)])
def test_many_distinct_values_are_counted_within_the_error(precision: int, error: float) -> None:
    """R54: HyperLogLog's standard error is 1.04 / sqrt(2^precision); the state has no more bytes for more values."""
    sizes = []
    for count in (10_000, 200_000):
        fold = begin(DISTINCT, parameters={"precision": precision}).add([f"value {at}" for at in range(count)], 0)
        assert fold.result() == pytest.approx(count, rel=error)
        sizes.append(len(json.dumps(fold.state())))
    assert sizes[0] == sizes[1] < 2**precision * 2 + 200


def test_many_distinct_values_do_not_depend_on_order_or_grouping() -> None:
    """R48, R55: chunks before and after there are registers; rows, tables and merges give one state."""
    values = [f"value {at % 7_000}" for at in range(20_000)]
    state = begin(DISTINCT).add(values, 0).state()
    drawn = Random(11)
    for _ in range(5):
        drawn.shuffle(values)
        at = sorted(drawn.randrange(20_000) for _ in range(drawn.choice((1, 3, 40))))
        assert in_chunks(DISTINCT, list(values), [*at, 5]).state() == state
        assert begin(DISTINCT, "v").add(table(list(values), pa.string()), 0).state() == state
        left, right = begin(DISTINCT).add(values[:500], 0), begin(DISTINCT).add(values[500:], 0)
        assert left.merge(right).state() == right.merge(left).state() == state


@given(st.lists(st.one_of(normal, st.integers(-(2**53), 2**53).map(float)), max_size=20))
def test_numbers_have_one_hash_whatever_type_they_came_in(values: list[float]) -> None:
    """R48: in rows and in columns of doubles and of integers."""
    state = begin(DISTINCT).add(values, 0).state()
    assert begin(DISTINCT, "v").add(table(list(values), pa.float64()), 0).state() == state
    whole = [int(value) for value in values if value.is_integer() and abs(value) <= 2**53]
    by_rows = begin(DISTINCT).add(whole, 0).state()
    assert begin(DISTINCT, "v").add(table(list(whole), pa.int64()), 0).state() == by_rows
    assert begin(DISTINCT, "v").add(table([*map(float, whole)], pa.float64()), 0).state() == by_rows


def test_distinct_values_of_columns_are_those_of_rows() -> None:
    """R54: every type that is a value; equal ones once."""
    values: list[object] = [1, 2, 2, None, 3]
    for kind in (pa.int8(), pa.uint64(), pa.float64(), pa.decimal128(10, 2)):
        assert begin(DISTINCT, "v").add(table(values, kind), 0).result() == 3
    assert begin(DISTINCT, "v").add(table(values, pa.int64()), 0).state() == begin(DISTINCT).add(values, 0).state()
    assert begin(DISTINCT, "v").add(table([0.0, -0.0], pa.float64()), 0).result() == 1
    assert begin(DISTINCT, "v").add(table([None, None], pa.null()), 0).result() == 0


def test_the_sample_has_as_many_articles_as_pandas_says() -> None:
    """R54: more than are kept exactly at a low precision."""
    if not SAMPLE.exists():
        pytest.skip("optional: the sample of a shop's orders is not beside the checkout")
    count, rows = pd.read_csv(SAMPLE)["StockCode"].nunique(), TableRows(pyarrow.csv.read_csv(SAMPLE))
    assert begin(DISTINCT, "StockCode").add(rows, 0).result() == count
    estimate = begin(DISTINCT, "StockCode", parameters={"precision": 8}).add(rows, 0).result()
    assert estimate == pytest.approx(count, rel=0.2)


# Top k


@given(st.lists(scalars, max_size=40), cuts, st.sampled_from(["frequency", "largest", "smallest"]), st.integers(1, 5))
def test_the_top_k_are_those_of_a_counter(values: list[object], at: list[int], order: str, k: int) -> None:
    """R54: while the values fit the counts are exact, in any chunks; of equal ones the smaller value comes first."""
    found = result(in_chunks(TOP_K, list(values), at, k=k, order=order))
    keys = Counter(_key(value) for value in values if value is not None)
    if order == "frequency":
        assert found["error"] == 0
        expected = sorted(keys.items(), key=lambda row: (-row[1], row[0]))
    else:
        expected = sorted(keys.items(), reverse=order == "largest")
    rows = found["values"]
    assert isinstance(rows, list)
    assert [(_key(row["value"]), row["count"]) for row in rows] == expected[:k]


def _key(value: object) -> tuple[int, object]:
    if isinstance(value, bool):
        return (1, value)
    return (3, value) if isinstance(value, str) else (2, value)


@given(st.lists(st.integers(0, 12), max_size=60), cuts, st.integers(1, 6))
def test_frequent_values_are_within_the_error_that_is_told(values: list[int], at: list[int], capacity: int) -> None:
    """R54: no count is too high, none too low by more than the error, and no value above the error is missing."""
    fold = in_chunks(TOP_K, list(values), at, k=1, capacity=capacity)
    state = fold.state()
    assert isinstance(state, dict)
    kept, error, exact = dict(state["values"]), state["error"], Counter(values)
    assert len(kept) <= capacity
    for value, count in exact.items():
        assert count - error <= kept.get(value, 0) <= count
    # Each unit of the error was taken off capacity + 1 values (Agarwal et al. 2012).
    assert error * (capacity + 1) <= len(values)


def test_the_most_frequent_of_the_sample_are_those_of_pandas() -> None:
    """R54: of rows and of the table, with nulls that do not count."""
    if not SAMPLE.exists():
        pytest.skip("optional: the sample of a shop's orders is not beside the checkout")
    frame, rows = pd.read_csv(SAMPLE), TableRows(pyarrow.csv.read_csv(SAMPLE))
    for field in ("StockCode", "CustomerID", "Country"):
        counts = Counter(frame[field].dropna().tolist())
        expected = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:5]
        found = result(begin(TOP_K, field, parameters={"k": 5}).add(rows, 0))
        assert found == {"values": [{"value": value, "count": count} for value, count in expected], "error": 0}


# All three


@pytest.mark.parametrize(
    ("method", "parameters", "path"),
    [
        (QUANTILES, {"quantiles": [1.5]}, "quantiles[0]"),
        (QUANTILES, {"quantiles": []}, "quantiles"),
        (QUANTILES, {"relative_error": 0}, "relative_error"),
        (QUANTILES, {"other": 1}, "other"),
        (DISTINCT, {"precision": 3}, "precision"),
        (DISTINCT, {"precision": 15}, "precision"),
        (TOP_K, {"k": 0}, "k"),
        (TOP_K, {"order": "best"}, "order"),
        (TOP_K, {"k": 5, "capacity": 4}, ""),
        (TOP_K, {"order": "largest", "capacity": 10}, ""),
    ],
)
def test_parameters_are_checked(method: int, parameters: dict[str, object], path: str) -> None:
    """R54: with the path of each that is wrong."""
    with pytest.raises(ValidationError) as caught:
        begin(method, parameters=parameters)
    assert f"reduction_config.parameters.{path}".rstrip(".") in [found for found, _ in caught.value.violations]


BUCKETS = {"bits": 6, "buckets": [[65536, 1]], "min": 2, "max": 2}
HASHES = {"precision": 12, "hashes": "", "sketch": ""}


@pytest.mark.parametrize(
    ("method", "state", "message"),
    [
        (QUANTILES, 5, "current_state: quantiles continue from their state"),
        (QUANTILES, BUCKETS | {"bits": 7}, r"current_state\.bits: another relative_error was asked for"),
        (QUANTILES, BUCKETS | {"buckets": 1}, r"current_state\.buckets: expected pairs"),
        (QUANTILES, BUCKETS | {"buckets": [["x", 1]]}, r"current_state\.buckets\[0\]: expected the number of a bucket"),
        (
            QUANTILES,
            BUCKETS | {"buckets": [[2**60, 1]]},
            r"current_state\.buckets\[0\]: expected the number of a bucket",
        ),
        (QUANTILES, BUCKETS | {"buckets": [[1, -1]]}, r"current_state\.buckets\[0\]\[1\]: expected a count"),
        (QUANTILES, BUCKETS | {"buckets": []}, "current_state: has numbers without a smallest"),
        (QUANTILES, BUCKETS | {"min": "x"}, r"current_state\.min: expected a number"),
        (DISTINCT, 5, "current_state: a distinct count continues from its state"),
        (DISTINCT, HASHES | {"precision": 11}, r"current_state\.precision: another one was asked for: 12"),
        (DISTINCT, HASHES | {"hashes": "?"}, r"current_state\.hashes: expected bytes in base64"),
        (DISTINCT, HASHES | {"hashes": 7}, r"current_state\.hashes: expected bytes in base64"),
        (DISTINCT, HASHES | {"hashes": "AAAA"}, r"current_state\.hashes: expected hashes of 8 bytes"),
        (DISTINCT, HASHES | {"sketch": "AAAA"}, r"current_state\.sketch: is no HyperLogLog sketch"),
        (TOP_K, 5, "current_state: a top-k continues from its state"),
        (TOP_K, {"values": 1, "error": 0}, r"current_state\.values: expected pairs"),
        (TOP_K, {"values": [[[], 1]], "error": 0}, r"current_state\.values\[0\]\[0\]: expected a value"),
        (TOP_K, {"values": [["a", -1]], "error": 0}, r"current_state\.values\[0\]\[1\]: expected a count"),
        (TOP_K, {"values": [["a", 1], ["a", 1]], "error": 0}, r"current_state\.values\[1\]\[0\]: is there twice"),
        (TOP_K, {"values": [], "error": -1}, r"current_state\.error: expected a count"),
    ],
)
def test_a_state_that_is_none_is_refused(method: int, state: object, message: str) -> None:
    """R67: with where it is wrong."""
    with pytest.raises(StateConsistencyError, match=message):
        begin(method, state=state)


def test_a_sketch_of_another_precision_is_refused() -> None:
    """R67: it would be merged at the lower one."""
    state = begin(DISTINCT, parameters={"precision": 8}).add([str(at) for at in range(1000)], 0).state()
    assert isinstance(state, dict)
    with pytest.raises(StateConsistencyError, match=r"current_state\.sketch: has another precision"):
        begin(DISTINCT, state={**state, "precision": 12})


@pytest.mark.parametrize("method", [DISTINCT, TOP_K])
def test_what_is_no_value_is_refused_with_its_path(method: int) -> None:
    """R37: objects and lists have no order and no hash of their own."""
    for value, text in (([], "an array"), ({}, "an object"), (float("nan"), "nan")):
        with pytest.raises(ValidationError, match=rf"input_data\[4\]\.v: {text} is no value to compare"):
            begin(method, "v").add([{"v": 1}, {"v": value}], 3)
    with pytest.raises(ValidationError, match=r"input_data\.v: is required and missing: the table has no such column"):
        begin(method, "v").add(TableRows(pa.table({"w": [1]})), 0)
    with pytest.raises(ValidationError, match=r"input_data\[0\]\.v: bytes is no value to compare"):
        begin(method, "v").add(table([b"x"], pa.binary()), 0)


def test_every_process_has_the_same_result() -> None:
    """R48: whatever PYTHONHASHSEED is; states and results of all three, by keys of mixed types too."""
    code = (
        "import json; from tests.aggregations import begin, begin_grouped; from onex.v1 import reducer_pb2\n"
        "values = [f'v{i * i % 9999}' for i in range(20000)] + [True, None, 1, 'x']\n"
        f"folds = [begin(method).add(values, 0) for method in {[DISTINCT, TOP_K]}]\n"
        f"folds.append(begin({QUANTILES}).add([0.1 * i for i in range(99)], 0))\n"
        "made = reducer_pb2.ReductionConfig(group_by=['k'], aggregation_method=9, field='v')\n"
        "folds.append(begin_grouped(made).add([{'k': v, 'v': v} for v in values[-50:]], 0))\n"
        "print(json.dumps([[fold.state(), fold.result()] for fold in folds]))"
    )
    assert "sketch" in printed_whatever_the_hash_seed(code)
