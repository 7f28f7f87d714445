"""The ledger around effects whose targets cannot deduplicate: claim, do, record (design, "Intents and effects")."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from onex.v1 import common_pb2
from onex_mesh.effect.core.request import EffectContext, EffectValue
from onex_mesh.effect.ports import EffectLedger, Fence, LargeResults, LedgerClaim
from onex_mesh.runtime.errors import (
    DependencyResolutionError,
    EtcdUnavailableError,
    LeaseConflictError,
    OnexError,
    PayloadTooLargeError,
    ValidationError,
)
from onex_mesh.runtime.payload import bytes_payload, from_payload, json_payload

log = structlog.get_logger(__name__)

_POLL_MIN_S = 0.02
_POLL_MAX_S = 1.0
_WAIT_MAX_S = 30.0
_OMITTED = "application/vnd.onex.omitted"
_HAD_BEFORE = "the effect was had before; its result"


@dataclass(slots=True)
class HeldClaim:
    """The right to do the work of one key, or the result that somebody recorded."""

    recorded: EffectValue | None
    _ledger: EffectLedger
    _claim: LedgerClaim
    _large: LargeResults | None = None
    is_over: bool = False

    async def record(self, value: EffectValue) -> None:
        """Records the result. Failing to is not the effect's failure: it has happened, and the workflow commits it."""
        self.is_over = True
        # Once the effect has happened its record is written even if the caller stops waiting.
        writing = asyncio.ensure_future(self._write(to_payload(value)))
        try:
            await asyncio.shield(writing)
        except OnexError as error:
            log.warning("the result of an effect could not be recorded in the ledger", reason=error.reason)

    async def _write(self, result: common_pb2.Payload) -> None:
        try:
            await self._ledger.record(self._claim, result.SerializeToString())
        except PayloadTooLargeError:
            await self._ledger.record(self._claim, (await self._in_short(result)).SerializeToString())

    async def _in_short(self, result: common_pb2.Payload) -> common_pb2.Payload:
        """What the ledger keeps of a result that is too large for it: where it is, or only that there was one."""
        if self._large is not None:
            try:
                return await self._large.keep_for_sure(result)
            except OnexError as error:
                log.warning("the result of an effect could not be kept", reason=error.reason, why=error.message)
        # That it happened has to be known all the same, or a repeat would have the effect again.
        return omitted(result.ByteSize())


class Claims:
    """Claims keys at the ledger; waits where another executor is at work."""

    def __init__(
        self,
        ledger: EffectLedger,
        fence: Fence | None = None,
        large: LargeResults | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._fence = fence
        self._large = large
        self._clock = clock
        self._holders: set[asyncio.Task[object]] = set()
        self._lost: set[asyncio.Task[object]] = set()

    def lose_all(self) -> None:
        """The session that the claims were bound to is over: stops what runs under them, another may have begun."""
        for task in self._holders:
            self._lost.add(task)
            task.cancel()

    @asynccontextmanager
    async def hold(self, target: str, context: EffectContext) -> AsyncIterator[HeldClaim]:
        """Claims the key for as long as the block lasts; without a recorded result the key is given back.

        Raises:
            LeaseConflictError: Another executor was at work until the deadline.
            EtcdUnavailableError: The claim was lost with its session.
            LeaseExpiredError: The workflow is driven under a later lease, or under none.
            PayloadTooLargeError: The effect was had before, and its result was too large to be kept.
            DependencyResolutionError: It was had before, and its result cannot be fetched from the payload store now.
        """
        claim = await self._claim(ledger_key(target, context.idempotency_key), context)
        recorded = None if claim.result is None else await self._recorded(claim.result)
        held = HeldClaim(recorded, self._ledger, claim, self._large, is_over=recorded is not None)
        task = asyncio.current_task()
        assert task is not None
        self._holders.add(task)
        try:
            if recorded is None and self._fence is not None:
                await self._fence.require_current(context)
            yield held
        except asyncio.CancelledError:
            if task not in self._lost:
                raise
            task.uncancel()
            raise EtcdUnavailableError("the claim of the effect ended with its session") from None
        finally:
            self._holders.discard(task)
            if not held.is_over and task not in self._lost:
                await self._abandon(claim)
            self._lost.discard(task)

    async def _recorded(self, data: bytes) -> EffectValue:
        payload = common_pb2.Payload.FromString(data)
        if payload.HasField("location"):
            if self._large is None:
                raise DependencyResolutionError(f"{_HAD_BEFORE} is in a payload store, and this node has none")
            try:
                payload = await self._large.fetch(payload, "result")
            except ValidationError as error:
                # The node that had the effect may be about to put it there.
                raise DependencyResolutionError(
                    f"{_HAD_BEFORE} is not in the payload store: {error.message}"
                ) from error
        return recorded_value(payload)

    async def _claim(self, key: str, context: EffectContext) -> LedgerClaim:
        began = self._clock()
        until = began + _WAIT_MAX_S if context.deadline is None else context.deadline
        wait_s = _POLL_MIN_S
        while True:
            try:
                return await self._ledger.claim(key, fencing_token=context.fencing_token)
            except LeaseConflictError:
                if self._clock() + wait_s >= until:
                    raise
            # The other one records its result or dies with its session; either way this ends.
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _POLL_MAX_S)

    async def _abandon(self, claim: LedgerClaim) -> None:
        try:
            await asyncio.shield(asyncio.ensure_future(self._ledger.abandon(claim)))
        except OnexError as error:
            # The claim ends with the session of this process at the latest.
            log.warning("a claim could not be given back to the ledger", reason=error.reason)


def ledger_key(target: str, key: str) -> str:
    """Where the ledger keeps a key: keys of one target do not collide with those of another."""
    return hashlib.sha256(f"{target}\x00{key}".encode()).hexdigest()


def omitted(size_bytes: int) -> common_pb2.Payload:
    """What the ledger keeps of a value that nothing can keep: that there was one."""
    return bytes_payload(str(size_bytes).encode(), _OMITTED)


def recorded_value(payload: common_pb2.Payload) -> EffectValue:
    """The value that the ledger kept.

    Raises:
        PayloadTooLargeError: It kept only that there was one.
    """
    if payload.content_type == _OMITTED:
        size = payload.data.decode()
        raise PayloadTooLargeError(
            f"{_HAD_BEFORE} of {size} bytes was too large to be kept",
            error_context={"size_bytes": int(size)},
        )
    return EffectValue(from_payload(payload), payload.content_type)


def to_payload(value: EffectValue) -> common_pb2.Payload:
    """The value as it travels.

    Raises:
        ValidationError: It cannot be JSON.
    """
    if isinstance(value.value, bytes):
        return bytes_payload(value.value, value.content_type or "application/octet-stream")
    return json_payload(value.value)
