"""The kinds of target that come with the node, by their name in the operator's file."""

from __future__ import annotations

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

BUILT_IN_MODELS: dict[str, type[TargetConfig]] = {
    "database": DatabaseTarget,
    "http": HttpTarget,
    "file": FileTarget,
    "object_store": ObjectStoreTarget,
    "smtp": SmtpTarget,
    "apprise": AppriseTarget,
    "event_log": EventLogTarget,
    "nats": NatsTarget,
    "redis_stream": RedisStreamTarget,
    "redis_cache": RedisCacheTarget,
}
"""The model of each kind that comes with the node."""
