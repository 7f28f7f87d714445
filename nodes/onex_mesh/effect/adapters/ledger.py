"""The ledger in etcd, bound to the present session of the process."""

from __future__ import annotations

from typing import cast

from onex_lease.ledger import Claim
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.effect.ports import LedgerClaim
from onex_mesh.runtime.errors import LeaseExpiredError
from onex_mesh.runtime.mesh import Mesh

_RESULT_TTL_S = 24 * 3600.0
"""Longer than any workflow goes on trying the same effect."""


class EtcdLedger:
    """See `onex_mesh.effect.ports.EffectLedger`."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def claim(self, key: str, *, fencing_token: int) -> LedgerClaim:
        """Claims a key under the session of this process."""
        return await self._mesh.ledger.claim(key, session=self._mesh.session, fencing_token=fencing_token)

    async def record(self, claim: LedgerClaim, result: bytes) -> None:
        """Records a result for a day."""
        await self._mesh.ledger.record(cast(Claim, claim), result, _RESULT_TTL_S)

    async def abandon(self, claim: LedgerClaim) -> None:
        """Gives a claim back."""
        await self._mesh.ledger.abandon(cast(Claim, claim))


class EtcdFence:
    """See `onex_mesh.effect.ports.Fence`.

    It is asked once the claim is made: a later owner that hands the same effect out finds the claim and waits, an
    earlier one finds the later owner here. So of two owners only one has the effect, without a transaction over both.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def require_current(self, context: EffectContext) -> None:
        """Compares the token with the owner key, read from etcd with a quorum. Direct calls have none."""
        if not context.fencing_token:
            return
        owner = await self._mesh.client.get(self._mesh.keys.owner(context.workflow_id))
        current = 0 if owner is None else owner.create_revision
        if current != context.fencing_token:
            raise LeaseExpiredError(
                f"the lease on workflow {context.workflow_id!r} ended before the effect began",
                correlation_id=context.correlation_id,
                error_context={"given": context.fencing_token, "seen": current},
            )
