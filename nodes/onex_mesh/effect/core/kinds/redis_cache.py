"""What an operator declares of a cache in Redis."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from onex_mesh.effect.core.kinds.redis import RedisServer
from onex_mesh.effect.core.targets import TargetConfig

CacheOperation = Literal["set", "delete", "expire", "hset", "hdel", "sadd", "srem", "get", "hget", "smembers"]
OPERATIONS: tuple[CacheOperation, ...] = get_args(CacheOperation)
READING: frozenset[CacheOperation] = frozenset({"get", "hget", "smembers"})

_KEY_CHARS = r"A-Za-z0-9._:/@=+{}~-"
KEY = re.compile(rf"[{_KEY_CHARS}]{{1,512}}")
"""What a contract may call a key: characters that no command and no tool takes for a pattern."""
LIFETIME_MAX_S = 315_360_000.0
"""Ten years."""

Lifetime = Annotated[float, Field(ge=0.001, le=LIFETIME_MAX_S)]


class RedisCacheTarget(RedisServer, TargetConfig):
    """Keys of a Redis server that begin with one prefix."""

    effect_types: ClassVar[tuple[str, ...]] = ("cache_update",)

    kind: Literal["redis_cache"]
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/{}-]{1,200}$")]
    """Begins every key; "shop:" makes "shop:order-1" of "order-1"."""
    keys: tuple[Annotated[str, Field(pattern=rf"^[*{_KEY_CHARS}]{{1,512}}$")], ...] = ("*",)
    """The keys that may be used, below the prefix; `*` stands for any number of characters. Default: all."""
    operations: frozenset[CacheOperation] = frozenset(OPERATIONS)
    """What may be done. Default: everything."""
    ttl_s: Lifetime | None = None
    """Lifetime of keys that are set without one. Default: until they are deleted."""
    value_bytes_max: Annotated[int, Field(ge=1, le=536_870_912)] = 1_048_576
    """Largest single value."""
    cluster: bool = False
    """Whether the server belongs to a Redis Cluster; the other nodes are found through it."""

    @model_validator(mode="after")
    def _no_clash(self) -> Self:
        if self.prefix.startswith("onex:"):
            raise ValueError("prefix: what begins with onex: belongs to the node")
        if self.cluster and self.db:
            raise ValueError("db: a cluster has only 0")
        return self

    def takes(self, key: str) -> bool:
        """Whether a key may be used."""
        return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), key) for pattern in self.keys)
