"""State machines in YAML: they do what those in Python do, and what is wrong with a file is told with its line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex_mesh.app import App, ValidationError
from onex_mesh.reducer.core import Fsm, IntentType, Priority, ReducerContext
from onex_mesh.reducer.core.analysis import analysed
from onex_mesh.reducer.core.declarative.build import machine_of, read_machine
from onex_mesh.reducer.core.freeze import freeze, thaw
from onex_mesh.reducer.core.machine import Applied, apply_action
from onex_mesh.reducer.core.wire import intent_messages
from onex_mesh.runtime.document import parse_document
from onex_mesh.runtime.errors import (
    OnexError,
    ReductionFailedError,
    StateConsistencyError,
    TransitionRefusedError,
    UnknownActionError,
)
from tests.order_machine import OrderMachine

FILE = Path(__file__).parents[1] / "order_machine.yaml"
NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
DECLARED = read_machine(FILE)
IN_PYTHON = Fsm.from_class(OrderMachine, name="order")

MINIMAL = """
name: door
initial: CLOSED
states: [CLOSED, OPEN]
transitions:
  - {action: OPEN, from: CLOSED, to: OPEN}
  - {action: CLOSE, from: OPEN, to: CLOSED}
"""


def machine(text: str) -> Fsm:
    return machine_of(parse_document(text, "door.yaml"))


def context(action_id: str = "a-1") -> ReducerContext:
    return ReducerContext(now=NOW, action_id=action_id, correlation_id="corr-1")


def applied(fsm: Fsm, action: str, payload: object = None, state: object = None) -> Applied:
    return apply_action(fsm, state, action, payload, context, twice=True)


def refusals(text: str) -> str:
    with pytest.raises(ValidationError) as refused:
        machine(text)
    return refused.value.message


def outcome(fsm: Fsm, state: object, action: str, payload: object, action_id: str) -> tuple[str, object]:
    """What an action comes to, in a form that both kinds of machine share."""
    try:
        result = apply_action(fsm, state, action, payload, lambda: context(action_id))
    except OnexError as error:
        return error.reason, (error.message, getattr(error, "violations", ()))
    messages = intent_messages(result.intents, context(action_id))
    for message in messages:
        told = message.payload["data"]
        if "timestamp" in told:
            # Python's own form of an instant ends with +00:00, pydantic's and CEL's with Z.
            told["timestamp"] = told["timestamp"].replace("+00:00", "Z")
    return "done", (result.document, result.status, result.final, messages)


PRICES = st.decimals(min_value=0, max_value=10_000, places=2).map(str)
ITEMS = st.lists(
    st.fixed_dictionaries({"sku": st.text(max_size=5), "price": PRICES}, optional={"quantity": st.integers(-1, 5)}),
    max_size=3,
)
ACTIONS = st.one_of(
    st.tuples(
        st.just("PLACE_ORDER"),
        st.fixed_dictionaries({"items": ITEMS, "customer_email": st.text(min_size=1, max_size=8)}),
    ),
    st.tuples(st.just("CONFIRM_PAYMENT"), st.fixed_dictionaries({"reference": st.text(max_size=5), "amount": PRICES})),
    # Pays exactly: the amount is filled in from the state.
    st.tuples(st.just("CONFIRM_PAYMENT"), st.just("exactly")),
    st.tuples(st.just("SHIP_ORDER"), st.none()),
    st.tuples(st.just("CONFIRM_PAYMENT"), st.fixed_dictionaries({"reference": st.integers(), "more": st.none()})),
    st.tuples(st.text(max_size=4), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=6))
def test_both_forms_of_the_order_machine_agree(actions: list[tuple[str, object]]) -> None:
    """R48, R70–R72: on any sequence of actions YAML and Python give the same states, intents and refusals."""
    state: Mapping[str, object] | None = None
    for index, (action, given_payload) in enumerate(actions):
        payload = given_payload
        if payload == "exactly":
            payload = {"reference": "r", "amount": str(state["total"]) if state else "0"}
        one = outcome(IN_PYTHON, state, action, payload, f"action-{index}")
        other = outcome(DECLARED, state, action, payload, f"action-{index}")
        assert one == other
        if one[0] == "done":
            assert isinstance(one[1], tuple)
            state = one[1][0]


def test_an_order_from_a_file() -> None:
    """R70–R72, R77, R89, R90: PLACE_ORDER emits the three intents in order, with their priorities and the key."""
    placed = applied(
        DECLARED, "PLACE_ORDER", {"items": [{"sku": "a", "price": "1.10", "quantity": 2}], "customer_email": "a@b.org"}
    )
    order_id = placed.document["order_id"]
    assert placed.document["total"] == "2.20"
    assert (placed.previous, placed.status) == ("IDLE", "ORDER_PLACED")
    assert [(row.type, row.target, row.priority) for row in placed.intents] == [
        (IntentType.DATABASE_WRITE, "orders_table", Priority.CRITICAL),
        (IntentType.NOTIFICATION, "email_service", Priority.HIGH),
        (IntentType.MESSAGE_PUBLISH, "order_events_topic", Priority.NORMAL),
    ]
    assert placed.intents[0].idempotency_key == f"order_{order_id}"
    retry = placed.intents[1].retry
    assert retry is not None
    assert (retry.max_retries, retry.initial_backoff) == (3, timedelta(milliseconds=250))


def test_a_refusal_names_the_guard() -> None:
    """R66: who wrote the file gave the guard a name; it is told, as are unknown actions and wrong states."""
    placed = applied(DECLARED, "PLACE_ORDER", {"items": [{"sku": "a", "price": "1"}], "customer_email": ""})
    with pytest.raises(TransitionRefusedError, match="refused in the state ORDER_PLACED by paid_in_full"):
        applied(DECLARED, "CONFIRM_PAYMENT", {"reference": "r", "amount": "2"}, placed.document)
    with pytest.raises(TransitionRefusedError, match="it starts from PAYMENT_CONFIRMED"):
        applied(DECLARED, "SHIP_ORDER", None, placed.document)
    with pytest.raises(UnknownActionError, match="PLACE_ORDER, CONFIRM_PAYMENT, SHIP_ORDER"):
        applied(DECLARED, "EAT_ORDER")
    with pytest.raises(ValidationError, match=r"fsm_action\.payload\.items"):
        applied(DECLARED, "PLACE_ORDER", {"items": [], "customer_email": ""})


ENTRY = """
name: lamp
initial: "OFF"
states:
  "OFF": {exit: [{type: message_publish, target: log, payload: {event_type: LEFT_OFF, data: {was: "${state.count}"}}}]}
  "ON":
    assign: {count: state.count + 1}
    entry: [{type: message_publish, target: log, payload: {event_type: IS_ON, data: {count: "${next.count}"}}}]
