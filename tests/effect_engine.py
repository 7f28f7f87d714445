"""An effect engine around real targets, for tests that need no mesh: only the ledger is a stand-in, in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import json_format

from onex.v1 import effect_pb2, intent_pb2
from onex_mesh.effect.adapters.catalog import open_target
from onex_mesh.effect.adapters.custom import open_app_lane
from onex_mesh.effect.core.custom import EffectRegistry
from onex_mesh.effect.core.engine import EffectEngine, EngineParts
from onex_mesh.effect.core.lane import Lane, open_lane
from onex_mesh.effect.core.once import Claims
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.effect.core.target_file import read_target_file
from onex_mesh.effect.executor import EffectExecutor
from onex_mesh.effect.ports import AuditRecord, LedgerClaim
from onex_mesh.runtime.errors import LeaseConflictError


@dataclass(slots=True)
class MemoryClaim:
    """A claim of the ledger below."""

    key: str
    result: bytes | None


@dataclass(slots=True)
class MemoryLedger:
    """A ledger that forgets when the test ends."""

    results: dict[str, bytes] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)

    async def claim(self, key: str, *, fencing_token: int) -> MemoryClaim:
        """Claims a key."""
        if key in self.results:
            return MemoryClaim(key, self.results[key])
        if key in self.claimed:
            raise LeaseConflictError("another one works on it")
        self.claimed.add(key)
        return MemoryClaim(key, None)

    async def record(self, claim: LedgerClaim, result: bytes) -> None:
        """Records a result."""
        assert isinstance(claim, MemoryClaim)
        self.results[claim.key] = result

    async def abandon(self, claim: LedgerClaim) -> None:
        """Gives a key back."""
        assert isinstance(claim, MemoryClaim)
        self.claimed.discard(claim.key)


@dataclass(slots=True)
class AuditList:
    """Audit records in the order in which they came."""

    records: list[AuditRecord] = field(default_factory=list)

    def add(self, record: AuditRecord) -> None:
        """Keeps a record."""
        self.records.append(record)

    def require_room(self) -> None:
        """There is always room."""


@dataclass(slots=True)
class Observations:
    """What was counted."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    def observe(self, operation: str, seconds: float, error_type: str = "") -> None:
        """Keeps an observation."""
        self.seen.append((operation, error_type))


@dataclass(slots=True)
class World:
    """An engine and what is around it."""

    engine: EffectEngine
    executor: EffectExecutor
    lanes: dict[str, Lane]
    audit: AuditList
    ledger: MemoryLedger
    observations: Observations

    async def effect(
        self,
        effect_type: str,
        target: str = "",
        operation: str = "",
        parameters: Mapping[str, object] | None = None,
        *,
        key: str = "",
        retries: int | None = None,
        context: EffectContext | None = None,
        cache_s: float = 0.0,
        timeout_s: float = 0.0,
    ) -> effect_pb2.EffectOutput:
        """Executes an effect contract."""
        contract = effect_contract(effect_type, target, operation, parameters, key=key)
        if retries is not None:
            contract.retry_config.max_retries = retries
            contract.retry_config.initial_backoff.FromMilliseconds(5)
        if cache_s:
            contract.cache.ttl.FromMilliseconds(int(cache_s * 1000))
        if timeout_s:
            contract.external_service_config.timeout.FromMilliseconds(int(timeout_s * 1000))
        return await self.executor.effect(contract, context or EffectContext(correlation_id="corr-1"))

    async def result(self, *args: object, **settings: object) -> object:
        """Executes an effect contract and returns what the target returned, as plain Python."""
        output = await self.effect(*args, **settings)  # type: ignore[arg-type]  # passed on as they are
        return plain(output)

    async def intents(
        self, intents: Sequence[intent_pb2.Intent], context: EffectContext | None = None
    ) -> list[intent_pb2.IntentResult]:
        """Executes a batch; the results as they ended."""
        given = context or EffectContext(correlation_id="corr-1", workflow_id="wf-1", fencing_token=1)
        return [result async for result in self.executor.intents(intents, given)]


def effect_contract(
    effect_type: str,
    target: str = "",
    operation: str = "",
    parameters: Mapping[str, object] | None = None,
    *,
    key: str = "",
) -> effect_pb2.EffectContract:
    """An effect contract."""
    contract = effect_pb2.EffectContract(idempotency_key=key)
    contract.external_service_config.target = target
    contract.io_operation_config.effect_type = effect_type
    contract.io_operation_config.operation = operation
    contract.io_operation_config.parameters.update(dict(parameters or {}))
    return contract


def intent(
    intent_id: str,
    intent_type: intent_pb2.IntentType,
    target: str = "",
    payload: Mapping[str, object] | None = None,
    *,
    priority: intent_pb2.IntentPriority = intent_pb2.INTENT_PRIORITY_UNSPECIFIED,
    key: str = "",
    custom_type: str = "",
    retries: int | None = None,
) -> intent_pb2.Intent:
    """An intent."""
    message = intent_pb2.Intent(
        intent_id=intent_id,
        intent_type=intent_type,
        target=target,
        priority=priority,
        idempotency_key=key,
        custom_type=custom_type,
    )
    message.payload.update(dict(payload or {}))
    if retries is not None:
        message.retry_policy.max_retries = retries
        message.retry_policy.initial_backoff.FromMilliseconds(5)
    return message


def plain(output: effect_pb2.EffectOutput) -> object:
    """What the target returned: plain JSON with whole numbers as int, or bytes."""
    payload = output.operation_result
    if payload.WhichOneof("content") == "data":
        return payload.data
    return _whole(json_format.MessageToDict(payload.json))


def _whole(value: object) -> object:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@asynccontextmanager
async def effect_world(
    folder: Path,
    targets: str = "",
    registry: EffectRegistry | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    extra_lanes: Mapping[str, Lane] | None = None,
    ledger: MemoryLedger | None = None,
    audit: AuditList | None = None,
) -> AsyncGenerator[World, None]:
    """An engine around the targets of a YAML text, opened and closed."""
    path = folder / "targets.yaml"
    path.write_text(f"targets:\n{targets}\n" if targets else "{}", encoding="utf-8")
    lanes: dict[str, Lane] = dict(extra_lanes or {})
    app_lanes: dict[str, Lane] = {}
    for effect in registry or EffectRegistry():
        app_lanes[effect.name] = open_app_lane(effect)
    audit, ledger, observations = audit or AuditList(), ledger or MemoryLedger(), Observations()
    engine = EffectEngine(
        EngineParts(
            lanes=lanes,
            app_lanes=app_lanes,
            claims=Claims(ledger),
            audit=audit,
            observer=observations,
            node="effect-test",
        )
    )
    try:
        for name, config in read_target_file(path, environment).targets.items():
            lanes[name] = open_lane(name, config, open_target(name, config, environment))
            await lanes[name].adapter.start()
        yield World(engine, EffectExecutor(lambda: engine), lanes, audit, ledger, observations)
    finally:
        for lane in lanes.values():
            await lane.adapter.stop()
