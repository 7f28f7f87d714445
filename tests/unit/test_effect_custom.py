"""Effects that an application registers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pydantic
import pytest

from onex_mesh.effect.adapters.custom import open_app_lane
from onex_mesh.effect.core import EffectContext, EffectRegistry
from onex_mesh.effect.listing import listed
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError, ValidationError
from onex_mesh.runtime.payload import Json, from_struct
from tests.effect_engine import effect_world


class Charge(pydantic.BaseModel):
    """Parameters of an effect."""

    amount_pence: int = pydantic.Field(gt=0)
    currency: str


class Receipt(pydantic.BaseModel):
    """Result of an effect."""

    receipt_id: str
    amount_pence: int


async def charge(parameters: Charge, context: EffectContext) -> Receipt:
    """An async handler with models."""
    return Receipt(receipt_id=f"r-{context.idempotency_key}", amount_pence=parameters.amount_pence)


def plain(parameters: Mapping[str, Json], context: EffectContext) -> Json:
    """A plain handler without models."""
    return {"given": dict(parameters), "correlation_id": context.correlation_id}


async def test_a_registered_effect_is_executed_by_its_name(tmp_path: Path) -> None:
    """R91: parameters by the model, the context with key and correlation id, the result as JSON."""
    registry = EffectRegistry()
    registered = registry.register("charge", charge)
    registry.register("plain", plain)
    assert (registered.is_async, registered.parameters, registered.compensation) == (True, Charge, None)
    async with effect_world(tmp_path, registry=registry) as world:
        output = await world.effect("charge", "", "", {"amount_pence": 5, "currency": "GBP"}, key="k1")
        assert output.correlation_id == "corr-1"
        assert (output.metadata.target, output.metadata.attempts) == ("app", 1)
        assert await world.result("charge", "app", "", {"amount_pence": 5, "currency": "GBP"}, key="k2") == {
            "receipt_id": "r-k2",
            "amount_pence": 5,
        }
        assert await world.result("plain", "", "", {"a": 1}) == {"given": {"a": 1}, "correlation_id": "corr-1"}


async def test_parameters_are_checked_before_the_handler_runs(tmp_path: Path) -> None:
    """R18: all violations with their paths, and the handler was not called."""
    registry = EffectRegistry()
    registry.register("charge", charge)
    async with effect_world(tmp_path, registry=registry) as world:
        with pytest.raises(ValidationError) as refused:
            await world.effect("charge", "", "", {"amount_pence": -1})
        assert [path for path, _ in refused.value.violations] == [
            "io_operation_config.parameters.amount_pence",
            "io_operation_config.parameters.currency",
        ]
        assert world.audit.records == []


async def test_what_a_handler_raises(tmp_path: Path) -> None:
    """F18, R20: errors of the mesh keep their class, broken connections are temporary, others keep their text here."""
    registry = EffectRegistry()
    errors: list[Exception] = [
        EffectFailedError("sold out"),
        ConnectionResetError("by peer"),
        ValueError("card 4111 1111 1111 1111"),
    ]

    async def fail(parameters: Mapping[str, Json], context: EffectContext) -> None:
        raise errors.pop(0)

    registry.register("fail", fail)
    async with effect_world(tmp_path, registry=registry) as world:
        with pytest.raises(EffectFailedError, match="sold out"):
            await world.effect("fail", retries=0)
        with pytest.raises(TargetUnavailableError, match="ConnectionResetError"):
            await world.effect("fail", retries=0)
        with pytest.raises(EffectFailedError, match="raised ValueError") as failed:
            await world.effect("fail", retries=0)
    assert "4111" not in str(failed.value)
    assert isinstance(failed.value.__cause__, ValueError)


async def test_results_must_be_json(tmp_path: Path) -> None:
    """R3, F22: a result that cannot travel fails the effect with the path of what is wrong; bytes pass."""
    registry = EffectRegistry()

    def big(parameters: Mapping[str, Json], context: EffectContext) -> Json:
        return {"id": 2**60}

    def raw(parameters: Mapping[str, Json], context: EffectContext) -> bytes:
        return b"\x00\xff"

    registry.register("big", big)
    registry.register("raw", raw)
    async with effect_world(tmp_path, registry=registry) as world:
        with pytest.raises(EffectFailedError, match="'big': id: the integer"):
            await world.effect("big")
        assert await world.result("raw") == b"\x00\xff"


async def test_plain_handlers_do_not_hold_up_others(tmp_path: Path) -> None:
    """R10: a handler that is not async runs in a thread."""
    registry = EffectRegistry()
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def block(parameters: Mapping[str, Json], context: EffectContext) -> str:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(10)
        return "done"

    registry.register("block", block)
    async with effect_world(tmp_path, registry=registry) as world:
        blocked = asyncio.create_task(world.result("block"))
        await asyncio.wait_for(entered.wait(), 10)
        leave.set()
        assert await blocked == "done"


async def _no_context(parameters: Charge) -> None: ...


async def _wrong_context(parameters: Charge, context: str) -> None: ...


async def _wrong_parameters(parameters: int, context: EffectContext) -> None: ...


@pytest.mark.parametrize(
    ("name", "handler", "problem"),
    [
        ("api_call", charge, "built-in effect type"),
        ("a b", charge, "letters, digits"),
        ("x", _no_context, r"exactly \(parameters, context\)"),
        ("x", _wrong_context, "is an EffectContext"),
        ("x", _wrong_parameters, "pydantic model or a mapping"),
    ],
)
def test_wrong_registrations_name_file_and_line(name: str, handler: object, problem: str) -> None:
    """R3: a handler that cannot work is refused when it is registered, with where it stands."""
    with pytest.raises(ValidationError, match=problem) as refused:
        EffectRegistry().register(name, handler)  # type: ignore[arg-type]  # that is the point
    assert f"{Path(__file__).name}:" in refused.value.message


def test_a_name_is_taken_once() -> None:
    """R88: a type has one implementation."""
    registry = EffectRegistry()
    registry.register("charge", charge)
    with pytest.raises(ValidationError, match="is registered already"):
        registry.register("charge", charge)
    assert registry.names() == ["charge"]


class Counted(pydantic.BaseModel):
    """Parameters with a bound that JSON numbers of the mesh cannot hold."""

    count: int = pydantic.Field(lt=2**63)


async def count(parameters: Counted, context: EffectContext) -> None:
    """Counts."""


def test_an_effect_is_listed_with_its_schema_where_that_can_travel() -> None:
    """R91, F22: the listing goes without a schema that would be rounded; the model checks all the same."""
    registry = EffectRegistry()
    rows = {
        effect.name: listed(open_app_lane(effect))
        for effect in (
            registry.register("charge", charge, description="Charges"),
            registry.register("plain", plain),
            registry.register("count", count),
        )
    }
    assert from_struct(rows["charge"].parameters_schema)["required"] == ["amount_pence", "currency"]
    assert (rows["charge"].description, rows["charge"].compensated_by) == ("Charges", "")
    assert not rows["plain"].HasField("parameters_schema")
    assert not rows["count"].HasField("parameters_schema")
    assert rows["count"].description == "Counts."
