"""The kit for aggregators: what they make of records, and that it does not depend on the chunks."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from onex_mesh.app import App
from onex_mesh.runtime.errors import ReductionFailedError, StateConsistencyError, ValidationError
from onex_mesh.testing import aggregated, check_grouping
from tests.order_machine import Frozen, OrderMachine
from tests.unit.test_reducer_aggregation import MergedRevenue, Revenue, Sale, Totals


class Mean(Frozen):
    """A state that forgets how many there were."""

    value: float = 0.0
    count: int = 0


class MeanOfMeans:
    """The usual mistake: means of chunks are merged as if the chunks were of one size."""

    @staticmethod
    def initial() -> Mean:
        """Nothing."""
        return Mean()

    @staticmethod
    def step(state: Mean, record: object) -> Mean:
        """One more."""
        assert isinstance(record, int)
        count = state.count + 1
        return Mean(value=state.value + (record - state.value) / count, count=count)

    @staticmethod
    def merge(left: Mean, right: Mean) -> Mean:
        """Wrong."""
        if not left.count or not right.count:
            return left if left.count else right
        return Mean(value=(left.value + right.value) / 2, count=left.count + right.count)

    @staticmethod
    def finish(state: Mean) -> float:
        """The mean, rounded so that only the mistake shows."""
        return round(state.value, 6)


def test_records_are_aggregated_without_a_mesh() -> None:
    """R92: models or plain JSON, with parameters, continued from a state."""
    records = [Sale(country="UK", pence=5), {"country": "FR", "pence": 1}]
    first = aggregated(Revenue, records, parameters={"at_least": 2})
    assert first.result == {"countries": ["UK"], "pence": 5}
    again = aggregated(Revenue, records, state=first.state)
    assert again.result == {"countries": ["UK", "FR"], "pence": 11}
    assert aggregated(Revenue, records, state=Totals()).result == {"countries": ["UK", "FR"], "pence": 6}


def test_the_aggregator_of_an_app_is_named_where_there_are_several() -> None:
    """R92: or it is the only one."""
    app = App("shop")
    with pytest.raises(ValidationError, match="name one of the aggregators of shop: there are none"):
        aggregated(app, [])
    app.reducer(name="revenue")(Revenue)
    app.reducer(name="order")(OrderMachine)
    assert aggregated(app, []).result == {"countries": [], "pence": 0}
    app.reducer(name="merged")(MergedRevenue)
    with pytest.raises(ValidationError, match="name one of the aggregators of shop: merged, revenue"):
        check_grouping(app)
    assert aggregated(app, [], "merged").result == {"countries": [], "pence": 0}
    with pytest.raises(ValidationError, match="'order' is a state machine, not an aggregator"):
        aggregated(app, [], "order")


def test_what_does_not_fit_is_told() -> None:
    """R37, R67: records, parameters and states."""
    with pytest.raises(ValidationError, match=r"input_data\[0\]\.pence"):
        aggregated(Revenue, [{"country": "UK"}])
    with pytest.raises(ValidationError, match=r"parameters\.at_least"):
        aggregated(Revenue, [], parameters={"at_least": "x"})
    with pytest.raises(ValidationError, match="takes no parameters"):
        aggregated(MeanOfMeans, [], parameters={"at_least": 1})
    with pytest.raises(StateConsistencyError, match="the state is not a Totals"):
        aggregated(Revenue, [], state={"merges": "x"})


def test_an_aggregator_that_does_not_depend_on_the_chunks_passes() -> None:
    """R55: with a merge and without one; of the model's own records."""
    check_grouping(MergedRevenue)
    check_grouping(Revenue, parameters={"at_least": 3})


def test_an_aggregator_that_depends_on_the_chunks_is_caught_by_few_records() -> None:
    """R55: the shortest records that show it are told."""
    with pytest.raises(
        AssertionError, match=r"the result of 'meanofmeans' depends on the chunks: .* at once, of \["
    ) as caught:
        check_grouping(MeanOfMeans, records=st.integers(0, 3))
    shown = str(caught.value).partition(", of [")[2].partition("]")[0]
    assert len(shown.split(",")) == 3
    with pytest.raises(ValidationError, match="takes any JSON: give `records`"):
        check_grouping(MeanOfMeans)


def test_an_aggregator_that_fails_is_told_with_its_line() -> None:
    """R40: as on a mesh."""
    with pytest.raises(ReductionFailedError, match="AssertionError"):
        aggregated(MeanOfMeans, ["x"])
