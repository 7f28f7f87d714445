"""The form of the file: what an author may write, before anything of it is looked at closely."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from onex_mesh.reducer.core.declarative.wording import form_violations
from onex_mesh.reducer.core.intent import IntentType, Priority
from onex_mesh.runtime.document import Document
from onex_mesh.runtime.violations import describe

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
StateName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.\-]{0,127}$")]
Action = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]{0,127}$")]
Seconds = Annotated[float, Field(ge=0, le=86_400 * 366)]
Expression = Annotated[str, Field(min_length=1, max_length=4_096)]


class _Form(BaseModel):
    """Nothing is taken for something else, and no key is passed over."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class FieldForm(_Form):
    """A field that is more than its type."""

    type: str
    default: object = None
    description: str = ""
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: Annotated[int, Field(ge=0)] | None = None
    max_length: Annotated[int, Field(ge=0)] | None = None
    pattern: str | None = None
    one_of: list[str | int] | None = None

    @property
    def has_default(self) -> bool:
        """Whether a default was written, be it null."""
        return "default" in self.model_fields_set


Fields = dict[Name, str | FieldForm]


class GuardForm(_Form):
    """A guard with a name for people."""

    name: Action
    when: Expression


class RetryForm(_Form):
    """When an intent is tried again."""

    max_retries: Annotated[int, Field(ge=0, le=100)]
    initial_backoff_s: Seconds | None = None
    max_backoff_s: Seconds | None = None
    backoff_multiplier: Annotated[float, Field(ge=1)] | None = None
    jitter: Annotated[float, Field(ge=0, le=1)] | None = None
    max_elapsed_s: Seconds | None = None
    retry_on: list[str] = []


class IntentForm(_Form):
    """A side effect to declare."""

    type: Literal[tuple(kind.value for kind in IntentType)]  # type: ignore[valid-type]  # the values of the enum
    target: str
    payload: dict[str, object] = {}
    priority: Literal[tuple(kind.value for kind in Priority)] = Priority.NORMAL.value  # type: ignore[valid-type]  # likewise
    key: str = ""
    custom_type: str = ""
    metadata: dict[str, str] = {}
    retry: RetryForm | None = None
    when: Expression | None = None
    for_each: Expression | None = None


class StateForm(_Form):
    """What happens when a state is entered or left."""

    description: str = ""
    assign: dict[Name, Expression] = {}
    entry: list[IntentForm] = []
    exit: list[IntentForm] = []


class TransitionForm(_Form):
    """One transition."""

    action: Action
    source: str | Annotated[list[str], Field(min_length=1)] = Field(alias="from")
    target: str | None = Field(None, alias="to")
    description: str = ""
    payload: str | Fields | None = None
    guard: Expression | None = None
    guards: list[GuardForm] = []
    assign: dict[Name, Expression] = {}
    intents: list[IntentForm] = []


class MachineForm(_Form):
    """A whole file."""

    name: Action
    version: str = "1.0.0"
    description: str = ""
    status: Name = "status"
    initial: str
    final: list[str] = []
    states: (
        Annotated[list[StateName], Field(min_length=1)]
        | Annotated[dict[StateName, StateForm | None], Field(min_length=1)]
    )
    types: dict[Name, Fields] = {}
    data: Fields = {}
    transitions: Annotated[list[TransitionForm], Field(min_length=1)]


_KEYS = frozenset(
    info.alias or name
    for form in (MachineForm, TransitionForm, StateForm, IntentForm, RetryForm, GuardForm, FieldForm)
    for name, info in form.model_fields.items()
)


def read_form(document: Document) -> MachineForm:
    """The machine that a document describes, in form only.

    Raises:
        ValidationError: Keys are missing, unknown or of another type; with file and line of each.
    """
    if not isinstance(document.value, dict):
        raise document.refused((("", f"is {describe(document.value)}; a state machine is a mapping"),))
    try:
        return MachineForm.model_validate(document.value)
    except pydantic.ValidationError as error:
        raise document.refused(form_violations(document.value, error, _KEYS)) from None
