"""The subscriptions of a node: opened as the operator's file declares them, changed with it, drained and stopped."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from onex.v1 import workflow_pb2
from onex_mesh.effect.adapters.message_sources import open_source
from onex_mesh.effect.core.consuming import Consumer
from onex_mesh.effect.core.event_mapping import mapping_of
from onex_mesh.effect.core.fingerprint import fingerprint, look
from onex_mesh.effect.core.health import Finding
from onex_mesh.effect.core.message_ports import Orchestrators
from onex_mesh.effect.core.settling import SubscriptionParts, Tally
from onex_mesh.effect.core.subscription_models import SubscriptionConfig
from onex_mesh.effect.core.target_file import TargetFile
from onex_mesh.effect.core.targets import TargetConfig
from onex_mesh.effect.ports import AuditLog, Observer
from onex_mesh.runtime.errors import ValidationError

log = structlog.get_logger(__name__)

KIND = "subscription"
"""Under which they are listed among the targets."""


class Workflows(Protocol):
    """The workflows that subscriptions can start."""

    def names(self) -> Collection[str]:
        """Those of the App; empty where this node has none to compare with."""

    def load(self, path: Path) -> workflow_pb2.OrchestratorContract:
        """The contract in a YAML file.

        Raises:
            ValidationError: It cannot be read or is wrong, with file and line.
        """


class NoWorkflows:
    """See `Workflows`: for nodes that are given none. A workflow that is named is left to the orchestrator to find."""

    def names(self) -> Collection[str]:
        """None to compare with."""
        return ()

    def load(self, path: Path) -> workflow_pb2.OrchestratorContract:
        """Cannot."""
        raise ValidationError(f"{path}: this node cannot read definitions; name a workflow of the App")


@dataclass(frozen=True, slots=True)
class SubscribingParts:
    """What all subscriptions of a node share."""

    orchestrators: Orchestrators
    workflows: Workflows
    audit: AuditLog
    observer: Observer
    node: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listed:
    """A subscription as it is shown."""

    name: str
    trouble: str
    """Why it does not get on; empty if it does."""
    summary: str
    """What became of its messages, in words."""
    description: str
    tally: Tally
    in_flight: int


@dataclass(frozen=True, slots=True)
class _Declared:
    config: SubscriptionConfig
    target: TargetConfig
    definition: workflow_pb2.OrchestratorContract | None
    digest: bytes
    """The same digest means that nothing changed: not it, its target, its workflow's file, or a credential's."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The subscriptions of a file, checked."""

    declared: Mapping[str, _Declared] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Open:
    declared: _Declared
    consumer: Consumer


