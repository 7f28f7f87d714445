"""Intents as reducers write them: side effects as data (R73–R83). Ids and keys are filled in from the action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from onex_mesh.reducer.core.documents import plain
from onex_mesh.reducer.core.freeze import FrozenDict, freeze


class IntentType(StrEnum):
    """What kind of side effect an intent asks for (R74)."""

    DATABASE_WRITE = "database_write"
    API_CALL = "api_call"
    FILE_OPERATION = "file_operation"
    MESSAGE_PUBLISH = "message_publish"
    CACHE_UPDATE = "cache_update"
    NOTIFICATION = "notification"
    CUSTOM = "custom"


class Priority(StrEnum):
    """In which order waiting intents are executed (R77)."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    BACKGROUND = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When an intent is tried again (R80, R87); what is not given has the default of `onex.v1.RetryPolicy`."""

    max_retries: int
    initial_backoff: timedelta | None = None
    max_backoff: timedelta | None = None
    backoff_multiplier: float | None = None
    jitter: float | None = None
    max_elapsed: timedelta | None = None
    retry_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A declared side effect; says what should happen, never how.

    Attributes:
        type: The kind of effect.
        target: Name of a target that the operator configured.
        payload: Its parameters, as frozen plain data; their shape depends on the type.
        priority: Execution priority.
        idempotency_key: The same key never has its effect twice. Empty: a hash of action and index.
        retry: Retried only where this is set.
        metadata: Facts for people and tools.
        custom_type: Name of the application's effect, for CUSTOM.
    """

    type: IntentType
    target: str
    payload: Mapping[str, object]
    priority: Priority = Priority.NORMAL
    idempotency_key: str = ""
    retry: Retry | None = None
    metadata: Mapping[str, str] = field(default_factory=FrozenDict)
    custom_type: str = ""

    def __post_init__(self) -> None:
        """Freezes what was given, and refuses an intent that could not be executed."""
        if not self.target:
            raise ValueError("an intent names its target")
        if (self.type is IntentType.CUSTOM) != bool(self.custom_type):
            raise ValueError("custom_type goes with IntentType.CUSTOM")
        object.__setattr__(self, "payload", freeze(plain(self.payload)))
        object.__setattr__(self, "metadata", FrozenDict(self.metadata))
