"""Min, max and variance against statistics, pandas and Fractions, however the records are grouped."""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregates.fold import Fold
from onex_mesh.runtime.errors import StateConsistencyError, ValidationError
from tests.aggregations import begin, printed_whatever_the_hash_seed

MIN = reducer_pb2.AGGREGATION_METHOD_MIN
MAX = reducer_pb2.AGGREGATION_METHOD_MAX
VARIANCE = reducer_pb2.AGGREGATION_METHOD_VARIANCE
METHODS = (MIN, MAX, VARIANCE)

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(os.environ.get("ONEX_SAMPLE_ORDERS", ROOT.parent / "shared/data/online_retail_sample.csv"))

finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e150, max_value=1e150)
numbers = st.lists(st.one_of(finite, st.integers(-(2**53), 2**53)), max_size=30)


def fold(method: int, state: object = None, field: str = "") -> Fold:
    return begin(method, field, state)


def grouped(method: int, values: list[float], cuts: list[int]) -> Fold:
    """The fold over chunks, through JSON between them."""
    bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    made = fold(method)
    for start, end in itertools.pairwise(bounds):
        made = fold(method, json.loads(json.dumps(made.state()))).add(values[start:end], start)
    return made


@given(numbers, st.lists(st.integers(0, 30), max_size=4))
def test_however_the_records_are_grouped_the_result_is_the_same(values: list[float], cuts: list[int]) -> None:
    """F24, R55: to the last bit, and so is the state, continued over any chunks."""
    for method in METHODS:
        whole, parts = fold(method).add(values, 0), grouped(method, values, cuts)
        assert json.dumps(parts.result()) == json.dumps(whole.result())
        assert parts.result() == whole.result()


@given(numbers, st.randoms())
def test_the_order_of_the_records_does_not_matter(values: list[float], random: object) -> None:
    """R48: a variance of the same numbers is the same number."""
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    for method in METHODS:
        assert json.dumps(fold(method).add(shuffled, 0).result()) == json.dumps(fold(method).add(values, 0).result())


@given(numbers)
def test_extremes_are_those_of_python(values: list[float]) -> None:
    """R54: nothing has none."""
    assert fold(MIN).add(values, 0).result() == min(values, default=None)
    assert fold(MAX).add(values, 0).result() == max(values, default=None)


@given(numbers)
def test_a_variance_is_the_exact_one_rounded_once(values: list[float]) -> None:
    """R54: against the definition over Fractions; one record has no sample variance, none has nothing."""
    result = fold(VARIANCE).add(values, 0).result()
    assert isinstance(result, dict)
    exact = [Fraction(value) for value in values]
    count = len(exact)
    assert result["count"] == count
    if not count:
        assert set(result.values()) == {0, None}
        return
    mean = sum(exact, Fraction()) / count
    deviations = sum(((value - mean) ** 2 for value in exact), Fraction())
    assert result["mean"] == float(mean)
    assert result["variance_population"] == float(deviations / count)
    assert result["stddev_population"] == math.sqrt(float(deviations / count))
    assert result["variance_sample"] == (float(deviations / (count - 1)) if count > 1 else None)


def test_a_variance_far_from_zero_cancels_nothing() -> None:
    """R54: where the sum of squares in doubles has lost every digit, the variance is still right."""
    values = [1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16]
    result = fold(VARIANCE).add(values, 0).result()
    assert isinstance(result, dict)
    assert (result["variance_sample"], result["variance_population"]) == (30.0, 22.5)
    tiny = fold(VARIANCE).add([1e16, 1e16 + 2], 0).result()
    assert isinstance(tiny, dict)
    assert tiny["variance_population"] == 1.0


