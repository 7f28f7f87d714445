"""The pure part of the REDUCER node: state machines, intents, aggregation, purity."""

from onex_mesh.reducer.core.aggregator import Aggregator
from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.emit import (
    api_call,
    cache_update,
    custom,
    database_write,
    file_operation,
    message_publish,
    notification,
)
from onex_mesh.reducer.core.freeze import FrozenDict, FrozenJson
from onex_mesh.reducer.core.fsm import Fsm
from onex_mesh.reducer.core.intent import Intent, IntentType, Priority, Retry
from onex_mesh.reducer.core.registry import ReducerRegistry
from onex_mesh.reducer.core.transition import Next, on_entry, on_exit, transition

__all__ = [
    "Aggregator",
    "FrozenDict",
    "FrozenJson",
    "Fsm",
    "Intent",
    "IntentType",
    "Next",
    "Priority",
    "ReducerContext",
    "ReducerRegistry",
    "Retry",
    "api_call",
    "cache_update",
    "custom",
    "database_write",
    "file_operation",
    "message_publish",
    "notification",
    "on_entry",
    "on_exit",
    "transition",
]
