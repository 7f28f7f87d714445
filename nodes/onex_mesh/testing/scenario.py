"""Given a state, when an action comes, then state and intents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, cast

from pydantic import BaseModel

from onex_mesh.reducer.core import Fsm, Intent, ReducerContext
from onex_mesh.reducer.core.documents import plain, write_model
from onex_mesh.reducer.core.machine import apply_action
from onex_mesh.runtime.errors import OnexError
from onex_mesh.testing.machine import Source, machine_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of actions that are given none."""

Expected: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Then:
    """What an action led to.

    Attributes:
        machine: The machine.
        document: The new state as plain JSON.
        status: The FSM state after.
        previous: The FSM state before.
        intents: Side effects in the order of emission.
        final: Whether nothing leads out of the state.
    """

    machine: Fsm
    document: Mapping[str, object]
    status: str
    previous: str
    intents: tuple[Intent, ...]
    final: bool

    def then(
        self,
        status: str | None = None,
        *,
        state: Expected | None = None,
        intents: Sequence[str | Expected] | None = None,
    ) -> Then:
        """Checks what is named, and says what is otherwise.

        Args:
            status: The FSM state.
            state: Fields of the state, as plain JSON or as Python values; others are not looked at.
            intents: All intents in their order. A text is the target; a mapping names `type`, `target`, `priority`,
                `key` or fields of the `payload`, and what it does not name is not looked at.

        Raises:
            AssertionError: Something is otherwise; the message says what was expected and what was found.
        """
        if status is not None:
            assert self.status == status, f"the state is {self.status}, not {status}"
        if state is not None:
            _require_subset("state", self.document, cast("Mapping[str, object]", as_json(dict(state))))
        if intents is not None:
            found = [f"{intent.type.value} to {intent.target}" for intent in self.intents]
            assert len(found) == len(intents), f"{len(found)} intents, not {len(intents)}: {', '.join(found) or 'none'}"
            for index, (intent, expected) in enumerate(zip(self.intents, intents, strict=True)):
                wanted = {"target": expected} if isinstance(expected, str) else expected
                _require_subset(f"intents[{index}]", intent_document(intent), as_json(dict(wanted)))
        return self

    def when(
        self, action: str, payload: object = None, *, now: datetime = NOW, action_id: str = "", correlation_id: str = ""
    ) -> Then:
        """The next action, from the state that this one led to; see `Given.when`."""
        return Given(self.machine, self.document).when(
            action, payload, now=now, action_id=action_id, correlation_id=correlation_id
        )

    def refuses(self, action: str, payload: object = None, *, reason: str = "", now: datetime = NOW) -> Refused:
        """An action that must be refused in the state that this one led to; see `Given.refuses`."""
        return Given(self.machine, self.document).refuses(action, payload, reason=reason, now=now)


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal: its reason, such as "TRANSITION_REFUSED", and its message."""

    reason: str
    message: str
    error: OnexError


class Given:
    """A machine in a state. Make one with `given`."""

    def __init__(self, machine: Fsm, state: object = None) -> None:
        self._machine = machine
        self._state = None if state is None else as_json(state)

    def when(
        self, action: str, payload: object = None, *, now: datetime = NOW, action_id: str = "", correlation_id: str = ""
    ) -> Then:
        """Applies an action; the transition runs twice and is compared, as in development.

        Args:
            action: Its name.
            payload: Plain JSON, or an instance of the payload's model.
            now: What `ctx.now` is.
            action_id: What ids and random numbers derive from. Default: the action's name.
            correlation_id: What `ctx.correlation_id` is.

        Raises:
            OnexError: The action is refused or failed.
        """
        applied = apply_action(
            self._machine,
            self._state,
            action,
            as_json(payload),
            lambda: ReducerContext(now=now, action_id=action_id or action, correlation_id=correlation_id),
            twice=True,
        )
        return Then(self._machine, applied.document, applied.status, applied.previous, applied.intents, applied.final)

    def refuses(self, action: str, payload: object = None, *, reason: str = "", now: datetime = NOW) -> Refused:
        """Applies an action that must be refused.

        Args:
            action: Its name.
            payload: Plain JSON, or an instance of the payload's model.
            reason: The reason that the refusal must have. Default: any.
            now: What `ctx.now` is.

        Raises:
            AssertionError: It is not refused, or for another reason.
        """
        try:
            taken = self.when(action, payload, now=now)
        except OnexError as error:
            if reason not in ("", error.reason):
                text = f"{action} is refused with {error.reason}, not {reason}: {error.message}"
                raise AssertionError(text) from error
            return Refused(error.reason, error.message, error)
        raise AssertionError(f"{action} is not refused: it led from {taken.previous} to {taken.status}")


def given(source: Source, name: str = "", *, state: object = None, version: str = "") -> Given:
    """A state machine in a state.

    Args:
        source: A machine, an App that has it, a YAML file, or the class that declares it.
        name: Which one of an App. Default: the only one that it has.
        state: Plain JSON, or an instance of the state's model. Default: its initial state.
        version: Which version of an App's. Default: the newest.
    """
    return Given(machine_of(source, name, version), state)


def as_json(value: object) -> object:
    """Plain JSON of models and other values, as they would travel."""
    if isinstance(value, BaseModel):
        return write_model(value)
    return json.loads(json.dumps(plain(value), default=_text))


def intent_document(intent: Intent) -> Mapping[str, object]:
    """An intent as plain JSON."""
    document = {
        "type": intent.type.value,
        "target": intent.target,
        "priority": intent.priority.value,
        "key": intent.idempotency_key,
        "custom_type": intent.custom_type,
        "metadata": dict(intent.metadata),
        "payload": intent.payload,
    }
    return cast("Mapping[str, object]", as_json(document))


def _text(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def _require_subset(path: str, found: object, wanted: object) -> None:
    """Fields of mappings that are named must be there and equal; everything else must be equal as a whole."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            assert key in found, f"{path}.{key} is not there; there are {', '.join(map(str, found)) or 'none'}"
            _require_subset(f"{path}.{key}", found[key], value)
        return
    assert found == wanted, f"{path} is {found!r}, not {wanted!r}"
