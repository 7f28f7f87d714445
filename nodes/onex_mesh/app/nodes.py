"""The wiring: an App and settings become one of the four nodes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from onex.v1 import workflow_pb2
from onex_mesh.app.application import App
from onex_mesh.app.workflows import register_workflow
from onex_mesh.orchestrator.core.registry import WorkflowRegistry
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.node import Node
from onex_mesh.runtime.settings import NodeSettings


def build_node(kind: str, app: App, settings: NodeSettings, *, targets: Path | None = None) -> Node:
    """The node of a kind that serves its part of an App.

    Args:
        kind: "effect", "compute", "reducer" or "orchestrator".
        app: The App.
        settings: Settings of the node; its service name is the kind where they name none.
        targets: The targets of an effect node. Default: none.

    Raises:
        ValidationError: The kind is not known, or the node refuses what it is given.
    """
    service_name = settings.service_name or kind
    # Each node is imported where it is built: a compute node needs no SQL driver, an effect node no Arrow.
    match kind:
        case "effect":
            from onex_mesh.effect.node import EffectNode

            return EffectNode(app.effects, targets, app.version, service_name, workflows=AppWorkflows(app.workflows))
        case "compute":
            from onex_mesh.compute.node import ComputeNode

            return ComputeNode(
                app.algorithms,
                app.version,
                service_name,
                memory_bytes_max=settings.compute_memory_bytes_max,
                dask_scheduler=settings.dask_scheduler,
            )
        case "reducer":
            from onex_mesh.reducer.node import ReducerNode

            return ReducerNode(app.reducers, app.version, service_name)
        case "orchestrator":
            from onex_mesh.orchestrator.node import OrchestratorNode

            return OrchestratorNode(app.workflows, app.version, service_name)
        case _:
            raise ValidationError(f"{kind!r} is no kind of node; expected effect, compute, reducer or orchestrator")


class AppWorkflows:
    """What the subscriptions of an effect node can start: see `onex_mesh.effect.subscribing.Workflows`."""

    def __init__(self, registry: WorkflowRegistry) -> None:
        self._registry = registry

    def names(self) -> Collection[str]:
        """The workflows of the App."""
        return frozenset(self._registry.names())

    def load(self, path: Path) -> workflow_pb2.OrchestratorContract:
        """The workflow in a YAML file, checked as the App's own are."""
        return register_workflow(WorkflowRegistry(), path, folder=path.parent, where=str(path))
