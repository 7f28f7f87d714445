"""Aggregations that contracts ask for: folds over records, continued from where they were left (R49, R54, R55, F24)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.aggregates.custom import Custom
from onex_mesh.reducer.core.aggregates.distinct import Distinct
from onex_mesh.reducer.core.aggregates.extremes import Extreme
from onex_mesh.reducer.core.aggregates.fold import Fold
from onex_mesh.reducer.core.aggregates.quantiles import Quantiles, bits_for
from onex_mesh.reducer.core.aggregates.top_k import TopK
from onex_mesh.reducer.core.aggregates.totals import Average, Count, Sum
from onex_mesh.reducer.core.aggregates.variance import Variance
from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.documents import checked_params
from onex_mesh.reducer.core.grouped import WINDOW_FIELDS, Grouped, Shape
from onex_mesh.reducer.core.parameters import DistinctParameters, QuantilesParameters, TopKParameters
from onex_mesh.reducer.core.window_config import window_of
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import from_struct

METHODS = (
    "sum",
    "average",
    "count",
    "min",
    "max",
    "variance",
    "quantiles",
    "distinct",
    "top_k",
    "custom",
)
AGGREGATES_MAX = 64

AggregatorOf: TypeAlias = Callable[[str, str], Aggregator]
"""The application's aggregator of a name and a version."""


class Aggregation(Protocol):
    """An aggregation under way. Immutable: each method returns another one."""

    def add(self, records: Sequence[object], offset: int) -> Aggregation:
        """The aggregation with more records; `offset` says how many came before, for paths.

        Raises:
            ValidationError: Some do not fit, with the path of each, at most 100.
        """

    def result(self) -> object:
        """The aggregate: plain JSON, and decimals as such."""

    def state(self) -> object:
        """What it takes to continue, as plain JSON."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One aggregate as a contract asks for it.

    Attributes:
        method: How to aggregate.
        field: Field of the records; empty if they are values.
        parameters: Parameters of the method, as plain JSON.
        reducer: Name of the custom aggregator.
        version: Its version; empty for the newest.
        at: Where the contract says so.
    """

    method: reducer_pb2.AggregationMethod
    field: str
    parameters: Mapping[str, object]
    reducer: str
    version: str
    at: str


def begin(config: reducer_pb2.ReductionConfig, state: object, aggregator_of: AggregatorOf) -> Aggregation:
    """The aggregation that a contract asks for, continuing from a state.

    Args:
        config: What it asks for.
        state: What to continue from, as plain JSON; None to begin anew.
        aggregator_of: The application's aggregators.

    Raises:
        ValidationError: There is no such method (R54), or it takes no such parameters or fields; with each path.
        StateConsistencyError: The state is not one of this aggregation.
    """
    if not (config.aggregates or config.group_by or config.HasField("window")):
        at = "reduction_config"
        fold = empty_fold(_single(config, at), aggregator_of)
        return fold if state is None else fold.resume(state, "current_state")
    begun = Grouped(_shape(config, aggregator_of))
    return begun if state is None else begun.resume(state, "current_state")


def empty_fold(asked: Asked, aggregator_of: AggregatorOf) -> Fold:
    """One aggregate of nothing.

    Raises:
        ValidationError: There is no such method (R54), or it takes no such parameters or fields.
    """
    field, method = asked.field, asked.method
    if method == reducer_pb2.AGGREGATION_METHOD_CUSTOM:
        return _custom(asked, aggregator_of(asked.reducer, asked.version))
    at = f"{asked.at}.parameters"
    if method == reducer_pb2.AGGREGATION_METHOD_QUANTILES:
        quantiles = cast("QuantilesParameters", checked_params(QuantilesParameters, asked.parameters, at))
        return Quantiles(quantiles.quantiles, bits_for(quantiles.relative_error), field)
    if method == reducer_pb2.AGGREGATION_METHOD_DISTINCT:
        return Distinct(
            cast("DistinctParameters", checked_params(DistinctParameters, asked.parameters, at)).precision, field
        )
    if method == reducer_pb2.AGGREGATION_METHOD_TOP_K:
        top = cast("TopKParameters", checked_params(TopKParameters, asked.parameters, at))
        return TopK(top.k, top.order, top.kept, field)
    if asked.parameters:
        text = "takes no parameters" if method in _PLAIN else "is set, but there is no such method"
        raise _refused(at, f"the method {text}")
    if method in _PLAIN:
        return _PLAIN[method](field)
    text = f"the aggregation method {int(method)} is not supported; there are {', '.join(METHODS)}"
    where = f"{asked.at}.aggregation_method" if asked.at == "reduction_config" else f"{asked.at}.method"
    raise ValidationError(
        text,
        violations=((where, text),),
        error_context={"aggregation_method": int(method), "supported": list(METHODS)},
    )


