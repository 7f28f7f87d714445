"""Subscriptions as an operator declares them: which messages become new workflows or signals, and how."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import pydantic
from pydantic import Field, field_validator, model_validator

from onex_mesh.effect.core.kinds.events import EventPattern
from onex_mesh.effect.core.kinds.nats import NatsTarget, Pattern
from onex_mesh.effect.core.kinds.redis_stream import RedisStreamTarget, StreamKey
from onex_mesh.effect.core.targets import FrozenModel, Seconds, TargetConfig
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import to_value
from onex_mesh.runtime.templates import ValueTemplate, compile_value

_TEMPLATES = re.compile(r"subscriptions\.[^.]+\.(?:start_workflow\.(?:input|workflow_id)|signal)(?:\..*)?")

Template: TypeAlias = pydantic.JsonValue
"""Any JSON in which `${…}` reads the event as `input`."""
TextTemplate = Annotated[str, Field(min_length=1, max_length=1_000)]


def holds_templates(path: str) -> bool:
    """Whether `${…}` at a place of the file is a template over the event, and no variable of the environment."""
    return _TEMPLATES.fullmatch(path) is not None


def compiled(value: Template) -> ValueTemplate:
    """The template of a declared value.

    Raises:
        ValueError: It is not CEL, or reads something else than the event.
    """
    try:
        template = compile_value(to_value(value))
    except ValidationError as error:
        rows = (text if path == "value" else f"{path}: {text}" for path, text in error.violations)
        raise ValueError("; ".join(rows)) from error
    foreign = sorted(template.roots - {"input"})
    if foreign:
        raise ValueError(f"reads {', '.join(foreign)}; a subscription knows only the event, as `input`")
    return template


class StartWorkflow(FrozenModel):
    """Each message starts a workflow."""

    workflow: Annotated[str | None, Field(min_length=1, max_length=128)] = None
    """Name of a workflow of the App."""
    definition: Path | None = None
    """A workflow's YAML file instead."""
    input: Template = "${input.data}"
    """Input of the workflow."""
    workflow_id: TextTemplate | None = None
    """Id of the workflow. Default: its name and a hash of the subscription and the event's source and id."""

    @field_validator("input", "workflow_id")
    @classmethod
    def _is_template(cls, value: Template) -> Template:
        compiled(value)
        return value

    @model_validator(mode="after")
    def _one_workflow(self) -> Self:
        if (self.workflow is None) == (self.definition is None):
            raise ValueError("either workflow, the name of one of the App, or definition, a YAML file, is required")
        return self


class Signal(FrozenModel):
    """Each message is a signal to a workflow."""

    workflow_id: TextTemplate
    name: TextTemplate
    signal_id: TextTemplate = "${input.id}"
    """The same id is taken once by a workflow."""
    payload: Template = "${input.data}"

    @field_validator("workflow_id", "name", "signal_id", "payload")
    @classmethod
    def _is_template(cls, value: Template) -> Template:
        compiled(value)
        return value


