"""Algorithms of an App that are declared pure are held to it; others are free."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import BaseModel

from onex_mesh.app import App, ComputeContext, MergeStrategy
from onex_mesh.runtime.errors import PurityViolationError

RATES = {"UK": 20, "FR": 19}
VAT = Decimal("1.2")


class Line(BaseModel):
    """A row."""

    sku: str
    pence: int


def stamped(data: list[int]) -> dict[str, float]:
    """Tells the time."""
    return {"at": time.time(), "sum": sum(data)}


def named(data: list[int]) -> str:
    """Draws an id, in a function of its own."""
    return _new_id(len(data))


def _new_id(count: int) -> str:
    return f"{uuid.uuid4()}-{count}"


def shuffled(data: list[int]) -> list[int]:
    """Depends on the process."""
    return sorted(data, key=lambda _: random.random())


def noisy(data: np.ndarray) -> np.ndarray:
    """Likewise, by NumPy."""
    return data + np.random.normal(size=len(data))


def read(data: list[str]) -> list[str]:
    """Reads files."""
    return [Path(name).read_text() for name in data]


def remembered(data: list[str]) -> list[int]:
    """Depends on what anybody may change."""
    return [RATES.get(country, 0) for country in data]


def ordered(data: list[str]) -> list[str]:
    """In the order of a set."""
    return list(set(data))


def merged(partials: list[list[int]]) -> float:
    """A merge that is not pure."""
    return sum(map(sum, partials)) * time.monotonic()


def priced(data: list[Line], ctx: ComputeContext) -> list[Line]:
    """Honest: models, decimals, a context, comprehensions."""
    ctx.check()
    return [line.model_copy(update={"pence": int(line.pence * VAT)}) for line in sorted(data, key=lambda row: row.sku)]


def doubled(data: pa.Table) -> pa.Table:
    """Honest: Arrow."""
    return data.append_column("double", pc.multiply(data.column("n"), 2))


def waiting(data: list[int]) -> list[int]:
    """Honest: slow."""
    time.sleep(data[0])
    return data


def scaled(data: np.ndarray) -> np.ndarray:
    """Honest: NumPy."""
    return np.sqrt(data) / np.linalg.norm(data)


@pytest.mark.parametrize("function", [stamped, named, shuffled, noisy, read, remembered, ordered])
def test_a_pure_algorithm_that_is_not_is_refused_with_its_line(function: Callable[..., object]) -> None:
    """R27, R48: when the App loads, with the way out; declared as what it is, it is taken."""
    app = App("shop")
    with pytest.raises(PurityViolationError, match=rf"{Path(__file__).name}:\d+: .*declared with pure=False"):
        app.algorithm()(function)
    assert app.algorithms.names() == []
    with pytest.raises(PurityViolationError) as caught:
        app.algorithm()(function)
    assert "ctx." not in caught.value.message
    app.algorithm(pure=False)(function)
    assert not app.algorithms.get(function.__name__).pure


def test_its_merge_is_held_to_it_too() -> None:
    """R35: what makes one result of many."""
    app = App("shop")

    def summed(data: list[int]) -> list[int]:
        return [sum(data)]

    with pytest.raises(PurityViolationError, match=r"time\.monotonic"):
        app.algorithm(merge=merged)(summed)
    app.algorithm(merge=MergeStrategy.CONCATENATE)(summed)


@pytest.mark.parametrize("function", [priced, doubled, scaled, waiting])
def test_honest_algorithms_are_taken(function: Callable[..., object]) -> None:
    """R27: libraries are no alarm by themselves."""
    app = App("shop")
    app.algorithm()(function)
    assert app.algorithms.get(function.__name__).pure
