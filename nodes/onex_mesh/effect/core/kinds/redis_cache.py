"""What an operator declares of a cache in Redis."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from onex_mesh.effect.core.kinds.redis import RedisServer
from onex_mesh.effect.core.targets import Seconds, TargetConfig

CacheOperation = Literal["set", "delete", "expire", "hset", "hdel", "sadd", "srem", "get", "hget", "smembers"]
WRITING: frozenset[CacheOperation] = frozenset({"set", "delete", "expire", "hset", "hdel", "sadd", "srem"})
READING: frozenset[CacheOperation] = frozenset({"get", "hget", "smembers"})


class RedisCacheTarget(RedisServer, TargetConfig):
    """Keys of a Redis server that begin with one prefix."""

    effect_types: ClassVar[tuple[str, ...]] = ("cache_update",)

    kind: Literal["redis_cache"]
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/{}-]{1,200}$")]
    """Begins every key; "shop:" makes "shop:order-1" of "order-1"."""
    operations: frozenset[CacheOperation] = WRITING | READING
    """What may be done. Default: everything."""
    ttl_s: Seconds | None = None
    """Lifetime of values that are set without one. Default: until they are deleted."""
    value_bytes_max: Annotated[int, Field(ge=1, le=536_870_912)] = 1_048_576
    """Largest single value."""