_PLAIN: Mapping[int, Callable[[str], Fold]] = {
    reducer_pb2.AGGREGATION_METHOD_SUM: Sum,
    reducer_pb2.AGGREGATION_METHOD_AVERAGE: Average,
    reducer_pb2.AGGREGATION_METHOD_COUNT: Count,
    reducer_pb2.AGGREGATION_METHOD_MIN: lambda field: Extreme(False, field),
    reducer_pb2.AGGREGATION_METHOD_MAX: lambda field: Extreme(True, field),
    reducer_pb2.AGGREGATION_METHOD_VARIANCE: Variance,
}


def _single(config: reducer_pb2.ReductionConfig, at: str) -> Asked:
    parameters = from_struct(config.parameters)
    return Asked(config.aggregation_method, config.field, parameters, config.reducer, config.version, at)


def _shape(config: reducer_pb2.ReductionConfig, aggregator_of: AggregatorOf) -> Shape:
    named: dict[str, Asked] = {}
    window = window_of(config.window) if config.HasField("window") else None
    taken = {*config.group_by, *(WINDOW_FIELDS if window else ())}
    if not config.aggregates:
        named[_method_name(config.aggregation_method)] = _single(config, "reduction_config")
    for number, wanted in enumerate(config.aggregates):
        at = f"reduction_config.aggregates[{number}]"
        if not wanted.name or wanted.name in named:
            raise _refused(f"{at}.name", "is there twice" if wanted.name else "is required and missing")
        parameters = from_struct(wanted.parameters)
        named[wanted.name] = Asked(wanted.method, wanted.field, parameters, wanted.reducer, wanted.version, at)
    for name, asked in named.items():
        if name in taken:
            raise _refused(asked.at, f"the name {name!r} is that of a key or of the window too")
    if len(named) > AGGREGATES_MAX:
        raise _refused("reduction_config.aggregates", f"at most {AGGREGATES_MAX}, not {len(named)}")
    _check_keys(config.group_by, has_window=window is not None)
    empty = {name: empty_fold(asked, aggregator_of) for name, asked in named.items()}
    if window is not None and window.is_session:
        for name, fold in empty.items():
            if not fold.is_mergeable:
                raise _refused(named[name].at, "sessions grow together: the aggregator must declare `merge`")
    described = tuple(_described(asked) for asked in named.values())
    return Shape(tuple(named), tuple(empty.values()), described, tuple(config.group_by), window)


def _check_keys(group_by: Iterable[str], *, has_window: bool) -> None:
    seen: set[str] = set(WINDOW_FIELDS) if has_window else set()
    for number, name in enumerate(group_by):
        if not name or name in seen:
            text = f"{name!r} is there twice, or is a name of the window's" if name else "is empty"
            raise _refused(f"reduction_config.group_by[{number}]", text)
        seen.add(name)


def _described(asked: Asked) -> str:
    """What an aggregate is, as text: states of one can only be continued as the same."""
    what = asked.reducer or asked.field
    parameters = json.dumps(asked.parameters, sort_keys=True) if asked.parameters else ""
    return f"{_method_name(asked.method)}({what}){parameters}"


def _method_name(method: reducer_pb2.AggregationMethod) -> str:
    try:
        return reducer_pb2.AggregationMethod.Name(method).removeprefix("AGGREGATION_METHOD_").lower()
    except ValueError:
        return str(int(method))


def _custom(asked: Asked, aggregator: Aggregator) -> Custom:
    if asked.field:
        text = "a custom aggregator is given whole records; `field` is for the built-in methods"
        raise ValidationError(text, violations=((f"{asked.at}.field", text),))
    params = None
    if aggregator.params_model is not None:
        params = checked_params(aggregator.params_model, asked.parameters, f"{asked.at}.parameters")
    elif asked.parameters:
        text = f"the aggregator {aggregator.name!r} takes no parameters"
        raise ValidationError(text, violations=((f"{asked.at}.parameters", text),))
    return Custom.begun(aggregator, params)


def _refused(at: str, text: str) -> ValidationError:
    return ValidationError(f"{at}: {text}", violations=((at, text),))
