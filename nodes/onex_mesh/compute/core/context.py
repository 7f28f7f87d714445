"""What an algorithm is told about the request that it works for."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from onex_mesh.runtime.errors import ActionExpiredError, CancelledError


class Cancellation:
    """Whether anybody still waits for a result. Set by the engine, read by the algorithm, possibly in a thread."""

    __slots__ = ("requested",)

    def __init__(self) -> None:
        self.requested = False


@dataclass(frozen=True, slots=True)
class ComputeContext:
    """The `ctx` of an algorithm.

    Attributes:
        correlation_id: The request, for the algorithm's own messages.
        deadline: When nobody waits for the result any more, on the machine's monotonic clock; None for no deadline.
        offset: How many items of the input come before the data, which may be a chunk of it; for messages.
        is_chunk: Whether the data is a chunk, whose result is merged with those of the others.
        cancellation: Whether the request was cancelled; in a worker process only the deadline is seen.
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
            ActionExpiredError: Its deadline has passed.
        """
        if self.cancellation.requested:
            raise CancelledError("the computation was cancelled")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise ActionExpiredError("the computation did not end before its deadline")
