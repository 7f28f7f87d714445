"""Names of the keys that the mesh keeps in etcd.

Everything that is bound to a session stands below one prefix, so that one watch shows owners and nodes and nothing
else. See docs/adr/0003-live-prefix.md.
"""

from __future__ import annotations

import re

from onex.v1 import common_pb2
from onex_lease.errors import ValidationError

WORKFLOW_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_INSTANCE_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")
IDEMPOTENCY_KEY_BYTES_MAX = 1024


def require_workflow_id(workflow_id: str) -> None:
    """Refuses what cannot be a workflow's id.

    Raises:
        ValidationError: It is not 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-'.
    """
    if not WORKFLOW_ID.fullmatch(workflow_id):
        text = "must be 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-'"
        raise ValidationError(f"Workflow id {workflow_id[:140]!r} {text}.", violations=(("workflow_id", text),))


def require_instance_id(instance_id: str) -> None:
    """Refuses what cannot be an instance's id.

    Raises:
        ValidationError: It is not 1 to 200 characters of A-Z, a-z, 0-9, '.', '_', ':' and '-'.
    """
    if not _INSTANCE_ID.fullmatch(instance_id):
        text = "must be 1 to 200 characters of A-Z, a-z, 0-9, '.', '_', ':' and '-'"
        raise ValidationError(f"Instance id {instance_id[:220]!r} {text}.", violations=(("instance_id", text),))


def kind_name(kind: common_pb2.NodeKind) -> str:
    """The name of a node kind as keys carry it, such as "effect".

    Raises:
        ValidationError: The kind is unspecified or unknown.
    """
    if kind == common_pb2.NODE_KIND_UNSPECIFIED or kind not in common_pb2.NodeKind.values():
        raise ValidationError("A node needs a kind.", violations=(("kind", "must be one of the four node kinds"),))
    return common_pb2.NodeKind.Name(kind).removeprefix("NODE_KIND_").lower()


class Keyspace:
    """The keys of one namespace; several meshes share an etcd by using one namespace each.

    Args:
        namespace: 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'.

    Raises:
        ValidationError: The namespace is malformed.
    """

    def __init__(self, namespace: str = "default") -> None:
        if not _NAMESPACE.fullmatch(namespace):
            text = "must be 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'"
            raise ValidationError(f"Namespace {namespace[:80]!r} {text}.", violations=(("namespace", text),))
        root = f"/onex/{namespace}/".encode()
        self.namespace = namespace
        self.root = root
        self.live_prefix = root + b"live/"
        self.owners_prefix = root + b"live/owners/"
        self.nodes_prefix = root + b"live/nodes/"
        self.states_prefix = root + b"states/"
        self.logs_prefix = root + b"log/"
        self.open_prefix = root + b"open/"
        self.idempotency_prefix = root + b"idempotency/"

    def owner(self, workflow_id: str) -> bytes:
        """Key of a workflow's Owner; bound to its holder's session, its create_revision is the fencing token."""
        return self.owners_prefix + workflow_id.encode()

    def node(self, kind: common_pb2.NodeKind, instance_id: str) -> bytes:
        """Key of a node's NodeInfo; bound to its session."""
        return self.nodes_prefix + f"{kind_name(kind)}/{instance_id}".encode()

    def state(self, workflow_id: str) -> bytes:
        """Key of a WorkflowState; its version is the epoch."""
        return self.states_prefix + workflow_id.encode()

    def log(self, workflow_id: str, epoch: int) -> bytes:
        """Key of the Commit that made an epoch; keys of a workflow sort by epoch."""
        return self.logs_prefix + f"{workflow_id}/{epoch:016d}".encode()

    def log_prefix(self, workflow_id: str) -> bytes:
        """Prefix of all Commits of a workflow."""
        return self.logs_prefix + workflow_id.encode() + b"/"

    def open(self, workflow_id: str) -> bytes:
        """Key that exists, empty, from a workflow's first commit until its last."""
        return self.open_prefix + workflow_id.encode()

    def idempotency(self, key: str) -> bytes:
        """Key of who executes what must happen once, then of its result.

        Raises:
            ValidationError: The key is empty or longer than 1024 bytes.
        """
        encoded = key.encode()
        if not 0 < len(encoded) <= IDEMPOTENCY_KEY_BYTES_MAX:
            text = f"must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes long"
            raise ValidationError(f"An idempotency key {text}.", violations=(("idempotency_key", text),))
        return self.idempotency_prefix + encoded
