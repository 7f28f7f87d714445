"""LeaseService as a writer in another language uses it: nothing but calls, against a real orchestrator and etcd."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from onex.v1 import lease_pb2, lease_pb2_grpc, orchestrator_pb2, workflow_pb2
from onex_lease import EmbeddedEtcd, Keyspace
from onex_mesh.runtime.errors import OnexError, from_rpc_error
from onex_mesh.runtime.payload import json_payload
from tests.inprocess import InProcessMesh

Stub: TypeAlias = "lease_pb2_grpc.LeaseServiceAsyncStub"


@pytest.fixture
async def mesh(etcd: EmbeddedEtcd, keys: Keyspace) -> AsyncIterator[InProcessMesh]:
    async with InProcessMesh(etcd, keys) as running:
        yield running


@pytest.fixture
async def stub(mesh: InProcessMesh) -> Stub:
    return lease_pb2_grpc.LeaseServiceStub(mesh.channel(await mesh.add_orchestrator()))


async def acquire(stub: Stub, workflow_id: str, holder: str = "writer", ttl_s: int = 5) -> lease_pb2.Lease:
    request = lease_pb2.AcquireLeaseRequest(workflow_id=workflow_id, holder=holder, ttl=Duration(seconds=ttl_s))
    return (await stub.AcquireLease(request)).lease


async def commit(stub: Stub, lease: lease_pb2.Lease, epoch: int, data: object, *, release: bool = False) -> int:
    record = workflow_pb2.Commit(state=workflow_pb2.WorkflowState(data=json_payload(data)))
    request = lease_pb2.CommitStateRequest(
        workflow_id=lease.workflow_id, lease_id=lease.lease_id, expected_epoch=epoch, commit=record, release=release
    )
    return (await stub.CommitState(request)).epoch


async def refusal(call: grpc.aio.UnaryUnaryCall[object, object]) -> OnexError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_a_foreign_writer_owns_commits_and_releases(mesh: InProcessMesh, stub: Stub) -> None:
    """R130–R134, R140, R142, R146: acquire, commit epoch by epoch, release with the last; the log is chained."""
    lease = await acquire(stub, "foreign-1")
    assert (lease.epoch, lease.holder) == (0, "writer")
    assert uuid.UUID(lease.lease_id)
    assert lease.fencing_token > 0
    assert [await commit(stub, lease, epoch, {"n": epoch}) for epoch in range(3)] == [1, 2, 3]
    kept = await stub.KeepAlive(lease_pb2.KeepAliveRequest(workflow_id="foreign-1", lease_id=lease.lease_id))
    assert (kept.lease.epoch, kept.lease.fencing_token) == (3, lease.fencing_token)
    assert await commit(stub, lease, 3, {"n": "end"}, release=True) == 4
    gone = await refusal(stub.GetLease(lease_pb2.GetLeaseRequest(workflow_id="foreign-1")))
    assert gone.reason == "LEASE_EXPIRED"
    orchestrator = mesh.orchestrator(await mesh.add_orchestrator())
    history = await orchestrator.GetHistory(orchestrator_pb2.GetHistoryRequest(workflow_id="foreign-1"))
    assert [row.epoch for row in history.commits] == [1, 2, 3, 4]
    assert history.chain_valid
    shown = await orchestrator.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id="foreign-1"))
    assert shown.workflow.epoch == 4


async def test_a_held_workflow_is_refused(stub: Stub) -> None:
    """R132: the second acquirer gets LEASE_CONFLICT with the holder's name; after the release it wins, token grown."""
    first = await acquire(stub, "foreign-2", "first")
    error = await refusal(stub.AcquireLease(lease_pb2.AcquireLeaseRequest(workflow_id="foreign-2", holder="second")))
    assert (error.reason, error.error_context["holder"]) == ("LEASE_CONFLICT", "first")
    shown = await stub.GetLease(lease_pb2.GetLeaseRequest(workflow_id="foreign-2"))
    assert (shown.lease.holder, shown.lease.lease_id) == ("first", "")
    request = lease_pb2.ReleaseLeaseRequest(workflow_id="foreign-2", lease_id=first.lease_id)
    assert (await stub.ReleaseLease(request)).released
    second = await acquire(stub, "foreign-2", "second")
    assert second.fencing_token > first.fencing_token


