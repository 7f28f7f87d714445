"""What a node is handed when it starts: its way to etcd and to the other nodes."""

from __future__ import annotations

from dataclasses import dataclass

from onex.v1 import node_pb2
from onex_lease import EtcdClient, Journal, Keyspace, Ledger, LiveView, Session
from onex_mesh.runtime.metrics import Metrics
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.settings import NodeSettings


@dataclass(slots=True)
class Mesh:
    """The mesh as one node sees it.

    `session` is the present one: after a loss the server opens another and puts it here. Ask for it each time it is
    needed; never keep it.
    """

    client: EtcdClient
    keys: Keyspace
    session: Session
    view: LiveView
    journal: Journal
    ledger: Ledger
    node: node_pb2.NodeInfo
    settings: NodeSettings
    metrics: Metrics
    payloads: Payloads
