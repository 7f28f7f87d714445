"""Names of keys."""

from __future__ import annotations

import pytest

from onex.v1 import common_pb2
from onex_lease import Keyspace, ValidationError
from onex_lease.keys import require_instance_id, require_workflow_id


def test_layout() -> None:
    """Everything bound to a session, and nothing else, stands below live/ (ADR 3)."""
    keys = Keyspace("shop")
    assert keys.owner("w1") == b"/onex/shop/live/owners/w1"
    assert keys.node(common_pb2.NODE_KIND_EFFECT, "e1") == b"/onex/shop/live/nodes/effect/e1"
    assert keys.state("w1") == b"/onex/shop/states/w1"
    assert keys.log("w1", 12) == b"/onex/shop/log/w1/0000000000000012"
    assert keys.open("w1") == b"/onex/shop/open/w1"
    assert keys.idempotency("order_1") == b"/onex/shop/idempotency/order_1"
    assert keys.owners_prefix.startswith(keys.live_prefix)
    assert keys.nodes_prefix.startswith(keys.live_prefix)
    assert not keys.states_prefix.startswith(keys.live_prefix)


def test_log_keys_sort_by_epoch() -> None:
    """R146: The history of a workflow is read in the order of its epochs, and no other workflow's is in it."""
    keys = Keyspace()
    epochs = [1, 2, 9, 10, 11, 99, 100, 12_345_678]
    assert sorted(keys.log("w", epoch) for epoch in epochs) == [keys.log("w", epoch) for epoch in epochs]
    assert not keys.log("w.1", 1).startswith(keys.log_prefix("w"))


@pytest.mark.parametrize("workflow_id", ["", "a/b", "ä", "a b", "x" * 129, "a\n"])
def test_workflow_ids_that_are_refused(workflow_id: str) -> None:
    """A workflow id that could reach into another key is refused, and the field is named."""
    with pytest.raises(ValidationError) as refused:
        require_workflow_id(workflow_id)
    assert refused.value.violations[0][0] == "workflow_id"


@pytest.mark.parametrize("workflow_id", ["a", "order-1.retry_2", "x" * 128])
def test_workflow_ids_that_will_do(workflow_id: str) -> None:
    """Ids of the documented characters and length pass."""
    require_workflow_id(workflow_id)


@pytest.mark.parametrize("namespace", ["", "a/b", "x" * 65])
def test_namespaces_that_are_refused(namespace: str) -> None:
    """A namespace that could reach into another is refused."""
    with pytest.raises(ValidationError, match="Namespace"):
        Keyspace(namespace)


def test_other_names_that_are_refused() -> None:
    """Instance ids, kinds and idempotency keys are checked before they become keys."""
    with pytest.raises(ValidationError, match="Instance id"):
        require_instance_id("a/b")
    with pytest.raises(ValidationError, match="kind"):
        Keyspace().node(common_pb2.NODE_KIND_UNSPECIFIED, "a")
    with pytest.raises(ValidationError, match="idempotency key"):
        Keyspace().idempotency("")
    with pytest.raises(ValidationError, match="1024 bytes"):
        Keyspace().idempotency("ä" * 513)
    assert Keyspace().idempotency("ä" * 512).endswith("ä".encode())
