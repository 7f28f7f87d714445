"""What a transition is told beside state and payload: everything in it derives from the action (F13)."""

from __future__ import annotations

import hashlib
import random
import uuid
from datetime import datetime

_NAMESPACE = uuid.UUID("6f0e3c1a-52d8-5b0e-9d0a-7c5c0f5a9b11")


class ReducerContext:
    """The `ctx` of a transition.

    The same action always gives the same time, ids and random numbers, in every process and on every machine.

    Attributes:
        now: When the action was issued, in UTC; not when the transition runs.
        action_id: The action.
        correlation_id: The request.
    """

    __slots__ = ("_drawn", "_random", "_root", "action_id", "correlation_id", "now")

    def __init__(self, *, now: datetime, action_id: str, correlation_id: str = "") -> None:
        self.now = now
        self.action_id = action_id
        self.correlation_id = correlation_id
        self._root = _root_of(action_id)
        self._random: random.Random | None = None
        self._drawn = 0

    def uuid(self, name: str | int | None = None) -> uuid.UUID:
        """An id that derives from the action.

        Args:
            name: What it is for: the same name gives the same id. None: the next one of a sequence.
        """
        if name is None:
            self._drawn += 1
            return uuid.uuid5(self._root, f"drawn:{self._drawn}")
        return uuid.uuid5(self._root, f"named:{name}")

    @property
    def random(self) -> random.Random:
        """Random numbers that derive from the action."""
        if self._random is None:
            # Not for secrets: whoever knows the action id can tell the numbers, which is the point.
            seed = hashlib.sha256(f"random:{self._root}".encode()).digest()
            self._random = random.Random(seed)  # noqa: S311 - reproducible on purpose
        return self._random

    def intent_id(self, index: int) -> str:
        """Id of the intent at an index: uuid5(action_id, index)."""
        return str(uuid.uuid5(self._root, str(index)))

    def intent_key(self, index: int) -> str:
        """Idempotency key of the intent at an index, where it names none: a hash of action and index."""
        return hashlib.sha256(f"{self._root}:{index}".encode()).hexdigest()


def _root_of(action_id: str) -> uuid.UUID:
    """The action id as a namespace; what is no UUID, such as a client's correlation id, is made one."""
    try:
        return uuid.UUID(action_id)
    except ValueError:
        return uuid.uuid5(_NAMESPACE, action_id)
