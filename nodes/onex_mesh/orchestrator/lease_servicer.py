"""LeaseService: the lease and epoch protocol for writers in any language; translates and calls the kernel."""

from __future__ import annotations

import time

from onex.v1 import lease_pb2, lease_pb2_grpc
from onex_lease import ExternalLeases, HeldLease
from onex_mesh.orchestrator.core.plan import seconds
from onex_mesh.orchestrator.core.records import duration, timestamp
from onex_mesh.runtime.call import CallContext
from onex_mesh.runtime.errors import ValidationError

_TTL_S_DEFAULT = 10.0


class LeaseServicer(lease_pb2_grpc.LeaseServiceServicer):
    """See the module."""

    def __init__(self, leases: ExternalLeases) -> None:
        self._leases = leases

    async def AcquireLease(
        self, request: lease_pb2.AcquireLeaseRequest, context: CallContext
    ) -> lease_pb2.AcquireLeaseResponse:
        """Becomes the only writer of a workflow (R131, R132)."""
        ttl_s = seconds(request.ttl) if request.HasField("ttl") else _TTL_S_DEFAULT
        return lease_pb2.AcquireLeaseResponse(
            lease=_message(await self._leases.acquire(request.workflow_id, request.holder, ttl_s))
        )

    async def KeepAlive(self, request: lease_pb2.KeepAliveRequest, context: CallContext) -> lease_pb2.KeepAliveResponse:
        """Stays it."""
        return lease_pb2.KeepAliveResponse(
            lease=_message(await self._leases.keep_alive(request.workflow_id, request.lease_id))
        )

    async def GetLease(self, request: lease_pb2.GetLeaseRequest, context: CallContext) -> lease_pb2.GetLeaseResponse:
        """Tells who it is; never the lease id, which is its holder's proof."""
        return lease_pb2.GetLeaseResponse(lease=_message(await self._leases.get(request.workflow_id)))

    async def CommitState(
        self, request: lease_pb2.CommitStateRequest, context: CallContext
    ) -> lease_pb2.CommitStateResponse:
        """Commits a state under the lease (R140–R143)."""
        if request.expected_epoch < 0:
            raise ValidationError(
                "expected_epoch must not be negative", violations=(("expected_epoch", "must not be negative"),)
            )
        if not request.HasField("commit") or not request.commit.HasField("state"):
            raise ValidationError("commit.state is required", violations=(("commit.state", "is required"),))
        epoch = await self._leases.commit(
            request.workflow_id, request.lease_id, request.expected_epoch, request.commit, release=request.release
        )
        return lease_pb2.CommitStateResponse(epoch=epoch)

    async def ReleaseLease(
        self, request: lease_pb2.ReleaseLeaseRequest, context: CallContext
    ) -> lease_pb2.ReleaseLeaseResponse:
        """Stops being it (F8, R134)."""
        released = await self._leases.release(request.workflow_id, request.lease_id)
        return lease_pb2.ReleaseLeaseResponse(released=released)


def _message(held: HeldLease) -> lease_pb2.Lease:
    lease = lease_pb2.Lease(
        lease_id=held.lease_id,
        workflow_id=held.workflow_id,
        epoch=held.epoch,
        fencing_token=held.fencing_token,
        holder=held.holder,
    )
    if held.ttl_s:
        lease.ttl.CopyFrom(duration(held.ttl_s))
        lease.expires_at.CopyFrom(timestamp(time.time() + held.ttl_s))
    return lease
