"""What people write their reducers, algorithms, effects and workflows with: one import for all of it."""

from __future__ import annotations

from onex_mesh.app.application import App
from onex_mesh.app.loading import load_app
from onex_mesh.compute.core import ComputeContext, MergeStrategy
from onex_mesh.effect.core.compensation import Compensation
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.reducer.core import (
    FrozenDict,
    FrozenJson,
    Intent,
    Next,
    Priority,
    ReducerContext,
    Retry,
    api_call,
    cache_update,
    custom,
    database_write,
    file_operation,
    message_publish,
    notification,
    on_entry,
    on_exit,
    transition,
)
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError, ValidationError
from onex_mesh.runtime.payload import Json

__all__ = [
    "App",
    "Compensation",
    "ComputeContext",
    "EffectContext",
    "EffectFailedError",
    "FrozenDict",
    "FrozenJson",
    "Intent",
    "Json",
    "MergeStrategy",
    "Next",
    "OnexError",
    "Priority",
    "ReducerContext",
    "Retry",
    "TargetUnavailableError",
    "ValidationError",
    "api_call",
    "cache_update",
    "custom",
    "database_write",
    "file_operation",
    "load_app",
    "message_publish",
    "notification",
    "on_entry",
    "on_exit",
    "transition",
]
