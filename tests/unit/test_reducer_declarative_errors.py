"""Every kind of mistake in a file is told in the words of its author, with file, line and field."""

from __future__ import annotations

import pytest

from onex_mesh.reducer.core.declarative.build import machine_of
from onex_mesh.runtime.document import parse_document
from onex_mesh.runtime.errors import ValidationError

DOOR = """name: door
initial: CLOSED
states: [CLOSED, OPEN]
transitions:
  - {action: OPEN, from: CLOSED, to: OPEN}
  - {action: CLOSE, from: OPEN, to: CLOSED}
"""
DATA = DOOR.replace(
    "transitions:", "data: {n: int, s: string, m: decimal, at: 'timestamp?', xs: list(int)}\ntransitions:"
)


def adding(text: str) -> str:
    """The door with one more transition, whose keys begin in line 10."""
    return f"{DATA}  - action: X\n    from: CLOSED\n" + "".join(f"    {line}\n" for line in text.split("\n"))


MISTAKES = {
    "empty": ("", [" the document is empty"]),
    "list": ("- a\n", ["1: is a list; a state machine is a mapping"]),
    "syntax": (DOOR.replace("from: OPEN,", "from: [OPEN,"), ["6: not valid YAML: expected ',' or ']', but got '}'"]),
    "tab": (
        DOOR.replace("  - {action: OPEN", "\t- {action: OPEN"),
        ["5: not valid YAML: found character '\\t' that cannot start any token"],
    ),
    "dupkey": (DOOR + "initial: OPEN\n", ["7: initial: the key is there twice"]),
    "noname": (DOOR.replace("name: door\n", ""), ["1: name: is missing"]),
    "badname": (
        DOOR.replace("door", "1 door"),
        [
            "1: name: '1 door' is no name: letters, digits and '_' (of states and actions also '.' and '-'), beginning with a letter"
        ],
    ),
    "notransitions": (DOOR.split("transitions")[0], ["1: transitions: is missing"]),
    "emptytransitions": (DOOR.split("transitions")[0] + "transitions: []\n", ["4: transitions: is empty"]),
    "version": ("version: x.y\n" + DOOR, ["1: version: 'x.y' is not a version such as 1.0.0 (PEP 440)"]),
    "versionnum": ("version: 1.0\n" + DOOR, ["1: version: is the number 1.0, not text; put it into quotes"]),
    "statesnum": (
        DOOR.replace("[CLOSED, OPEN]", "[1, 2]"),
        [
            "3: states[0]: is the number 1, not text; put it into quotes",
            "3: states[1]: is the number 2, not text; put it into quotes",
        ],
    ),
    "statesyesno": (
        DOOR.replace("OPEN", "on"),
        [
            "3: states[1]: is the boolean true, not text; YAML takes on, off, yes and no for truth values: put it into quotes",
            "5: transitions[0].action: is the boolean true, not text; YAML takes on, off, yes and no for truth values: put it into quotes",
            "5: transitions[0].to: is the boolean true, not text; YAML takes on, off, yes and no for truth values: put it into quotes",
            "6: transitions[1].from: is the boolean true, not text or a list",
        ],
    ),
    "nostates": (DOOR.replace("[CLOSED, OPEN]", "[]"), ["3: states: is empty"]),
    "statename": (
        DOOR.replace("OPEN", "O-P N"),
        [
            "3: states[1]: 'O-P N' is no name: letters, digits and '_' (of states and actions also '.' and '-'), beginning with a letter",
            "5: transitions[0].action: 'O-P N' is no name: letters, digits and '_' (of states and actions also '.' and '-'), beginning with a letter",
        ],
    ),
    "unknownkey": (
        DOOR.replace("to: OPEN}", "to: OPEN, guardd: x}"),
        ["5: transitions[0].guardd: is no key here; did you mean 'guard'?"],
    ),
    "nofrom": (DOOR.replace("from: OPEN, ", ""), ["6: transitions[1].from: is missing"]),
    "frombad": (
        DOOR.replace("from: OPEN", "from: AJAR"),
        ["6: transitions[1].from: 'AJAR' is no state; there are CLOSED, OPEN"],
    ),
    "fromlist": (
        DOOR.replace("from: OPEN", "from: [OPEN, AJAR]"),
        ["6: transitions[1].from[1]: 'AJAR' is no state; there are CLOSED, OPEN"],
    ),
    "fromempty": (DOOR.replace("from: OPEN", "from: []"), ["6: transitions[1].from: is empty"]),
    "fromint": (DOOR.replace("from: OPEN", "from: 3"), ["6: transitions[1].from: is the number 3, not text or a list"]),
    "final": ("final: [NOWHERE]\n" + DOOR, ["1: final[0]: 'NOWHERE' is no state; there are CLOSED, OPEN"]),
    "finalfrom": ("final: [OPEN]\n" + DOOR, ["7: transitions[1].from: OPEN is final: nothing leads out of it"]),
    "guardtype": (
        adding("guard: state.n + 1"),
        ["10: transitions[2].guard: state.n + 1: gives int; a condition gives bool"],
    ),
    "guardsyntax": (
        adding("guard: state.n +"),
        ["10: transitions[2].guard: state.n +: Syntax error: something is missing at the end"],
    ),
    "guardname": (
        adding("guard: state.nn > 1"),
        ["10: transitions[2].guard: state.nn > 1: the state has no field 'nn'"],
    ),
    "guardtypes2": (
        adding("guard: state.n > 'a'"),
        ["10: transitions[2].guard: state.n > 'a': found no matching overload for '_>_' applied to '(int, string)'"],
    ),
    "guardboth": (
        adding("guard: state.n > 1\nguards: [{name: g, when: state.n > 2}]"),
        ["10: transitions[2].guard: give `guard`, or `guards` with names, not both"],
    ),
    "guardsunnamed": (adding("guards: [{when: state.n > 2}]"), ["10: transitions[2].guards[0].name: is missing"]),
    "guardsbad": (
        adding("guards:\n  - {name: a, when: state.n > 1}\n  - {name: b, when: state.q > 1}"),
        ["12: transitions[2].guards[1].when: state.q > 1: the state has no field 'q'"],
    ),
    "guarddup": (
        adding("guards: [{name: a, when: state.n > 1}, {name: a, when: state.n > 2}]"),
        ["10: transitions[2].guards: a name is there twice: a refusal could not tell which"],
    ),
    "payloadnone": (
        adding("assign: {n: payload.x}"),
        ["10: transitions[2].assign.n: payload.x: undeclared reference to 'payload.x'"],
    ),
    "payloadfield": (
        adding("payload: {y: int}\nassign: {n: payload.x}"),
        ["11: transitions[2].assign.n: payload.x: the payload has no field 'x'"],
    ),
    "payloadtype": (
        adding("payload: {y: integer}"),
        [
            "10: transitions[2].payload.y: 'integer' is no type; there are string, int, double, bool, decimal, timestamp, json, list(T), map(T)"
        ],
    ),
    "payloadname": (
        adding("payload: Foo"),
        ["10: transitions[2].payload: 'Foo' is no type; under `types` stand: none"],
    ),
    "assigntype": (
        adding("assign: {n: \"'a'\"}"),
        ["10: transitions[2].assign.n: 'a': gives string; the field is int"],
    ),
    "assignunknown": (
        adding("assign: {nn: '1'}"),
        ["10: transitions[2].assign.nn: unknown key 'nn'; did you mean 'n'?"],
    ),
    "assignstatus": (
        adding("assign: {status: \"'OPEN'\"}"),
        ["10: transitions[2].assign.status: the state of the machine is changed by `to`"],
    ),
    "assignliteral": (
        adding("assign: {n: 1}"),
        ["10: transitions[2].assign.n: is the number 1, not text; put it into quotes"],
    ),
    "assignempty": (adding("assign: {n: ''}"), ["10: transitions[2].assign.n: is empty"]),
    "assigndecimal": (
        adding("assign: {m: '1.5'}"),
        ["10: transitions[2].assign.m: 1.5: gives double; the field is decimal"],
    ),
    "assigndecimaltext": (
        adding("assign: {m: \"'x'\"}"),
        ["10: transitions[2].assign.m: 'x': never fits: Input should be a valid decimal"],
    ),
    "assignlist": (
        adding("assign: {xs: \"['a']\"}"),
        ["10: transitions[2].assign.xs: ['a']: gives list(string); the field is list(int)"],
    ),
    "assignnull": (adding("assign: {n: 'null'}"), ["10: transitions[2].assign.n: null: gives null; the field is int"]),
    "assigntime": (
        adding("assign: {at: \"'2026-01-01'\"}"),
        ["10: transitions[2].assign.at: '2026-01-01': gives string; the field is timestamp?"],
    ),
    "intenttype": (
        adding("intents: [{type: mail, target: x}]"),
        [
            "10: transitions[2].intents[0].type: 'mail' is none of 'database_write', 'api_call', 'file_operation', 'message_publish', 'cache_update', 'notification' or 'custom'"
        ],
    ),
    "intenttarget": (adding("intents: [{type: notification}]"), ["10: transitions[2].intents[0].target: is missing"]),
    "intenttargetempty": (
        adding("intents: [{type: notification, target: ''}]"),
        ["10: transitions[2].intents[0].target: an intent names its target"],
    ),
    "intentpriority": (
        adding("intents: [{type: notification, target: x, priority: urgent}]"),
        [
            "10: transitions[2].intents[0].priority: 'urgent' is none of 'critical', 'high', 'normal', 'low' or 'background'"
        ],
    ),
    "intenttemplate": (
        adding("intents:\n  - type: notification\n    target: x\n    payload:\n      to: ${state.nope}"),
        ["14: transitions[2].intents[0].payload.to: state.nope: the state has no field 'nope'"],
    ),
    "intentunclosed": (
        adding("intents: [{type: notification, target: x, payload: {to: '${state.n'}}]"),
        ["10: transitions[2].intents[0].payload.to: the template '${state.n' is not closed by '}'"],
    ),
    "intentretry": (
        adding("intents: [{type: notification, target: x, retry: {max_retries: -1}}]"),
        ["10: transitions[2].intents[0].retry.max_retries: Input should be greater than or equal to 0"],
    ),
    "intentcustom": (
        adding("intents: [{type: custom, target: x}]"),
        ["10: transitions[2].intents[0].custom_type: goes with the type custom"],
    ),
    "intentcustom2": (
        adding("intents: [{type: notification, target: x, custom_type: y}]"),
        ["10: transitions[2].intents[0].custom_type: goes with the type custom"],
    ),
    "intentforeach": (
        adding("intents: [{type: notification, target: x, for_each: state.n}]"),
        ["10: transitions[2].intents[0].for_each: state.n: gives int; for_each takes a list"],
    ),
    "intentwhen": (
        adding("intents: [{type: notification, target: x, when: state.n}]"),
        ["10: transitions[2].intents[0].when: state.n: gives int; a condition gives bool"],
    ),
    "intentkey": (
        adding("intents: [{type: notification, target: x, key: '${item.a}'}]"),
        ["10: transitions[2].intents[0].key: item.a: undeclared reference to 'item.a'"],
    ),
    "intentdate": (
        adding("intents: [{type: notification, target: x, payload: {at: 2026-01-01}}]"),
        ["10: transitions[2].intents[0].payload.at: a date is not JSON; put it into quotes"],
    ),
    "intentmeta": (
        adding("intents: [{type: notification, target: x, metadata: {a: 1}}]"),
        ["10: transitions[2].intents[0].metadata.a: is the number 1, not text; put it into quotes"],
    ),
    "typeself": ("types: {A: {a: A}}\n" + DOOR, ["1: types.A: contains itself: A → A; use json"]),
    "typeopt": (
        "types: {A: {a: 'list(int?)'}}\n" + DOOR,
        ["1: types.A.a: 'list(int?)': the items are neither optional nor lists or maps; use json, or a type"],
    ),
    "nested": (
        "types: {A: {a: list(list(int))}}\n" + DOOR,
        ["1: types.A.a: 'list(list(int))': the items are neither optional nor lists or maps; use json, or a type"],
    ),
    "datadefault": (
        "data: {n: {type: int, default: x}}\n" + DOOR,
        ["1: data.n: the default does not fit: Input should be a valid integer, unable to parse string as an integer"],
    ),
    "datamin": (
        "data: {n: {type: int, minimum: 5}}\n" + DOOR,
        ["1: data.n: the default does not fit: Input should be greater than or equal to 5"],
    ),
    "datapattern": (
        "data: {n: {type: string, pattern: '['}}\n" + DOOR,
        ["1: data.n.pattern: is no regular expression: unclosed character class"],
    ),
    "datapat2": ("data: {n: {type: int, pattern: 'a'}}\n" + DOOR, ["1: data.n.pattern: is for string, not for int"]),
    "oneof": (
        "data: {n: {type: string, one_of: [a, b]}}\n" + DOOR,
        ["1: data.n: the default does not fit: Input should be 'a' or 'b'"],
    ),
    "oneofbool": ("data: {n: {type: bool, one_of: [a]}}\n" + DOOR, ["1: data.n.one_of: is for string and int"]),
    "minmax": (
        "data: {n: {type: int, minimum: 5, maximum: 1, default: 5}}\n" + DOOR,
        ["1: data.n.minimum: 5 is more than 1, the most that there may be"],
    ),
    "fieldname": (
        "data: {a-b: int}\n" + DOOR,
        [
            "1: data.a-b: 'a-b' is no name: letters, digits and '_' (of states and actions also '.' and '-'), beginning with a letter"
        ],
    ),
    "reserved": (
        "data: {model_config: int}\n" + DOOR,
        ["1: data.model_config: model_config cannot be the name of a field: models have it for themselves"],
    ),
    "underscore": (
        "data: {_x: int}\n" + DOOR,
        [
            "1: data._x: '_x' is no name: letters, digits and '_' (of states and actions also '.' and '-'), beginning with a letter"
        ],
    ),
    "typelower": ("types: {string: {a: int}}\n" + DOOR, ["1: types.string: string is a type already"]),
    "typeint": ("data: {d: 3}\n" + DOOR, ["1: data.d: is the number 3, not text or a mapping"]),
    "entryfinal": (
        DOOR.replace("[CLOSED, OPEN]", "{CLOSED: , OPEN: , GONE: {exit: [{type: notification, target: x}]}}").replace(
            "initial", "final: [GONE]\ninitial"
        ),
        ["4: states.GONE.exit: GONE is final: it is never left"],
    ),
    "entryassign": (
        DOOR.replace("[CLOSED, OPEN]", "{CLOSED: , OPEN: {assign: {n: '1'}}}"),
        ["3: states.OPEN.assign.n: unknown key 'n'; known here: none"],
    ),
    "entrypayload": (
        DATA.replace("[CLOSED, OPEN]", "{CLOSED: , OPEN: {assign: {n: payload.n}}}"),
        ["3: states.OPEN.assign.n: payload.n: undeclared reference to 'payload.n'"],
    ),
    "stateunknown": (
        DOOR.replace("[CLOSED, OPEN]", "{CLOSED: , OPEN: {on_entry: []}}"),
        ["3: states.OPEN.on_entry: is no key here; did you mean 'entry'?"],
    ),
    "mapentry": (
        "data: {a_b: map(int), aB: map(int)}\n" + DOOR,
        ["1: data.aB: differs from a_b in case and '_' only, which the messages of CEL do not"],
    ),
    "fieldcase": (
        "data: {order_id: int, orderId: int}\n" + DOOR,
        ["1: data.orderId: differs from order_id in case and '_' only, which the messages of CEL do not"],
    ),
    "two": (
        DOOR.replace("from: OPEN, to: CLOSED", "from: AJAR, to: LOST"),
        [
            "6: transitions[1].from: 'AJAR' is no state; there are CLOSED, OPEN",
            "6: transitions[1].to: 'LOST' is no state; there are CLOSED, OPEN",
        ],
    ),
    "actionempty": (
        DOOR.replace("action: CLOSE", "action: ''"),
        [
            "6: transitions[1].action: '' is no name: letters, digits and '_' (of states and actions also '.' and '-'), beginning with a letter"
        ],
    ),
    "actionspace": (
        DOOR.replace("action: CLOSE", "action: a b"),
        [
            "6: transitions[1].action: 'a b' is no name: letters, digits and '_' (of states and actions also '.' and '-'), beginning with a letter"
        ],
    ),
    "actionnum": (
        DOOR.replace("action: CLOSE", "action: 5"),
        ["6: transitions[1].action: is the number 5, not text; put it into quotes"],
    ),
    "mergekey": (DOOR + "<<: {a: 1}\n", ["7: merge keys (<<) are not supported; write the fields out"]),
    "docs2": (DOOR + "---\na: 1\n", ["7: not valid YAML: but found another document"]),
    "toolong": (
        adding("guard: '" + "state.n > 1 || " * 400 + "true'"),
        ["10: transitions[2].guard: is longer than 4096 characters"],
    ),
    "initialmissing": (DOOR.replace("initial: CLOSED\n", ""), ["1: initial: is missing"]),
    "div": (adding("assign: {n: 1 / 0}"), ["10: transitions[2].assign.n: always fails: 1 / 0: divide by zero"]),
    "uuidarg": (
        adding("assign: {s: uuid(1)}"),
        ["10: transitions[2].assign.s: uuid(1): found no matching overload for 'uuid' applied to '(int)'"],
    ),
    "unknownfn": (adding("assign: {s: now()}"), ["10: transitions[2].assign.s: now(): undeclared reference to 'now'"]),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_wrong_is_told_with_its_line(text: str, told: list[str]) -> None:
    """R18, R166: file, line, field, and what is wrong there; everything at once."""
    with pytest.raises(ValidationError) as refused:
        machine_of(parse_document(text, "f.yaml"))
    assert [line.removeprefix("f.yaml:") for line in refused.value.message.splitlines()] == told


@pytest.mark.parametrize(
    "data",
    [
        "{copy: int, json: string, schema: bool}",
        "{mro: int, name: string, value: string, for: int}",
        "{Duration: int}",
    ],
)
def test_names_that_are_taken_elsewhere_are_free_here(data: str) -> None:
    """R166: a field may be called what pydantic, enums or CEL call something of their own."""
    fsm = machine_of(parse_document(DOOR.replace("transitions:", f"data: {data}\ntransitions:"), "f.yaml"))
    assert fsm.actions() == ["OPEN", "CLOSE"]


def test_states_may_have_any_name() -> None:
    """R46: also those that an enum keeps for itself."""
    fsm = machine_of(parse_document(DOOR.replace("OPEN", "mro").replace("CLOSED", "name"), "f.yaml"))
    assert [state.value for state in fsm.states] == ["name", "mro"]
