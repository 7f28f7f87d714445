"""Single-writer workflows over etcd: sessions, ownership with fencing tokens, and commits compared by epoch.

The kernel of onex-mesh. It knows no node and can be used without one.
"""

from __future__ import annotations

from onex_lease.client import EtcdClient
from onex_lease.embedded import EmbeddedEtcd
from onex_lease.errors import (
    EpochMismatchError,
    EtcdRejectedError,
    EtcdUnavailableError,
    InProgressError,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseInvalidError,
    OnexError,
    OutcomeUnknownError,
    PayloadTooLargeError,
    StateConflictError,
    ValidationError,
    WorkflowExistsError,
    WorkflowNotFoundError,
)
from onex_lease.external import ExternalLeases, HeldLease
from onex_lease.journal import Journal
from onex_lease.keys import Keyspace
from onex_lease.ledger import Claim, Ledger
from onex_lease.live import OwnerEntry, ViewVerdict
from onex_lease.ownership import Holder, Ownership
from onex_lease.registry import register_node, unregister_node, update_node
from onex_lease.session import Session
from onex_lease.view import LiveView

__all__ = [
    "Claim",
    "EmbeddedEtcd",
    "EpochMismatchError",
    "EtcdClient",
    "EtcdRejectedError",
    "EtcdUnavailableError",
    "ExternalLeases",
    "HeldLease",
    "Holder",
    "InProgressError",
    "Journal",
    "Keyspace",
    "LeaseConflictError",
    "LeaseExpiredError",
    "LeaseInvalidError",
    "Ledger",
    "LiveView",
    "OnexError",
    "OutcomeUnknownError",
    "OwnerEntry",
    "Ownership",
    "PayloadTooLargeError",
    "Session",
    "StateConflictError",
    "ValidationError",
    "ViewVerdict",
    "WorkflowExistsError",
    "WorkflowNotFoundError",
    "register_node",
    "unregister_node",
    "update_node",
]
