"""The EFFECT node as a black box: only calls, through the fixtures of pytest-grpc."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from onex.v1 import effect_pb2, effect_pb2_grpc, intent_pb2
from onex_lease import EmbeddedEtcd
from onex_mesh.effect.core.custom import EffectRegistry
from onex_mesh.effect.node import EffectNode
from onex_mesh.runtime.errors import from_rpc_error
from onex_mesh.runtime.payload import from_payload
from tests.blackbox import served

TARGETS = """
targets:
  papers: {kind: file, root: papers}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("effect")
    (path / "targets.yaml").write_text(TARGETS)
    return path


@pytest.fixture(scope="module")
def grpc_addr(etcd: EmbeddedEtcd, folder: Path) -> Iterator[str]:
    node = EffectNode(EffectRegistry(), folder / "targets.yaml", "1.0.0")
    with served(node, etcd, uuid.uuid4().hex) as address:
        yield address


@pytest.fixture(scope="module")
def grpc_server(grpc_addr: str) -> str:
    return grpc_addr


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[effect_pb2_grpc.EffectServiceStub]:
    return effect_pb2_grpc.EffectServiceStub


def file_effect(operation: str, **parameters: str) -> effect_pb2.ExecuteEffectRequest:
    made = effect_pb2.EffectContract(correlation_id="black-box")
    made.external_service_config.target = "papers"
    made.io_operation_config.effect_type = "file_operation"
    made.io_operation_config.operation = operation
    made.io_operation_config.parameters.update(parameters)
    return effect_pb2.ExecuteEffectRequest(contract=made)


def test_a_file_is_written_and_read(grpc_stub: effect_pb2_grpc.EffectServiceStub, folder: Path) -> None:
    """R6, R12, R13: the file is there, and reading it gives what was written, with how it went."""
    grpc_stub.ExecuteEffect(file_effect("write", path="a.txt", content="hello"), timeout=10)
    assert (folder / "papers/a.txt").read_text() == "hello"
    output = grpc_stub.ExecuteEffect(file_effect("read", path="a.txt"), timeout=10).output
    found = from_payload(output.operation_result)
    assert "hello" in str(found)
    assert (output.correlation_id, output.metadata.target, output.metadata.attempts) == ("black-box", "papers", 1)


def test_intents_by_priority(grpc_stub: effect_pb2_grpc.EffectServiceStub) -> None:
    """R84–R86: the critical one first; one failure does not stop the other."""
    request = effect_pb2.ExecuteIntentsRequest(correlation_id="black-box")
    for number, (path, priority) in enumerate(
        (("../out.txt", intent_pb2.INTENT_PRIORITY_LOW), ("in.txt", intent_pb2.INTENT_PRIORITY_CRITICAL))
    ):
        row = request.intents.add(
            intent_id=str(uuid.UUID(int=number + 1)),
            intent_type=intent_pb2.INTENT_TYPE_FILE_OPERATION,
            target="papers",
            priority=priority,
        )
        row.payload.update({"operation": "write", "path": path, "content": "x"})
    results = [answer.result for answer in grpc_stub.ExecuteIntents(request, timeout=20)]
    assert {row.intent_id[-1]: row.status for row in results} == {
        "2": intent_pb2.INTENT_STATUS_COMPLETED,
        "1": intent_pb2.INTENT_STATUS_FAILED,
    }


def test_targets_show_no_path(grpc_stub: effect_pb2_grpc.EffectServiceStub, folder: Path) -> None:
    """R24: name, kind and health; nothing of where it is."""
    answer = grpc_stub.ListTargets(effect_pb2.ListTargetsRequest(), timeout=10)
    assert [(row.name, row.kind, row.healthy) for row in answer.targets] == [("papers", "file", True)]
    assert str(folder) not in str(answer)


def test_an_unknown_target(grpc_stub: effect_pb2_grpc.EffectServiceStub) -> None:
    """R7, R18: a contract cannot name what the operator did not configure."""
    request = file_effect("read", path="a.txt")
    request.contract.external_service_config.target = "elsewhere"
    with pytest.raises(grpc.RpcError) as caught:
        grpc_stub.ExecuteEffect(request, timeout=10)
    assert from_rpc_error(caught.value).reason == "TARGET_NOT_FOUND"