data: {count: int, level: double}
transitions:
  - action: PRESS
    from: "OFF"
    to: "ON"
    intents: [{type: message_publish, target: log, payload: {event_type: PRESSED}}]
  - {action: PRESS, from: "ON", to: "OFF"}
  - {action: DIM, from: "*", payload: {by: int}, assign: {level: state.level + payload.by * 0.5}}
  - {action: STAY, from: "ON", to: "ON"}
"""


def test_entry_and_exit_actions() -> None:
    """R46: leaving, transition, entering, in this order of intents; a transition that stays runs neither."""
    lamp = machine(ENTRY)
    on = applied(lamp, "PRESS")
    assert [row.payload["event_type"] for row in on.intents] == ["LEFT_OFF", "PRESSED", "IS_ON"]
    assert [row.payload.get("data") for row in on.intents] == [{"was": 0}, None, {"count": 1}]
    assert on.document == {"status": "ON", "count": 1, "level": 0.0}
    dimmed = applied(lamp, "DIM", {"by": 3}, on.document)
    assert (dimmed.document["level"], dimmed.intents) == (1.5, ())
    assert applied(lamp, "STAY", None, on.document).intents == ()
    assert applied(lamp, "PRESS", None, dimmed.document).intents == ()


def test_intents_for_each_item_and_under_a_condition() -> None:
    """R73, R83: one intent for each item of a list; none where the condition does not hold; text around expressions."""
    fsm = machine(
        MINIMAL
        + """
  - action: ASK
    from: CLOSED
    payload: {names: list(string), loud: bool}
    intents:
      - type: notification
        target: mail
        for_each: payload.names
        when: payload.loud && item != 'nobody'
        key: ask-${item}
        payload: {template: ask, to: "${item}@example.org", data: {of: "${size(payload.names)}", cost: "$${5}"}}
