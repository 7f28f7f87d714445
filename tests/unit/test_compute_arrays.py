"""Algorithms over NumPy arrays."""

from __future__ import annotations

from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onex.v1 import compute_pb2
from onex_mesh.compute.core import AlgorithmRegistry, ComputeContext, MergeStrategy
from onex_mesh.compute.core.arrays import array_of
from onex_mesh.compute.core.chunks import concatenated, cut
from onex_mesh.compute.core.computation import finished, prepared, run
from onex_mesh.runtime.errors import ComputeFailedError, ValidationError
from onex_mesh.runtime.payload import from_payload, json_payload


def doubled(data: NDArray[np.float64]) -> np.ndarray:
    """Twice each."""
    return cast("np.ndarray", data * 2)


def opaque(data: np.ndarray) -> np.ndarray:
    """Nothing that JSON knows."""
    return np.array([object()])


def wrongly(data: np.ndarray) -> np.ndarray:
    """Does not return what it says."""
    return 5  # type: ignore[return-value]  # what is tested


REGISTRY = AlgorithmRegistry()
DOUBLED = REGISTRY.add_function(doubled, merge=MergeStrategy.CONCATENATE)
OPAQUE, WRONGLY = REGISTRY.add_function(opaque), REGISTRY.add_function(wrongly)


@given(st.lists(st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9), max_size=20), st.integers(1, 5))
def test_numbers_come_as_an_array_and_go_as_numbers(values: list[float], parts: int) -> None:
    """R26, R34, R35: whole or in chunks."""
    contract = compute_pb2.ComputeContract(input_data=json_payload(values))
    result = run(prepared(contract, DOUBLED, ComputeContext()))
    assert from_payload(finished(contract, DOUBLED, result, "c").processed_data) == [value * 2 for value in values]
    pieces = [doubled(cast("np.ndarray", DOUBLED.input.read(piece.data, piece.offset))) for piece in cut(values, parts)]
    assert DOUBLED.output.write(concatenated(pieces)) == [value * 2 for value in values]


def test_types_and_dimensions() -> None:
    """R26: integers stay integers, booleans booleans; nested lists and tables have two dimensions."""
    for value, dtype, shape in (
        ([1, 2**62], "int64", (2,)),
        ([True], "bool", (1,)),
        ([1, 0.5], "float64", (2,)),
        ([[1, 2], [3, 4]], "int64", (2, 2)),
        ([], "float64", (0,)),
        (pa.table({"a": [1, 2**62]}), "int64", (2,)),
        (pa.table({"a": [1, 2], "b": [0.5, 1.5]}), "float64", (2, 2)),
        (pa.table({}), "float64", (0, 0)),
    ):
        made = cast("np.ndarray", array_of(value))
        assert (str(made.dtype), made.shape) == (dtype, shape)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, "x"], r"input_data\[11\]: expected a number, found str"),
        ([[1], [None]], r"input_data\[11\]\[0\]: expected a number, found NoneType"),
        ([1, 2**70], r"input_data\[11\]: is an integer that an array of this type would round"),
        ([0.5, 2**53 + 1], r"input_data\[11\]: is an integer"),
        ([1, True], "booleans and numbers are mixed"),
        ([[1], [2, 3]], "cannot be an array"),
        (pa.table({"a": ["x"]}), r"input_data\.a: expected numbers, found string"),
        (pa.table({"a": [1, None]}), r"input_data\.a: has nulls"),
        (pa.table({"a": [2**60 + 1], "b": [0.5]}), r"input_data\.a: does not fit beside the others"),
    ],
)
def test_what_an_array_cannot_hold_is_refused(value: object, message: str) -> None:
    """R37, F22: with its path, never rounded; paths count from the beginning of the whole."""
    with pytest.raises(ValidationError, match=message):
        array_of(value, 10)


def test_results_that_are_no_arrays_of_numbers_are_failures() -> None:
    """R41, F22: the algorithm's fault."""
    for algorithm, message in ((OPAQUE, "an array of object cannot be JSON"), (WRONGLY, "but int")):
        contract = compute_pb2.ComputeContract(input_data=json_payload([1]))
        result = run(prepared(contract, algorithm, ComputeContext()))
        with pytest.raises(ComputeFailedError, match=message):
            finished(contract, algorithm, result, "c")
    assert DOUBLED.input.schema() == {"type": "array"}
