"""Aggregations: folds over records that continue from where they were left (R49, R54, R55, F24)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pydantic
from pydantic import BaseModel

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregates.extremes import extreme
from onex_mesh.reducer.core.aggregates.variance import variance
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.documents import checked_params, invalid, plain, read_model, read_state, write_model
from onex_mesh.reducer.core.exact import ExactSum
from onex_mesh.reducer.core.failure import failure_of
from onex_mesh.reducer.core.freeze import freeze
from onex_mesh.reducer.core.guard import Guard
from onex_mesh.reducer.core.records import sum_of
from onex_mesh.reducer.core.rows import TableRows
from onex_mesh.runtime.errors import OnexError, ReductionFailedError, StateConsistencyError, ValidationError

METHODS = ("sum", "average", "count", "min", "max", "variance", "custom")


class Fold(Protocol):
    """One aggregation under way. Immutable: `add` returns the next one."""

    def add(self, records: Sequence[object], offset: int) -> Fold:
        """The fold with more records.

        Args:
            records: Plain JSON, or the rows of a table.
            offset: How many records came before, for paths.

        Raises:
            ValidationError: Some do not fit.
        """

    def result(self) -> object:
        """The aggregate, as plain JSON."""

    def state(self) -> object:
        """What it takes to continue, as plain JSON."""


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of numbers: exact for integers, correctly rounded for the rest, however they are grouped."""

    total: ExactSum
    field: str

    def add(self, records: Sequence[object], offset: int) -> Sum:
        """See `Fold`."""
        return Sum(sum_of(records, self.field, offset, self.total), self.field)

    def result(self) -> object:
        """The sum; 0 of nothing."""
        return self.total.value()

    def state(self) -> object:
        """See `Fold`."""
        return self.total.to_json()


@dataclass(frozen=True, slots=True)
class Average:
    """The mean of numbers; its state is (sum, count)."""

    total: ExactSum
    count: int
    field: str

    def add(self, records: Sequence[object], offset: int) -> Average:
        """See `Fold`."""
        total = sum_of(records, self.field, offset, self.total)
        return Average(total, self.count + len(records), self.field)

    def result(self) -> object:
        """The mean, correctly rounded; null of nothing."""
        return float(self.total.exact() / self.count) if self.count else None

    def state(self) -> object:
        """See `Fold`."""
        return {"sum": self.total.to_json(), "count": self.count}


@dataclass(frozen=True, slots=True)
class Count:
    """The number of records; with a field, of those in which it is there and not null."""

    count: int
    field: str

    def add(self, records: Sequence[object], offset: int) -> Count:
        """See `Fold`."""
        if not self.field:
            return Count(self.count + len(records), "")
        if isinstance(records, TableRows):
            return Count(self.count + records.present(self.field), self.field)
        present = sum(isinstance(record, dict) and record.get(self.field) is not None for record in records)
        return Count(self.count + present, self.field)

    def result(self) -> object:
        """The count."""
        return self.count

    def state(self) -> object:
        """See `Fold`."""
        return self.count


@dataclass(frozen=True, slots=True)
class Custom:
    """An aggregator of the application."""

    aggregator: Aggregator
    params: BaseModel | None
    partial: BaseModel

    def add(self, records: Sequence[object], offset: int) -> Custom:
        """See `Fold`. Where the aggregator declares a merge, the records are folded by themselves and merged."""
        aggregator, params = self.aggregator, self.params
        values = [self._record(record, index) for index, record in enumerate(records, offset)]
        if not values:
            return self
        partial = self.partial
        try:
            with Guard(f"the aggregator {aggregator.name}"):
                if aggregator.merge is None:
                    for value in values:
                        partial = self._checked(aggregator.step(partial, value, params=params), "step")
                else:
                    chunk = self._checked(aggregator.initial(params=params), "initial")
                    for value in values:
                        chunk = self._checked(aggregator.step(chunk, value, params=params), "step")
                    partial = self._checked(aggregator.merge(partial, chunk, params=params), "merge")
        except OnexError:
            raise
        except Exception as error:
            raise failure_of(error, aggregator.step.function, f"the aggregator {aggregator.name}") from error
        return Custom(aggregator, params, partial)

    def result(self) -> object:
        """What `finish` returned."""
        aggregator = self.aggregator
        try:
            with Guard(f"the aggregator {aggregator.name}"):
                return plain(aggregator.finish(self.partial, params=self.params))
        except OnexError:
            raise
        except Exception as error:
            raise failure_of(error, aggregator.finish.function, f"the aggregator {aggregator.name}") from error

    def state(self) -> object:
        """The state of the aggregator.

        Raises:
            StateConsistencyError: It could not be read again.
        """
        what = f"the aggregator {self.aggregator.name} left a state"
        try:
            document = write_model(self.partial)
        except ValueError as error:
            raise StateConsistencyError(f"{what} that cannot be stored: {error}") from None
        read_state(self.aggregator.model, document, what)
        return document

    def _record(self, record: object, index: int) -> object:
        if self.aggregator.record_model is None:
            return freeze(record)
        try:
            return read_model(self.aggregator.record_model, record)
        except pydantic.ValidationError as error:
            raise invalid(error, f"input_data[{index}]") from None

    def _checked(self, state: object, part: str) -> BaseModel:
        if isinstance(state, self.aggregator.model):
            return state
        raise ReductionFailedError(
            f"{part} of the aggregator {self.aggregator.name} returned a {type(state).__name__}, "
            f"not a {self.aggregator.model.__name__}"
        )


