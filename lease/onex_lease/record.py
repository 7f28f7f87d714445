"""Log records: what is written into them before they are sent, and what an answer to them means."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from onex.v1.lease_pb2 import Owner
from onex.v1.workflow_pb2 import Commit
from onex_lease.errors import (
    EpochMismatchError,
    LeaseConflictError,
    LeaseExpiredError,
    PayloadTooLargeError,
    StateConflictError,
    ValidationError,
    WorkflowExistsError,
)
from onex_lease.messages import KeyValue, first

if TYPE_CHECKING:
    from onex_lease.group import Outcome
    from onex_lease.ownership import Ownership

VALUE_BYTES_MAX = 1024 * 1024
# State and record together, with room for keys below etcd's 1.5 MiB.
_COMMIT_BYTES_MAX = VALUE_BYTES_MAX + 400 * 1024


def seal(record: Commit, ownership: Ownership) -> tuple[bytes, bytes]:
    """Fills in what proves the writer; returns state and record as they will be stored."""
    if not record.HasField("state"):
        raise ValidationError("A commit needs a state.", violations=(("commit.state", "is required"),))
    record.commit_id = str(uuid.uuid4())
    record.workflow_id = ownership.workflow_id
    record.epoch = ownership.epoch + 1
    record.previous_hash = ownership.last_hash
    record.lease_id = ownership.lease_id
    record.fencing_token = ownership.fencing_token
    record.holder = ownership.holder
    if record.epoch == 1:
        # Actions of the first epoch were issued before there was a lease; the log says whose they are (R118).
        for row in record.actions:
            row.action.lease_id = row.action.lease_id or ownership.lease_id
    now_ns = time.time_ns()
    record.committed_at.seconds, record.committed_at.nanos = divmod(now_ns, 1_000_000_000)
    state, log = record.state.SerializeToString(), record.SerializeToString()
    if len(log) > VALUE_BYTES_MAX or len(state) + len(log) > _COMMIT_BYTES_MAX:
        raise PayloadTooLargeError(
            f"Epoch {record.epoch} of workflow {record.workflow_id} is too large: {len(log)} bytes, with a state of "
            f"{len(state)} bytes; {VALUE_BYTES_MAX} bytes are allowed.",
            error_context={"size_bytes": len(log), "state_bytes": len(state), "size_bytes_max": VALUE_BYTES_MAX},
        )
    return state, log


def owner_value(ownership: Ownership, address: str, external: bool) -> bytes:
    owner = Owner(lease_id=ownership.lease_id, holder=ownership.holder, address=address, external=external)
    return owner.SerializeToString()


def is_commit(found: KeyValue, commit_id: str) -> bool:
    return Commit.FromString(found.value).commit_id == commit_id


def conflict(workflow_id: str, owner: Owner) -> LeaseConflictError:
    return LeaseConflictError(
        f"Workflow {workflow_id} is owned by {owner.holder}.",
        error_context={"workflow_id": workflow_id, "holder": owner.holder, "address": owner.address},
    )


def started(outcome: Outcome, record: Commit) -> int:
    """The fencing token of a start whose else-branch ran: an earlier attempt may have been applied."""
    held, state, log = (first(outcome.result, position) for position in range(3))
    if log is not None and is_commit(log, record.commit_id):
        return log.mod_revision
    if state is not None:
        raise WorkflowExistsError(
            f"Workflow {record.workflow_id} exists already, at epoch {state.version}.",
            error_context={"workflow_id": record.workflow_id, "epoch": state.version},
        )
    assert held is not None
    raise conflict(record.workflow_id, Owner.FromString(held.value))


def require_committed(outcome: Outcome, ownership: Ownership, record: Commit) -> None:
    """Returns if an earlier attempt of this commit was applied; raises what fenced it otherwise."""
    held, state, log = (first(outcome.result, position) for position in range(3))
    if log is not None and is_commit(log, record.commit_id):
        return
    epoch = 0 if state is None else state.version
    facts = {"workflow_id": ownership.workflow_id, "expected_epoch": ownership.epoch, "current_epoch": epoch}
    if held is None or held.create_revision != ownership.fencing_token:
        holder = "" if held is None else Owner.FromString(held.value).holder
        by = f"it is owned by {holder} now" if holder else "nobody owns it now"
        raise LeaseExpiredError(
            f"{ownership.holder} does not own workflow {ownership.workflow_id} any more: {by}.",
            error_context=facts | {"holder": holder},
        )
    if log is not None and log.mod_revision > outcome.revision_before:
        raise StateConflictError(
            f"Another commit took epoch {record.epoch} of workflow {ownership.workflow_id} at the same time.",
            error_context=facts,
        )
    raise EpochMismatchError(
        f"Workflow {ownership.workflow_id} is at epoch {epoch}, not {ownership.epoch}.", error_context=facts
    )
