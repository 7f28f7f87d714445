"""The session: one etcd lease per process, kept alive while the process is well.

All owner keys and the node key of the process are bound to it, so that keepalive traffic is per process and not per
workflow, and so that the end of the process ends everything at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

import grpc
from aetcd import rpc

from onex_lease.client import backoff
from onex_lease.errors import EtcdUnavailableError, LeaseExpiredError, ValidationError
from onex_lease.keys import require_instance_id

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient

TTL_S_MIN = 2.0
_log = logging.getLogger(__name__)


class _KeepAliveResponse(Protocol):
    TTL: int


class Session:
    """A process's claim to be alive. Once lost it stays lost: open another.

    Validity is local: the *send* time of the last acknowledged keepalive, on the monotonic clock, plus TTL minus a
    margin. It serves liveness only. What keeps a second writer out is the comparison in each commit.

    Attributes:
        instance_id: Name of the process.
        etcd_lease: Id of the etcd lease.
        ttl_s: Time to live after the last keepalive.
        margin_s: How long before the TTL's end work stops.
    """

    def __init__(self, client: EtcdClient, *, instance_id: str, etcd_lease: int, ttl_s: float, sent_at: float) -> None:
        self.instance_id = instance_id
        self.etcd_lease = etcd_lease
        self.ttl_s = ttl_s
        self.margin_s = ttl_s / 5
        self._client = client
        self._valid_until = sent_at + ttl_s - self.margin_s
        self._lost = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._expiry = self._loop.call_later(self.remaining_s(), self._check_expiry)
        self._keeper = asyncio.create_task(self._keep(), name=f"session {instance_id}")

    @classmethod
    async def open(cls, client: EtcdClient, *, instance_id: str, ttl_s: float = 10.0) -> Session:
        """Starts a session and keeps it alive, with a keepalive every third of the TTL.

        Args:
            client: Connection to etcd.
            instance_id: Name of the process, unique among those that live.
            ttl_s: Time to live, at least 2 s: etcd does not grant less.

        Raises:
            ValidationError: The TTL is too short, or the instance id malformed.
            EtcdUnavailableError: etcd does not answer.
        """
        require_instance_id(instance_id)
        if not TTL_S_MIN <= ttl_s <= 86_400:
            text = f"must be between {TTL_S_MIN:g} and 86400 seconds"
            raise ValidationError(f"A session's TTL {text}, not {ttl_s:g}.", violations=(("ttl_s", text),))
        sent_at = time.monotonic()
        etcd_lease = await client.grant(math.ceil(ttl_s))
        return cls(client, instance_id=instance_id, etcd_lease=etcd_lease, ttl_s=ttl_s, sent_at=sent_at)

    def remaining_s(self) -> float:
        """How long work may still go on without another keepalive; 0 or less once it may not."""
        if self._closed or self._lost.is_set():
            return 0.0
        return self._valid_until - time.monotonic()

    def is_valid(self) -> bool:
        """Whether work under this session may go on."""
        return self.remaining_s() > 0

    def require_valid(self) -> None:
        """Refuses to go on without a valid session.

        Raises:
            LeaseExpiredError: It is over.
        """
        if not self.is_valid():
            raise LeaseExpiredError(
                f"The session of {self.instance_id} is over.", error_context={"holder": self.instance_id}
            )

    async def wait_lost(self) -> None:
        """Returns when the session is lost or closed."""
        await self._lost.wait()

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Calls `callback` in the event loop when the session is lost or closed; at once if it is already."""
        if self._lost.is_set():
            callback()
        else:
            self._callbacks.append(callback)

    async def close(self) -> None:
        """Ends the session. Its etcd lease is revoked, which deletes its node key and owner keys in one revision.

        Where etcd does not answer within two seconds, the lease ends by its TTL.
        """
        if self._closed:
            return
        self._closed = True
        self._end("closed")
        self._keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeper
        try:
            await self._client.revoke(self.etcd_lease, timeout_s=2.0)
        except EtcdUnavailableError as error:
            _log.warning("The session of %s could not be revoked, it ends by its TTL: %s", self.instance_id, error)

    def _end(self, why: str) -> None:
        if self._lost.is_set():
            return
        self._lost.set()
        self._expiry.cancel()
        if why != "closed":
            _log.warning("The session of %s is lost: %s", self.instance_id, why)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - one faulty callback must not keep the others from stopping their work
                _log.exception("A callback for the lost session of %s failed", self.instance_id)

    def _check_expiry(self) -> None:
        remaining_s = self.remaining_s()
        if remaining_s <= 0:
            self._end("no keepalive was acknowledged in time")
            self._keeper.cancel()
        else:
            self._expiry = self._loop.call_later(remaining_s, self._check_expiry)

    async def _keep(self) -> None:
        attempt = 0
        while not self._lost.is_set():
            attempt += 1
            call = None
            try:
                call = self._client.keep_alive()
                while await self._renew(call):
                    attempt = 0
                    await asyncio.sleep(self.ttl_s / 3)
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, TimeoutError) as error:
                _log.info("Keepalive of %s broke off, connecting again: %s", self.instance_id, _brief(error))
            finally:
                if call is not None:
                    call.cancel()
            if not self._lost.is_set():
                await backoff(max(1, attempt))

    async def _renew(self, call: grpc.aio.StreamStreamCall[object, object]) -> bool:
        """Sends one keepalive and waits for its answer; False if the stream ended or the session is over."""
        sent_at = time.monotonic()
        # A new stream per third of the TTL at most, so that one that hangs leaves time for another.
        async with asyncio.timeout(self.ttl_s / 3):
            await call.write(rpc.LeaseKeepAliveRequest(ID=self.etcd_lease))
            answer = await call.read()
        if answer is grpc.aio.EOF:
            return False
        if cast("_KeepAliveResponse", answer).TTL <= 0:
            self._end("etcd has ended its lease")
            return False
        self._valid_until = sent_at + self.ttl_s - self.margin_s
        return True


def _brief(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name} {error.details() or ''}".rstrip()
    return type(error).__name__
