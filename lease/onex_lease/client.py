"""The connection to etcd: one channel, the calls that the kernel needs, and what their failures mean.

Built on the stubs of `aetcd.rpc`. gRPC never repeats a call by itself here: a transaction whose answer is lost may have
been applied, and only its author can find out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc
from aetcd import rpc

from onex_lease.errors import EtcdRejectedError, EtcdUnavailableError, OutcomeUnknownError
from onex_lease.wire import prefix_end

if TYPE_CHECKING:
    from onex_lease.messages import KeyValue, RangeResponse, TxnResponse

REQUEST_TIMEOUT_S = 5.0
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
_PAGE = 1000

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", 2 * 1024 * 1024),
    # etcd refuses pings more often than every 5 s; the timeout is also the socket's TCP_USER_TIMEOUT, so that a
    # connection that lost its peer is noticed when something is sent.
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Clients of one process must not share a connection: one that is cut must not take the others along.
    ("grpc.use_local_subchannel_pool", 1),
)

# With these codes etcd refuses before it applies anything, provided that the message is etcd's own.
_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)

# A call on a closed channel fails with UsageError.
_FAILURES = (grpc.aio.AioRpcError, grpc.aio.UsageError)


class EtcdClient:
    """One connection to etcd. Belongs to the event loop that it was made in.

    Every method raises `EtcdUnavailableError` where etcd does not answer in time; `txn` tells more.
    """

    def __init__(self, endpoint: str, channel: grpc.aio.Channel) -> None:
        self.endpoint = endpoint
        self._channel = channel
        self._kv = rpc.KVStub(channel)
        self._lease = rpc.LeaseStub(channel)
        self._watch = rpc.WatchStub(channel)
        self._maintenance = rpc.MaintenanceStub(channel)
        # The request is bytes already: see wire.py.
        self._txn: grpc.aio.UnaryUnaryMultiCallable[bytes, TxnResponse] = channel.unary_unary(
            "/etcdserverpb.KV/Txn", request_serializer=None, response_deserializer=rpc.TxnResponse.FromString
        )

    @classmethod
    async def connect(
        cls, endpoint: str, *, timeout_s: float = 5.0, credentials: grpc.ChannelCredentials | None = None
    ) -> EtcdClient:
        """Connects, and waits until etcd answers.

        Args:
            endpoint: "host:port".
            timeout_s: How long to wait for the first answer.
            credentials: For TLS; without them the connection is plaintext.

        Raises:
            EtcdUnavailableError: No answer in time.
        """
        if credentials is None:
            channel = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
        else:
            channel = grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)
        client = cls(endpoint, channel)
        try:
            await client.ping(timeout_s=timeout_s)
        except BaseException:
            await client.close()
            raise
        return client

    async def close(self) -> None:
        """Closes the connection; calls under way fail."""
        await self._channel.close()

    async def ping(self, *, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        """Reads from etcd with a quorum.

        Raises:
            EtcdUnavailableError: etcd does not answer in time.
        """
        await self._range(rpc.RangeRequest(key=b"\x00", keys_only=True), timeout_s=timeout_s)

    async def server_version(self) -> str:
        """Version of the etcd at the other end, such as "3.6.14"."""
        try:
            response = await self._maintenance.Status(
                rpc.StatusRequest(), timeout=REQUEST_TIMEOUT_S, wait_for_ready=True
            )
        except _FAILURES as error:
            raise _unavailable(error) from error
        return str(response.version)

    async def txn(self, request: bytes, *, timeout_s: float = REQUEST_TIMEOUT_S) -> TxnResponse:
        """Runs one transaction, at most once.

        Args:
            request: Encoded TxnRequest (`onex_lease.wire`).
            timeout_s: How long to wait for the answer.

        Raises:
            EtcdRejectedError: etcd refused it as a whole; nothing was written.
            OutcomeUnknownError: No answer; it may have been applied, or may yet be.
        """
        try:
            return await self._txn(request, timeout=timeout_s, wait_for_ready=True)
        except _FAILURES as error:
            failure = _unavailable(error)
            if isinstance(failure, EtcdRejectedError):
                raise failure from error
            raise OutcomeUnknownError(
                f"The answer to a transaction was lost: {failure.message}", error_context=failure.error_context
            ) from error

    async def get(self, key: bytes, *, revision: int = 0) -> KeyValue | None:
        """Reads one key, linearizable; at a past revision where one is given.

        Raises:
            EtcdRejectedError: The revision is compacted or in the future (OUT_OF_RANGE).
            EtcdUnavailableError: etcd does not answer.
        """
        response = await self._range(rpc.RangeRequest(key=key, revision=revision))
        return response.kvs[0] if response.kvs else None

    async def range(
        self, start: bytes, end: bytes, *, limit: int = 0, keys_only: bool = False, page: int = _PAGE
    ) -> tuple[Sequence[KeyValue], int]:
        """Reads the keys from `start` up to but not including `end`, in order, as they were at one revision.

        Args:
            start: First key.
            end: First key that is not wanted.
            limit: Most keys to return; 0 is all.
            keys_only: Leave the values out.
            page: Keys per request; with values up to 1 MiB at most 48 fit in an answer.

        Returns:
            The keys and the revision that they were read at.
        """
        rows: list[KeyValue] = []
        revision = 0
        while True:
            size = min(page, limit - len(rows)) if limit else page
            response = await self._range(
                rpc.RangeRequest(key=start, range_end=end, limit=size, revision=revision, keys_only=keys_only)
            )
            revision = revision or response.header.revision
            rows.extend(response.kvs)
            if not response.more or (limit and len(rows) >= limit):
                return rows, revision
            start = rows[-1].key + b"\x00"

    async def prefix(self, prefix: bytes, *, keys_only: bool = False) -> tuple[Sequence[KeyValue], int]:
        """Reads all keys that begin with `prefix`; see `range`."""
        return await self.range(prefix, prefix_end(prefix), keys_only=keys_only)

    async def _range(self, request: object, *, timeout_s: float = REQUEST_TIMEOUT_S) -> RangeResponse:
        try:
            response: RangeResponse = await self._kv.Range(request, timeout=timeout_s, wait_for_ready=True)
        except _FAILURES as error:
            raise _unavailable(error) from error
        return response

    async def compact(self, revision: int) -> None:
        """Forgets all history before `revision`."""
        try:
            await self._kv.Compact(rpc.CompactionRequest(revision=revision), timeout=REQUEST_TIMEOUT_S)
        except _FAILURES as error:
            raise _unavailable(error) from error

    async def grant(self, ttl_s: int) -> int:
        """Makes an etcd lease and returns its id."""
        try:
            response = await self._lease.LeaseGrant(
                rpc.LeaseGrantRequest(TTL=ttl_s), timeout=REQUEST_TIMEOUT_S, wait_for_ready=True
            )
        except _FAILURES as error:
            raise _unavailable(error) from error
        return int(response.ID)

    async def revoke(self, etcd_lease: int, *, timeout_s: float = REQUEST_TIMEOUT_S) -> bool:
        """Ends an etcd lease and deletes its keys in one revision; False if it was over already."""
        try:
            await self._lease.LeaseRevoke(rpc.LeaseRevokeRequest(ID=etcd_lease), timeout=timeout_s, wait_for_ready=True)
        except _FAILURES as error:
            if isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.NOT_FOUND:
                return False
            raise _unavailable(error) from error
        return True

    def keep_alive(self) -> grpc.aio.StreamStreamCall[object, object]:
        """Opens a stream that takes LeaseKeepAliveRequest and answers each with a LeaseKeepAliveResponse."""
        call: grpc.aio.StreamStreamCall[object, object] = self._lease.LeaseKeepAlive(wait_for_ready=True)
        return call

    def open_watch(self) -> grpc.aio.StreamStreamCall[object, object]:
        """Opens a stream that takes WatchRequest and answers with WatchResponse; see `onex_lease.watch`."""
        call: grpc.aio.StreamStreamCall[object, object] = self._watch.Watch(wait_for_ready=True)
        return call


def _unavailable(error: grpc.aio.AioRpcError | grpc.aio.UsageError) -> EtcdUnavailableError:
    if isinstance(error, grpc.aio.UsageError):
        return EtcdUnavailableError(f"The connection to etcd is closed: {error}", error_context={"code": "CANCELLED"})
    code, details = error.code(), error.details() or ""
    if code in _REFUSALS and details.startswith("etcdserver:"):
        return EtcdRejectedError(f"etcd refused the request: {details}", code=code.name)
    return EtcdUnavailableError(
        f"etcd does not answer: {code.name} {details}".rstrip(), error_context={"code": code.name}
    )


async def backoff(attempt: int) -> None:
    """Waits before attempt `attempt` + 1, from 20 ms on, doubling up to 0.5 s."""
    await asyncio.sleep(min(0.5, 0.02 * 2 ** min(attempt - 1, 10)))
