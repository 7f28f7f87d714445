"""Parameters of cache operations, checked against what the target lists, and the commands that they become."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import pydantic

from onex_mesh.effect.adapters.redis.cache_models import (
    MODELS,
    AddMembers,
    Delete,
    DeleteFields,
    Expire,
    Format,
    Get,
    GetField,
    RemoveMembers,
    SetFields,
    SetValue,
)
from onex_mesh.effect.core.custom import refused
from onex_mesh.effect.core.kinds.redis_cache import KEY, RedisCacheTarget
from onex_mesh.effect.core.request import EffectRequest
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

_FIELD = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,512}")

Violation = tuple[str, str]
Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class CacheCall:
    """A checked operation."""

    operation: str
    key: str
    """As the contract calls it; empty for several."""
    commands: tuple[Command, ...]
    """What is sent, in this order; each names one key, so that a cluster knows where it goes."""
    count: int = 0
    """Fields or members that are written."""
    format: Format = "text"


def check_cache(request: EffectRequest, target: RedisCacheTarget) -> CacheCall:
    """The operation that a request asks for.

    Raises:
        ValidationError: All that is wrong with it.
        PayloadTooLargeError: It is larger than the target takes.
    """
    operation = request.operation
    model = MODELS.get(operation)
    if model is None or operation not in target.operations:
        text = f"{operation[:32]!r} is not one of {', '.join(sorted(target.operations))}"
        raise ValidationError(f"operation: {text}", violations=(("operation", text),))
    try:
        given = model.model_validate(request.parameters)
    except pydantic.ValidationError as error:
        raise refused(error, "") from error
    found: list[Violation] = []
    if request.has_body and operation != "set":
        found.append(("body", f"{operation} has none"))
    call = _CALLS[operation](_Builder(target, found, request), given)
    if found:
        raise ValidationError("; ".join(f"{field}: {text}" for field, text in found), violations=tuple(found))
    size = sum(len(part) for command in call.commands for part in command if isinstance(part, bytes | str))
    if size > target.limits.size_bytes:
        raise _too_large("the command", size, target.limits.size_bytes)
    return call


class _Builder:
    """Turns what was given into commands; what is wrong is added to a list."""

    def __init__(self, target: RedisCacheTarget, found: list[Violation], request: EffectRequest) -> None:
        self.target = target
        self.found = found
        self.request = request

    def key(self, key: str, path: str = "key") -> str:
        """The key as the server knows it."""
        if not KEY.fullmatch(key):
            self.found.append((path, "is not 1 to 512 letters, digits and . _ : / @ = + { } ~ -"))
        elif not self.target.takes(key):
            self.found.append((path, f"{key!r} is not allowed at this target"))
        return self.target.prefix + key

    def field(self, name: str) -> str:
        """Name of a field of a hash."""
        if not _FIELD.fullmatch(name):
            self.found.append(("fields", "has a name that is empty, longer than 512 characters or not printable"))
        return name

    def value(self, value: Json | bytes, path: str) -> bytes:
        """Text and bytes as they are, everything else as JSON."""
        if value is None:
            self.found.append((path, "is missing, or null; delete removes a key"))
            return b""
        try:
            encoded = value if isinstance(value, bytes) else _text(value).encode()
        except ValueError:
            self.found.append((path, "cannot be stored: it holds NaN, infinity or half a character"))
            return b""
        if len(encoded) > self.target.value_bytes_max:
            raise _too_large(path, len(encoded), self.target.value_bytes_max)
        return encoded

    def lifetime(self, key: str, ttl_s: float | None) -> Iterator[Command]:
        """The command that ends a key after its time, or the target's; none if it has none."""
        seconds = self.target.ttl_s if ttl_s is None else ttl_s
        if seconds is not None:
            yield ("PEXPIRE", key, milliseconds(seconds))


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one."""
    return max(1, round(seconds * 1000))


def _set(build: _Builder, given: SetValue) -> CacheCall:
    request = build.request
    if request.has_body and given.value is not None:
        build.found.append(("value", "is given twice: in the parameters and in the body"))
    value = build.value(request.body if request.has_body else given.value, "value")
    ttl_s = build.target.ttl_s if given.ttl_s is None else given.ttl_s
    lifetime: Command = () if ttl_s is None else ("PX", milliseconds(ttl_s))
    return CacheCall("set", given.key, (("SET", build.key(given.key), value, *lifetime),), len(value))


def _delete(build: _Builder, given: Delete) -> CacheCall:
    if (given.key is None) == (given.keys is None):
        build.found.append(("key", "either key or keys is needed"))
    if given.keys is not None:
        keys = [build.key(key, f"keys.{index}") for index, key in enumerate(given.keys)]
        return CacheCall("delete", "", tuple(("DEL", key) for key in dict.fromkeys(keys)))
    key = "" if given.key is None else build.key(given.key)
    return CacheCall("delete", given.key or "", (("DEL", key),))


def _expire(build: _Builder, given: Expire) -> CacheCall:
    key = build.key(given.key)
    if (given.ttl_s is None) == (given.at is None):
        build.found.append(("ttl_s", "either ttl_s or at is needed"))
    if given.at is not None:
        return CacheCall("expire", given.key, (("PEXPIREAT", key, _instant(given.at, build.found)),))
    return CacheCall("expire", given.key, (("PEXPIRE", key, milliseconds(given.ttl_s or 1)),))


def _hset(build: _Builder, given: SetFields) -> CacheCall:
    key = build.key(given.key)
    # Fields of a protobuf Struct have no order of their own.
    pairs = [
        (build.field(name), build.value(given.fields[name], f"fields.{name[:64]}")) for name in sorted(given.fields)
    ]
    write: Command = ("HSET", key, *(part for pair in pairs for part in pair))
    return CacheCall("hset", given.key, (write, *build.lifetime(key, given.ttl_s)), len(pairs))


def _hdel(build: _Builder, given: DeleteFields) -> CacheCall:
    return CacheCall("hdel", given.key, (("HDEL", build.key(given.key), *map(build.field, given.fields)),))


def _sadd(build: _Builder, given: AddMembers) -> CacheCall:
    key, members = build.key(given.key), _members(build, given.members)
    return CacheCall("sadd", given.key, (("SADD", key, *members), *build.lifetime(key, given.ttl_s)), len(members))


def _srem(build: _Builder, given: RemoveMembers) -> CacheCall:
    return CacheCall("srem", given.key, (("SREM", build.key(given.key), *_members(build, given.members)),))


def _get(build: _Builder, given: Get) -> CacheCall:
    key = build.key(given.key)
    return CacheCall("get", given.key, (("STRLEN", key), ("GET", key)), format=given.format)


def _hget(build: _Builder, given: GetField) -> CacheCall:
    key, name = build.key(given.key), build.field(given.field)
    return CacheCall("hget", given.key, (("HSTRLEN", key, name), ("HGET", key, name)), format=given.format)


def _smembers(build: _Builder, given: Get) -> CacheCall:
    key = build.key(given.key)
    return CacheCall("smembers", given.key, (("SCARD", key), ("SMEMBERS", key)), format=given.format)


_CALLS: Mapping[str, Callable[..., CacheCall]] = {
    "set": _set,
    "delete": _delete,
    "expire": _expire,
    "hset": _hset,
    "hdel": _hdel,
    "sadd": _sadd,
    "srem": _srem,
    "get": _get,
    "hget": _hget,
    "smembers": _smembers,
}


def _members(build: _Builder, given: list[pydantic.JsonValue]) -> list[bytes]:
    return list(dict.fromkeys(build.value(member, f"members.{index}") for index, member in enumerate(given)))


def _instant(text: str, found: list[Violation]) -> int:
    """Milliseconds since the epoch."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        found.append(("at", "is not an ISO 8601 time"))
        return 0
    if moment.tzinfo is None:
        found.append(("at", "has no offset from UTC"))
        return 0
    return round(moment.timestamp() * 1000)


def _text(value: pydantic.JsonValue) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)


def _too_large(what: str, size: int, bound: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"{what} of {size} bytes is more than the {bound} that the target takes",
        error_context={"size_bytes": size, "size_bytes_max": bound},
    )
