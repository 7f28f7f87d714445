"""One effect as the node works on it: the request, the plan that a target made of it, and the outcome."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from onex_mesh.effect.core.retry import RetryRules
from onex_mesh.runtime.payload import Json

APP_TARGET = "app"
"""The built-in target of effects that the application registered."""


class Priority(enum.IntEnum):
    """In which order waiting effects are let in (R77); the smaller goes first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BACKGROUND = 4


@dataclass(frozen=True, slots=True)
class EffectContext:
    """What an effect knows about the request that it belongs to. Custom effects get it as their second argument."""

    correlation_id: str = ""
    """The request; sent along in external calls (R22)."""
    idempotency_key: str = ""
    """The same key never has its effect twice; empty where a direct call gave none."""
    workflow_id: str = ""
    """Empty for a direct call."""
    step_id: str = ""
    """Empty for a direct call."""
    fencing_token: int = 0
    """Token of the lease under which the effect was ordered; 0 for a direct call."""
    deadline: float | None = None
    """When the caller stops waiting, on `time.monotonic`; None without one."""
    issued_at: datetime | None = None
    """When the action was issued that ordered the effect, in UTC; None for a direct call."""
    traceparent: str = ""
    """The W3C trace that the request belongs to, as it came; empty without one."""


@dataclass(frozen=True, slots=True)
class EffectRequest:
    """One effect, read from a contract or an intent and well-formed; what its parameters mean is the target's."""

    target: str
    effect_type: str
    operation: str = ""
    parameters: Mapping[str, Json] = field(default_factory=dict)
    body: Json | bytes = None
    """What belongs to the operation beside its parameters, such as the content of a file; None without."""
    has_body: bool = False
    context: EffectContext = EffectContext()
    priority: Priority = Priority.NORMAL
    retry: RetryRules | None = None
    """When to try again; None: as the target says."""
    timeout_s: float | None = None
    """Longest time for one attempt; None: the target's."""
    cache_ttl_s: float = 0.0
    """How long the response of a read may be served again (R23); 0: not at all."""
    cache_key: str = ""
    """Default: a hash of the request."""
    parameters_path: str = ""
    """Where the parameters stand in the message that they came in, for violations."""


@dataclass(frozen=True, slots=True)
class EffectValue:
    """What a target returned: plain JSON, or bytes with their media type."""

    value: Json | bytes = None
    content_type: str = ""
    replayed: bool = False
    """True if the target knew the key: an earlier execution had done the work."""


class Once(enum.Enum):
    """How a second execution under the same key is kept from having the effect again."""

    NOT_NEEDED = "not needed"
    """It reads, or doing it twice comes to the same."""
    BY_TARGET = "by target"
    """The target records the key together with the effect, or the handler sees to it."""
    BY_LEDGER = "by ledger"
    """The target cannot; the ledger in etcd answers once a result is recorded."""


@dataclass(frozen=True, slots=True)
class EffectPlan:
    """A request that its target checked and is ready to execute. Making it has touched nothing outside."""

    run: Callable[[EffectContext], Awaitable[EffectValue]]
    """One attempt. Raises TargetUnavailableError for what is temporary, EffectFailedError for what is not."""
    operation: str
    """What it does, for the audit record: a word, never data."""
    once: Once
    is_read: bool = False
    """Whether the response may come from the cache."""
    is_idempotent: bool = False
    """Whether an attempt whose outcome is unknown may be repeated even without a key."""
    settle: Callable[[], EffectValue | None] | None = None
    """Asked when the attempts are given up: what an effect of several parts, such as a mail to several recipients, has
    done for good. A value ends the effect instead of the error, so that no repeat does those parts again."""


@dataclass(frozen=True, slots=True)
class EffectOutcome:
    """What became of a request that succeeded."""

    value: EffectValue
    operation: str
    attempts: int
    """0 when a recorded or cached result answered."""
    execution_time_s: float
    started_at_s: float
    """Seconds since the epoch, wall clock."""
    executed_by: str
    """The node's instance."""
    replayed: bool = False
    from_cache: bool = False
