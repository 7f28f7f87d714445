"""What an operator declares of a Redis stream."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from onex_mesh.effect.core.kinds.events import EventRules
from onex_mesh.effect.core.kinds.redis import RedisServer
from onex_mesh.effect.core.targets import TargetConfig

StreamKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,200}$")]
"""Without braces: the node puts what belongs to the stream into the stream's own slot of a cluster."""


class RedisStreamTarget(RedisServer, EventRules, TargetConfig):
    """A Redis stream that takes messages, each once."""

    effect_types: ClassVar[tuple[str, ...]] = ("message_publish",)

    kind: Literal["redis_stream"]
    stream: StreamKey
    """The key of the stream. It is made by the first message."""
    max_messages: Annotated[int, Field(ge=1)] | None = None
    """About how many are kept; the oldest go. Default: all."""
    keep_keys_s: Annotated[float, Field(ge=60, le=31_536_000)] = 86_400.0
    """How long the server remembers idempotency keys."""
