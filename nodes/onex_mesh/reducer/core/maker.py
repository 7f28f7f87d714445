"""Who made a state: a sum that goes on from the state of an average would be wrong without an error."""

from __future__ import annotations

from onex.v1 import reducer_pb2


def maker_of(config: reducer_pb2.ReductionConfig) -> str:
    """The reducer or the method, with what shapes its state: several aggregates, keys, windows."""
    if config.aggregates:
        name = ", ".join(f"{each.name}={_one(each.reducer, each.method)}" for each in config.aggregates)
    else:
        name = _one(config.reducer, config.aggregation_method)
    if config.group_by:
        name += f" by {', '.join(config.group_by)}"
    if config.HasField("window"):
        name += f" in {reducer_pb2.WindowKind.Name(config.window.kind)}"
    return name


def _one(reducer: str, method: reducer_pb2.AggregationMethod) -> str:
    return reducer or reducer_pb2.AggregationMethod.Name(method)
