"""What an event becomes: the start of a workflow or a signal, the same each time the same event is delivered."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from google.protobuf import struct_pb2

from onex.v1 import orchestrator_pb2, workflow_pb2
from onex_mesh.effect.core.events import CloudEvent
from onex_mesh.effect.core.subscription_models import SubscriptionConfig, compiled
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import from_payload, json_payload
from onex_mesh.runtime.templates import Scope, ValueTemplate

EVENT_SOURCE = "event_source"
EVENT_ID = "event_id"
"""In the metadata of a workflow: the event that started it."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_CORRELATION_CHARS_MAX = 128
_NAME_CHARS_MAX = 60
_HASH_CHARS = 40

Order: TypeAlias = "workflow_pb2.OrchestratorContract | orchestrator_pb2.SignalWorkflowRequest"
"""What an orchestrator is asked to commit."""


class EventMapping(Protocol):
    """Makes orders of events."""

    @property
    def label(self) -> str:
        """What it makes, for records: a word and a name, never data."""

    def order(self, event: CloudEvent) -> Order:
        """The order of an event.

        Raises:
            ValidationError: The event lacks what the templates read, or has what cannot travel.
        """


def mapping_of(
    name: str, config: SubscriptionConfig, definition: workflow_pb2.OrchestratorContract | None
) -> EventMapping:
    """The mapping that a subscription declares.

    Args:
        name: Name of the subscription.
        config: Its declaration.
        definition: The contract in the file that it names, if it names one.
    """
    if config.signal is not None:
        row = config.signal
        return _Signals(
            compiled(row.workflow_id), compiled(row.name), compiled(row.signal_id), compiled(row.payload), row.name
        )
    start = config.start_workflow
    assert start is not None
    contract = workflow_pb2.OrchestratorContract()
    if definition is not None:
        contract.CopyFrom(definition)
    else:
        contract.workflow_config.name = start.workflow or ""
    return _Starts(
        name,
        contract,
        compiled(start.input),
        None if start.workflow_id is None else compiled(start.workflow_id),
    )


@dataclass(frozen=True, slots=True)
class _Starts:
    subscription: str
    contract: workflow_pb2.OrchestratorContract
    input: ValueTemplate
    workflow_id: ValueTemplate | None

    @property
    def label(self) -> str:
        return f"start_workflow {self.contract.workflow_config.name}"

    def order(self, event: CloudEvent) -> workflow_pb2.OrchestratorContract:
        scope = _scope(event)
        contract = workflow_pb2.OrchestratorContract()
        contract.CopyFrom(self.contract)
        contract.initial_state.CopyFrom(self.input.resolve(scope))
        contract.workflow_id = (
            self._derived_id(event)
            if self.workflow_id is None
            else _text(self.workflow_id, scope, "start_workflow.workflow_id")
        )
        if not _ID.fullmatch(contract.workflow_id):
            raise _refused("start_workflow.workflow_id", f"{contract.workflow_id[:128]!r} is not {_ID.pattern}")
        contract.correlation_id = event.correlation_id[:_CORRELATION_CHARS_MAX] or contract.workflow_id
        # By these the event is known again where the workflow exists, even if its definition has changed since.
        contract.metadata[EVENT_SOURCE] = event.source
        contract.metadata[EVENT_ID] = event.id
        return contract

    def _derived_id(self, event: CloudEvent) -> str:
        identity = "\0".join((self.subscription, event.source, event.id))
        digest = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARS]
        name = re.sub(r"[^A-Za-z0-9._-]", "-", self.contract.workflow_config.name)[:_NAME_CHARS_MAX]
        return f"{name}-{digest}"


@dataclass(frozen=True, slots=True)
class _Signals:
    workflow_id: ValueTemplate
    name: ValueTemplate
    signal_id: ValueTemplate
    payload: ValueTemplate
    shown: str

    @property
    def label(self) -> str:
        return f"signal {self.shown}"

    def order(self, event: CloudEvent) -> orchestrator_pb2.SignalWorkflowRequest:
        scope = _scope(event)
        return orchestrator_pb2.SignalWorkflowRequest(
            workflow_id=_text(self.workflow_id, scope, "signal.workflow_id"),
            signal_id=_text(self.signal_id, scope, "signal.signal_id"),
            name=_text(self.name, scope, "signal.name"),
            payload=self.payload.resolve(scope),
        )


def _scope(event: CloudEvent) -> Scope:
    return Scope(input=json_payload(event.json()), steps={}, params=struct_pb2.Struct(), workflow={})


def _text(template: ValueTemplate, scope: Scope, field: str) -> str:
    """The text that a template gives; a whole number is one, too, as ids often are."""
    try:
        value = from_payload(template.resolve(scope))
    except ValidationError as error:
        raise _refused(field, error.message) from error
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise _refused(field, "gives no text")
    return value


def _refused(field: str, text: str) -> ValidationError:
    return ValidationError(f"{field}: {text}", violations=((field, text),))
