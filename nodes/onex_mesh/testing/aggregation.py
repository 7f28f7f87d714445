"""Aggregators of the application: what they make of records, and whether it depends on how the records are cut."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel

from onex_mesh.app import App
from onex_mesh.reducer.core.aggregates.custom import Custom
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.documents import checked_params, plain
from onex_mesh.runtime.errors import ValidationError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

AggregatorSource: TypeAlias = Aggregator | App | type
"""An aggregator; an App that has it; or the class that declares it."""


@dataclass(frozen=True, slots=True)
class Aggregated:
    """What an aggregator made of records.

    Attributes:
        result: What its `finish` returned, as plain JSON.
        state: What it would continue from, as plain JSON.
    """

    result: object
    state: object


def aggregated(
    source: AggregatorSource,
    records: Sequence[object],
    name: str = "",
    *,
    parameters: Mapping[str, object] | None = None,
    state: object = None,
) -> Aggregated:
    """Reduces records with an aggregator, without a mesh.

    Args:
        source: An aggregator, an App that has it, or the class that declares it.
        records: Models, or plain JSON.
        name: Which one of an App. Default: the only one that it has.
        parameters: Its parameters.
        state: What to continue from. Default: its initial state.

    Raises:
        OnexError: A record or a parameter does not fit, or the aggregator failed.
    """
    fold = _begun(_aggregator_of(source, name), parameters)
    fold = fold if state is None else fold.resume(plain(state), "state")
    return _made(fold.add([plain(record) for record in records], 0))


def check_grouping(
    source: AggregatorSource,
    name: str = "",
    *,
    records: SearchStrategy[object] | None = None,
    parameters: Mapping[str, object] | None = None,
    records_max: int = 12,
    examples: int = 100,
) -> None:
    """Checks that records come to the same in whatever chunks they are reduced. Needs hypothesis.

    A stream is cut by its client and resumed where it broke, and each chunk is continued from a stored state; where the
    aggregator declares a merge, chunks are reduced by themselves. None of that may change the result.

    Args:
        source: An aggregator, an App that has it, or the class that declares it.
        name: Which one of an App. Default: the only one that it has.
        records: Makes a record. Default: what fits the aggregator's model of records.
        parameters: Its parameters.
        records_max: Most records.
        examples: How many times.

    Raises:
        AssertionError: The result depends on the chunks; the message has the shortest records that show it.
        OnexError: The aggregator failed.
        ValidationError: hypothesis is not installed, or the aggregator takes any JSON and `records` is not given.
    """
    try:
        import hypothesis
        from hypothesis import strategies as st
    except ImportError as error:
        raise ValidationError("check_grouping needs hypothesis: pip install hypothesis") from error

    aggregator = _aggregator_of(source, name)
    if records is None:
        if aggregator.record_model is None:
            raise ValidationError(f"the aggregator {aggregator.name!r} takes any JSON: give `records`")
        records = st.from_type(aggregator.record_model)
    begun = _begun(aggregator, parameters)

    @hypothesis.settings(max_examples=examples, deadline=None, database=None, report_multiple_bugs=False)
    @hypothesis.given(st.lists(records, max_size=records_max), st.lists(st.integers(0, records_max), max_size=3))
    def holds(drawn: list[object], cuts: list[int]) -> None:
        values = [plain(record) for record in drawn]
        whole = _made(begun.add(values, 0))
        fold = begun
        bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
        for start, end in pairwise(bounds):
            fold = begun.resume(json.loads(json.dumps(fold.state())), "state").add(values[start:end], start)
        found = _made(fold).result
        assert found == whole.result, (
            f"the result of {aggregator.name!r} depends on the chunks: {found} in chunks at {bounds[1:-1]},"
            f" {whole.result} at once, of {values}"
        )

    holds()


def _aggregator_of(source: AggregatorSource, name: str) -> Aggregator:
    if isinstance(source, Aggregator):
        return source
    if isinstance(source, type):
        return Aggregator.from_class(source)
    aggregators = sorted({reducer.name for reducer in source.reducers if isinstance(reducer, Aggregator)})
    if not name:
        if len(aggregators) != 1:
            known = ", ".join(aggregators) or "there are none"
            raise ValidationError(f"name one of the aggregators of {source.name}: {known}")
        name = aggregators[0]
    reducer = source.reducers.get(name)
    if not isinstance(reducer, Aggregator):
        raise ValidationError(f"{name!r} is a state machine, not an aggregator")
    return reducer


def _begun(aggregator: Aggregator, parameters: Mapping[str, object] | None) -> Custom:
    model: type[BaseModel] | None = aggregator.params_model
    if model is None and parameters:
        raise ValidationError(f"the aggregator {aggregator.name!r} takes no parameters")
    return Custom.begun(aggregator, None if model is None else checked_params(model, parameters or {}, "parameters"))


def _made(fold: Custom) -> Aggregated:
    return Aggregated(fold.result(), fold.state())