async def test_stale_epochs_and_forged_leases_are_refused(stub: Stub) -> None:
    """R137, R141, R144, F8, F10: each wrong proof has its own reason, and changes nothing."""
    lease = await acquire(stub, "foreign-3")
    assert await commit(stub, lease, 0, 1) == 1
    with pytest.raises(grpc.aio.AioRpcError) as stale:
        await commit(stub, lease, 0, 2)
    assert from_rpc_error(stale.value).reason == "EPOCH_MISMATCH"
    forged = lease_pb2.Lease(workflow_id="foreign-3", lease_id=str(uuid.uuid4()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await commit(stub, forged, 1, 3)
    assert (caught.value.code(), from_rpc_error(caught.value).reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "LEASE_INVALID",
    )
    kept = stub.KeepAlive(lease_pb2.KeepAliveRequest(workflow_id="foreign-3", lease_id=forged.lease_id))
    assert (await refusal(kept)).reason == "LEASE_INVALID"
    released = stub.ReleaseLease(lease_pb2.ReleaseLeaseRequest(workflow_id="foreign-3", lease_id=forged.lease_id))
    assert (await refusal(released)).reason == "LEASE_INVALID"
    assert await commit(stub, lease, 1, 4) == 2


async def test_a_lease_that_nobody_renews_ends(stub: Stub) -> None:
    """R136, R145, F7: without keepalives the lease ends by its TTL; a late commit and a late release say so."""
    lease = await acquire(stub, "foreign-4", ttl_s=2)
    assert await commit(stub, lease, 0, 1) == 1
    async with asyncio.timeout(15):
        while True:
            call = stub.GetLease(lease_pb2.GetLeaseRequest(workflow_id="foreign-4"))
            try:
                await call
            except grpc.aio.AioRpcError:
                break
            await asyncio.sleep(0.2)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await commit(stub, lease, 1, 2)
    assert from_rpc_error(caught.value).reason == "LEASE_EXPIRED"
    late = await stub.ReleaseLease(lease_pb2.ReleaseLeaseRequest(workflow_id="foreign-4", lease_id=lease.lease_id))
    assert not late.released


async def test_orchestrators_leave_foreign_workflows_alone(mesh: InProcessMesh, stub: Stub) -> None:
    """R130: an unowned workflow of a foreign writer is not taken over; the writer takes it up again where it was."""
    lease = await acquire(stub, "foreign-5")
    await commit(stub, lease, 0, 1, release=True)
    await mesh.add_orchestrator()
    await asyncio.sleep(0.5)
    again = await acquire(stub, "foreign-5")
    assert again.epoch == 1


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (lease_pb2.AcquireLeaseRequest(workflow_id="a b", holder="x"), "workflow_id"),
        (lease_pb2.AcquireLeaseRequest(workflow_id="a"), "holder"),
        (lease_pb2.AcquireLeaseRequest(workflow_id="a", holder="x", ttl=Duration(seconds=1)), "ttl"),
        (lease_pb2.KeepAliveRequest(workflow_id="a"), "lease_id"),
        (lease_pb2.CommitStateRequest(workflow_id="a", lease_id="x"), "commit.state"),
        (lease_pb2.CommitStateRequest(workflow_id="a", lease_id="x", expected_epoch=-1), "expected_epoch"),
    ],
)
async def test_malformed_requests_name_the_field(stub: Stub, request_: object, field: str) -> None:
    """R118, R119: what is missing or out of bounds is VALIDATION_FAILED with its field."""
    method = type(request_).__name__.removesuffix("Request")
    error = await refusal(getattr(stub, method)(request_))
    assert error.reason == "VALIDATION_FAILED"
    violations = error.error_context["violations"]
    assert isinstance(violations, list)
    assert field in [row["field"] for row in violations]
