"""Transactions whose answer is lost, and how the truth about them is found.

The same transaction is simply sent again. Its comparisons can hold only once, so it is never applied twice; and its
else-branch reads what tells whether the earlier attempt was applied. A verdict of the else-branch is final: fencing
tokens and epochs only grow, so an earlier attempt that is still on its way fails too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
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
_log = logging.getLogger(__name__)


async def settle(
    group: TransactionGroup,
    exclusive: str,
    request: bytes,
    session: Holder | None,
    *,
    undo: Callable[[], None] | None = None,
) -> tuple[Outcome, int]:
    """Sends a transaction until it is known what became of it.

    Args:
        group: Where to send it.
        exclusive: Name that keeps it out of a group with others that write the same keys.
        request: Encoded TxnRequest. Only one attempt can succeed, and the else-branch tells whether one did.
        session: Pursue it until two seconds after this is over, for a minute at most; None: for ten seconds.
        undo: The transaction takes something (an owner key, a claim) that is bound to the session's etcd lease. Called
            if the caller is cancelled before it knows what it got: nobody would ever give that back.

    Returns:
        The outcome of the last attempt, and how many attempts there were.

    Raises:
        LeaseExpiredError: `undo` is given, and the session is over in etcd: no attempt can succeed any more, and what
            one has taken is gone.
        EtcdRejectedError: Refused for another reason; nothing was written.
        OutcomeUnknownError: No answer in that time.
    """
    give_up_at = time.monotonic() + (PURSUIT_S_MAX if session is None else _PURSUIT_WITH_SESSION_S_MAX)
    attempt = 0
    while True:
        attempt += 1
        try:
            pending = group.submit(exclusive, request)
            return await (pending if undo is None else _undoing(pending, undo)), attempt
        except EtcdRejectedError as error:
            if undo is not None and error.code == "NOT_FOUND":
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


async def _undoing(pending: asyncio.Future[Outcome], undo: Callable[[], None]) -> Outcome:
    try:
        return await asyncio.shield(pending)
    except asyncio.CancelledError:
        # Not before it is answered: undone too early, it would be done after that.
        pending.add_done_callback(lambda done: _undo(done, undo))
        raise


def _undo(done: asyncio.Future[Outcome], undo: Callable[[], None]) -> None:
    if not done.cancelled():
        done.exception()  # nobody else looks at it
    undo()


class Background:
    """Settlements that nobody waits for."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, name: str, work: Coroutine[None, None, tuple[Outcome, int]]) -> None:
        """Runs `work` to its end; a failure is logged under `name`."""
        task = asyncio.get_running_loop().create_task(self._run(name, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, name: str, work: Coroutine[None, None, tuple[Outcome, int]]) -> None:
        try:
            await work
        except (EtcdRejectedError, OutcomeUnknownError) as error:
            _log.warning("%s was taken and could not be given back, it ends with its session: %s", name, error)
