"""A kit to test state machines with: given a state, when an action comes, then state and intents. No mesh, no mocks."""

from onex_mesh.testing.invariants import check_invariants
from onex_mesh.testing.scenario import Given, Refused, Then, given

__all__ = ["Given", "Refused", "Then", "check_invariants", "given"]
