"""Which node an action goes to."""

from __future__ import annotations

from onex.v1 import action_pb2, node_pb2
from onex_mesh.orchestrator.core.routing import fitting, needs_of
from onex_mesh.runtime.node import DRAINING


def node(name: str, *capabilities: str, service: str = "effect") -> node_pb2.NodeInfo:
    return node_pb2.NodeInfo(instance_id=name, service_name=service, capabilities=capabilities)


def names(nodes: object) -> list[str]:
    assert isinstance(nodes, list)
    return [row.instance_id for row in nodes]


def test_a_command_needs_its_target_algorithm_or_reducer() -> None:
    """R94: what a command needs follows from it, for a chain from all of its links."""
    effect, intents, chain, reduction = (action_pb2.Command() for _ in range(4))
    effect.effect.external_service_config.target = "orders"
    intents.intents.intents.add(target="mail")
    intents.intents.intents.add(target="orders")
    intents.intents.intents.add(target="app", custom_type="charge")
    for name in ("sum", "map"):
        chain.chain.links.add().command.compute.algorithm_config.algorithm_type = name
    reduction.reduction.reduction_config.reducer = "order"
    assert needs_of(effect) == {"target:orders"}
    assert needs_of(intents) == {"target:mail", "target:orders", "effect:charge"}
    effect.effect.external_service_config.target = ""
    effect.effect.io_operation_config.effect_type = "charge"
    assert needs_of(effect) == {"effect:charge"}
    assert needs_of(chain) == {"algorithm:sum", "algorithm:map"}
    assert needs_of(reduction) == {"reducer:order"}
    assert needs_of(action_pb2.Command()) == frozenset()


def test_nodes_that_can_come_before_those_that_cannot() -> None:
    """R94: a node that announces the need gets the work; if none does, any may say what it lacks."""
    nodes = [node("a", "target:x"), node("b", "target:y"), node("c")]
    assert names(fitting(nodes, "", frozenset(("target:y",)))) == ["b"]
    assert names(fitting(nodes, "", frozenset(("target:z",)))) == ["a", "b", "c"]


def test_a_named_service_must_be_it() -> None:
    """R98: service_name is no preference."""
    nodes = [node("a", service="billing"), node("b", service="shipping")]
    assert names(fitting(nodes, "shipping", frozenset())) == ["b"]
    assert names(fitting(nodes, "stock", frozenset())) == []


def test_a_node_about_to_stop_gets_work_only_where_there_is_no_other() -> None:
    """R94: a draining node finishes what it has."""
    nodes = [node("a", DRAINING), node("b")]
    assert names(fitting(nodes, "", frozenset())) == ["b"]
    assert names(fitting(nodes[:1], "", frozenset())) == ["a"]
