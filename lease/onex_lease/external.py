"""Leases of writers that are not orchestrators of this mesh: programs in any language, through LeaseService.

Such a writer has no session of its own here. Each of its leases is one etcd lease, renewed only by its own keepalives,
so that any orchestrator can answer any of its calls: everything needed stands in the owner key.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import grpc
from aetcd import rpc

from onex.v1 import lease_pb2, workflow_pb2
from onex_lease.errors import (
    EtcdUnavailableError,
    LeaseExpiredError,
    LeaseInvalidError,
    ValidationError,
)
from onex_lease.keys import require_instance_id, require_workflow_id
from onex_lease.ownership import Ownership

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.journal import Journal
    from onex_lease.keys import Keyspace
    from onex_lease.messages import KeyValue

TTL_S_DEFAULT = 10.0
TTL_S_MIN = 2.0
TTL_S_MAX = 600.0
_ANSWER_S = 3.0


class _KeepAliveResponse(Protocol):
    TTL: int


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as its holder sees it.

    Attributes:
        lease_id: UUID of the lease.
        workflow_id: The workflow.
        fencing_token: create_revision of the owner key.
        holder: Who holds it.
        epoch: The workflow's epoch; 0 if nothing is committed.
        ttl_s: How long it lasts without another keepalive.
    """

    lease_id: str
    workflow_id: str
    fencing_token: int
    holder: str
    epoch: int
    ttl_s: float


class _Grant:
    """What `Journal.acquire` needs of a session, for one etcd lease that somebody else keeps alive."""

    def __init__(self, holder: str, etcd_lease: int, ttl_s: float) -> None:
        self.instance_id = holder
        self.etcd_lease = etcd_lease
        self._valid_until = time.monotonic() + ttl_s

    def is_valid(self) -> bool:
        """Whether the lease has not run out since it was granted; whether it is there, the transaction asks etcd."""
        return time.monotonic() < self._valid_until

    def require_valid(self) -> None:
        """Refuses to go on with a lease that has run out.

        Raises:
            LeaseExpiredError: It has.
        """
        if not self.is_valid():
            raise LeaseExpiredError(f"the lease of {self.instance_id} ran out before it was used")


