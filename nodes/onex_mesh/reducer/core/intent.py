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


def database_write(
    target: str,
    *,
    operation: str = "insert",
    table: str = "",
    data: object = None,
    where: Mapping[str, object] | None = None,
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """Writes to a database (R89).

    Args:
        target: The configured database or table.
        operation: "insert", "update", "upsert" or "delete".
        table: Table, where the target leaves it open.
        data: The row: a mapping, or a pydantic model.
        where: Which rows, for update and delete: column to value.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    parameters = {"operation": operation, "table": table, "data": data, "where": where}
    return _intent(IntentType.DATABASE_WRITE, target, parameters, priority, key, retry, metadata)


def notification(
    target: str,
    *,
    template: str,
    to: str | tuple[str, ...] | list[str],
    data: object = None,
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """Notifies a person (R90).

    Args:
        target: The configured mail service or channel.
        template: Name of the operator's template.
        to: Address, or several.
        data: What the template may show: a mapping, or a pydantic model.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    parameters = {"template": template, "to": to, "data": data}
    return _intent(IntentType.NOTIFICATION, target, parameters, priority, key, retry, metadata)


def message_publish(
    target: str,
    *,
    event_type: str,
    data: object = None,
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """Publishes a message (R90).

    Args:
        target: The configured topic.
        event_type: Its name, such as "ORDER_PLACED".
        data: Ids, timestamp and what else it says: a mapping, or a pydantic model.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    parameters = {"event_type": event_type, "data": data}
    return _intent(IntentType.MESSAGE_PUBLISH, target, parameters, priority, key, retry, metadata)


def api_call(
    target: str,
    *,
    method: str,
    path: str,
    query: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """Calls an HTTP API.

    Args:
        target: The configured endpoint.
        method: "GET", "POST", …
        path: Below the endpoint's base.
        query: Query parameters.
        headers: Headers without credentials.
        body: JSON body: a mapping, or a pydantic model.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    parameters = {"method": method, "path": path, "query": query, "headers": headers, "body": body}
    return _intent(IntentType.API_CALL, target, parameters, priority, key, retry, metadata)


def file_operation(
    target: str,
    *,
    operation: str,
    path: str,
    content: object = None,
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """Works on files below a target's root.

    Args:
        target: The configured root.
        operation: "write", "append", "read", "delete" or "list".
        path: Below the root.
        content: Text, or what is written as JSON: a mapping, or a pydantic model.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    parameters = {"operation": operation, "path": path, "content": content}
    return _intent(IntentType.FILE_OPERATION, target, parameters, priority, key, retry, metadata)


def cache_update(
    target: str,
    *,
    operation: str,
    cache_key: str,
    value: object = None,
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """Changes a cache.

    Args:
        target: The configured cache.
        operation: "set" or "delete".
        cache_key: The entry.
        value: What is kept.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    parameters = {"operation": operation, "key": cache_key, "value": value}
    return _intent(IntentType.CACHE_UPDATE, target, parameters, priority, key, retry, metadata)


def custom(
    custom_type: str,
    target: str,
    *,
    payload: Mapping[str, object] | None = None,
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """An effect that the application registered.

    Args:
        custom_type: Its name.
        target: The configured target.
        payload: Its parameters.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    return Intent(
        type=IntentType.CUSTOM,
        target=target,
        payload=payload or {},
        priority=priority,
        idempotency_key=key,
        retry=retry,
        metadata=metadata or {},
        custom_type=custom_type,
    )


def _intent(
    kind: IntentType,
    target: str,
    parameters: Mapping[str, object],
    priority: Priority,
    key: str,
    retry: Retry | None,
    metadata: Mapping[str, str] | None,
) -> Intent:
    """An intent of the parameters that were given; empty ones do not travel."""
    return Intent(
        type=kind,
        target=target,
        payload={name: value for name, value in parameters.items() if value is not None and value != ""},
        priority=priority,
        idempotency_key=key,
        retry=retry,
        metadata=metadata or {},
    )
