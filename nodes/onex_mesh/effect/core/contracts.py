"""Effect contracts and intents, read into requests; what is wrong with them is collected, nothing is touched (R18)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from onex.v1 import effect_pb2, intent_pb2
from onex_mesh.effect.core.keys import KEY_SHAPE, intent_key, is_key, step_key
from onex_mesh.effect.core.message_shapes import (
    CACHE_KEY_CHARS_MAX,
    Violation,
    fitting_correlation_id,
    fitting_name,
    not_finite,
    read_body,
)
from onex_mesh.effect.core.request import APP_TARGET, EffectContext, EffectRequest, Priority
from onex_mesh.effect.core.retry import NO_RETRY, RetryRules, read_retry_policy
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json, from_struct

INTENTS_MAX = 1_000
_SHOWN_MAX = 20

_TYPES: Mapping[intent_pb2.IntentType, str] = {
    intent_pb2.INTENT_TYPE_DATABASE_WRITE: "database_write",
    intent_pb2.INTENT_TYPE_API_CALL: "api_call",
    intent_pb2.INTENT_TYPE_FILE_OPERATION: "file_operation",
    intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH: "message_publish",
    intent_pb2.INTENT_TYPE_CACHE_UPDATE: "cache_update",
    intent_pb2.INTENT_TYPE_NOTIFICATION: "notification",
}
_PRIORITIES: Mapping[intent_pb2.IntentPriority, Priority] = {
    intent_pb2.INTENT_PRIORITY_UNSPECIFIED: Priority.NORMAL,
    intent_pb2.INTENT_PRIORITY_CRITICAL: Priority.CRITICAL,
    intent_pb2.INTENT_PRIORITY_HIGH: Priority.HIGH,
    intent_pb2.INTENT_PRIORITY_NORMAL: Priority.NORMAL,
    intent_pb2.INTENT_PRIORITY_LOW: Priority.LOW,
    intent_pb2.INTENT_PRIORITY_BACKGROUND: Priority.BACKGROUND,
}
# Where a payload names the operation. Custom effects are not looked into.
_OPERATION_FIELDS: Mapping[str, str] = {
    "database_write": "operation",
    "database_read": "operation",
    "file_operation": "operation",
    "cache_update": "operation",
    "api_call": "method",
}


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A request and what is wrong with the message that it was read from; executed only if nothing is."""

    request: EffectRequest
    violations: tuple[Violation, ...] = ()


def read_contract(contract: effect_pb2.EffectContract, context: EffectContext) -> ReadRequest:
    """The request of an effect contract.

    Args:
        contract: The contract. Its correlation id and key win over those of the context.
        context: Where the call came from.
    """
    found: list[Violation] = []
    operation_config = contract.io_operation_config
    service = contract.external_service_config
    effect_type = fitting_name(operation_config.effect_type, "io_operation_config.effect_type", found)
    if not operation_config.effect_type:
        found.append(("io_operation_config.effect_type", "is required"))
    target = fitting_name(service.target, "target", found)
    correlation_id = fitting_correlation_id(contract.correlation_id or context.correlation_id, found)
    given_operation = fitting_name(operation_config.operation, "io_operation_config.operation", found)
    if len(contract.cache.key) > CACHE_KEY_CHARS_MAX:
        found.append(("cache.key", f"is longer than {CACHE_KEY_CHARS_MAX} characters"))
    key = contract.idempotency_key
    if key:
        key = _checked_key(key, found)
    elif context.workflow_id and context.step_id:
        key = step_key(context.workflow_id, context.step_id)
    retry: RetryRules | None = None
    if contract.HasField("retry_config"):
        retry, problems = read_retry_policy(contract.retry_config, "retry_config")
        found.extend(problems)
    timeout_s = _seconds(service.timeout) if service.HasField("timeout") else 0.0
    if timeout_s < 0:
        found.append(("external_service_config.timeout", "is negative"))
    cache_ttl_s = _seconds(contract.cache.ttl) if contract.HasField("cache") else 0.0
    if cache_ttl_s < 0:
        found.append(("cache.ttl", "is negative"))
    body: Json | bytes = None
    has_body = operation_config.HasField("body")
    if has_body:
        body = read_body(operation_config.body, found)
    path = "io_operation_config.parameters"
    operation, parameters = _operation(
        effect_type, given_operation, from_struct(operation_config.parameters), path, found
    )
    request = EffectRequest(
        target=target,
        effect_type=effect_type,
        operation=operation,
        parameters=parameters,
        body=body,
        has_body=has_body,
        context=dataclasses.replace(
            context,
            correlation_id=correlation_id,
            idempotency_key=key,
        ),
        retry=retry,
        timeout_s=timeout_s or None,
        cache_ttl_s=cache_ttl_s,
        cache_key=contract.cache.key,
        parameters_path=path,
    )
    return ReadRequest(request, tuple(found))