class Subscriptions:
    """The subscriptions of one node. For one event loop."""

    def __init__(self, parts: SubscribingParts) -> None:
        self._parts = parts
        self._open: dict[str, _Open] = {}
        self._tallies: dict[str, Tally] = {}
        self._leaving: dict[asyncio.Task[None], Consumer] = {}

    async def prepare(self, file: TargetFile) -> Prepared:
        """Checks the subscriptions of a file and reads what they refer to; changes nothing.

        Raises:
            ValidationError: A workflow is not there or wrong; all violations, with file and line.
        """
        return await asyncio.to_thread(self._prepared, file)

    def apply(self, prepared: Prepared) -> None:
        """Has these subscriptions consumed, and no others. What did not change goes on undisturbed.

        Raises:
            ValidationError: A credential is missing; nothing changed.
        """
        fresh: dict[str, _Open] = {}
        for name, declared in prepared.declared.items():
            present = self._open.get(name)
            if present is None or present.declared.digest != declared.digest:
                fresh[name] = _Open(declared, self._consumer(name, declared))
        for name in [name for name in self._open if name in fresh or name not in prepared.declared]:
            self._let_go(self._open.pop(name).consumer)
        for name, row in fresh.items():
            self._open[name] = row
            row.consumer.start()

    async def drain(self) -> None:
        """Fetches no more; returns when what was fetched is settled."""
        draining = [row.consumer.drain() for row in self._open.values()]
        await asyncio.gather(*draining, *self._leaving)

    async def stop(self) -> None:
        """Ends at once; what is under way is delivered again."""
        leaving = dict(self._leaving)
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        consumers = [*leaving.values(), *(row.consumer for row in self._open.values())]
        self._open.clear()
        results = await asyncio.gather(*(consumer.stop() for consumer in consumers), return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                log.warning("a subscription could not be closed in order", why=type(result).__name__)

    def listing(self) -> list[Listed]:
        """All of them, by name."""
        return [
            Listed(
                name=name,
                trouble=row.consumer.trouble,
                summary=_summary(row.consumer.tally),
                description=row.declared.config.description,
                tally=row.consumer.tally,
                in_flight=row.consumer.in_flight,
            )
            for name, row in sorted(self._open.items())
        ]

    def findings(self) -> list[Finding]:
        """What the node's health says of them."""
        return [Finding(f"{KIND}:{row.name}", not row.trouble, row.trouble or row.summary) for row in self.listing()]

    def _prepared(self, file: TargetFile) -> Prepared:
        declared: dict[str, _Declared] = {}
        problems: list[tuple[str, str]] = []
        for name, config in file.subscriptions.items():
            try:
                definition = self._definition(config)
            except ValidationError as error:
                problems.append((f"subscriptions.{name}", f"{file.where_subscribed(name)}: {error.message}"))
                continue
            target = file.targets[config.target]
            declared[name] = _Declared(config, target, definition, _digest(config, target))
        if problems:
            raise ValidationError("\n".join(text for _, text in problems), violations=tuple(problems))
        return Prepared(declared)

    def _definition(self, config: SubscriptionConfig) -> workflow_pb2.OrchestratorContract | None:
        start = config.start_workflow
        if start is None:
            return None
        if start.definition is not None:
            return self._parts.workflows.load(start.definition)
        known = self._parts.workflows.names()
        if known and start.workflow not in known:
            text = (
                f"start_workflow.workflow: the App defines no {start.workflow!r}; defined: {', '.join(sorted(known))}"
            )
            raise ValidationError(text, violations=(("start_workflow.workflow", text),))
        return None

    def _consumer(self, name: str, declared: _Declared) -> Consumer:
        parts, config = self._parts, declared.config
        # Each opening has a name of its own at the broker: a former one of this node may still be finishing.
        place = f"{parts.node}-{secrets.token_hex(4)}"
        return Consumer(
            SubscriptionParts(
                name=name,
                config=config,
                mapping=mapping_of(name, config, declared.definition),
                source=open_source(config, declared.target, parts.environment, place),
                orchestrators=parts.orchestrators,
                audit=parts.audit,
                observer=parts.observer,
                node=parts.node,
                size_bytes_max=declared.target.limits.size_bytes,
                tally=self._tallies.setdefault(name, Tally()),
            )
        )

    def _let_go(self, consumer: Consumer) -> None:
        async def finish() -> None:
            await consumer.drain()
            await consumer.stop()

        task = asyncio.create_task(finish(), name="let go a subscription")
        self._leaving[task] = consumer
        task.add_done_callback(lambda done: self._leaving.pop(done, None))


def _digest(config: SubscriptionConfig, target: TargetConfig) -> bytes:
    files = b"".join(look(path) for path in config.refers_to())
    return hashlib.sha256(config.model_dump_json().encode() + fingerprint(target) + files).digest()


def _summary(tally: Tally) -> str:
    counted = {
        "committed": tally.completed,
        "delivered again": tally.replayed,
        "passed over": tally.passed_over,
        "given back": tally.returned,
        "dead letters": tally.dead,
    }
    return ", ".join(f"{count} {what}" for what, count in counted.items() if count) or "no message yet"
