"""What the node's core needs from outside: targets, a ledger, a place for audit records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from onex.v1 import common_pb2
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest
from onex_mesh.effect.core.targets import TargetConfig

Config = TypeVar("Config", bound=TargetConfig)


class TargetAdapter(Protocol):
    """One target, open for effects."""

    async def start(self) -> None:
        """Opens what it needs. A target that is down does not fail this: its effects and its check do.

        Raises:
            ValidationError: Its configuration cannot work: a missing credential, a template that does not parse.
        """

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks a request without touching anything outside (R18).

        Raises:
            ValidationError: All that is wrong with it.
            PayloadTooLargeError: It is larger than the target takes.
        """

    async def check(self) -> None:
        """Finds out whether the target works (R24).

        Raises:
            OnexError: It does not; the message says why.
        """

    async def stop(self) -> None:
        """Closes what it opened."""


@dataclass(frozen=True, slots=True)
class TargetKind(Generic[Config]):
    """A kind of target: how it is declared and how it is opened. A new kind is one of these and nothing else (R91)."""

    model: type[Config]
    open: Callable[[str, Config, Mapping[str, str]], TargetAdapter]
    """Name, declaration, environment → adapter."""


class LedgerClaim(Protocol):
    """The right to have the effect of one key."""

    @property
    def result(self) -> bytes | None:
        """What was recorded under the key; None: the holder of this claim has to do the work."""


class EffectLedger(Protocol):
    """Remembers results by key, for targets that cannot."""

    async def claim(self, key: str, *, fencing_token: int) -> LedgerClaim:
        """Claims a key.

        Raises:
            LeaseConflictError: Another live executor works under it.
        """

    async def record(self, claim: LedgerClaim, result: bytes) -> None:
        """Records the result; whoever claims the key from now on gets it."""

    async def abandon(self, claim: LedgerClaim) -> None:
        """Gives the key back without a result."""


class LargeResults(Protocol):
    """Keeps results that are too large for the ledger."""

    async def keep_for_sure(self, payload: common_pb2.Payload) -> common_pb2.Payload:
        """The location of a result; where the store is away, its content follows when it is back.

        Raises:
            DependencyResolutionError: The store is away, and too much waits for it.
            PayloadTooLargeError: It is larger than the store takes.
        """

    async def fetch(self, payload: common_pb2.Payload, at: str) -> common_pb2.Payload:
        """The content of a location; `at` names it in errors.

        Raises:
            DependencyResolutionError: The store is away.
            ValidationError: It is not there, or something else is.
        """


class Fence(Protocol):
    """Knows who drives a workflow at this moment."""

    async def require_current(self, context: EffectContext) -> None:
        """Refuses an effect that was ordered under a lease which does not hold any more.

        Raises:
            LeaseExpiredError: Nobody, or somebody with a later lease, drives the workflow now.
            EtcdUnavailableError: That cannot be found out.
        """


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One interaction with the outside (R11). Never a credential, never a body."""

    started_at_s: float
    """Seconds since the epoch."""
    node: str
    target: str
    effect_type: str
    operation: str
    correlation_id: str
    workflow_id: str
    step_id: str
    idempotency_key: str
    fencing_token: int
    attempts: int
    outcome: str
    """completed, replayed, cached, failed or cancelled."""
    reason: str
    """Reason of the error; empty without."""
    message: str
    """Text of the error, bounded; empty without."""
    duration_s: float


class AuditLog(Protocol):
    """Takes audit records. Writing them happens later, off the path of the effect."""

    def add(self, record: AuditRecord) -> None:
        """Takes a record; returns at once.

        Raises:
            OverloadedError: Too many wait because they cannot be written.
        """

    def require_room(self) -> None:
        """Refuses an effect that could not be recorded.

        Raises:
            OverloadedError: As above.
        """


class Observer(Protocol):
    """Is told of effects as they end."""

    def observe(self, operation: str, seconds: float, error_type: str = "") -> None:
        """One effect: its type, how long it took, the reason of its error."""


Kinds = Mapping[str, TargetKind[TargetConfig]]
