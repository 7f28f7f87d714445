"""What an algorithm is told about the request that it works for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from onex_mesh.runtime.errors import ActionExpiredError, CancelledError, OnexError


class Cancellation:
    """Whether the work is to end. Requested by the engine, read by the algorithm, possibly in a thread."""

    __slots__ = ("_reason",)

    def __init__(self) -> None:
        self._reason: Callable[[], OnexError] | None = None

    def request(self, reason: Callable[[], OnexError]) -> None:
        """Asks the work to end.

        Args:
            reason: Makes the error that it ends with: one of its own, for errors hold on to what they passed through.
        """
        self._reason = self._reason or reason

    def reason(self) -> OnexError | None:
        """Why the work is to end; None while it is not."""
        return None if self._reason is None else self._reason()


def cancelled() -> CancelledError:
    """The error of work whose result nobody waits for any more."""
    return CancelledError("the computation was cancelled")


@dataclass(frozen=True, slots=True)
class ComputeContext:
    """The `ctx` of an algorithm.

    Attributes:
        correlation_id: The request, for the algorithm's own messages.
        deadline: When nobody waits for the result any more, on the machine's monotonic clock; None for no deadline.
        offset: How many items of the input come before the data, which may be a chunk of it; for messages.
        is_chunk: Whether the data is a chunk, whose result is merged with those of the others.
        cancellation: Whether the request was cancelled; in a worker process only the deadline is seen, for that of a
            cancelled request is ended.
    """

    correlation_id: str = ""
    deadline: float | None = None
    offset: int = 0
    is_chunk: bool = False
    cancellation: Cancellation = field(default_factory=Cancellation, repr=False, compare=False)

    def check(self) -> None:
        """To be called now and then by long algorithms: ends them when nobody waits for the result any more.

        Raises:
            CancelledError: The request was cancelled.
            ComputeFailedError: It needs more memory than there is.
            ActionExpiredError: Its deadline has passed.
        """
        reason = self.cancellation.reason()
        if reason is not None:
            try:
                raise reason
            finally:
                # A frame in its traceback would keep the error, and so the traceback and all that the algorithm holds.
                del reason
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise ActionExpiredError("the computation did not end before its deadline")
