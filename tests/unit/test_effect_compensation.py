"""Inverses of the application's effects: declared, checked when the App is loaded, and looked up."""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from pathlib import Path

import pydantic
import pytest

from onex_mesh.app import load_app
from onex_mesh.effect.core import Compensation, EffectContext, EffectRegistry, Inverse
from onex_mesh.effect.node import EffectNode
from onex_mesh.runtime.errors import ValidationError
from onex_mesh.runtime.payload import Json


class Card(pydantic.BaseModel):
    """A part of the parameters."""

    token: str
    holder: str | None = None


class Charge(pydantic.BaseModel):
    """Parameters of the effect to be undone."""

    amount: decimal.Decimal
    card: Card
    currency: str = "GBP"
    note: str | None = None


class Receipt(pydantic.BaseModel):
    """Its result."""

    receipt_id: str
    lines: list[str] = []
    count: int = 1


class Refund(pydantic.BaseModel):
    """Parameters of the inverse."""

    model_config = pydantic.ConfigDict(extra="forbid")

    receipt_id: str
    currency: str
    amount: decimal.Decimal | None = None
    reason: str = ""
    share: float = 1.0


async def charge(parameters: Charge, context: EffectContext) -> Receipt:
    """Charges a card.

    Not shown in a listing.
    """
    return Receipt(receipt_id="r-1")


def refund(parameters: Refund, context: EffectContext) -> None:
    """Refunds."""


def loose(parameters: Mapping[str, Json], context: EffectContext) -> Json:
    """Takes and gives anything."""
    return None


def registry_with(compensate: str | Compensation) -> EffectRegistry:
    """An effect with that inverse, registered before what it names."""
    registry = EffectRegistry()
    registry.register("charge", charge, compensate=compensate)
    registry.register("refund", refund)
    registry.register("loose", loose)
    return registry


def test_an_inverse_takes_its_parameters_by_name() -> None:
    """R91: without a mapping, fields of the result and then of the parameters, defaults filled in."""
    registry = registry_with("refund")
    registry.check()
    given: dict[str, Json] = {"amount": "19.90", "card": {"token": "t"}}
    assert registry.inverse("charge", given, {"receipt_id": "r-7", "lines": [], "count": 1}) == Inverse(
        "refund", {"receipt_id": "r-7", "currency": "GBP", "amount": "19.90"}
    )
    assert registry.inverse("refund", {"receipt_id": "r", "currency": "GBP"}, None) is None


def test_an_inverse_takes_its_parameters_by_the_declared_mapping() -> None:
    """R91: parts of parameters and result keep their type; everything else stands for itself."""
    mapping: dict[str, Json] = {
        "receipt_id": "${result.receipt_id}",
        "currency": "${ parameters.currency }",
        "reason": "order cancelled",
        "share": "${result.count}",
    }
    registry = registry_with(Compensation("refund", mapping))
    registry.check()
    found = registry.inverse(
        "charge", {"amount": 5, "card": {"token": "t"}, "currency": "EUR"}, {"receipt_id": "r", "count": 2}
    )
    assert found == Inverse("refund", {"receipt_id": "r", "currency": "EUR", "reason": "order cancelled", "share": 2})


def test_an_inverse_without_a_model_takes_what_it_is_given() -> None:
    """R91: whole values and nested ones travel, too."""
    registry = registry_with(Compensation("loose", {"all": "${result}", "card": {"of": ["${parameters.card.token}"]}}))
    registry.check()
    assert registry.inverse("charge", {"amount": 5, "card": {"token": "t"}}, {"receipt_id": "r"}) == Inverse(
        "loose", {"all": {"receipt_id": "r"}, "card": {"of": ["t"]}}
    )


