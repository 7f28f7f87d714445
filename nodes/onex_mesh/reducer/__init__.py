"""The REDUCER node: pure state transitions and aggregation."""
