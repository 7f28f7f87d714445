"""The registry of nodes: each announces itself under its session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1.node_pb2 import NodeInfo
from onex_lease import wire
from onex_lease.client import backoff
from onex_lease.errors import EtcdRejectedError, LeaseConflictError, LeaseExpiredError, OutcomeUnknownError

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.keys import Keyspace
    from onex_lease.messages import TxnResponse
    from onex_lease.session import Session


async def register_node(client: EtcdClient, keys: Keyspace, session: Session, info: NodeInfo) -> None:
    """Announces a node until its session ends.

    Raises:
        LeaseConflictError: A live process of the same kind and instance id is registered already.
        LeaseExpiredError: The session is over.
        OutcomeUnknownError: etcd gave no answer until the session was over.
    """
    key = keys.node(info.kind, info.instance_id)
    store = wire.put(key, info.SerializeToString(), session.etcd_lease)
    # Never take over another session's key: when that session ends, its key must go in the same revision as its owner
    # keys, which is how a crash is told from a release.
    mine = wire.txn((wire.bound_to(key, session.etcd_lease),), (store,), ())
    request = wire.txn((wire.created_at(key, 0),), (store,), (wire.nested(mine),))
    response = await _settled(client, session, request)
    if not response.succeeded and not response.responses[0].response_txn.succeeded:
        raise LeaseConflictError(
            f"A node named {info.instance_id} is registered already and alive; instance ids must be unique.",
            error_context={"instance_id": info.instance_id},
        )


async def update_node(client: EtcdClient, keys: Keyspace, session: Session, info: NodeInfo) -> None:
    """Announces something else about a registered node; registers it if it is not. See `register_node`."""
    await register_node(client, keys, session, info)


async def unregister_node(client: EtcdClient, keys: Keyspace, session: Session, info: NodeInfo) -> bool:
    """Takes a node out of the registry before its session ends; False if it was not in it.

    Raises:
        OutcomeUnknownError: etcd gave no answer until the session was over.
    """
    key = keys.node(info.kind, info.instance_id)
    request = wire.txn((wire.bound_to(key, session.etcd_lease),), (wire.delete(key),))
    return (await _settled(client, session, request)).succeeded


async def _settled(client: EtcdClient, session: Session, request: bytes) -> TxnResponse:
    """Repeats a request that may be repeated until it is answered or the session is over."""
    session.require_valid()
    attempt = 0
    while True:
        attempt += 1
        try:
            return await client.txn(request)
        except EtcdRejectedError as error:
            if error.code == "NOT_FOUND":
                raise LeaseExpiredError("The session is over: etcd does not know its lease any more.") from error
            raise
        except OutcomeUnknownError:
            if not session.is_valid():
                raise
        await backoff(attempt)