@pytest.mark.parametrize(
    ("compensate", "problem"),
    [
        ("rollback", "there is no effect 'rollback'; registered: charge, loose, refund"),
        ("loose", "'loose' takes any mapping; say which parameters it is given"),
        (Compensation("refund", {"receipt_id": "x"}), "parameter 'currency' is required and not given"),
        (
            Compensation("refund", {"receipt_id": "x", "currency": "EUR", "amout": 1}),
            "'refund' has no parameter 'amout'",
        ),
        (
            Compensation("refund", {"receipt_id": "${result.id}", "currency": "EUR"}),
            "${result.id}: the value declares no field 'id'",
        ),
        (
            Compensation("refund", {"receipt_id": "${parameters.card.token.x}", "currency": "EUR"}),
            "card.token may be string, which has no fields",
        ),
        (
            Compensation("refund", {"receipt_id": "${parameters.card.holder}", "currency": "EUR"}),
            "parameter 'receipt_id' takes string, but may be given null",
        ),
        (
            Compensation("refund", {"receipt_id": "${result.count}", "currency": "EUR"}),
            "parameter 'receipt_id' takes string, but may be given integer",
        ),
        (
            Compensation("refund", {"receipt_id": ["a"], "currency": "EUR"}),
            "parameter 'receipt_id' takes string, but may be given array",
        ),
        (
            Compensation("refund", {"receipt_id": "r-${result.receipt_id}", "currency": "EUR"}),
            "is not ${parameters.…} or ${result.…}, alone",
        ),
        (Compensation("refund", {"receipt_id": 5, "currency": "EUR"}), "takes string, but may be given integer"),
    ],
)
def test_an_inverse_that_cannot_be_called_is_found_at_once(compensate: str | Compensation, problem: str) -> None:
    """R3, R91: the check names the effect, the inverse, the parameter, and file and line of the handler."""
    with pytest.raises(ValidationError) as refused:
        registry_with(compensate).check()
    assert problem in refused.value.message
    assert refused.value.message.startswith(f"{__file__}:")
    assert [name for name, _ in refused.value.violations] == ["charge"]


def test_what_a_handler_does_not_declare_cannot_be_relied_on() -> None:
    """R91: a result without an annotation of its fields gives an inverse nothing that could be checked."""
    registry = EffectRegistry()
    registry.register("refund", refund)
    registry.register(
        "opaque", loose, compensate=Compensation("refund", {"receipt_id": "${result.id}", "currency": "E"})
    )
    with pytest.raises(ValidationError, match="return value does not say what it holds"):
        registry.check()
    named = EffectRegistry()
    named.register("refund", refund)
    named.register("opaque", loose, compensate="refund")
    with pytest.raises(ValidationError, match="'currency' is required, and neither"):
        named.check()


def test_an_effect_may_undo_itself() -> None:
    """R91: setting the former value back is an inverse like any other."""

    class Price(pydantic.BaseModel):
        price: int

    class Former(pydantic.BaseModel):
        former: int

    def set_price(parameters: Price, context: EffectContext) -> Former:
        return Former(former=1)

    set_price.__annotations__ = {"parameters": Price, "context": EffectContext, "return": Former}
    registry = EffectRegistry()
    registry.register("set_price", set_price, compensate=Compensation("set_price", {"price": "${result.former}"}))
    registry.check()
    assert registry.inverse("set_price", {"price": 3}, {"former": 2}) == Inverse("set_price", {"price": 2})


def test_the_lookup_refuses_what_it_cannot_make() -> None:
    """R3: a result that is not what the handler declared is told, not passed on."""
    registry = registry_with("refund")
    with pytest.raises(ValidationError, match=r"inverse of effect 'charge': \$\{result.receipt_id\} is not there"):
        registry.inverse("charge", {"amount": 5, "card": {"token": "t"}}, {})
    with pytest.raises(ValidationError, match="card: Field required"):
        registry.inverse("charge", {"amount": 5}, {"receipt_id": "r"})
    with pytest.raises(ValidationError, match="has no effect 'nothing'"):
        registry.inverse("nothing", {}, None)


_APP = """
from collections.abc import Mapping

from onex_mesh.app import App, EffectContext, Json

app = App("shop")


@app.effect("charge", compensate="{inverse}")
def charge(parameters: Mapping[str, Json], context: EffectContext) -> None: ...
"""


def test_the_app_does_not_load_with_a_missing_inverse(tmp_path: Path) -> None:
    """R91: `onex-mesh serve` and `dev` load the App this way; an effect node made by hand checks, too."""
    (tmp_path / "shop_without_inverse.py").write_text(_APP.replace("{inverse}", "refund"))
    with pytest.raises(
        ValidationError, match=r"shop_without_inverse.py:9: effect 'charge': compensate: there is no effect"
    ):
        load_app("shop_without_inverse:app", directory=tmp_path)
    with pytest.raises(ValidationError, match="there is no effect 'rollback'"):
        EffectNode(registry_with("rollback"))