class ExternalLeases:
    """The lease and epoch protocol for writers in any language (R130–R146)."""

    def __init__(self, client: EtcdClient, keys: Keyspace, journal: Journal) -> None:
        self._client = client
        self._keys = keys
        self._journal = journal

    async def acquire(self, workflow_id: str, holder: str, ttl_s: float = TTL_S_DEFAULT) -> HeldLease:
        """Makes `holder` the only writer of a workflow.

        Raises:
            ValidationError: The id, the holder or the TTL is malformed.
            LeaseConflictError: Somebody owns the workflow (R132).
        """
        require_workflow_id(workflow_id)
        try:
            require_instance_id(holder)
        except ValidationError as error:
            text = error.violations[0][1]
            raise ValidationError(f"holder {text}", violations=(("holder", text),)) from error
        if not TTL_S_MIN <= ttl_s <= TTL_S_MAX:
            text = f"must be within {TTL_S_MIN:g} to {TTL_S_MAX:g} seconds"
            raise ValidationError(f"ttl {text}, not {ttl_s:g}", violations=(("ttl", text),))
        etcd_lease = await self._client.grant(math.ceil(ttl_s))
        try:
            ownership = await self._journal.acquire(_Grant(holder, etcd_lease, ttl_s), workflow_id, external=True)
        except BaseException:
            await self._client.revoke(etcd_lease)
            raise
        return HeldLease(
            ownership.lease_id, workflow_id, ownership.fencing_token, holder, ownership.epoch, float(math.ceil(ttl_s))
        )

    async def keep_alive(self, workflow_id: str, lease_id: str) -> HeldLease:
        """Renews a lease for its TTL.

        Raises:
            LeaseExpiredError: It is over.
            LeaseInvalidError: It is not the lease of this workflow, or not one that may be renewed here.
        """
        entry, owner = await self._held(workflow_id, lease_id)
        ttl_s = await self._renew(entry.lease)
        if ttl_s <= 0:
            raise _expired(workflow_id)
        found = await self._journal.read_state(workflow_id)
        epoch = found[1] if found is not None else 0
        return HeldLease(lease_id, workflow_id, entry.create_revision, owner.holder, epoch, ttl_s)

    async def get(self, workflow_id: str) -> HeldLease:
        """Who owns a workflow; the lease's id is left out, as it is its holder's proof.

        Raises:
            LeaseExpiredError: Nobody does.
        """
        require_workflow_id(workflow_id)
        entry = await self._client.get(self._keys.owner(workflow_id))
        if entry is None:
            raise _expired(workflow_id)
        owner = lease_pb2.Owner.FromString(entry.value)
        found = await self._journal.read_state(workflow_id)
        epoch = found[1] if found is not None else 0
        return HeldLease("", workflow_id, entry.create_revision, owner.holder, epoch, 0.0)

    async def commit(
        self, workflow_id: str, lease_id: str, expected_epoch: int, record: workflow_pb2.Commit, *, release: bool
    ) -> int:
        """Makes epoch `expected_epoch` + 1, in the transaction that compares owner and epoch.

        Raises:
            LeaseExpiredError, LeaseInvalidError: As for `keep_alive`.
            EpochMismatchError, StateConflictError: The workflow is at another epoch (R141, R143).
        """
        ownership = await self._ownership(workflow_id, lease_id)
        ownership.epoch = expected_epoch
        if expected_epoch > 0:
            rows = await self._journal.read_log(workflow_id, after_epoch=expected_epoch - 1, limit=1)
            ownership.last_hash = rows[0][1] if rows and rows[0][0].epoch == expected_epoch else b""
        record.workflow_id = workflow_id
        record.state.workflow_id = workflow_id
        record.state.external = True
        return await self._journal.commit(ownership, record, release=release)

    async def release(self, workflow_id: str, lease_id: str) -> bool:
        """Gives a lease up; False if it had ended already.

        Raises:
            LeaseInvalidError: The workflow is owned under another lease, which stays (F8).
        """
        try:
            entry, _ = await self._held(workflow_id, lease_id)
            released = await self._journal.release(await self._ownership(workflow_id, lease_id))
        except LeaseExpiredError:
            return False
        await self._client.revoke(entry.lease)
        return released

    async def _held(self, workflow_id: str, lease_id: str) -> tuple[KeyValue, lease_pb2.Owner]:
        require_workflow_id(workflow_id)
        if not lease_id:
            raise ValidationError("lease_id is required", violations=(("lease_id", "is required"),))
        entry = await self._client.get(self._keys.owner(workflow_id))
        if entry is None:
            raise _expired(workflow_id)
        owner = lease_pb2.Owner.FromString(entry.value)
        if owner.lease_id != lease_id:
            raise LeaseInvalidError(
                f"workflow {workflow_id!r} is owned under another lease", error_context={"workflow_id": workflow_id}
            )
        if not owner.external:
            raise LeaseInvalidError(
                f"workflow {workflow_id!r} is owned by an orchestrator of the mesh",
                error_context={"workflow_id": workflow_id},
            )
        return entry, owner

    async def _ownership(self, workflow_id: str, lease_id: str) -> Ownership:
        entry, owner = await self._held(workflow_id, lease_id)
        return Ownership(workflow_id, lease_id, entry.create_revision, owner.holder)

    async def _renew(self, etcd_lease: int) -> float:
        call = self._client.keep_alive()
        try:
            async with asyncio.timeout(_ANSWER_S):
                await call.write(rpc.LeaseKeepAliveRequest(ID=etcd_lease))
                answer = await call.read()
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            raise EtcdUnavailableError("etcd did not answer the keepalive") from error
        finally:
            call.cancel()
        if answer is grpc.aio.EOF:
            raise EtcdUnavailableError("etcd did not answer the keepalive")
        return float(cast("_KeepAliveResponse", answer).TTL)


def _expired(workflow_id: str) -> LeaseExpiredError:
    return LeaseExpiredError(
        f"nobody holds a lease on workflow {workflow_id!r}", error_context={"workflow_id": workflow_id}
    )