"""
    )
    asked = applied(fsm, "ASK", {"names": ["ann", "nobody", "bob"], "loud": True})
    assert [row.idempotency_key for row in asked.intents] == ["ask-ann", "ask-bob"]
    assert asked.intents[0].payload["to"] == "ann@example.org"
    assert asked.intents[0].payload["data"] == {"of": 3, "cost": "${5}"}
    assert applied(fsm, "ASK", {"names": ["ann"], "loud": False}).intents == ()


TYPES = """
name: types
initial: S
states: [S, T]
types:
  Part: {name: string, tags: {type: list(string), default: []}}
data:
  text: {type: string, default: x, max_length: 3}
  whole: {type: int, minimum: 0, maximum: 9}
  real: double
  yes: bool
  money: {type: decimal, default: "1.50"}
  when: timestamp?
  any: json
  part: Part?
  parts: list(Part)
  by: map(Part)
  kind: {type: string, one_of: [a, b], default: a}
transitions:
  - {action: KEEP, from: "*"}
  - {action: THERE, from: S, to: T}
  - {action: BACK, from: T, to: S}
"""


def test_every_type_has_its_natural_default() -> None:
    """R166: what is empty, zero, false or absent, unless the file says otherwise; the schema says the same."""
    fsm = machine(TYPES)
    assert json.loads(fsm.initial.model_dump_json()) == {
        "status": "S", "text": "x", "whole": 0, "real": 0.0, "yes": False, "money": "1.50", "when": None, "any": None,
        "part": None, "parts": [], "by": {}, "kind": "a",
    }  # fmt: skip
    schema = fsm.model.model_json_schema()
    assert schema["properties"]["whole"]["maximum"] == 9
    assert schema["properties"]["kind"]["enum"] == ["a", "b"]
    state = {
        "text": "abc", "whole": 9, "real": 2, "yes": True, "money": "0.10", "when": "2026-01-01T00:00:00Z",
        "any": {"a": [1, 2.5, None]}, "part": {"name": "n"}, "parts": [{"name": "m", "tags": ["t"]}],
        "by": {"k": {"name": "o"}}, "kind": "b", "status": "S",
    }  # fmt: skip
    kept = applied(fsm, "KEEP", None, state).document
    assert kept == {
        **state, "part": {"name": "n", "tags": []}, "by": {"k": {"name": "o", "tags": []}}, "real": 2.0,
    }  # fmt: skip
    for field, wrong in (("text", "abcd"), ("whole", 10), ("kind", "c"), ("when", "2026-01-01T00:00:00"), ("more", 1)):
        with pytest.raises(StateConsistencyError, match=field):
            applied(fsm, "KEEP", None, {**state, field: wrong})


PATHS = """
name: paths
initial: S
states: [S, T]
final: [T]
types:
  Part: {name: string, at: timestamp, size: {type: double, default: 0}, tags: {type: list(string), default: []}}
  Whole: {part: Part, spare: 'Part?', note: 'string?', more: json}
data:
  text: string
  whole: int
  real: double
  yes: bool
  money: decimal
  when: timestamp?
  note: string?
  any: json
  parts: list(Part)
  reals: list(double)
  by: map(Part)
  counts: map(int)
