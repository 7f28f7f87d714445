"""What it means to own a workflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Holder(Protocol):
    """What an ownership is bound to: a `Session`, or an etcd lease that somebody else keeps alive.

    Attributes:
        instance_id: Who holds it.
        etcd_lease: The etcd lease that the owner key is bound to.
    """

    instance_id: str
    etcd_lease: int

    def is_valid(self) -> bool:
        """Whether work under it may go on. A commit whose answer is lost is pursued as long."""

    def require_valid(self) -> None:
        """Raises LeaseExpiredError if it is over."""


@dataclass(slots=True)
class Ownership:
    """Proof of being a workflow's only writer (R133). The journal moves it on with every commit.

    Attributes:
        workflow_id: The workflow.
        lease_id: UUID of this ownership.
        fencing_token: create_revision of the owner key; it grows from owner to owner.
        holder: Instance that owns it.
        epoch: The last committed epoch; 0 if nothing is committed.
        last_hash: SHA-256 of the last record as stored; empty if nothing is committed.
        session: What it is bound to. While that is alive, a commit whose answer is lost is pursued; None bounds the
            pursuit by time.
    """

    workflow_id: str
    lease_id: str
    fencing_token: int
    holder: str
    epoch: int = 0
    last_hash: bytes = b""
    session: Holder | None = field(default=None, repr=False, compare=False)
