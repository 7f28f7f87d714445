"""Linearizable checks of actions against etcd, several to a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onex.v1.lease_pb2 import Owner
from onex_lease import wire
from onex_lease.errors import (
    EpochMismatchError,
    EtcdRejectedError,
    EtcdUnavailableError,
    LeaseExpiredError,
    LeaseInvalidError,
    OutcomeUnknownError,
)
from onex_lease.group import Collector, Member
from onex_lease.messages import KeyValue, first

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.keys import Keyspace


@dataclass(frozen=True, slots=True)
class _Facts:
    """Owner and state of a workflow as they were at one revision."""

    held: KeyValue | None
    state: KeyValue | None
    revision: int


class CheckGroup:
    """Checks leases and epochs. A group is a flat transaction of reads: etcd takes nested ones for writes, and would
    put them through its log."""

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client = client
        self._keys = keys
        self._collector: Collector[_Facts] = Collector(self._send)

    async def check(self, workflow_id: str, lease_id: str, fencing_token: int, epoch: int) -> None:
        """See `Journal.check`."""
        # Reads do not disturb each other, so each is its own name.
        facts = await self._collector.submit(object(), self._reads(workflow_id))
        if fencing_token <= 0 or fencing_token > facts.revision:
            raise forged(workflow_id, "such a fencing token was never issued")
        if facts.held is None or facts.held.create_revision > fencing_token:
            await self._judge_past(workflow_id, lease_id, fencing_token)
        if facts.held is None or facts.held.create_revision < fencing_token:
            raise forged(workflow_id, "such a fencing token was never issued")
        if Owner.FromString(facts.held.value).lease_id != lease_id:
            raise forged(workflow_id, "the fencing token belongs to another lease")
        current = 0 if facts.state is None else facts.state.version
        if not 0 <= epoch <= current:
            raise EpochMismatchError(
                f"The action is of epoch {epoch}, but workflow {workflow_id} is at epoch {current}.",
                error_context={"workflow_id": workflow_id, "expected_epoch": epoch, "current_epoch": current},
            )

    async def _judge_past(self, workflow_id: str, lease_id: str, fencing_token: int) -> None:
        """Raises what is true of a lease that does not hold now: etcd keeps the past until it is compacted."""
        try:
            held = await self._client.get(self._keys.owner(workflow_id), revision=fencing_token)
        except EtcdRejectedError as error:
            # Compacted: it cannot be told any more, and both are refusals.
            raise expired(workflow_id) from error
        if held is None or held.create_revision != fencing_token:
            raise forged(workflow_id, "such a fencing token was never issued")
        if Owner.FromString(held.value).lease_id != lease_id:
            raise forged(workflow_id, "the fencing token belongs to another lease")
        raise expired(workflow_id)

    def _reads(self, workflow_id: str) -> bytes:
        keys = self._keys
        return wire.txn((), (wire.get(keys.owner(workflow_id)), wire.get_version(keys.state(workflow_id))))

    async def _send(self, members: list[Member[_Facts]]) -> None:
        try:
            # Joined encodings of transactions are the encoding of one with all their operations.
            response = await self._client.txn(b"".join([member.request for member in members]))
        except (EtcdUnavailableError, OutcomeUnknownError) as error:
            for member in members:
                if not member.outcome.done():
                    failure = EtcdUnavailableError(error.message, error_context=error.error_context)
                    member.outcome.set_exception(failure)
            return
        revision = response.header.revision
        for position, member in enumerate(members):
            if not member.outcome.done():
                held, state = first(response, 2 * position), first(response, 2 * position + 1)
                member.outcome.set_result(_Facts(held, state, revision))


def expired(workflow_id: str) -> LeaseExpiredError:
    """A lease that was held once and is over."""
    return LeaseExpiredError(
        f"The lease on workflow {workflow_id} is over.", error_context={"workflow_id": workflow_id}
    )


def forged(workflow_id: str, why: str) -> LeaseInvalidError:
    """A lease that was never held."""
    return LeaseInvalidError(
        f"The lease on workflow {workflow_id} is not valid: {why}.", error_context={"workflow_id": workflow_id}
    )
