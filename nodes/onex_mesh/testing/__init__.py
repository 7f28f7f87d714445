"""A kit to test reducers with: given a state, when an action comes, then state and intents; and what aggregators make
of records. No mesh, no mocks."""

from onex_mesh.testing.aggregation import Aggregated, aggregated, check_grouping
from onex_mesh.testing.invariants import check_invariants
from onex_mesh.testing.scenario import Given, Refused, Then, given

__all__ = ["Aggregated", "Given", "Refused", "Then", "aggregated", "check_grouping", "check_invariants", "given"]
