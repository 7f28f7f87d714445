"""Transactions whose answer is lost, and how the truth about them is found.

The same transaction is simply sent again. Its comparisons can hold only once, so it is never applied twice; and its
else-branch reads what tells whether the earlier attempt was applied. A verdict of the else-branch is final: fencing
tokens and epochs only grow, so an earlier attempt that is still on its way fails too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from onex_lease.client import backoff
from onex_lease.errors import EtcdRejectedError, LeaseExpiredError, OutcomeUnknownError

if TYPE_CHECKING:
    from onex_lease.group import Outcome, TransactionGroup
    from onex_lease.ownership import Holder

# Without a session to bound it, and with one that stays valid: then etcd answers keepalives and would answer this too.
PURSUIT_S_MAX = 10.0
_PURSUIT_WITH_SESSION_S_MAX = 60.0
# After the end of the session.
_GRACE_S = 2.0


async def settle(
    group: TransactionGroup, exclusive: str, request: bytes, session: Holder | None, *, bound: bool = False
) -> tuple[Outcome, int]:
    """Sends a transaction until it is known what became of it.

    Args:
        group: Where to send it.
        exclusive: Name that keeps it out of a group with others that write the same keys.
        request: Encoded TxnRequest. Only one attempt can succeed, and the else-branch tells whether one did.
        session: Pursue it until two seconds after this is over, for a minute at most; None: for ten seconds.
        bound: The transaction binds keys to the session's etcd lease, so etcd refuses it once that is over.

    Returns:
        The outcome of the last attempt, and how many attempts there were.

    Raises:
        LeaseExpiredError: `bound`, and the session is over in etcd: no attempt can succeed any more, and the bound
            keys of one that did are gone.
        EtcdRejectedError: Refused for another reason; nothing was written.
        OutcomeUnknownError: No answer in that time.
    """
    give_up_at = time.monotonic() + (PURSUIT_S_MAX if session is None else _PURSUIT_WITH_SESSION_S_MAX)
    attempt = 0
    while True:
        attempt += 1
        try:
            return await group.submit(exclusive, request), attempt
        except EtcdRejectedError as error:
            if bound and error.code == "NOT_FOUND":
                raise LeaseExpiredError("The session is over: etcd does not know its lease any more.") from error
            if attempt == 1:
                raise
            lost: Exception = error
        except OutcomeUnknownError as error:
            lost = error
        now = time.monotonic()
        if session is not None and not session.is_valid():
            # etcd may well answer: the session may have been closed, or lost for another reason.
            give_up_at = min(give_up_at, now + _GRACE_S)
        if now >= give_up_at:
            raise OutcomeUnknownError(
                f"etcd's answer was lost {attempt} times until the session was over; it may have been applied.",
                error_context={"attempts": attempt},
            ) from lost
        await backoff(attempt)
