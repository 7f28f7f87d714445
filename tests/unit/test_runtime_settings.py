"""Settings of a node: what cannot work is refused by name, and what was set stays."""

from __future__ import annotations

import pydantic
import pytest

from onex.v1 import common_pb2
from onex_lease.keys import require_instance_id
from onex_mesh.runtime.settings import NodeSettings, new_instance_id


def test_settings_do_not_change() -> None:
    """R128 in spirit: a node's settings are read once; nothing changes them later."""
    settings = NodeSettings()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        settings.ttl_s = 3.0


@pytest.mark.parametrize("kind", [row for row in common_pb2.NodeKind.values() if row])
def test_made_up_instance_ids_fit_the_registry(kind: common_pb2.NodeKind) -> None:
    """R94, R114: the name of a process is unique and one that the registry takes."""
    first, second = new_instance_id(kind), new_instance_id(kind)
    require_instance_id(first)
    assert first != second
    assert first.startswith(common_pb2.NodeKind.Name(kind).removeprefix("NODE_KIND_").lower())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70_000),
        ("health_port", -1),
        ("ttl_s", 1.0),
        ("ttl_s", 100_000.0),
        ("deadline_s", 0.0),
        ("message_bytes_max", 10),
        ("calls_max", 0),
        ("drain_s", -1.0),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ],
)
def test_hopeless_settings_are_refused_by_name(name: str, value: object) -> None:
    """R18 for operators: a bound that is broken is an error that names the setting."""
    with pytest.raises(pydantic.ValidationError) as caught:
        NodeSettings.model_validate({name: value})
    assert caught.value.errors()[0]["loc"] == (name,)
