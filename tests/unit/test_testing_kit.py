"""The kit that applications test their machines with, and the command that shows what actions would do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import strategies as st
from typer.testing import CliRunner

from onex_mesh.app import App, Next, ReducerContext, transition
from onex_mesh.cli.commands import cli
from onex_mesh.runtime.errors import ReductionFailedError, TransitionRefusedError, ValidationError
from onex_mesh.testing import Then, check_invariants, given
from tests.order_machine import NewOrder, Order, OrderMachine, Status

FILE = Path(__file__).parents[1] / "order_machine.yaml"
NEW = {"items": [{"sku": "a", "price": "1.10", "quantity": 2}], "customer_email": "a@b.example"}


@pytest.mark.parametrize("source", [OrderMachine, FILE], ids=["python", "yaml"])
def test_given_when_then(source: type | Path) -> None:
    """R92: a sequence of actions, the fields that matter, the intents; no mesh and no mocks."""
    placed = given(source).when("PLACE_ORDER", NEW, now=datetime(2026, 5, 6, tzinfo=UTC))
    placed.then(
        "ORDER_PLACED",
        state={"total": "2.20", "placed_at": "2026-05-06T00:00:00Z"},
        intents=[
            {"type": "database_write", "target": "orders_table", "priority": "critical"},
            {"payload": {"to": "a@b.example", "template": "order_confirmation"}},
            "order_events_topic",
        ],
    )
    paid = placed.when("CONFIRM_PAYMENT", {"reference": "r", "amount": Decimal("2.2")}).then(intents=[])
    assert paid.when("SHIP_ORDER").then("SHIPPED").final
    assert placed.refuses("SHIP_ORDER", reason="TRANSITION_REFUSED").message.startswith("SHIP_ORDER is refused")


def test_states_and_payloads_may_be_models() -> None:
    """R92: as an application has them."""
    payload = NewOrder.model_validate(NEW)
    state = Order(status=Status.PAYMENT_CONFIRMED, order_id="o")
    given(OrderMachine).when("PLACE_ORDER", payload).then("ORDER_PLACED")
    given(OrderMachine, state=state).when("SHIP_ORDER").then(state={"order_id": "o"})
    with pytest.raises(TransitionRefusedError):
        given(OrderMachine, state=state).when("PLACE_ORDER", payload)


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ({"status": "SHIPPED"}, "the state is ORDER_PLACED, not SHIPPED"),
        ({"state": {"total": "3"}}, "state.total is '2.20', not '3'"),
        ({"state": {"nope": 1}}, "state.nope is not there"),
        ({"intents": []}, "3 intents, not 0: database_write to orders_table, notification to email_service"),
        ({"intents": ["a", "b", "c"]}, "intents[0].target is 'orders_table', not 'a'"),
        ({"intents": [{"payload": {"data": {"total": 1}}}, {}, {}]}, "intents[0].payload.data.total is '2.20', not 1"),
    ],
)
def test_what_is_otherwise_is_told(expected: dict[str, object], told: str) -> None:
    """R92: a failing expectation says what was found, and where."""
    placed = given(OrderMachine).when("PLACE_ORDER", NEW)
    with pytest.raises(AssertionError) as failed:
        placed.then(**expected)  # type: ignore[arg-type]  # keywords by name
    assert told in str(failed.value)


def test_a_refusal_that_does_not_come() -> None:
    """R92: told with where the action led, or with the reason that came instead."""
    with pytest.raises(AssertionError, match="it led from IDLE to ORDER_PLACED"):
        given(OrderMachine).refuses("PLACE_ORDER", NEW)
    with pytest.raises(AssertionError, match="refused with UNKNOWN_ACTION, not TRANSITION_REFUSED"):
        given(OrderMachine).refuses("NOPE", reason="TRANSITION_REFUSED")


def test_an_app_of_several_machines() -> None:
    """R68: the one that is meant is named."""
    app = App("test")
    app.reducer(name="order")(OrderMachine)
    given(app).when("PLACE_ORDER", NEW)
    app.reducer(name="other")(OrderMachine)
    with pytest.raises(ValidationError, match="name one of the state machines of test: order, other"):
        given(app)
    given(app, "other").when("PLACE_ORDER", NEW)


PAYMENTS = {
    "PLACE_ORDER": st.fixed_dictionaries(
        {
            "items": st.lists(st.fixed_dictionaries({"sku": st.just("a"), "price": st.just("1.50")}), max_size=3),
            "customer_email": st.just("a@b.example"),
        }
    ),
    "CONFIRM_PAYMENT": st.fixed_dictionaries({"reference": st.just("r"), "amount": st.sampled_from(["1.50", "3.00"])}),
    "UNKNOWN": st.none(),
}


def total_is_that_of_the_items(then: Then) -> None:
    items = then.document["items"]
    assert isinstance(items, list)
    assert Decimal(str(then.document["total"])) == sum(Decimal(row["price"]) * row["quantity"] for row in items)


@pytest.mark.parametrize("source", [OrderMachine, FILE], ids=["python", "yaml"])
def test_invariants_hold_on_random_sequences(source: type | Path) -> None:
    """R48, R92: whatever actions come, also refused and unknown ones."""
    check_invariants(source, invariants=[total_is_that_of_the_items], payloads=PAYMENTS, examples=50)


def test_an_invariant_that_does_not_hold() -> None:
    """R92: it is named, with the action after which it broke."""

    def never_shipped(then: Then) -> bool:
        return then.status != "SHIPPED"

    with pytest.raises(AssertionError, match="never_shipped does not hold after SHIP_ORDER"):
        check_invariants(OrderMachine, invariants=[never_shipped], payloads=PAYMENTS, examples=200)


def test_an_invariant_without_a_name_is_told_by_its_line() -> None:
    """R92: several lambdas are told apart."""
    with pytest.raises(
        AssertionError, match=r"the invariant at .*test_testing_kit\.py:\d+ does not hold after PLACE_ORDER"
    ):
        check_invariants(OrderMachine, invariants=[lambda then: False], payloads=PAYMENTS, examples=50)


def test_an_impure_app_ends_simulate_with_2(tmp_path: Path) -> None:
    """R47: an App that does not fit, with file and line of what is not pure."""
    source = (Path(__file__).parents[1] / "order_machine.py").read_text()
    impure = source.replace('ctx.uuid("order")', '__import__("uuid").uuid4()')
    (tmp_path / "impure_shop.py").write_text(
        impure + "\n\nfrom onex_mesh.app import App\napp = App('shop')\napp.reducer(name='order')(OrderMachine)\n"
    )
    code, rows, told = run("--app", "impure_shop:app", "--app-dir", str(tmp_path), "--action", "PLACE_ORDER")
    assert (code, rows) == (2, [])
    assert "impure_shop.py:" in told
    assert "__import__ runs code that cannot be checked" in " ".join(told.split())


def test_a_machine_that_fails_is_found() -> None:
    """R67, R92: an exception of the application is a fault, whatever the action; payloads are made from the models."""

    class Broken(OrderMachine):
        @staticmethod
        @transition("PLACE_ORDER", source=Status.IDLE, target=Status.ORDER_PLACED)
        def place(state: Order, payload: NewOrder, ctx: ReducerContext) -> Next[Order]:
            raise RuntimeError("out of order")

    with pytest.raises(ReductionFailedError, match="out of order"):
        check_invariants(Broken, examples=50)


def run(*arguments: str) -> tuple[int, list[dict[str, object]], str]:
    result = CliRunner().invoke(cli, ["reducer", "simulate", *arguments])
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def test_simulate(tmp_path: Path) -> None:
    """R46, R66: state and intents of each action as a line of JSON; a refusal ends it with 1."""
    code, rows, _ = run("--file", str(FILE), "--action", "PLACE_ORDER", "--payload", json.dumps(NEW))
    assert (code, rows[0]["to"]) == (0, "ORDER_PLACED")
    intents = rows[0]["intents"]
    assert isinstance(intents, list)
    assert [row["target"] for row in intents] == ["orders_table", "email_service", "order_events_topic"]
    state = tmp_path / "state.json"
    state.write_text(json.dumps(rows[0]["state"]))
    code, rows, _ = run("--file", str(FILE), "--action", "SHIP_ORDER", "--state", str(state))
    assert (code, rows[0]["refused"]) == (1, "TRANSITION_REFUSED")
    actions = tmp_path / "actions.yaml"
    actions.write_text(f"- {{action: PLACE_ORDER, payload: {json.dumps(NEW)}}}\n- {{action: SHIP_ORDER}}\n")
    code, rows, _ = run("--file", str(FILE), "--actions", str(actions), "--now", "2026-03-04")
    assert code == 1
    assert [row.get("to") for row in rows] == ["ORDER_PLACED", None]
    placed = rows[0]["state"]
    assert isinstance(placed, dict)
    assert placed["placed_at"] == "2026-03-04T00:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give --action NAME or --actions FILE"),
        (["--action", "A", "--payload", "{"], "--payload is not JSON"),
        (["--actions", "ACTIONS", "--payload", "{}"], "--payload goes with --action"),
        (["--actions", "ACTIONS"], "[1]: is not {action: NAME, payload: …}"),
        (["--action", "A", "--state", "missing.json"], "missing.json"),
    ],
)
def test_what_simulate_refuses(arguments: list[str], told: str, tmp_path: Path) -> None:
    """R166: wrong usage ends with 2 and says what and where."""
    actions = tmp_path / "actions.yaml"
    actions.write_text("- {action: A}\n- {actions: B}\n")
    given_arguments = [str(actions) if each == "ACTIONS" else each for each in arguments]
    code, _, errors = run("--file", str(FILE), *given_arguments)
    assert code == 2
    assert told in errors
