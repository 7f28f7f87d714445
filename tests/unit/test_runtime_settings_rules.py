"""Settings: where they come from, what is refused, and the page about them."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from onex.v1 import common_pb2
from onex_mesh.runtime.settings import NodeSettings, new_instance_id, reachable_host, settings_table

ROOT = Path(__file__).resolve().parents[2]


def test_the_environment_sets_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """R4: a setting is given from outside: ONEX_ variables, and flags over them."""
    monkeypatch.setenv("ONEX_TTL_S", "4.5")
    monkeypatch.setenv("ONEX_ETCD", "10.0.0.1:2379")
    settings = NodeSettings(etcd="10.0.0.2:2379")
    assert (settings.ttl_s, settings.etcd) == (4.5, "10.0.0.2:2379")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ONEX_TTL_S", "1.9"),
        ("ONEX_PORT", "65536"),
        ("ONEX_CALLS_MAX", "0"),
        ("ONEX_DEADLINE_S", "0"),
        ("ONEX_LOG_LEVEL", "chatty"),
        ("ONEX_MESSAGE_BYTES_MAX", "10"),
    ],
)
def test_what_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """R18: a bad setting stops the start, it is not corrected silently."""
    monkeypatch.setenv(name, value)
    with pytest.raises(pydantic.ValidationError, match=name.removeprefix("ONEX_").lower()):
        NodeSettings()


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({}, False),
        ({"tls_cert": "c", "tls_key": "k"}, False),
        ({"tls_cert": "c", "tls_key": "k", "tls_ca": "a"}, False),
        ({"tls_cert": "c"}, True),
        ({"tls_key": "k"}, True),
        ({"tls_ca": "a"}, True),
    ],
)
def test_certificate_and_key_go_together(given: dict[str, str], refused: bool) -> None:
    """R18: a half-configured TLS would serve in plaintext; it is refused."""
    paths = {name: Path(value) for name, value in given.items()}
    if refused:
        with pytest.raises(pydantic.ValidationError, match="tls_"):
            NodeSettings.model_validate(paths)
    else:
        assert NodeSettings.model_validate(paths).tls_cert == paths.get("tls_cert")


@pytest.mark.parametrize(
    ("kind", "port"),
    [
        (common_pb2.NODE_KIND_EFFECT, 50051),
        (common_pb2.NODE_KIND_COMPUTE, 50052),
        (common_pb2.NODE_KIND_REDUCER, 50053),
        (common_pb2.NODE_KIND_ORCHESTRATOR, 50054),
    ],
)
def test_ports_follow_from_the_kind(kind: common_pb2.NodeKind, port: int) -> None:
    """R159: services at the kind's port, probes at +10, metrics at +20; with port 0 all are free ones."""
    settings = NodeSettings()
    assert settings.service_port(kind) == port
    assert (settings.probe_port(port), settings.page_port(port)) == (port + 10, port + 20)
    free = NodeSettings(port=0)
    assert (free.service_port(kind), free.probe_port(7), free.page_port(7)) == (0, 0, 0)
    own = NodeSettings(port=0, health_port=9, metrics_port=8)
    assert (own.probe_port(7), own.page_port(7)) == (9, 8)


def test_instance_ids_are_unique_and_say_the_kind() -> None:
    """R146: every process has a name of its own."""
    first, second = (new_instance_id(common_pb2.NODE_KIND_EFFECT) for _ in range(2))
    assert first != second
    assert first.startswith("effect-")


EVERY_ADDRESS = "0.0.0.0"  # noqa: S104  # compared with, not bound to


def test_every_address_is_not_announced_as_such() -> None:
    """R94: a node that listens everywhere announces an address that others can reach."""
    assert reachable_host("10.1.2.3", "etcd:2379") == "10.1.2.3"
    assert reachable_host(EVERY_ADDRESS, "127.0.0.1:2379") == "127.0.0.1"
    assert reachable_host(EVERY_ADDRESS, "no port in here") not in ("", EVERY_ADDRESS)


def test_the_page_is_current() -> None:
    """Every setting is documented: `python -m onex_mesh.runtime.settings > docs/settings.md` makes this pass again."""
    assert (ROOT / "docs" / "settings.md").read_text() == "\n".join(settings_table()) + "\n"
    page = (ROOT / "docs" / "settings.md").read_text()
    for name in NodeSettings.model_fields:
        assert f"`ONEX_{name.upper()}`" in page
