"""Caches in Redis as targets: operations that come to the same when they are done twice."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from onex_mesh.effect.adapters.exact_json import exact_json
from onex_mesh.effect.adapters.redis.cache_models import Format
from onex_mesh.effect.adapters.redis.cache_parameters import CacheCall, Command, check_cache
from onex_mesh.effect.adapters.redis.connection import open_cluster, open_redis, translated
from onex_mesh.effect.core.kinds.redis_cache import READING, RedisCacheTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import EffectFailedError, PayloadTooLargeError
from onex_mesh.runtime.payload import Json

MEMBERS_MAX = 10_000

_Answer = bytes | int | Sequence[bytes] | None
"""Of the commands that are sent here."""


class RedisCacheAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: RedisCacheTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        self._target = target
        opened = open_cluster if target.cluster else open_redis
        # One more than there are calls: a busy target must not look unwell because its check found none free.
        self._redis = opened(name, target, environment, connections_max=target.limits.concurrency + 1)

    async def start(self) -> None:
        """Nothing: connections are made as they are needed."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks operation, key and values against what the target lists."""
        call = check_cache(request, self._target)
        reads = call.operation in READING

        async def run(context: EffectContext) -> EffectValue:
            return EffectValue(await (self._read(call) if reads else self._write(call)))

        return EffectPlan(run=run, operation=call.operation, once=Once.NOT_NEEDED, is_read=reads, is_idempotent=True)

    async def check(self) -> None:
        """Asks whether the server answers."""
        with translated(self._name, may_repeat=True):
            await self._redis.ping()

    async def stop(self) -> None:
        """Closes the pool."""
        await self._redis.aclose()

    async def _write(self, call: CacheCall) -> Json:
        answers = await self._send(call.commands)
        counted = sum(answer for answer in answers if isinstance(answer, int))
        match call.operation:
            case "set":
                return {"key": call.key, "size_bytes": call.count}
            case "delete":
                return {"deleted": counted}
            case "expire":
                return {"key": call.key, "exists": bool(counted)}
            case "hset":
                return {"key": call.key, "fields": call.count}
            case "sadd":
                return {"key": call.key, "members": call.count}
            case _:
                return {"key": call.key, "removed": counted}

    async def _read(self, call: CacheCall) -> Json:
        size_of, read = call.commands
        # Asked first, so that a value that somebody else made too large is not loaded.
        (size,) = await self._send((size_of,))
        assert isinstance(size, int)
        if call.operation == "smembers":
            self._require_size(call, size, MEMBERS_MAX, "members")
            (answer,) = await self._send((read,))
            assert isinstance(answer, set | list)
            self._require_size(call, sum(map(len, answer)), self._target.limits.size_bytes, "bytes")
            members = [self._shown(member, call.format) for member in sorted(answer)]
            return {"key": call.key, "members": members, "count": len(members)}
        self._require_size(call, size, self._target.value_bytes_max, "bytes")
        (value,) = await self._send((read,))
        assert value is None or isinstance(value, bytes)
        return {"key": call.key, "found": value is not None, "value": self._shown(value, call.format)}

    async def _send(self, commands: Sequence[Command]) -> list[_Answer]:
        with translated(self._name, may_repeat=True):
            if len(commands) == 1:
                return [await self._redis.execute_command(*commands[0])]
            pipe = self._redis.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            answers: list[_Answer] = await pipe.execute()
            return answers

    def _shown(self, value: bytes | None, how: Format) -> Json:
        if value is None:
            return None
        try:
            match how:
                case "text":
                    return value.decode()
                case "json":
                    return exact_json(value)
                case "base64":
                    return base64.b64encode(value).decode()
        except ValueError as error:
            raise EffectFailedError(
                f"{self._name!r}: the value is not {how}", error_context={"target": self._name}
            ) from error

    def _require_size(self, call: CacheCall, size: int, bound: int, unit: str) -> None:
        if size > bound:
            raise PayloadTooLargeError(
                f"{call.key!r} has {size} {unit}, more than {bound}",
                error_context={"size": size, "size_max": bound},
            )
