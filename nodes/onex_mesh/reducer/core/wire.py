"""Intents as they travel, with ids and keys derived from the action (F13, F27)."""

from __future__ import annotations

from collections.abc import Sequence

from onex.v1 import common_pb2, intent_pb2
from onex_mesh.reducer.core.context import ReducerContext
from onex_mesh.reducer.core.intent import Intent, IntentType, Priority, Retry
from onex_mesh.runtime.errors import ReductionFailedError, ValidationError
from onex_mesh.runtime.payload import fill_value

_TYPES = {kind: getattr(intent_pb2, f"INTENT_TYPE_{kind.name}") for kind in IntentType}
_PRIORITIES = {priority: getattr(intent_pb2, f"INTENT_PRIORITY_{priority.name}") for priority in Priority}


def intent_messages(intents: Sequence[Intent], context: ReducerContext) -> list[intent_pb2.Intent]:
    """The intents of a transition as messages, in order.

    Args:
        intents: What it returned.
        context: The `ctx` that it ran with: ids and keys derive from it.

    Raises:
        ReductionFailedError: A payload cannot be JSON; with its path.
    """
    return [_message(intent, index, context) for index, intent in enumerate(intents)]


def _message(intent: Intent, index: int, context: ReducerContext) -> intent_pb2.Intent:
    message = intent_pb2.Intent(
        intent_id=context.intent_id(index),
        intent_type=_TYPES[intent.type],
        target=intent.target,
        priority=_PRIORITIES[intent.priority],
        correlation_id=context.correlation_id,
        idempotency_key=intent.idempotency_key or context.intent_key(index),
        metadata=intent.metadata,
        custom_type=intent.custom_type,
    )
    message.payload.SetInParent()
    for key, value in intent.payload.items():
        try:
            fill_value(message.payload.fields[key], value, key, 1)
        except ValidationError as error:
            raise ReductionFailedError(
                f"intent {index} ({intent.type.value} to {intent.target}) cannot travel: payload.{error}"
            ) from error
    if intent.retry is not None:
        message.retry_policy.CopyFrom(_policy(intent.retry))
    return message


def _policy(retry: Retry) -> common_pb2.RetryPolicy:
    policy = common_pb2.RetryPolicy(
        max_retries=retry.max_retries,
        backoff_multiplier=retry.backoff_multiplier or 0.0,
        jitter=retry.jitter or 0.0,
        retry_on=retry.retry_on,
    )
    for field, value in (
        (policy.initial_backoff, retry.initial_backoff),
        (policy.max_backoff, retry.max_backoff),
        (policy.max_elapsed, retry.max_elapsed),
    ):
        if value is not None:
            field.FromTimedelta(value)
    return policy