transitions:
  - action: TELL
    from: S
    payload: Whole
    intents:
      - {type: custom, custom_type: tell, target: t, payload: {short: "${PATH}", long: "${(PATH)}"}}
  - {action: STOP, from: S, to: T}
"""
PARTS = st.fixed_dictionaries(
    {
        "name": st.text(max_size=3),
        "at": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T01:02:03.5+02:00", "1969-12-31T23:59:59.000001Z"]),
    },
    optional={"size": st.sampled_from([0, 1, 2.0, 2.5, -1e300]), "tags": st.lists(st.text(max_size=2), max_size=2)},
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([2.0, 0.5]) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)
STATES = st.fixed_dictionaries(
    {},
    optional={
        "text": st.text(max_size=3),
        "whole": st.integers(-(2**53), 2**53),
        "real": st.sampled_from([0, 2.0, 2.5]),
        "yes": st.booleans(),
        "money": st.sampled_from(["0", "1.50", "1E+3"]),
        "when": PARTS.map(lambda part: part["at"]),
        "note": st.none() | st.text(max_size=2),
        "any": ANY,
        "parts": st.lists(PARTS, max_size=2),
        "reals": st.lists(st.sampled_from([1.0, 0.5]), max_size=2),
        "counts": st.dictionaries(st.text(max_size=2), st.integers(0, 9)),
        "by": st.dictionaries(st.text(max_size=2), PARTS, max_size=2),
    },
)
WHOLES = st.fixed_dictionaries({"part": PARTS, "more": ANY}, optional={"spare": PARTS, "note": st.text(max_size=2)})
FIELDS = ("text", "whole", "real", "yes", "money", "when", "note", "any", "parts", "reals", "by", "counts", "status")
TELLING = {
    path: machine(PATHS.replace("PATH", path))
    for path in [
        "state",
        "next",
        "payload",
        "ctx.now",
        "ctx.action_id",
        "payload.part",
        "payload.part.at",
        "payload.part.size",
        "payload.spare",
        "payload.spare.name",
        "payload.note",
        "payload.more",
        *(f"state.{name}" for name in FIELDS),
    ]
}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(TELLING)), STATES, WHOLES)
def test_a_path_is_what_cel_would_say(path: str, state: dict[str, object], payload: dict[str, object]) -> None:
    """R48: what only follows a path is read from the document and not by CEL; of every type both give the same."""
    result = apply_action(TELLING[path], {"status": "S", **state}, "TELL", payload, context)
    told = result.intents[0].payload
    # As text, so that 2 is not 2.0; the keys of JSON have no order of their own.
    assert json.dumps(thaw(told["short"]), sort_keys=True) == json.dumps(thaw(told["long"]), sort_keys=True)


def test_functions_derive_from_the_action() -> None:
    """F13: ids, numbers and time are the action's; another action gives others, the same gives the same."""
    fsm = machine(
        MINIMAL.replace("transitions:", "data: {a: string, b: string, n: int, at: 'timestamp?'}\ntransitions:")
        + """
  - action: DRAW
    from: CLOSED
    assign: {a: "uuid('x')", b: "uuid()", n: "random_int(1000000)", at: ctx.now}
"""
    )
    drawn = applied(fsm, "DRAW").document
    expected = context()
    assert drawn["a"] == str(context().uuid("x"))
    assert drawn["b"] == str(expected.uuid())
    assert drawn["n"] == context().random.randrange(1_000_000)
    assert drawn["at"] == "2026-03-04T05:06:07.000089Z"
    other = apply_action(fsm, None, "DRAW", None, lambda: context("a-2")).document
    assert all(drawn[key] != other[key] for key in ("a", "b", "n"))


