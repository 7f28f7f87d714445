"""Which nodes can execute an action: by what they announce in the registry."""

from __future__ import annotations

from collections.abc import Sequence

from onex.v1 import action_pb2, node_pb2
from onex_mesh.runtime.node import DRAINING


def needs_of(command: action_pb2.Command) -> frozenset[str]:
    """What a command needs, as nodes announce it: "target:…", "effect:…", "algorithm:…" or "reducer:…"."""
    match command.WhichOneof("command"):
        case "effect":
            contract = command.effect
            target, effect_type = contract.external_service_config.target, contract.io_operation_config.effect_type
            return frozenset((_effect_need(target, effect_type),))
        case "intents":
            return frozenset(_effect_need(intent.target, intent.custom_type) for intent in command.intents.intents)
        case "compute":
            return frozenset((f"algorithm:{command.compute.algorithm_config.algorithm_type}",))
        case "reduction":
            reducer = command.reduction.reduction_config.reducer
            return frozenset((f"reducer:{reducer}",)) if reducer else frozenset()
        case "chain":
            return frozenset().union(*(needs_of(link.command) for link in command.chain.links))
        case _:
            return frozenset()


def _effect_need(target: str, effect_type: str) -> str:
    """A target of the operator's, or an effect of the application, which stands for itself."""
    return f"target:{target}" if target not in ("", "app") else f"effect:{effect_type}"


def fitting(
    nodes: Sequence[node_pb2.NodeInfo], service_name: str, needs: frozenset[str]
) -> Sequence[node_pb2.NodeInfo]:
    """The nodes to send an action to, of those of its kind.

    A service that is named must be it. Beyond that, nodes that announce what is needed come before others (which then
    say what they lack), and nodes that are about to stop come last.
    """
    offered = [node for node in nodes if not service_name or node.service_name == service_name]
    able = [node for node in offered if needs.issubset(node.capabilities)] or offered
    return [node for node in able if DRAINING not in node.capabilities] or able