def test_the_smallest_and_largest_doubles_are_taken() -> None:
    """F22: nothing overflows on the way; a variance that no double can hold is refused, not infinite."""
    result = fold(VARIANCE).add([5e-324, -5e-324, 1e154], 0).result()
    assert isinstance(result, dict)
    assert result["variance_population"] == float(Fraction(1e154) ** 2 * 2 / 9)
    state = json.loads(json.dumps(fold(VARIANCE).add([1.7e308, 0.0, 5e-324], 0).state()))
    with pytest.raises(ValidationError, match="the variance is beyond what a double can hold"):
        fold(VARIANCE, state).result()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [None, "3", True, float("nan"), float("inf"), [1]])
def test_what_is_no_finite_number_is_refused(method: int, value: object) -> None:
    """R36: with its path; nulls and NaN are no numbers."""
    with pytest.raises(ValidationError) as caught:
        fold(method).add([1, value], 5)
    assert [path for path, _ in caught.value.violations] == ["input_data[6]"]


def test_equal_numbers_have_one_form() -> None:
    """R48: 5 and 5.0, and zero with either sign, whichever came first."""
    for values in ([5, 5.0], [5.0, 5]):
        assert json.dumps(fold(MAX).add(values, 0).result()) == "5"
    assert json.dumps(fold(MIN).add([-0.0], 0).result()) == "0"


@pytest.mark.parametrize(
    ("method", "state", "message"),
    [
        (MIN, "3", "current_state: expected a number"),
        (MAX, True, "current_state: expected a number"),
        (VARIANCE, 3, "a variance continues from its state"),
        (VARIANCE, {"count": -1, "sum": 0, "mantissa": "0", "exponent": 0}, "current_state.count: expected a count"),
        (VARIANCE, {"count": 1, "sum": 0, "mantissa": "-1", "exponent": 0}, "expected hexadecimal digits"),
        (VARIANCE, {"count": 1, "sum": 0, "mantissa": "1", "exponent": 9999}, "expected an integer within"),
        (VARIANCE, {"count": 1, "sum": "x", "mantissa": "1", "exponent": 0}, "current_state.sum: expected a number"),
        (VARIANCE, {"count": 0, "sum": 0, "mantissa": "1", "exponent": 0}, "no numbers have this count"),
        (VARIANCE, {"count": 2, "sum": 9, "mantissa": "1", "exponent": 0}, "no numbers have this count"),
    ],
)
def test_a_state_of_another_method_is_refused(method: int, state: object, message: str) -> None:
    """R67: also one that no records could have led to."""
    with pytest.raises(StateConsistencyError, match=message):
        fold(method, state)


@pytest.mark.parametrize("field", ["Quantity", "UnitPrice"])
def test_the_order_lines_of_a_shop_agree_with_pandas(field: str) -> None:
    """R54: real records, by field."""
    if not SAMPLE.exists():
        pytest.skip("optional: the sample of a shop's orders is not beside the checkout")
    column = pd.read_csv(SAMPLE)[field]
    records = [{field: value} for value in column.tolist()]
    assert fold(MIN, field=field).add(records, 0).result() == column.min()
    assert fold(MAX, field=field).add(records, 0).result() == column.max()
    result = fold(VARIANCE, field=field).add(records, 0).result()
    assert isinstance(result, dict)
    assert result["variance_sample"] == pytest.approx(column.var(ddof=1), rel=1e-12)
    assert result["variance_sample"] == pytest.approx(statistics.variance(column.tolist()), rel=1e-15)
    assert result["stddev_population"] == pytest.approx(column.std(ddof=0), rel=1e-12)


def test_every_process_has_the_same_result() -> None:
    """R48: whatever PYTHONHASHSEED is."""
    code = (
        "import json; from tests.aggregations import begin; "
        "folds = [begin(method).add([0.1 * i for i in range(99)], 0) "
        f"for method in {[int(method) for method in METHODS]}]; "
        "print(json.dumps([[fold.state(), fold.result()] for fold in folds]))"
    )
    assert "variance_sample" in printed_whatever_the_hash_seed(code)
