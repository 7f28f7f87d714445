"""The sources of messages by the kind of target. Each needs its own extra, loaded when it is used."""

from __future__ import annotations

from collections.abc import Mapping

from onex_mesh.effect.core.kinds.nats import NatsTarget
from onex_mesh.effect.core.kinds.redis_stream import RedisStreamTarget
from onex_mesh.effect.core.message_ports import MessageSource
from onex_mesh.effect.core.subscription_models import SubscriptionConfig
from onex_mesh.effect.core.targets import TargetConfig
from onex_mesh.runtime.errors import ValidationError


def open_source(
    config: SubscriptionConfig, target: TargetConfig, environment: Mapping[str, str], consumer: str
) -> MessageSource:
    """The messages of a subscription; nothing is connected yet.

    Args:
        config: The subscription.
        target: The target that it names.
        environment: The variables that hold credentials.
        consumer: Name of this opening at the broker; no other has it.

    Raises:
        ValidationError: A credential is missing, or the extra for the kind is not installed.
    """
    try:
        match target:
            case NatsTarget():
                from onex_mesh.effect.adapters.nats.subscription import NatsMessages

                return NatsMessages(config, target, environment)
            case RedisStreamTarget():
                from onex_mesh.effect.adapters.redis.subscription import RedisMessages

                return RedisMessages(config, target, environment, consumer)
    except ModuleNotFoundError as error:
        extra = "nats" if isinstance(target, NatsTarget) else "redis"
        text = f"target {config.target!r}: the module {error.name!r} is missing; install onex-mesh[{extra}]"
        raise ValidationError(text) from error
    raise ValidationError(f"target {config.target!r} is of kind {target.kind}: it has no messages")
