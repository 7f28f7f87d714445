"""The journal of workflows: every write and read of their owners, states and logs.

The fence is inside the write: one etcd transaction compares the owner key's create_revision (the fencing token) and the
state key's version (the epoch), and writes state and log record only if both hold (F1, F2).
"""

from __future__ import annotations

import uuid
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from onex.v1.lease_pb2 import Owner
from onex.v1.workflow_pb2 import Commit
from onex_lease import wire
from onex_lease.checks import CheckGroup
from onex_lease.errors import StateConflictError
from onex_lease.group import IN_FLIGHT_MAX, MEMBERS_MAX, TransactionGroup
from onex_lease.keys import require_workflow_id
from onex_lease.messages import first
from onex_lease.ownership import Holder, Ownership
from onex_lease.pursuit import Background, settle
from onex_lease.reader import JournalReader
from onex_lease.record import conflict, owner_value, require_committed, seal, started

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.keys import Keyspace


class Journal(JournalReader):
    """All reads and writes of workflows in one namespace. One per process: it groups what happens at the same time.

    Args:
        client: Connection to etcd.
        keys: The namespace.
        in_flight_max: Commit requests under way at the same time.
        members_max: Commits per request.
    """

    def __init__(
        self, client: EtcdClient, keys: Keyspace, *, in_flight_max: int = IN_FLIGHT_MAX, members_max: int = MEMBERS_MAX
    ) -> None:
        super().__init__(client, keys)
        self._group = TransactionGroup(client, in_flight_max=in_flight_max, members_max=members_max)
        self._checks = CheckGroup(client, keys)
        self._background = Background()

    async def start(
        self, session: Holder, record: Commit, *, address: str = "", final: bool = False, external: bool = False
    ) -> Ownership:
        """Acquires a new workflow and commits its first epoch, in one transaction.

        Args:
            session: What the ownership is bound to.
            record: The first record, with workflow_id, state and whatever belongs to them. What proves the writer
                (commit_id, epoch, previous_hash, lease_id, fencing_token, holder, committed_at) is filled in here; the
                token is 0 in record 1, it is not known before the commit.
            address: Where the holder serves.
            final: The workflow ends with this epoch: nothing is owned afterwards.
            external: The owner is a writer of its own (LeaseService).

        Returns:
            The ownership, at epoch 1.

        Raises:
            WorkflowExistsError: It has a state already; error_context["epoch"] is its epoch.
            LeaseConflictError: It has no state, but an owner (R132).
            LeaseExpiredError: The session is over.
            PayloadTooLargeError: The state or the record is larger than 1 MiB.
            OutcomeUnknownError: etcd gave no answer until the session was over.
        """
        workflow_id = record.workflow_id
        require_workflow_id(workflow_id)
        session.require_valid()
        ownership = Ownership(workflow_id, str(uuid.uuid4()), 0, session.instance_id, session=session)
        state, log = seal(record, ownership)
        keys = self._keys
        owner_key, state_key, log_key = keys.owner(workflow_id), keys.state(workflow_id), keys.log(workflow_id, 1)
        success = [wire.put(state_key, state), wire.put(log_key, log)]
        undo = None
        if not final:
            owner = owner_value(ownership, address, external)
            success += [wire.put(owner_key, owner, session.etcd_lease), wire.put(keys.open(workflow_id), b"")]
            undo = partial(self._give_back, ownership, owner)
        request = wire.txn(
            (wire.created_at(owner_key, 0), wire.version_is(state_key, 0)),
            success,
            (wire.get(owner_key), wire.get_version(state_key), wire.get(log_key)),
        )
        ownership.epoch, ownership.last_hash = 1, sha256(log).digest()
        outcome, _ = await settle(self._group, workflow_id, request, session, undo=undo)
        ownership.fencing_token = outcome.revision if outcome.result.succeeded else started(outcome, record)
        return ownership

    async def acquire(
        self, session: Holder, workflow_id: str, *, address: str = "", external: bool = False
    ) -> Ownership:
        """Becomes the owner of a workflow that has none (R131), whether or not it has a state.

        Args:
            session: What the ownership is bound to.
            workflow_id: The workflow.
            address: Where the holder serves.
            external: The owner is a writer of its own (LeaseService).

        Returns:
            The ownership, at the workflow's epoch.

        Raises:
            LeaseConflictError: It is owned (R132); error_context names the holder.
            LeaseExpiredError: The session is over.
            OutcomeUnknownError: etcd gave no answer until the session was over.
        """
        require_workflow_id(workflow_id)
        session.require_valid()
        ownership = Ownership(workflow_id, str(uuid.uuid4()), 0, session.instance_id, session=session)
        owner_key, state_key = self._keys.owner(workflow_id), self._keys.state(workflow_id)
        owner = owner_value(ownership, address, external)
        undo = partial(self._give_back, ownership, owner)
        request = wire.txn(
            (wire.created_at(owner_key, 0),),
            (wire.get_version(state_key), wire.put(owner_key, owner, session.etcd_lease)),
            (wire.get_version(state_key), wire.get(owner_key)),
        )
        outcome, _ = await settle(self._group, workflow_id, request, session, undo=undo)
        if outcome.result.succeeded:
            ownership.fencing_token = outcome.revision
        else:
            held = first(outcome.result, 1)
            assert held is not None
            if held.value != owner:
                raise conflict(workflow_id, Owner.FromString(held.value))
            ownership.fencing_token = held.create_revision
        state = first(outcome.result, 0)
        if state is not None:
            ownership.epoch = state.version
            try:
                ownership.last_hash = await self._last_hash(ownership)
            except BaseException:
                undo()
                raise
        return ownership

    async def _last_hash(self, ownership: Ownership) -> bytes:
        found = await self._client.get(self._keys.log(ownership.workflow_id, ownership.epoch))
        if found is None:
            raise StateConflictError(
                f"Workflow {ownership.workflow_id} is at epoch {ownership.epoch}, but that epoch has no record.",
                error_context={"workflow_id": ownership.workflow_id, "epoch": ownership.epoch},
            )
        return sha256(found.value).digest()

    def _give_back(self, ownership: Ownership, owner: bytes) -> None:
        """Removes an owner key that was taken for a caller who will not learn of it."""
        owner_key = self._keys.owner(ownership.workflow_id)
        request = wire.txn((wire.value_is(owner_key, owner),), (wire.delete(owner_key),))
        settlement = settle(self._group, ownership.workflow_id, request, None)
        self._background.add(f"Workflow {ownership.workflow_id}", settlement)

    async def commit(self, ownership: Ownership, record: Commit, *, release: bool = False, final: bool = False) -> int:
        """Commits the next epoch: compares owner and epoch and writes state and record, in one transaction (R142).

        Commits that wait at the same time travel together. A commit whose answer is lost is pursued until it is known
        what became of it. Cancelling the call leaves the outcome open: give the ownership up then.

        Args:
            ownership: Proof of being the only writer; moved on to the new epoch.
            record: The record, with the new state; what proves the writer is filled in here, see `start`.
            release: Give the ownership up with the same transaction.
            final: The workflow ends with this epoch; implies `release`.

        Returns:
            The new epoch (R140).

        Raises:
            LeaseExpiredError: The workflow is no longer, or was never, owned by this ownership (R136).
            EpochMismatchError: The workflow is at another epoch (R137, R141).
            StateConflictError: A concurrent commit under the same ownership took the epoch (R143).
            PayloadTooLargeError: The state or the record is larger than 1 MiB.
            OutcomeUnknownError: etcd gave no answer until the session was over.
        """
        workflow_id = ownership.workflow_id
        state, log = seal(record, ownership)
        keys = self._keys
        owner_key, state_key = keys.owner(workflow_id), keys.state(workflow_id)
        log_key = keys.log(workflow_id, record.epoch)
        success = [wire.put(state_key, state), wire.put(log_key, log)]
        if release or final:
            success.append(wire.delete(owner_key))
        if final:
            success.append(wire.delete(keys.open(workflow_id)))
        request = wire.txn(
            (wire.created_at(owner_key, ownership.fencing_token), wire.version_is(state_key, ownership.epoch)),
            success,
            (wire.get(owner_key), wire.get_version(state_key), wire.get(log_key)),
        )
        outcome, _ = await settle(self._group, workflow_id, request, ownership.session)
        if not outcome.result.succeeded:
            require_committed(outcome, ownership, record)
        ownership.epoch, ownership.last_hash = record.epoch, sha256(log).digest()
        return record.epoch

    async def release(self, ownership: Ownership) -> bool:
        """Gives a workflow up; another holder's ownership is never touched (R134, F8).

        Returns:
            False if it was not ours any more. Where an answer was lost and the ownership is gone afterwards: True.

        Raises:
            OutcomeUnknownError: etcd gave no answer until the session was over.
        """
        owner_key = self._keys.owner(ownership.workflow_id)
        request = wire.txn((wire.created_at(owner_key, ownership.fencing_token),), (wire.delete(owner_key),))
        outcome, attempts = await settle(self._group, ownership.workflow_id, request, ownership.session)
        return outcome.result.succeeded or attempts > 1

    async def check(self, workflow_id: str, lease_id: str, fencing_token: int, epoch: int) -> None:
        """Checks an action against etcd, linearizable. Checks that wait at the same time travel together.

        Raises:
            LeaseInvalidError: The lease was never held (R144, F10).
            LeaseExpiredError: It was held once and is over (R136).
            EpochMismatchError: The epoch is ahead of the workflow's (R137).
            EtcdUnavailableError: etcd does not answer.
        """
        await self._checks.check(workflow_id, lease_id, fencing_token, epoch)
