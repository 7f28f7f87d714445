"""Functions that make intents, one for each kind (R74, R89, R90)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onex_mesh.reducer.core.intent import Intent, IntentType, Priority, Retry


def database_write(
    target: str,
    *,
    operation: str = "insert",
    table: str = "",
    data: object = None,
    where: Mapping[str, object] | None = None,
    statement: str = "",
    parameters: Mapping[str, object] | None = None,
    operations: Sequence[Mapping[str, object]] | None = None,
    expect_rows: int | None = None,
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """Writes to a database (R89): a row, by a statement that the target declares, or several operations at once.

    Args:
        target: The configured database or table.
        operation: "insert", "update", "upsert" or "delete"; not for statements and several operations.
        table: Table, where the target leaves it open.
        data: The row: a mapping, or a pydantic model.
        where: Which rows, for update and delete: column to value.
        statement: Name of a statement that the target declares, instead of operation, table, data and where.
        parameters: Values of its parameters.
        operations: Several writes in one transaction, each a mapping of the names above.
        expect_rows: How many rows have to be written; with another number nothing is.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    given = {
        "operation": "" if statement or operations is not None else operation,
        "table": table,
        "data": data,
        "where": where,
        "statement": statement,
        "parameters": parameters,
        "operations": operations,
        "expect_rows": expect_rows,
    }
    return _intent(IntentType.DATABASE_WRITE, target, given, priority, key, retry, metadata)


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
    destination: str = "",
    overwrite: bool | None = None,
    content_type: str = "",
    priority: Priority = Priority.NORMAL,
    key: str = "",
    retry: Retry | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Intent:
    """Works on files below a target's root, or on objects of its bucket.

    Args:
        target: The configured root.
        operation: "write", "append", "copy", "move", "read", "delete" or "list".
        path: Below the root.
        content: Text, or what is written as JSON: a mapping, or a pydantic model.
        destination: Where to copy or move it.
        overwrite: Whether what is there may be replaced. Default: as the operation has it.
        content_type: Media type of an object.
        priority: Execution priority.
        key: Idempotency key.
        retry: When it is tried again.
        metadata: Facts for people and tools.
    """
    parameters = {
        "operation": operation,
        "path": path,
        "content": content,
        "destination": destination,
        "overwrite": overwrite,
        "content_type": content_type,
    }
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
    target: str = "app",
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
        target: Effects of the application have none of the operator's; leave it out.
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
