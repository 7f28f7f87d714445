"""The ledger of what must happen once: who executes it, then its result.

A claim is bound to the executor's session, so that it ends with the executor; a result stays for a time. Between the
effect itself and the record of its result a crash can still fall: what that means is said for each type of effect in
docs/guarantees.md.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from onex_lease import wire
from onex_lease.errors import InProgressError, LeaseExpiredError, PayloadTooLargeError
from onex_lease.group import TransactionGroup
from onex_lease.messages import KeyValue, first
from onex_lease.pursuit import Background, settle
from onex_lease.record import VALUE_BYTES_MAX

if TYPE_CHECKING:
    from onex_lease.client import EtcdClient
    from onex_lease.keys import Keyspace
    from onex_lease.ownership import Holder

# What is stored begins with one of these: a claim (JSON), or a result (as the executor gave it).
_CLAIM = b"C"
_RESULT = b"R"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to execute what a key stands for, or its result if that was done before.

    Attributes:
        key: The idempotency key.
        claim_id: UUID of this claim.
        result: What was recorded before; None if it is ours to execute now.
        revision: create_revision of our claim; 0 if there is a result.
        session: What the claim is bound to.
    """

    key: str
    claim_id: str
    result: bytes | None
    revision: int = 0
    session: Holder | None = field(default=None, repr=False, compare=False)


class Ledger:
    """Claims and results by idempotency key. One per process: it groups what happens at the same time.

    Args:
        client: Connection to etcd.
        keys: The namespace.
    """

    def __init__(self, client: EtcdClient, keys: Keyspace) -> None:
        self._client = client
        self._keys = keys
        self._group = TransactionGroup(client)
        self._shelf = _ResultLeases(client)
        self._background = Background()

    async def claim(self, key: str, *, session: Holder, fencing_token: int = 0) -> Claim:
        """Claims a key, or returns the result that was recorded for it.

        Args:
            key: The idempotency key, 1 to 1024 bytes.
            session: What the claim is bound to: it ends with the executor.
            fencing_token: Token of the lease under which it is executed; kept for people who look into it.

        Raises:
            InProgressError: A live executor has claimed it and has not recorded a result; error_context["holder"].
            LeaseExpiredError: The session is over.
            OutcomeUnknownError: etcd gave no answer until the session was over.
            ValidationError: The key is empty or too long.
        """
        session.require_valid()
        etcd_key = self._keys.idempotency(key)
        claim_id = str(uuid.uuid4())
        facts = {"claim_id": claim_id, "holder": session.instance_id, "fencing_token": fencing_token}
        value = _CLAIM + json.dumps(facts).encode()
        request = wire.txn(
            (wire.created_at(etcd_key, 0),), (wire.put(etcd_key, value, session.etcd_lease),), (wire.get(etcd_key),)
        )
        outcome, _ = await settle(self._group, key, request, session, undo=partial(self._give_back, key, value))
        if outcome.result.succeeded:
            return Claim(key, claim_id, None, outcome.revision, session)
        found = first(outcome.result, 0)
        assert found is not None
        if found.value.startswith(_RESULT):
            return Claim(key, claim_id, found.value[1:], 0, session)
        holder = _claimant(found)
        if holder["claim_id"] == claim_id:
            return Claim(key, claim_id, None, found.create_revision, session)
        raise InProgressError(
            f"{holder['holder']} works on it at this moment.", error_context={"key": key, "holder": holder["holder"]}
        )

    def _give_back(self, key: str, value: bytes) -> None:
        """Removes a claim that was made for a caller who will not learn of it."""
        etcd_key = self._keys.idempotency(key)
        request = wire.txn((wire.value_is(etcd_key, value),), (wire.delete(etcd_key),))
        self._background.add(f"The claim on {key}", settle(self._group, key, request, None))

    async def record(self, claim: Claim, result: bytes, ttl_s: float) -> None:
        """Records the result of a claimed key.

        Args:
            claim: The claim; it has no result yet.
            result: At most 1 MiB.
            ttl_s: How long it is kept, at least.

        Raises:
            LeaseExpiredError: The claim has ended, with its session; another executor may have begun.
            PayloadTooLargeError: The result is larger than 1 MiB.
            EtcdUnavailableError: etcd does not answer; nothing was recorded.
            OutcomeUnknownError: etcd gave no answer until the session was over.
        """
        if len(result) > VALUE_BYTES_MAX:
            raise PayloadTooLargeError(
                f"A result of {len(result)} bytes is too large; {VALUE_BYTES_MAX} are allowed.",
                error_context={"size_bytes": len(result), "size_bytes_max": VALUE_BYTES_MAX},
            )
        etcd_key = self._keys.idempotency(claim.key)
        stored = _RESULT + result
        # The claim's own version 1: a repeated attempt finds version 2 and looks at what is there.
        request = wire.txn(
            (wire.created_at(etcd_key, claim.revision), wire.version_is(etcd_key, 1)),
            (wire.put(etcd_key, stored, await self._shelf.lease_for(ttl_s)),),
            (wire.get(etcd_key),),
        )
        outcome, _ = await settle(self._group, claim.key, request, claim.session)
        if outcome.result.succeeded:
            return
        found = first(outcome.result, 0)
        if found is None or found.create_revision != claim.revision or found.value != stored:
            raise LeaseExpiredError(
                "The claim has ended before its result was recorded.", error_context={"key": claim.key}
            )

    async def abandon(self, claim: Claim) -> bool:
        """Gives a claim up so that it can be executed anew; False if there was none of ours any more.

        Raises:
            OutcomeUnknownError: etcd gave no answer until the session was over.
        """
        if claim.result is not None:
            return False
        etcd_key = self._keys.idempotency(claim.key)
        request = wire.txn(
            (wire.created_at(etcd_key, claim.revision), wire.version_is(etcd_key, 1)), (wire.delete(etcd_key),)
        )
        outcome, attempts = await settle(self._group, claim.key, request, claim.session)
        return outcome.result.succeeded or attempts > 1


def _claimant(found: KeyValue) -> dict[str, str]:
    facts = json.loads(found.value[1:])
    return {"claim_id": str(facts["claim_id"]), "holder": str(facts["holder"])}


class _ResultLeases:
    """etcd leases that results are bound to. Results of about the same time share one: a lease each would cost more
    than the result."""

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._current: dict[int, tuple[int, float]] = {}  # ttl → etcd lease, when to take another
        self._granting = asyncio.Lock()

    async def lease_for(self, ttl_s: float) -> int:
        """An etcd lease that lasts `ttl_s` from now, and at most a tenth (or a second) longer."""
        ttl = max(1, math.ceil(ttl_s))
        shared_s = max(1, math.ceil(ttl / 10))
        async with self._granting:
            etcd_lease, until = self._current.get(ttl, (0, 0.0))
            if time.monotonic() >= until:
                granted_at = time.monotonic()
                etcd_lease = await self._client.grant(ttl + shared_s)
                self._current[ttl] = (etcd_lease, granted_at + shared_s)
        return etcd_lease
