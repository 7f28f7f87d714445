"""kill -9 of a node that has put a result into the payload store and has not answered yet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from pathlib import Path

import pytest

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc, workflow_pb2
from onex_mesh.runtime.payload import from_payload, json_payload, to_value
from onex_mesh.runtime.payload_store import FsspecPayloads
from tests.inprocess import until
from tests.large_app import BOOK
from tests.mesh import MeshProcesses
from tests.payload_stores import BUCKET, files_below, s3_environment
from tests.s3_server import S3Server
from tests.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SIZE = 512 * 1024
RETRIES = 100


@pytest.fixture
def s3() -> Generator[S3Server, None, None]:
    server = S3Server()
    server.start()
    server.make_bucket(BUCKET)
    yield server
    server.kill()


def contract(kind: str) -> workflow_pb2.OrchestratorContract:
    """A step with a large result, and one that looks into it."""
    made = workflow_pb2.OrchestratorContract(workflow_id=f"large-{kind}")
    made.conflict_resolution.retry_enabled = True
    made.conflict_resolution.max_retries = RETRIES
    step = made.workflow_config.steps.add(step_id="make")
    if kind == "effect":
        step.command.effect.io_operation_config.effect_type = "charge"
        step.command.effect.io_operation_config.parameters.update({"size": SIZE})
    else:
        step.command.compute.algorithm_config.algorithm_type = "text"
        step.command.compute.input_data.CopyFrom(json_payload({"size": SIZE}))
    look = made.workflow_config.steps.add(step_id="look")
    look.command.compute.algorithm_config.algorithm_type = "identity"
    look.command.compute.input_data.CopyFrom(json_payload({"size": "${size(steps.make.output.text)}"}))
    made.workflow_config.output.CopyFrom(to_value("${steps.look.output}"))
    return made


@pytest.mark.parametrize("kind", ["effect", "compute"])
async def test_killed_between_put_and_answer(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """R9, R25: another node has the result again, by the ledger or by computing it, puts the same object, and the
    workflow ends; the effect was had once."""
    book = tmp_path / "book"
    book.touch()
    async with TcpProxy(f"127.0.0.1:{s3.port}") as proxy:
        for name, value in {**s3_environment(f"http://{proxy.endpoint}"), BOOK: str(book)}.items():
            monkeypatch.setenv(name, value)
        async with MeshProcesses(
            tmp_path,
            app="tests.large_app:app",
            effects=2,
            computes=2,
            settings={"payload_store": f"s3://{BUCKET}/mesh"},
        ) as mesh:
            victim, other = mesh.effects if kind == "effect" else mesh.computes
            await other.stop()
            # The end of the content: by then the server has all of it, and the node has no answer.
            proxy.lose_reply_to(b'x"}')
            stub = orchestrator_pb2_grpc.OrchestratorServiceStub(mesh.channel("orchestrator"))
            request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract(kind))
            running = asyncio.ensure_future(stub.ExecuteOrchestration(request, timeout=90))
            await asyncio.wait_for(proxy.reached.wait(), 30)
            await until(lambda: bool(s3.keys(BUCKET)), 30)
            stored = s3.keys(BUCKET)
            victim.kill()
            await victim.wait()
            proxy.cut()
            await other.start()
            output = (await running).output.orchestration_result
            again = await asyncio.to_thread(s3.keys, BUCKET)
    assert from_payload(output.output) == {"size": SIZE}
    made = output.step_results[0]
    assert made.executed_by == other.instance_id
    assert stored == again == [f"mesh/{made.result.location.uri}"]
    for name, value in s3_environment(s3.url).items():
        monkeypatch.setenv(name, value)
    content = json.loads(await FsspecPayloads(f"s3://{BUCKET}/mesh").get(made.result.location))
    assert content["text"] == "x" * SIZE
    if kind == "effect":
        assert made.effect.outcome == "replayed"
        assert book.read_text().splitlines() == ["large-effect"]


async def test_killed_when_the_object_appears_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R9, R25: on a folder that the nodes share: whichever of put and answer was last, the object is there whole, under
    one name, and the effect was had once."""
    book, folder = tmp_path / "book", tmp_path / "payloads"
    book.touch()
    monkeypatch.setenv(BOOK, str(book))
    settings = {"payload_store": f"file://{folder}"}
    async with MeshProcesses(tmp_path, app="tests.large_app:app", effects=2, settings=settings) as mesh:
        victim, other = mesh.effects
        await other.stop()
        stub = orchestrator_pb2_grpc.OrchestratorServiceStub(mesh.channel("orchestrator"))
        request = orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract("effect"))
        running = asyncio.ensure_future(stub.ExecuteOrchestration(request, timeout=90))
        await until(lambda: bool(files_below(folder)), 30)
        victim.kill()
        await victim.wait()
        await other.start()
        output = (await running).output.orchestration_result
    assert from_payload(output.output) == {"size": SIZE}
    location = output.step_results[0].result.location
    stored = files_below(folder)
    # A file under another name is what a put left that was killed; nobody reads it.
    assert [path for path in stored if path.endswith(location.digest)] == [location.uri]
    assert len(json.loads(stored[location.uri])["text"]) == SIZE
    assert book.read_text().splitlines() == ["large-effect"]