class DeadLetters(FrozenModel):
    """Where messages go that nobody can do anything with. Exactly one place."""

    subject: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=255)] = None
    """NATS: a subject that a stream of the same servers takes."""
    stream: StreamKey | None = None
    """Redis: the key of another stream of the same server."""
    file: Path | None = None
    """A file of JSON lines."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.subject, self.stream, self.file)) != 1:
            raise ValueError("one of subject, stream and file is required")
        return self


class Redelivery(FrozenModel):
    """When a message is delivered again."""

    max_deliveries: Annotated[int, Field(ge=1, le=1_000)] = 5
    """Deliveries after which a message that is refused becomes a dead letter; what is temporary never makes one."""
    initial_delay_s: Seconds = 1.0
    max_delay_s: Seconds = 30.0
    multiplier: Annotated[float, Field(ge=1, le=100)] = 2.0

    def delay_s(self, deliveries: int) -> float:
        """The wait before the next delivery, after so many."""
        return min(self.initial_delay_s * self.multiplier ** min(max(deliveries - 1, 0), 64), self.max_delay_s)


class SubscriptionConfig(FrozenModel):
    """A subscription."""

    target: str
    """A target of the same file, of kind nats or redis_stream: its servers, its login, its stream."""
    durable: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    """Name of the durable consumer (NATS) or of the group (Redis). Nodes with the same name share the messages."""
    filter_subject: Pattern | None = None
    """NATS: the subjects that are wanted. Default: everything below the target's prefix."""
    event_types: tuple[EventPattern, ...] = ()
    """The types of event that are wanted; others are acknowledged and passed over. Default: all."""
    start: Literal["first", "new"] = "first"
    """Where a durable consumer or group that is not there yet begins: at the first message, or at those to come."""
    start_workflow: StartWorkflow | None = None
    signal: Signal | None = None
    dead_letters: DeadLetters
    redelivery: Redelivery = Redelivery()
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """Messages under way at once, on one node."""
    pending_max: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Messages delivered and not acknowledged, over all nodes; no more are fetched until some are."""
    ack_wait_s: Annotated[float, Field(ge=1, le=3_600)] = 30.0
    """How long after a node died its messages go to another. A node that lives says that it is still at work."""
    timeout_s: Seconds = 10.0
    """Longest time for one call of an orchestrator."""
    description: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _one_use(self) -> Self:
        if (self.start_workflow is None) == (self.signal is None):
            raise ValueError("either start_workflow or signal is required")
        if self.pending_max < self.concurrency:
            raise ValueError(f"pending_max: {self.pending_max} is less than concurrency")
        return self

    def resolved(self, folder: Path) -> Self:
        """The same with relative paths taken from the folder of the file that declares it."""
        update: dict[str, object] = {}
        if self.start_workflow is not None and self.start_workflow.definition is not None:
            definition = folder / self.start_workflow.definition
            update["start_workflow"] = self.start_workflow.model_copy(update={"definition": definition})
        if self.dead_letters.file is not None:
            update["dead_letters"] = DeadLetters(file=folder / self.dead_letters.file)
        return self.model_copy(update=update)

    def refers_to(self) -> tuple[Path, ...]:
        """Files whose content belongs to the declaration."""
        start = self.start_workflow
        return () if start is None or start.definition is None else (start.definition,)

    def wants(self, event_type: str) -> bool:
        """Whether events of a type are taken."""
        return not self.event_types or any(
            event_type.startswith(pattern[:-1]) if pattern.endswith("*") else event_type == pattern
            for pattern in self.event_types
        )


def problems_with_target(config: SubscriptionConfig, targets: Mapping[str, TargetConfig]) -> Iterator[tuple[str, str]]:
    """What is wrong with a subscription in view of the targets: field and text."""
    target = targets.get(config.target)
    letters = config.dead_letters
    if target is None:
        yield "target", f"no target {config.target!r} is declared"
    elif isinstance(target, NatsTarget):
        if letters.stream is not None:
            yield "dead_letters.stream", f"target {config.target!r} is of kind nats: give a subject or a file"
        wanted = subject_of(config, target)
        if letters.subject is not None and covers(wanted, letters.subject):
            yield "dead_letters.subject", f"{letters.subject!r} would come back: the subscription takes {wanted!r}"
    elif isinstance(target, RedisStreamTarget):
        if letters.subject is not None:
            yield "dead_letters.subject", f"target {config.target!r} is of kind redis_stream: give a stream or a file"
        if letters.stream == target.stream:
            yield "dead_letters.stream", f"{letters.stream!r} would come back: it is the stream of the subscription"
        if config.filter_subject is not None:
            yield "filter_subject", "a Redis stream has no subjects; use event_types"
    else:
        yield "target", f"target {config.target!r} is of kind {target.kind}; nats and redis_stream have messages"


def subject_of(config: SubscriptionConfig, target: NatsTarget) -> str:
    """The subject, with wildcards, that a subscription takes."""
    return config.filter_subject or f"{target.prefix}.>"


def covers(pattern: str, subject: str) -> bool:
    """Whether a subject of NATS falls under a pattern with `*` and `>`."""
    wanted, given = pattern.split("."), subject.split(".")
    for index, part in enumerate(wanted):
        if part == ">":
            return len(given) > index
        if index >= len(given) or part not in ("*", given[index]):
            return False
    return len(wanted) == len(given)
