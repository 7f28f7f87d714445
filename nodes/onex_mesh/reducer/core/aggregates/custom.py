"""An aggregator of the application as an aggregate (R54: custom)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import pydantic
from pydantic import BaseModel

from onex_mesh.reducer.core.aggregates.fold import Fold
from onex_mesh.reducer.core.aggregator import Aggregator, Step
from onex_mesh.reducer.core.documents import invalid, plain, read_model, read_state, write_model
from onex_mesh.reducer.core.failure import failure_of
from onex_mesh.reducer.core.freeze import freeze
from onex_mesh.reducer.core.guard import Guard
from onex_mesh.runtime.errors import OnexError, ReductionFailedError, StateConsistencyError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Custom(Fold):
    """An aggregator, its parameters, and how far it is."""

    aggregator: Aggregator
    params: BaseModel | None
    partial: BaseModel

    @classmethod
    def begun(cls, aggregator: Aggregator, params: BaseModel | None) -> Custom:
        """The aggregator with no record yet.

        Raises:
            ReductionFailedError: Its `initial` failed, or returned something else than its state.
        """

        def initial() -> BaseModel:
            return _checked(aggregator, aggregator.initial(params=params), "initial")

        return cls(aggregator, params, _guarded(aggregator, aggregator.initial, initial))

    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """The records as the aggregator wants them."""
        return [self._record(record, index) for index, record in enumerate(records, offset)]

    def take(self, values: Sequence[object]) -> Custom:
        """See `Fold.take`. Where the aggregator declares a merge, the records are folded by themselves and merged."""
        if not values:
            return self
        aggregator, params = self.aggregator, self.params

        def folded() -> BaseModel:
            partial = self.partial
            if aggregator.merge is not None:
                partial = _checked(aggregator, aggregator.initial(params=params), "initial")
            for value in values:
                partial = _checked(aggregator, aggregator.step(partial, value, params=params), "step")
            return partial

        partial = _guarded(aggregator, aggregator.step, folded)
        if aggregator.merge is None:
            return replace(self, partial=partial)
        return self.merge(replace(self, partial=partial))

    def merge(self, other: Custom) -> Custom:
        """See `Fold.merge`; the aggregator must declare one."""
        aggregator, merge = self.aggregator, self.aggregator.merge
        assert merge is not None, "where states are to be merged, the contract was refused"

        def merged() -> BaseModel:
            return _checked(aggregator, merge(self.partial, other.partial, params=self.params), "merge")

        return replace(self, partial=_guarded(aggregator, merge, merged))

    @property
    def is_mergeable(self) -> bool:
        """See `Fold.is_mergeable`."""
        return self.aggregator.merge is not None

    def resume(self, state: object, path: str) -> Custom:
        """See `Fold.resume`."""
        return replace(self, partial=read_state(self.aggregator.model, state, path))

    def result(self) -> object:
        """What `finish` returned."""
        aggregator = self.aggregator
        return _guarded(
            aggregator, aggregator.finish, lambda: plain(aggregator.finish(self.partial, params=self.params))
        )

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


def _guarded(aggregator: Aggregator, step: Step, work: Callable[[], T]) -> T:
    """Runs code of the application: without side effects, and with its own exceptions told apart."""
    what = f"the aggregator {aggregator.name}"
    try:
        with Guard(what):
            return work()
    except OnexError:
        raise
    except Exception as error:
        raise failure_of(error, step.function, what) from error


def _checked(aggregator: Aggregator, state: object, part: str) -> BaseModel:
    if isinstance(state, aggregator.model):
        return state
    raise ReductionFailedError(
        f"{part} of the aggregator {aggregator.name} returned a {type(state).__name__}, "
        f"not a {aggregator.model.__name__}"
    )