def read_intent(intent: intent_pb2.Intent, context: EffectContext) -> ReadRequest:
    """The request of an intent. It is retried only where it says so itself (R87).

    Args:
        intent: The intent. Its correlation id and key win over those of the context.
        context: Where the batch came from.
    """
    found: list[Violation] = []
    if not is_key(intent.intent_id):
        found.append(("intent_id", f"is not {KEY_SHAPE}" if intent.intent_id else "is required"))
    effect_type = _intent_type(intent, found)
    target = fitting_name(intent.target, "target", found)
    correlation_id = fitting_correlation_id(intent.correlation_id or context.correlation_id, found)
    if intent.priority not in _PRIORITIES:
        found.append(("priority", f"{intent.priority} is not known"))
    key = intent.idempotency_key
    key = _checked_key(key, found) if key else intent_key(context.workflow_id, intent.intent_id)
    retry = NO_RETRY
    if intent.HasField("retry_policy"):
        retry, problems = read_retry_policy(intent.retry_policy, "retry_policy")
        found.extend(problems)
    operation, parameters = _operation(effect_type, "", from_struct(intent.payload), "payload", found)
    request = EffectRequest(
        target=target,
        effect_type=effect_type,
        operation=operation,
        parameters=parameters,
        context=dataclasses.replace(
            context,
            correlation_id=correlation_id,
            idempotency_key=key,
        ),
        priority=_PRIORITIES.get(intent.priority, Priority.NORMAL),
        retry=retry,
        parameters_path="payload",
    )
    return ReadRequest(request, tuple(found))


def require_batch(intents: Sequence[intent_pb2.Intent]) -> None:
    """Refuses a batch as a whole that no list of results could answer.

    Raises:
        ValidationError: There are too many intents, or two with the same id.
    """
    if len(intents) > INTENTS_MAX:
        text = f"{len(intents)} intents are more than {INTENTS_MAX}"
        raise ValidationError(text, violations=(("intents", text),))
    seen: dict[str, int] = {}
    found: list[Violation] = []
    for index, intent in enumerate(intents):
        first = seen.setdefault(intent.intent_id, index)
        # What has no id is refused by itself.
        if first != index and intent.intent_id:
            found.append((f"intents[{index}].intent_id", f"is that of intents[{first}], too"))
    if found:
        message = "; ".join(f"{path}: {text}" for path, text in found[:_SHOWN_MAX])
        raise ValidationError(message, violations=tuple(found[:_SHOWN_MAX]))


def require_target(request: EffectRequest, is_custom: Callable[[str], bool]) -> list[Violation]:
    """What is wrong with the target of a request, seen from the names alone."""
    if is_custom(request.effect_type):
        if request.target not in ("", APP_TARGET):
            return [("target", f"an effect of the application has no target; leave it out or say {APP_TARGET!r}")]
    elif not request.target:
        return [("target", "is required")]
    return []


def _intent_type(intent: intent_pb2.Intent, found: list[Violation]) -> str:
    if intent.intent_type == intent_pb2.INTENT_TYPE_CUSTOM:
        if not intent.custom_type:
            found.append(("custom_type", "is required for an intent of type CUSTOM"))
        return fitting_name(intent.custom_type, "custom_type", found)
    effect_type = _TYPES.get(intent.intent_type, "")
    if not effect_type:
        found.append(("intent_type", "is required" if intent.intent_type == 0 else f"{intent.intent_type} is unknown"))
    elif intent.custom_type:
        found.append(("custom_type", "is set, but the type is not CUSTOM"))
    return effect_type


def _operation(
    effect_type: str, given: str, parameters: dict[str, Json], path: str, found: list[Violation]
) -> tuple[str, dict[str, Json]]:
    """The operation, from its own field or from the parameters, and the other parameters."""
    found.extend(not_finite(parameters, path))
    name = _OPERATION_FIELDS.get(effect_type)
    if name is None or name not in parameters:
        return given, parameters
    value = parameters.pop(name)
    if not isinstance(value, str):
        found.append((f"{path}.{name}", "is not a text"))
        return given, parameters
    value = fitting_name(value, f"{path}.{name}", found)
    if given and value != given:
        found.append((f"{path}.{name}", f"{value!r} contradicts the operation {given!r}"))
    return given or value, parameters


def _checked_key(key: str, found: list[Violation]) -> str:
    """The key; empty where it cannot be one, so that no record repeats it."""
    if is_key(key):
        return key
    found.append(("idempotency_key", f"is not {KEY_SHAPE}"))
    return ""


def _seconds(duration: Duration) -> float:
    return float(duration.seconds) + duration.nanos / 1e9
