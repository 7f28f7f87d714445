"""The EFFECT node: opens the operator's targets and the application's effects, and wires the engine around them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from onex.v1 import common_pb2, effect_pb2_grpc, node_pb2
from onex_mesh.effect.adapters.announcement import announce
from onex_mesh.effect.adapters.audit_file import AuditFile
from onex_mesh.effect.adapters.catalog import BUILT_IN_KINDS, open_target
from onex_mesh.effect.adapters.custom import open_app_lane
from onex_mesh.effect.adapters.ledger import EtcdFence, EtcdLedger
from onex_mesh.effect.adapters.orchestrators import OrchestratorCalls
from onex_mesh.effect.adapters.target_metrics import TargetMetrics
from onex_mesh.effect.core.custom import EffectRegistry
from onex_mesh.effect.core.engine import EffectEngine, EngineParts
from onex_mesh.effect.core.health import HealthChecks
from onex_mesh.effect.core.lane import Lane
from onex_mesh.effect.core.once import Claims
from onex_mesh.effect.core.redaction import redactor_of
from onex_mesh.effect.core.request import APP_TARGET
from onex_mesh.effect.core.roster import Changes, Roster
from onex_mesh.effect.core.target_file import TargetFile, read_target_file
from onex_mesh.effect.executor import EffectExecutor
from onex_mesh.effect.ports import Kinds
from onex_mesh.effect.reloading import Reloading
from onex_mesh.effect.servicer import EffectServicer
from onex_mesh.effect.subscribing import NoWorkflows, SubscribingParts, Subscriptions, Workflows
from onex_mesh.runtime import errors
from onex_mesh.runtime.channels import Channels
from onex_mesh.runtime.mesh import Mesh
from onex_mesh.runtime.payloads import Payloads


@dataclass(slots=True)
class _Running:
    """What exists between start and stop."""

    engine: EffectEngine
    claims: Claims
    audit: AuditFile
    health: HealthChecks
    roster: Roster
    subscriptions: Subscriptions
    app_lanes: dict[str, Lane]
    payloads: Payloads
    reloading: Reloading | None
    closers: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)


class EffectNode:
    """See `onex_mesh.runtime.node.Node`.

    Args:
        registry: Effects of the application.
        targets_path: The operator's YAML file of targets; None: only effects of the application.
        version: Version of the application.
        service_name: Name under which workflows depend on it.
        kinds: Kinds of target; more than the built-in ones where an operator has his own (R91).
        environment: Variables for credentials and for the YAML file.
        workflows: What subscriptions can start; None: nothing that is read from a file.

    Raises:
        ValidationError: The file of targets is wrong, or an effect's inverse cannot be called; all violations, with
            file and line.
    """

    kind = common_pb2.NODE_KIND_EFFECT

    def __init__(
        self,
        registry: EffectRegistry,
        targets_path: Path | None = None,
        version: str = "0",
        service_name: str = "effect",
        *,
        kinds: Kinds = BUILT_IN_KINDS,
        environment: Mapping[str, str] = os.environ,
        workflows: Workflows | None = None,
    ) -> None:
        self.version = version
        self.service_name = service_name
        registry.check()
        self._registry = registry
        self._kinds = kinds
        self._environment = environment
        self._workflows = workflows or NoWorkflows()
        self._path = None if targets_path is None else Path(targets_path)
        self._file = TargetFile() if self._path is None else self._read(self._path)
        # The server asks for the executor before the node is started.
        self._executor = EffectExecutor(lambda: self._require_running().engine)
        self._running: _Running | None = None

    def capabilities(self) -> Sequence[str]:
        """The effect types that its targets take, the application's effects, and the names of its targets."""
        types = {effect_type for target in self._file.targets.values() for effect_type in target.effect_types}
        return sorted(
            [f"effect:{name}" for name in {*types, *self._registry.names()}]
            + [f"target:{name}" for name in (*self._file.targets, *([APP_TARGET] if len(self._registry) else []))]
        )

    def executor(self) -> EffectExecutor:
        """Executes the effects and intents of actions."""
        return self._executor

    async def start(self, mesh: Mesh) -> None:
        """Opens the targets. One that is down does not fail this: it is unhealthy until it is back.

        Raises:
            ValidationError: A target's configuration cannot work: a credential is missing, a template does not parse.
        """
        roster = Roster(
            lambda name, config: open_target(name, config, self._environment, self._kinds),
            lambda config: redactor_of(config, self._environment),
        )
        async with contextlib.AsyncExitStack() as opened:
            opened.push_async_callback(roster.stop)
            await roster.apply(self._file)
            audit = AuditFile(self._file.audit)
            await audit.start()
            opened.push_async_callback(audit.stop)
            channels = Channels(mesh.settings)
            opened.push_async_callback(channels.close)
            subscriptions = self._subscriptions(mesh, audit, channels)
            opened.push_async_callback(subscriptions.stop)
            subscriptions.apply(await subscriptions.prepare(self._file))
            running = self._wired(mesh, roster, audit, subscriptions)
            opened.push_async_callback(_close_all, running.app_lanes)
            metrics = TargetMetrics(roster.lanes, running.app_lanes)
            mesh.metrics.registry.register(metrics)
            opened.callback(mesh.metrics.registry.unregister, metrics)
            if running.reloading is not None:
                await opened.enter_async_context(_kept_up(running.reloading))
            running.closers = opened.pop_all()
        self._running = running

    def reload(self) -> None:
        """See `onex_mesh.runtime.node.Reloadable`: has the file of targets read again."""
        if self._running is not None and self._running.reloading is not None:
            self._running.reloading.ask()

    def add_services(self, server: grpc.aio.Server) -> Sequence[str]:
        """Adds EffectService; called once the node is started."""
        running = self._require_running()
        effect_pb2_grpc.add_EffectServiceServicer_to_server(
            EffectServicer(
                self._executor,
                running.roster.lanes,
                running.app_lanes,
                running.health,
                running.subscriptions.listing,
                running.payloads,
            ),
            server,
        )
        return ["onex.v1.EffectService"]

    async def session_lost(self) -> None:
        """Claims of the old session are gone: what runs under them stops, another node may have begun."""
        if self._running is not None:
            self._running.claims.lose_all()

    async def drain(self) -> None:
        """Returns when no effect and no message is under way; the server takes no new ones."""
        if self._running is not None:
            await asyncio.gather(self._running.engine.drained(), self._running.subscriptions.drain())

    async def stop(self) -> None:
        """Closes the targets and writes the last audit records."""
        running, self._running = self._running, None
        if running is not None:
            await running.closers.aclose()

    async def check(self) -> Sequence[node_pb2.DependencyHealth]:
        """The health of each target and subscription, and of the audit file where it cannot be written (R24)."""
        running = self._require_running()
        return [
            node_pb2.DependencyHealth(name=finding.name, healthy=finding.healthy, message=finding.message)
            for finding in (*await running.health.refresh(), *running.subscriptions.findings())
        ]

    def _read(self, path: Path) -> TargetFile:
        models = {kind: entry.model for kind, entry in self._kinds.items()}
        return read_target_file(path, self._environment, models)

    def _subscriptions(self, mesh: Mesh, audit: AuditFile, channels: Channels) -> Subscriptions:
        calls = OrchestratorCalls(
            lambda: mesh.view.nodes(common_pb2.NODE_KIND_ORCHESTRATOR),
            channels,
            order_bytes_max=mesh.settings.message_bytes_max,
        )
        return Subscriptions(
            SubscribingParts(
                orchestrators=calls,
                workflows=self._workflows,
                audit=audit,
                observer=mesh.metrics,
                node=mesh.node.instance_id,
                environment=self._environment,
            )
        )

    def _wired(self, mesh: Mesh, roster: Roster, audit: AuditFile, subscriptions: Subscriptions) -> _Running:
        """Everything that stands around the open targets."""
        app_lanes = {effect.name: open_app_lane(effect) for effect in self._registry}
        claims = Claims(EtcdLedger(mesh), EtcdFence(mesh), mesh.payloads if mesh.payloads.is_configured else None)
        engine = EffectEngine(
            EngineParts(
                lanes=roster.lanes,
                app_lanes=app_lanes,
                claims=claims,
                audit=audit,
                observer=mesh.metrics,
                node=mesh.node.instance_id,
            )
        )
        reloading = None
        if self._path is not None:
            path = self._path

            async def applied(file: TargetFile, changes: Changes) -> None:
                before, self._file = self.capabilities(), file
                await audit.use(file.audit)
                if changes:
                    await announce(mesh, before, self.capabilities())

            async def apply(file: TargetFile) -> Changes:
                prepared = await subscriptions.prepare(file)
                changes = await roster.apply(file)
                subscriptions.apply(prepared)
                return changes

            reloading = Reloading(path, self._file, lambda: self._read(path), audit.require_writable, apply, applied)
        health = HealthChecks(
            roster.lanes, audit.check, more=lambda: None if reloading is None else reloading.finding()
        )
        return _Running(engine, claims, audit, health, roster, subscriptions, app_lanes, mesh.payloads, reloading)

    def _require_running(self) -> _Running:
        if self._running is None:
            raise errors.InternalError("the node is not started")
        return self._running


async def _close_all(lanes: Mapping[str, Lane]) -> None:
    for lane in lanes.values():
        await lane.adapter.stop()


@contextlib.asynccontextmanager
async def _kept_up(reloading: Reloading) -> AsyncIterator[None]:
    """Has the file of targets followed while the block lasts."""
    task = asyncio.create_task(reloading.run(), name="target-reload")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
