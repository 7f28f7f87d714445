"""Nodes announce themselves under their sessions."""

from __future__ import annotations

import pytest

from onex.v1.common_pb2 import NODE_KIND_COMPUTE, NODE_KIND_UNSPECIFIED
from onex.v1.node_pb2 import NodeInfo
from onex_lease import (
    EmbeddedEtcd,
    EtcdClient,
    Keyspace,
    LeaseConflictError,
    LeaseExpiredError,
    OutcomeUnknownError,
    ValidationError,
    register_node,
    unregister_node,
    update_node,
)
from tests.lease_writers import session_of
from tests.tcp_proxy import TcpProxy

INFO = NodeInfo(instance_id="c1", kind=NODE_KIND_COMPUTE, address="host:1")


async def stored(client: EtcdClient, keys: Keyspace) -> NodeInfo | None:
    """What the registry says about c1."""
    row = await client.get(keys.node(NODE_KIND_COMPUTE, "c1"))
    return None if row is None else NodeInfo.FromString(row.value)


async def test_register_update_unregister(client: EtcdClient, keys: Keyspace) -> None:
    """R94, R114: A node is found while it is registered, with what it announced last."""
    async with session_of(client, "c1") as session:
        await register_node(client, keys, session, INFO)
        assert await stored(client, keys) == INFO
        newer = NodeInfo(instance_id="c1", kind=NODE_KIND_COMPUTE, address="host:1", capabilities=["chain"])
        await update_node(client, keys, session, newer)
        assert await stored(client, keys) == newer
        assert await unregister_node(client, keys, session, newer) is True
        assert await stored(client, keys) is None
        assert await unregister_node(client, keys, session, newer) is False


async def test_it_ends_with_the_session(client: EtcdClient, keys: Keyspace) -> None:
    """R94: A node whose session ended is gone from the registry, and cannot come back under it."""
    async with session_of(client, "c1") as session:
        await register_node(client, keys, session, INFO)
        await client.revoke(session.etcd_lease)
        assert await stored(client, keys) is None
        with pytest.raises(LeaseExpiredError):
            await register_node(client, keys, session, INFO)
    with pytest.raises(LeaseExpiredError):
        await register_node(client, keys, session, INFO)


async def test_instance_ids_are_unique(client: EtcdClient, keys: Keyspace) -> None:
    """Two live processes cannot have one name, and neither can remove the other."""
    async with session_of(client, "c1") as first, session_of(client, "c1") as second:
        await register_node(client, keys, first, INFO)
        with pytest.raises(LeaseConflictError, match="c1"):
            await register_node(client, keys, second, NodeInfo(instance_id="c1", kind=NODE_KIND_COMPUTE))
        assert await unregister_node(client, keys, second, INFO) is False
        assert await stored(client, keys) == INFO


async def test_kind_is_required(client: EtcdClient, keys: Keyspace) -> None:
    """R1: A node is of one of the four kinds."""
    async with session_of(client, "c1") as session:
        with pytest.raises(ValidationError, match="kind"):
            await register_node(client, keys, session, NodeInfo(instance_id="c1", kind=NODE_KIND_UNSPECIFIED))


async def test_lost_answer(etcd: EmbeddedEtcd, client: EtcdClient, keys: Keyspace) -> None:
    """A registration whose answer is lost is repeated; cut off for good, it ends with the session."""
    async with TcpProxy(etcd.endpoint) as proxy:
        remote = await EtcdClient.connect(proxy.endpoint)
        async with session_of(remote, "c1", ttl_s=2.0) as session:
            proxy.lose_request(b"/nodes/")
            await register_node(remote, keys, session, INFO)
            assert proxy.reached.is_set()
            assert await stored(client, keys) == INFO
            proxy.refuse(True)
            with pytest.raises(OutcomeUnknownError):
                await update_node(remote, keys, session, INFO)
        await remote.close()
