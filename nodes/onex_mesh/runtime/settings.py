"""Settings of a node: environment variables with the prefix ONEX_, or flags of the command line."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from onex.v1 import common_pb2

PORTS = {
    common_pb2.NODE_KIND_EFFECT: 50051,
    common_pb2.NODE_KIND_COMPUTE: 50052,
    common_pb2.NODE_KIND_REDUCER: 50053,
    common_pb2.NODE_KIND_ORCHESTRATOR: 50054,
}
HEALTH_PORT_OFFSET = 10
METRICS_PORT_OFFSET = 20

_HOST_PORT = r"^[^\s/@]+:\d{1,5}$"
_NAMESPACE = r"^[A-Za-z0-9._-]{1,64}$"
_INSTANCE_ID = r"^[A-Za-z0-9._:-]{0,200}$"


class NodeSettings(BaseSettings):
    """What an operator can set of one node."""

    model_config = SettingsConfigDict(env_prefix="ONEX_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int | None = Field(
        None, ge=0, le=65535, description="Port of the services. Default by kind: 50051 to 50054. 0: a free one."
    )
    health_port: int | None = Field(
        None, ge=0, le=65535, description="Plaintext port for probes. Default: port + 10, or a free one."
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the metrics page. Default: port + 20, or a free one."
    )
    advertise: str = Field(
        "",
        description="host:port that other nodes reach this one by. Default: host and port; where the host is every "
        "address (0.0.0.0), the one that leads to etcd.",
    )
    etcd: str = Field("127.0.0.1:2379", pattern=_HOST_PORT, description="host:port of etcd.")
    namespace: str = Field("default", pattern=_NAMESPACE, description="Namespace of the mesh within etcd.")
    ttl_s: float = Field(10.0, ge=2.0, le=86_400, description="Time to live of the session, in seconds.")
    instance_id: str = Field(
        "", pattern=_INSTANCE_ID, description="Unique name of the process. Default: kind, host and a random part."
    )
    service_name: str = Field("", description="Name under which workflows depend on the node. Default: its kind.")
    deadline_s: float = Field(60.0, gt=0, description="Deadline of a call that comes without one, in seconds.")
    message_bytes_max: int = Field(16 * 1024 * 1024, ge=64 * 1024, description="Largest message, in bytes.")
    calls_max: int = Field(4_096, ge=1, description="Most calls and actions under way at once.")
    drain_s: float = Field(20.0, ge=0, description="Longest wait for work under way when stopping, in seconds.")
    compute_memory_bytes_max: int = Field(
        0,
        ge=0,
        description="Most memory of a task of a compute node, in bytes. Default (0): half of the machine's, shared by "
        "the workers.",
    )
    dask_scheduler: str = Field(
        "", description="Address of the Dask scheduler that a compute node may use (tcp://host:8786). Default: none."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "console"] = Field("json", description="Form of log lines.")
    development: bool = Field(False, description="Run each transition twice and compare, to find impure ones.")
    tls_cert: Path | None = Field(None, description="Certificate of the service port, PEM.")
    tls_key: Path | None = Field(None, description="Its private key, PEM.")
    tls_ca: Path | None = Field(None, description="CA that clients' certificates must be signed by (mTLS), PEM.")
    payload_store: str = Field(
        "",
        description="Where large payloads and backups of states are kept, the same for all nodes: file:///folder, "
        "s3://bucket/prefix or memory://folder, without credentials. Default: nowhere.",
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> NodeSettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if self.tls_ca is not None and self.tls_cert is None:
            raise ValueError("tls_ca needs tls_cert and tls_key")
        return self

    def service_port(self, kind: common_pb2.NodeKind) -> int:
        """The port of the services; 0 for a free one."""
        return PORTS[kind] if self.port is None else self.port

    def probe_port(self, bound_port: int) -> int:
        """The plaintext health port that goes with a service port; 0 for a free one."""
        return self._beside(self.health_port, bound_port, HEALTH_PORT_OFFSET)

    def page_port(self, bound_port: int) -> int:
        """The metrics port that goes with a service port; 0 for a free one."""
        return self._beside(self.metrics_port, bound_port, METRICS_PORT_OFFSET)

    def _beside(self, given: int | None, bound_port: int, offset: int) -> int:
        if given is not None:
            return given
        return 0 if self.port == 0 else bound_port + offset


def new_instance_id(kind: common_pb2.NodeKind) -> str:
    """A unique name for a process: its kind, its host and a random part."""
    name = common_pb2.NodeKind.Name(kind).removeprefix("NODE_KIND_").lower()
    return f"{name}-{socket.gethostname()[:40]}-{uuid.uuid4().hex[:8]}"


def reachable_host(host: str, etcd: str) -> str:
    """What others reach a node by that listens on `host`: where that is every address, the one that leads to etcd."""
    if host not in ("0.0.0.0", "::", "[::]"):  # noqa: S104  # compared with, not bound to
        return host
    peer, _, port = etcd.rpartition(":")
    try:
        found = socket.getaddrinfo(peer.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        # Connecting a datagram socket sends nothing; it only chooses the way.
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            own = str(probe.getsockname()[0])
    except (OSError, ValueError):
        return socket.gethostname()
    return f"[{own}]" if ":" in own else own


def settings_table() -> Iterator[str]:
    """The lines of docs/settings.md: every setting, its variable, its default and its meaning."""
    yield "# Settings"
    yield ""
    yield "Every setting of a node is an environment variable, and a flag of `onex-mesh serve` of the same name"
    yield "(`ONEX_TTL_S`, `--ttl-s`). A flag wins. This page is written from `NodeSettings` by"
    yield "`python -m onex_mesh.runtime.settings > docs/settings.md`; a test keeps it current."
    yield ""
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    for name, field in NodeSettings.model_fields.items():
        default = "" if field.default in (None, "") else f"`{field.default}`"
        yield f"| `ONEX_{name.upper()}` | {default} | {field.description} |"


if __name__ == "__main__":
    print("\n".join(settings_table()))  # noqa: T201  # this is what it is run for