def begin(
    method: reducer_pb2.AggregationMethod, field: str, state: object, aggregator: Aggregator | None, parameters: object
) -> Fold:
    """The fold that a contract asks for, continuing from a state.

    Args:
        method: How to aggregate.
        field: Field of the records; empty if they are numbers.
        state: What to continue from, as plain JSON; None to begin anew.
        aggregator: The application's, for CUSTOM.
        parameters: Its parameters, as plain JSON.

    Raises:
        ValidationError: There is no such method (R54), or it takes no parameters or fields.
        StateConsistencyError: The state is not one of this method.
    """
    if method == reducer_pb2.AGGREGATION_METHOD_CUSTOM:
        assert aggregator is not None
        return _custom(aggregator, field, state, parameters)
    if parameters:
        text = "only a custom aggregator takes parameters"
        raise ValidationError(text, violations=(("reduction_config.parameters", text),))
    if method == reducer_pb2.AGGREGATION_METHOD_SUM:
        return Sum(ExactSum() if state is None else ExactSum.from_json(state, "current_state"), field)
    if method == reducer_pb2.AGGREGATION_METHOD_AVERAGE:
        return _average(field, state)
    if method == reducer_pb2.AGGREGATION_METHOD_COUNT:
        return Count(0 if state is None else _count(state, "current_state"), field)
    if method in (reducer_pb2.AGGREGATION_METHOD_MIN, reducer_pb2.AGGREGATION_METHOD_MAX):
        return extreme(state, largest=method == reducer_pb2.AGGREGATION_METHOD_MAX, field=field)
    if method == reducer_pb2.AGGREGATION_METHOD_VARIANCE:
        return variance(state, field)
    text = f"the aggregation method {int(method)} is not supported; there are {', '.join(METHODS)}"
    raise ValidationError(
        text,
        violations=(("reduction_config.aggregation_method", text),),
        error_context={"aggregation_method": int(method), "supported": list(METHODS)},
    )


def _custom(aggregator: Aggregator, field: str, state: object, parameters: object) -> Custom:
    if field:
        text = "a custom aggregator is given whole records; `field` is for the built-in methods"
        raise ValidationError(text, violations=(("reduction_config.field", text),))
    params = None
    if aggregator.params_model is not None:
        params = checked_params(aggregator.params_model, parameters or {})
    elif parameters:
        text = f"the aggregator {aggregator.name!r} takes no parameters"
        raise ValidationError(text, violations=(("reduction_config.parameters", text),))
    if state is not None:
        return Custom(aggregator, params, read_state(aggregator.model, state))
    what = f"the aggregator {aggregator.name}"
    try:
        with Guard(what):
            initial = aggregator.initial(params=params)
    except OnexError:
        raise
    except Exception as error:
        raise failure_of(error, aggregator.initial.function, what) from error
    if not isinstance(initial, aggregator.model):
        raise ReductionFailedError(f"{what} begins with a {type(initial).__name__}, not a {aggregator.model.__name__}")
    return Custom(aggregator, params, initial)


def _average(field: str, state: object) -> Average:
    if state is None:
        return Average(ExactSum(), 0, field)
    if not isinstance(state, dict) or set(state) != {"sum", "count"}:
        raise StateConsistencyError(
            "current_state: an average continues from its sum and count, not from the mean alone",
            error_context={"field": "current_state", "expected": "{sum, count}"},
        )
    total = ExactSum.from_json(state["sum"], "current_state.sum")
    return Average(total, _count(state["count"], "current_state.count"), field)


def _count(state: object, path: str) -> int:
    if isinstance(state, int) and not isinstance(state, bool) and state >= 0:
        return state
    raise StateConsistencyError(
        f"{path}: expected a count, 0 or more",
        error_context={"field": path, "expected": "integer", "found": type(state).__name__},
    )