def test_decimals_are_exact() -> None:
    """F37: money is decimal text, and what computes with it keeps every digit."""
    fsm = machine(
        MINIMAL.replace("transitions:", "data: {out: decimal, n: int}\ntransitions:")
        + """
  - action: PAY
    from: CLOSED
    payload: {parts: list(decimal)}
    assign:
      out: decimal.divide(decimal.subtract(decimal.add(decimal.sum(payload.parts), '0.1'), 1), '4')
      n: "sum([1, 2]) + (decimal.compare('1.0', '1') == 0 ? 10 : 0)"
"""
    )
    paid = applied(fsm, "PAY", {"parts": ["0.1", "0.2", "123456789012345.67"]}).document
    assert (paid["out"], paid["n"]) == ("30864197253086.2675", 13)
    for wrong in ("0", "x"):
        broken = MINIMAL.replace("transitions:", "data: {out: decimal}\ntransitions:") + (
            "  - {action: PAY, from: CLOSED, payload: {by: string}, assign: {out: \"decimal.divide('1', payload.by)\"}}\n"
        )
        with pytest.raises(ReductionFailedError, match=r"door\.yaml:\d+: decimal.divide"):
            applied(machine(broken), "PAY", {"by": wrong})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("initial: CLOSED", "initial: AJAR"), "door.yaml:3: initial: 'AJAR' is no state; there are CLOSED, OPEN"),
        (("from: OPEN, to: CLOSED", "from: OPEN, to: AJAR"), "door.yaml:7: transitions[1].to: 'AJAR' is no state"),
        (("name: door", "nam: door"), "door.yaml:2: nam: is no key here; did you mean 'name'?"),
        (("states: [CLOSED, OPEN]", "states: [CLOSED, OPEN, CLOSED]"), "a state is there twice"),
        (("states: [CLOSED, OPEN]", "states: [CLOSED, OPEN, LOST]"), "LOST is never reached from CLOSED"),
        (("  - {action: CLOSE, from: OPEN, to: CLOSED}", ""), "nothing leads out of OPEN, and it is not final"),
        (("states:", "final: [OPEN]\nstates:"), "OPEN is final: nothing leads out of it"),
        (("from: OPEN, to", "from: OPEN, guard: 1 + 1, to"), "gives int; a condition gives bool"),
        (("from: OPEN, to", "from: OPEN, guard: nope, to"), "undeclared reference to 'nope'"),
        (("from: OPEN, to", "from: OPEN, guard: payload.x > 1, to"), "undeclared reference to 'payload.x'"),
        (("from: OPEN, to", "from: OPEN, assign: {status: \"'OPEN'\"}, to"), "is changed by `to`"),
        (("from: OPEN, to", "from: OPEN, payload: Nope, to"), "'Nope' is no type"),
        (("from: OPEN, to", "from: OPEN, payload: {a: text}, to"), "'text' is no type; there are string, int"),
        (("from: OPEN, to", "from: OPEN, payload: {a: 'list(int)?'}, to"), "drop the '?'"),
        (("from: OPEN, to", "from: OPEN, payload: {a: {type: bool, minimum: 1}}, to"), "is for decimal, double, int"),
        (("states:", "data: {at: timestamp}\nstates:"), "give a default, or timestamp? if it can be absent"),
        (("states:", "data: {n: {type: int, default: x}}\nstates:"), "the default does not fit"),
        (("states:", "data: {status: string}\nstates:"), "holds the state of the machine"),
        (("states:", "types: {State: {a: int}}\nstates:"), "a name of the machine's own"),
        (("states:", "types: {A: {b: list(B)}, B: {a: A}}\nstates:"), "contains itself: A → B → A"),
        (("version", "version"), ""),
    ],
)
def test_what_is_wrong_is_told_with_its_line(change: tuple[str, str], told: str) -> None:
    """R18, R166: a file that cannot work is refused when it is loaded, with file, line and field."""
    text = MINIMAL.replace(*change)
    if not told:
        assert machine(text).version == "1.0.0"
        return
    message = refusals(text)
    assert told in message
    assert message.startswith("door.yaml:")


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ("  - {action: OPEN, from: CLOSED, to: CLOSED}", "OPEN from CLOSED is never taken: an earlier transition"),
        ("  - {action: KNOCK, from: CLOSED, guard: 1 > 2}", "KNOCK is never taken: its guard is always false"),
        ("  - {action: KNOCK, from: CLOSED, guard: state.status == 'OPEN'}", "its guard is always false"),
        (2 * "  - {action: KNOCK, from: CLOSED, guard: 'state.n > 1'}\n", "KNOCK from CLOSED is never taken"),
    ],
)
def test_what_can_never_be_taken_is_told(added: str, told: str) -> None:
    """R46: transitions that hide others, and guards of which it can be told that they are always false."""
    message = refusals(MINIMAL.replace("transitions:", "data: {n: int}\ntransitions:") + added + "\n")
    assert told in message
    assert message.startswith("door.yaml:")


