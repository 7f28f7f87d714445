"""What it means to own a workflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onex_lease.session import Session


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
    session: Session | None = field(default=None, repr=False, compare=False)
