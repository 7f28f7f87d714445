"""A new type of intent, from the reducer that emits it to its execution on the mesh: one file of the author's (R91)."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

from onex.v1 import effect_pb2, effect_pb2_grpc, intent_pb2, orchestrator_pb2, orchestrator_pb2_grpc, workflow_pb2
from onex_mesh.app import load_app
from onex_mesh.effect.core import Inverse
from onex_mesh.runtime.payload import from_payload, from_struct, json_payload
from tests.mesh import MeshProcesses

AUTHORS_FILE = '''
"""All that an author writes for an intent of a type of their own."""

import enum
import json
import os
from pathlib import Path

import pydantic

from onex_mesh.app import App, Compensation, EffectContext, EffectFailedError, Next, ReducerContext, custom, transition

app = App("parcels", version="1.0.0")
BOOK = Path(os.environ["PARCELS_BOOK"])


class Booking(pydantic.BaseModel):
    address: str
    weight_g: int = pydantic.Field(gt=0)


class Booked(pydantic.BaseModel):
    parcel_no: str


class Cancellation(pydantic.BaseModel):
    parcel_no: str
    reason: str


@app.effect(
    "book_parcel",
    compensate=Compensation("cancel_parcel", {"parcel_no": "${result.parcel_no}", "reason": "order undone"}),
)
async def book_parcel(parameters: Booking, context: EffectContext) -> Booked:
    """Books a parcel with the carrier."""
    if parameters.address == "nowhere":
        raise EffectFailedError("the carrier does not go there")
    with BOOK.open("a") as book:
        book.write(json.dumps({"key": context.idempotency_key, **parameters.model_dump()}) + "\\n")
    return Booked(parcel_no=f"P-{context.workflow_id}")


@app.effect("cancel_parcel")
def cancel_parcel(parameters: Cancellation, context: EffectContext) -> None:
    """Cancels a booking."""


class Status(enum.StrEnum):
    NEW = "NEW"
    BOOKED = "BOOKED"


class Parcel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    status: Status = Status.NEW


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    address: str
    weight_g: int


@app.reducer(name="parcel")
class ParcelMachine:
    state_model = Parcel
    initial = Status.NEW
    final = (Status.BOOKED,)

    @staticmethod
    @transition("BOOK", source=Status.NEW, target=Status.BOOKED)
    def book(state: Parcel, payload: Order, ctx: ReducerContext) -> Next[Parcel]:
        intent = custom("book_parcel", payload={"address": payload.address, "weight_g": payload.weight_g})
        return Next(Parcel(status=Status.BOOKED), (intent,))


app.workflow({
    "name": "ship",
    "version": "1.0.0",
    "steps": [{
        "step_id": "book",
        "reduction": {
            "reduction_config": {"reducer": "parcel", "state_key": "parcel"},
            "fsm_action": {"action": "BOOK", "payload": "${input}"},
        },
    }],
    "output": "${steps.book.output}",
})
'''


def ship(workflow_id: str, **parcel: object) -> orchestrator_pb2.ExecuteOrchestrationRequest:
    contract = workflow_pb2.OrchestratorContract(
        workflow_id=workflow_id,
        workflow_config=workflow_pb2.WorkflowConfig(name="ship"),
        initial_state=json_payload(parcel),
    )
    return orchestrator_pb2.ExecuteOrchestrationRequest(contract=contract)


async def test_an_intent_of_the_authors_own_type_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R88, R91, issue item 8: no file of the project changes for it: reducer, intent, handler, schema and inverse."""
    book = tmp_path / "book.jsonl"
    monkeypatch.setenv("PARCELS_BOOK", str(book))
    (tmp_path / "parcels_of_the_author.py").write_text(AUTHORS_FILE)
    async with MeshProcesses(tmp_path, app="parcels_of_the_author:app", app_dir=tmp_path, computes=0) as mesh:
        stub: orchestrator_pb2_grpc.OrchestratorServiceAsyncStub = orchestrator_pb2_grpc.OrchestratorServiceStub(
            mesh.channel("orchestrator")
        )
        output = (await stub.ExecuteOrchestration(ship("w-1", address="Bath", weight_g=500), timeout=30)).output
        (step,) = output.orchestration_result.step_results
        (result,) = step.intent_results
        assert result.status == intent_pb2.INTENT_STATUS_COMPLETED
        assert from_payload(result.result) == {"parcel_no": "P-w-1"}
        (booked,) = [json.loads(line) for line in book.read_text().splitlines()]
        assert (booked["address"], booked["weight_g"], bool(booked["key"])) == ("Bath", 500, True)

        # The schema is checked before the handler runs.
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ExecuteOrchestration(ship("w-2", address="Bath", weight_g=0), timeout=30)
        assert "weight_g" in str(refused.value.details())
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ExecuteOrchestration(ship("w-3", address="nowhere", weight_g=5), timeout=30)
        assert "does not go there" in str(failed.value.details())
        assert len(book.read_text().splitlines()) == 1

        effects: effect_pb2_grpc.EffectServiceAsyncStub = effect_pb2_grpc.EffectServiceStub(mesh.channel("effect"))
        listed = await effects.ListTargets(effect_pb2.ListTargetsRequest(kind="app"), timeout=10)
        targets = {row.name: row for row in listed.targets}
        assert sorted(targets) == ["app:book_parcel", "app:cancel_parcel"]
        row = targets["app:book_parcel"]
        assert (row.description, row.compensated_by) == ("Books a parcel with the carrier.", "cancel_parcel")
        schema = from_struct(row.parameters_schema)
        assert schema["required"] == ["address", "weight_g"]
        assert schema["properties"] == {
            "address": {"title": "Address", "type": "string"},
            "weight_g": {"exclusiveMinimum": 0, "title": "Weight G", "type": "integer"},
        }

    # What an orchestrator will need to undo it, looked up with what it has: the parameters and the result.
    app = load_app("parcels_of_the_author:app", directory=tmp_path)
    assert app.effects.inverse("book_parcel", {"address": "Bath", "weight_g": 500}, {"parcel_no": "P-w-1"}) == Inverse(
        "cancel_parcel", {"parcel_no": "P-w-1", "reason": "order undone"}
    )