GUARDED = MINIMAL.replace(
    "transitions:",
    """types: {Line: {kind: {type: string, one_of: [tea, pot]}, count: {type: int, minimum: 1, maximum: 9}}}
data: {n: {type: int, minimum: 0, maximum: 100, default: 1}, d: double, s: string, yes: bool, note: "string?"}
transitions:""",
)
KNOCK = """  - action: KNOCK
    from: CLOSED
    payload: {line: Line, lines: {type: list(Line), min_length: 1}, spare: "Line?", name: {type: string, max_length: 5}}
    guard: "GUARD"
"""


@pytest.mark.parametrize(
    "guard",
    [
        "false", "false && state.n > 1", "state.n > 1 && 1 > 2", "!true", "state.n > 5 && state.n < 3", "state.n > 1 && state.n < 2",
        "5 < state.n && state.n == 5", "state.n == 3 && state.n == 4", "state.n == 3 && state.n != 3", "state.n > 100",
        "state.n < 0 || state.n > 100", "state.d > 1.5 && state.d <= 1.5", "state.d < 1.0 && state.d > 2.0", "state.s == 'a' && state.s == 'b'",
        "state.s in ['a', 'b'] && state.s == 'c'", "!(state.s in ['a']) && !(state.s != 'a') && state.s == 'b'", "state.yes && !state.yes",
        "state.yes == true && !state.yes", "!(state.n < 3 || state.n >= 3)", "(state.n == 1 || state.n == 2) && state.n > 2",
        "state.status == 'OPEN'", "state.status != 'CLOSED'", "state.status in ['OPEN', 'AJAR']", "!(state.status == 'CLOSED')",
        "payload.line.kind == 'cup'", "payload.line.count > 9", "payload.lines.size() == 0", "size(payload.lines) < 1",
        "size(payload.name) > 5", "size(state.s) < 0", "decimal.compare('1', state.s) == 2", "payload.line.count * 0 > 1 && false",
    ],
)  # fmt: skip
def test_a_guard_that_contradicts_itself_is_told(guard: str) -> None:
    """R46: a constant, a contradiction, what the fields' own ranges and lengths forbid, or the states that it starts from."""
    assert "KNOCK is never taken: its guard is always false" in refusals(GUARDED + KNOCK.replace("GUARD", guard))


@pytest.mark.parametrize(
    "guard",
    [
        "state.n > 5 || state.n < 3", "state.n >= 1 && state.n <= 1", "state.d > 1.0 && state.d < 2.0", "state.n > 99", "state.n < 1",
        "random_int(2) == 0 && random_int(2) == 1", "state.s != 'a' && state.s != 'b'", "!(state.n > 5 && state.n < 3)",
        "state.n + 1 > 5 && state.n + 1 < 3", "payload.spare.kind == 'cup'", "payload.spare.count < 1", "state.note == 'a'",
        "payload.lines.exists(line, line.count > 5) && !payload.lines.exists(line, line.count > 7)", "state.yes ? state.n > 1 : state.n < 1",
        "payload.lines[0].count == 1 && payload.lines[1].count == 2", "size(payload.name) == 5", "state.status == 'CLOSED'",
        "state.s < 'b' && state.s > 'a'", "has(payload.spare) && !has(payload.spare)",
    ],
)  # fmt: skip
def test_a_guard_that_may_hold_is_taken(guard: str) -> None:
    """R46: nothing is said of what may hold, nor of what is not understood, even if it cannot."""
    assert "KNOCK" in machine(GUARDED + KNOCK.replace("GUARD", guard)).actions()


