"""The kinds of target that come with the node. Each needs its own extra of the distribution, loaded when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from onex_mesh.effect.core.kinds.apprise import AppriseTarget
from onex_mesh.effect.core.kinds.database import DatabaseTarget
from onex_mesh.effect.core.kinds.event_log import EventLogTarget
from onex_mesh.effect.core.kinds.file import FileTarget
from onex_mesh.effect.core.kinds.http import HttpTarget
from onex_mesh.effect.core.kinds.nats import NatsTarget
from onex_mesh.effect.core.kinds.objects import ObjectStoreTarget
from onex_mesh.effect.core.kinds.redis_cache import RedisCacheTarget
from onex_mesh.effect.core.kinds.redis_stream import RedisStreamTarget
from onex_mesh.effect.core.kinds.smtp import SmtpTarget
from onex_mesh.effect.core.targets import TargetConfig
from onex_mesh.effect.ports import Kinds, TargetKind
from onex_mesh.runtime.errors import ValidationError

if TYPE_CHECKING:
    from onex_mesh.effect.ports import TargetAdapter


def _database(name: str, target: DatabaseTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.database.target import DatabaseAdapter

    return DatabaseAdapter(name, target, environment)


def _http(name: str, target: HttpTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.http.target import HttpAdapter

    return HttpAdapter(name, target, environment)


def _file(name: str, target: FileTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.files.target import FileAdapter

    return FileAdapter(name, target, environment)


def _object_store(name: str, target: ObjectStoreTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.objects.target import ObjectStoreAdapter

    return ObjectStoreAdapter(name, target, environment)


def _event_log(name: str, target: EventLogTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.files.event_log import EventLogAdapter

    return EventLogAdapter(name, target, environment)


def _smtp(name: str, target: SmtpTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.smtp.target import SmtpAdapter

    return SmtpAdapter(name, target, environment)


def _apprise(name: str, target: AppriseTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.apprise.target import AppriseAdapter

    return AppriseAdapter(name, target, environment)


def _nats(name: str, target: NatsTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.nats.target import NatsAdapter

    return NatsAdapter(name, target, environment)


def _redis_stream(name: str, target: RedisStreamTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.redis.stream import RedisStreamAdapter

    return RedisStreamAdapter(name, target, environment)


def _redis_cache(name: str, target: RedisCacheTarget, environment: Mapping[str, str]) -> TargetAdapter:
    from onex_mesh.effect.adapters.redis.cache import RedisCacheAdapter

    return RedisCacheAdapter(name, target, environment)


BUILT_IN_KINDS: Kinds = {
    # An opener is only ever called with the model that stands beside it.
    "database": cast("TargetKind[TargetConfig]", TargetKind(DatabaseTarget, _database)),
    "http": cast("TargetKind[TargetConfig]", TargetKind(HttpTarget, _http)),
    "file": cast("TargetKind[TargetConfig]", TargetKind(FileTarget, _file)),
    "object_store": cast("TargetKind[TargetConfig]", TargetKind(ObjectStoreTarget, _object_store)),
    "event_log": cast("TargetKind[TargetConfig]", TargetKind(EventLogTarget, _event_log)),
    "smtp": cast("TargetKind[TargetConfig]", TargetKind(SmtpTarget, _smtp)),
    "apprise": cast("TargetKind[TargetConfig]", TargetKind(AppriseTarget, _apprise)),
    "nats": cast("TargetKind[TargetConfig]", TargetKind(NatsTarget, _nats)),
    "redis_stream": cast("TargetKind[TargetConfig]", TargetKind(RedisStreamTarget, _redis_stream)),
    "redis_cache": cast("TargetKind[TargetConfig]", TargetKind(RedisCacheTarget, _redis_cache)),
}

_EXTRAS = {
    "database": "sql",
    "object_store": "objects",
    "http": "http",
    "smtp": "mail",
    "apprise": "notices",
    "nats": "nats",
    "redis_stream": "redis",
    "redis_cache": "redis",
}


def open_target(
    name: str, config: TargetConfig, environment: Mapping[str, str], kinds: Kinds = BUILT_IN_KINDS
) -> TargetAdapter:
    """The adapter of a declared target.

    Raises:
        ValidationError: Its configuration cannot work, or the extra for its kind is not installed.
    """
    try:
        return kinds[config.kind].open(name, config, environment)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(config.kind, "all")
        raise ValidationError(
            f"target {name!r}: the module {error.name!r} is missing; install onex-mesh[{extra}]"
        ) from error