@pytest.mark.parametrize(
    ("first", "second", "is_hidden"),
    [
        ("guard: state.n > 1", "guard: state.n > 1", True),
        ("guard: state.n > 1", "guard: 'state.n > 1 && state.yes'", True),
        ("guard: state.n > 1", "guard: state.n > 5", True),
        ("guard: state.n > 5", "guard: state.n > 1", False),
        ("guard: 'state.yes || state.n > 1'", "guard: state.n > 2", True),
        ("guard: state.yes", "guard: '!state.yes'", False),
        ("guard: state.yes", "from: CLOSED", False),
        ("from: CLOSED", "guard: state.yes", True),
        ("guard: state.n >= 0", "guard: state.yes", True),
        ("guard: 'state.s.contains(\"a\")'", "guard: 'state.n > 1 && state.s.contains(\"a\")'", True),
        ("guard: 'state.s.contains(\"a\")'", "guard: 'state.s.contains(\"ab\")'", False),
        (
            "guards: [{name: a, when: state.n > 1}, {name: b, when: state.yes}]",
            "guard: 'state.yes && state.n > 1'",
            True,
        ),
        ("guards: [{name: a, when: state.n > 1}, {name: b, when: state.yes}]", "guard: 'state.yes'", False),
    ],
)
def test_a_transition_that_an_earlier_one_hides(first: str, second: str, is_hidden: bool) -> None:
    """R46: the second is never taken where the guard of the first holds whenever its own does."""
    rows = "".join(
        f"  - {{action: KNOCK, {guard if guard.startswith('from') else f'from: CLOSED, {guard}'}}}\n"
        for guard in (first, second)
    )
    if is_hidden:
        message = refusals(GUARDED + rows)
        assert "transitions[3]: KNOCK from CLOSED is never taken: an earlier transition always is" in message
        assert message.startswith("door.yaml:11: ")
    else:
        assert len(machine(GUARDED + rows).transitions["KNOCK"]) == 2


def test_the_order_of_wildcards() -> None:
    """R46: one from everywhere may follow others, but nothing may follow it; a part that is hidden is told as well."""
    after = "  - {action: KNOCK, from: CLOSED, to: OPEN}\n  - {action: KNOCK, from: '*'}\n"
    assert len(machine(MINIMAL + after).transitions["KNOCK"]) == 2
    before = "  - {action: KNOCK, from: '*'}\n  - {action: KNOCK, from: CLOSED, to: OPEN}\n"
    assert "door.yaml:9: transitions[3]: KNOCK from CLOSED is never taken" in refusals(MINIMAL + before)
    every = "  - {action: KNOCK, from: [OPEN, CLOSED]}\n  - {action: KNOCK, from: '*'}\n"
    assert "KNOCK from CLOSED, OPEN is never taken" in refusals(MINIMAL + every)
    part = "  - {action: KNOCK, from: CLOSED}\n  - {action: KNOCK, from: [OPEN, CLOSED]}\n"
    assert "KNOCK from CLOSED is never taken" in refusals(MINIMAL + part)


def test_what_is_never_taken_leads_nowhere() -> None:
    """R46: a state that only such a transition leads to is not reached, and one that only it leaves is a dead end."""
    text = MINIMAL.replace("[CLOSED, OPEN]", "[CLOSED, OPEN, LOST]")
    message = refusals(
        text + "  - {action: LOSE, from: OPEN, to: LOST, guard: 1 > 2}\n  - {action: GO, from: LOST, to: OPEN}\n"
    )
    assert "LOST is never reached from CLOSED" in message
    assert "LOSE is never taken" in message
    message = refusals(
        text + "  - {action: LOSE, from: OPEN, to: LOST}\n  - {action: GO, from: LOST, to: OPEN, guard: 1 > 2}\n"
    )
    assert "nothing leads out of LOST, and it is not final" in message


def test_a_circle_without_an_end_is_noted() -> None:
    """R46: a machine may have one, so it loads; `reducer graph` tells of it. Without final states there is no end."""
    text = MINIMAL.replace("[CLOSED, OPEN]", "[CLOSED, OPEN, SOLD]\nfinal: [SOLD]")
    fsm = machine(text.replace("transitions:", "transitions:\n  - {action: SELL, from: CLOSED, to: SOLD}"))
    assert analysed(fsm) == []
    stuck = text.replace("transitions:", "transitions:\n  - {action: SELL, from: CLOSED, to: SOLD}").replace(
        "[CLOSED, OPEN, SOLD]", "[CLOSED, OPEN, AJAR, SOLD]"
    )
    stuck = (
        stuck.replace("from: OPEN, to: CLOSED", "from: OPEN, to: AJAR") + "  - {action: PUSH, from: AJAR, to: OPEN}\n"
    )
    assert [(row.kind, row.text) for row in analysed(machine(stuck))] == [
        ("endless", "no final state is ever reached from OPEN"),
        ("endless", "no final state is ever reached from AJAR"),
    ]
    assert analysed(machine(MINIMAL)) == []


def test_a_guard_that_depends_is_not_called_false() -> None:
    """R46: nothing is said of guards that read data, draw, or hold in one of several sources."""
    fsm = machine(
        MINIMAL.replace("transitions:", "data: {n: int}\ntransitions:")
        + """
  - {action: A, from: CLOSED, guard: state.n > 5}
  - {action: B, from: "*", guard: state.status == 'OPEN'}
  - {action: C, from: CLOSED, guard: random_int(2) == 1}
"""
    )
    assert fsm.actions() == ["OPEN", "CLOSE", "A", "B", "C"]


@pytest.mark.parametrize(
    ("assign", "error", "told"),
    [
        ("{n: '[1][state.n + 5]'}", ReductionFailedError, "door.yaml:8: [1][state.n + 5]"),
        ("{n: 1 / state.n}", ReductionFailedError, "door.yaml:8: 1 / state.n"),
        ("{small: state.n + 10}", StateConsistencyError, "door.yaml:8: assign.small"),
    ],
)
def test_what_fails_while_it_runs_names_its_line(assign: str, error: type[OnexError], told: str) -> None:
    """R20, R67: an expression that fails, or a value that its field refuses, is told with file and line."""
    text = MINIMAL.replace("transitions:", "data: {n: int, small: {type: int, maximum: 9}}\ntransitions:").rstrip()
    fsm = machine(text.replace("from: OPEN, to: CLOSED}", f"from: OPEN, to: CLOSED, assign: {assign}}}"))
    with pytest.raises(error) as failed:
        applied(fsm, "CLOSE", None, {"status": "OPEN"})
    assert told in failed.value.message


def test_an_app_registers_files(tmp_path: Path) -> None:
    """R68: by path from the file that calls; name and version are taken once."""
    path = tmp_path / "door.yaml"
    path.write_text(MINIMAL)
    app = App("test")
    assert app.reducer_file(path).name == "door"
    assert app.reducers.names() == ["door"]
    with pytest.raises(ValidationError, match=r"door.yaml:2: 'door' 1.0.0 is registered already, at .*door.yaml:2"):
        app.reducer_file(path)
    with pytest.raises(ValidationError, match="cannot be read"):
        app.reducer_file("missing.yaml")


def test_the_machine_of_the_documentation_works() -> None:
    """R166: what docs/reducer.md shows is loaded as it stands there."""
    page = (Path(__file__).parents[2] / "docs" / "reducer.md").read_text()
    text = next(block for block in page.split("```yaml\n")[1:] if "transitions:" in block).split("```")[0]
    order = applied(machine(text), "PLACE_ORDER", {"items": [{"sku": "a", "price": "2.5", "quantity": 3}]})
    assert order.document["total"] == "7.5"
    assert order.intents[0].payload["data"] == freeze(order.document)
