"""Entry and exit actions of machines in Python, what can be told of a machine without running it, and its diagrams."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onex_mesh.cli.commands import cli
from onex_mesh.reducer.core import (
    Fsm,
    Intent,
    Next,
    ReducerContext,
    message_publish,
    on_entry,
    on_exit,
    transition,
)
from onex_mesh.reducer.core.analysis import analysed
from onex_mesh.reducer.core.declarative.build import machine_of
from onex_mesh.reducer.core.graph import graphviz, mermaid
from onex_mesh.reducer.core.machine import Applied, apply_action
from onex_mesh.runtime.document import parse_document
from onex_mesh.runtime.errors import PurityViolationError, ReductionFailedError, StateConsistencyError, ValidationError
from tests.order_machine import Frozen, OrderMachine

ORDER_FILE = Path(__file__).parents[1] / "order_machine.yaml"


class Light(StrEnum):
    """States."""

    OFF = "OFF"
    ON = "ON"
    BROKEN = "BROKEN"


class Lamp(Frozen):
    """The state."""

    status: Light = Light.OFF
    switched: int = 0


def event(name: str, count: int) -> Intent:
    """An intent that tells what happened."""
    return message_publish("log", event_type=name, data={"count": count})


class LampMachine:
    """A lamp."""

    state_model = Lamp

    @staticmethod
    @transition("PRESS", source=Light.OFF, target=Light.ON)
    def press(state: Lamp) -> Next[Lamp]:
        """On."""
        return Next(state.model_copy(update={"status": Light.ON}), [event("pressed", state.switched)])

    @staticmethod
    @transition("PRESS", source=Light.ON, target=Light.OFF)
    def press_again(state: Lamp) -> Lamp:
        """Off."""
        return state.model_copy(update={"status": Light.OFF})

    @staticmethod
    @transition("LOOK", source="*", target=None)
    def look(state: Lamp) -> Lamp:
        """Nothing changes."""
        return state

    @staticmethod
    @on_entry(Light.ON)
    def shines(state: Lamp, ctx: ReducerContext) -> Next[Lamp]:
        """Counts."""
        return Next(state.model_copy(update={"switched": state.switched + 1}), [event("on", state.switched)])

    @staticmethod
    @on_exit(Light.OFF, Light.ON)
    def changes(state: Lamp) -> list[Intent]:
        """Tells."""
        return [event("left", state.switched)]


def applied(definition: type, action: str, state: object = None) -> Applied:
    fsm = Fsm.from_class(definition)
    return apply_action(
        fsm,
        state,
        action,
        None,
        lambda: ReducerContext(now=datetime(2026, 1, 1, tzinfo=UTC), action_id="a"),
        twice=True,
    )


def names(result: Applied) -> list[object]:
    return [intent.payload["event_type"] for intent in result.intents]


def test_leaving_then_transition_then_entering() -> None:
    """R46: the exit action sees the state before, the entry action the state after and may change its data."""
    on = applied(LampMachine, "PRESS")
    assert names(on) == ["left", "pressed", "on"]
    assert on.document == {"status": "ON", "switched": 1}
    off = applied(LampMachine, "PRESS", on.document)
    assert names(off) == ["left"]
    assert [intent.payload["data"] for intent in off.intents] == [{"count": 1}]
    assert applied(LampMachine, "LOOK", on.document).intents == ()


def test_an_entry_action_does_not_change_the_state() -> None:
    """R67: only transitions do."""

    class Wrong(LampMachine):
        @staticmethod
        @on_entry(Light.ON)
        def shines(state: Lamp, ctx: ReducerContext) -> Next[Lamp]:
            return Next(state.model_copy(update={"status": Light.OFF}))

    with pytest.raises(StateConsistencyError, match="the entry action of ON left the state OFF"):
        applied(Wrong, "PRESS")


def test_what_a_hook_may_not_return() -> None:
    """R149: named with its line, like what a transition returns."""

    class Wrong(LampMachine):
        @staticmethod
        @on_exit(Light.OFF, Light.ON)
        def changes(state: Lamp) -> list[Intent]:
            return ["no intent"]  # type: ignore[list-item]  # wrong on purpose

    with pytest.raises(ReductionFailedError, match=r"hooks\.py:\d+: the exit action of OFF returned a str"):
        applied(Wrong, "PRESS")


def _refusal(name: str) -> type:
    class Base(LampMachine):
        pass

    def with_payload(state: Lamp, payload: object) -> Lamp:
        return state

    def wrong_result(state: Lamp) -> Lamp:
        return state

    def of_final(state: Lamp) -> list[Intent]:
        return []

    def no_state(state: Lamp) -> Lamp:
        return state

    def with_self(state: Lamp) -> Lamp:
        return state

    def entered_twice(state: Lamp) -> Lamp:
        return state

    members: dict[str, object] = {
        "payload": staticmethod(on_entry(Light.BROKEN)(with_payload)),
        "result": staticmethod(on_exit(Light.BROKEN)(wrong_result)),
        "final": staticmethod(on_exit(Light.BROKEN)(of_final)),
        "state": staticmethod(on_entry("AJAR")(no_state)),  # type: ignore[arg-type]  # wrong on purpose
        "twice": staticmethod(on_entry(Light.ON)(entered_twice)),
        "self": on_entry(Light.BROKEN)(with_self),
    }
    Base.added = members[name]  # type: ignore[attr-defined]  # a member that the class is given late
    if name == "final":
        Base.final = (Light.BROKEN,)  # type: ignore[attr-defined]  # likewise
    return Base


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("payload", "has no payload"),
        ("result", "an exit action returns its intents"),
        ("final", "BROKEN is final: it is never left"),
        ("state", "'AJAR' is not a Light"),
        ("twice", "ON has an entry action already"),
        ("self", "put @staticmethod above it"),
    ],
)
def test_a_wrong_hook_is_refused_when_it_is_registered(name: str, told: str) -> None:
    """R166: with file and line, like everything that an application registers."""
    with pytest.raises(ValidationError, match=r"test_reducer_hooks\.py:\d+: ") as refused:
        Fsm.from_class(_refusal(name))
    assert told in refused.value.message


def test_a_hook_is_checked_for_purity() -> None:
    """R47: like a transition."""

    class Wrong(LampMachine):
        @staticmethod
        @on_exit(Light.OFF)
        def tells(state: Lamp) -> list[Intent]:
            print(state)  # noqa: T201  # the point
            return []

    with pytest.raises(PurityViolationError, match="print"):
        Fsm.from_class(Wrong)


def test_what_is_hardly_meant() -> None:
    """R46: a state that is never reached or never left is told; a transition that decides itself may lead anywhere."""

    class Closed(LampMachine):
        @staticmethod
        @transition("LOOK", source=Light.BROKEN, target=Light.BROKEN)
        def look(state: Lamp) -> Lamp:
            return state

    assert [(row.kind, row.state) for row in analysed(Fsm.from_class(Closed))] == [
        ("unreachable", "BROKEN"),
        ("dead_end", "BROKEN"),
    ]
    assert analysed(Fsm.from_class(LampMachine)) == []
    assert analysed(Fsm.from_class(OrderMachine)) == []


def test_diagrams() -> None:
    """R166: both languages show start, states, actions with their guards, and the end."""
    fsm = Fsm.from_class(OrderMachine, name="order")
    drawn = mermaid(fsm)
    assert drawn.startswith("stateDiagram-v2\n")
    assert "    s1 --> s2 : CONFIRM_PAYMENT [paid_in_full]\n" in drawn
    assert drawn.endswith("    s3 --> [*]\n")
    graph = graphviz(fsm)
    assert graph.startswith('digraph "order" {')
    assert '"SHIPPED" [label="SHIPPED", peripheries=2];' in graph
    assert '"IDLE" -> "ORDER_PLACED" [label="PLACE_ORDER"];' in graph
    assert "LOOK → ?" in mermaid(Fsm.from_class(LampMachine))


def test_diagrams_show_entry_and_exit() -> None:
    """R166: what happens in a state stands in it; characters that mean something to a language are escaped."""
    fsm = Fsm.from_class(LampMachine)
    assert "    s1 : entry / shines\n    s1 : exit / changes\n" in mermaid(fsm)
    assert '"ON" [label="ON\\nentry / shines\\nexit / changes"];' in graphviz(fsm)
    text = LAMP.replace("GUARD", r"""size('a\"b;') > 3 && state.count != 4""")
    declared = machine_of(parse_document(text, "lamp.yaml"))
    assert "    s1 : entry / count, message_publish to log\n" in mermaid(declared)
    assert "    s0 --> s1 : PRESS [size('a#34;b#59;') #62; 3 && state.count != 4]\n" in mermaid(declared)
    assert '"OFF" -> "ON" [label="PRESS [size(\'a\\"b;\') > 3 && state.count != 4]"];' in graphviz(declared)


LAMP = """
name: lamp
initial: "OFF"
states:
  "OFF":
  "ON":
    assign: {count: state.count + 1}
    entry: [{type: message_publish, target: log, payload: {event_type: IS_ON}}]
data: {count: int}
transitions:
  - {action: PRESS, from: "OFF", to: "ON", guard: "GUARD"}
  - {action: PRESS, from: "ON", to: "OFF"}
"""


def test_the_command_draws() -> None:
    """R166: from a file and from an App; what is wrong ends with exit code 2 and says what."""
    run = CliRunner().invoke
    from_file = run(cli, ["reducer", "graph", "--file", str(ORDER_FILE)])
    assert from_file.exit_code == 0
    assert "s0 --> s1 : PLACE_ORDER" in from_file.stdout
    from_app = run(cli, ["reducer", "graph", "order", "--app", "examples.orders.app:app", "--format", "graphviz"])
    assert from_app.exit_code == 0
    assert '"IDLE" -> "ORDER_PLACED"' in from_app.stdout
    for arguments in ([], ["--app", "examples.orders.app:app", "--file", str(ORDER_FILE)], ["--file", "missing.yaml"]):
        assert run(cli, ["reducer", "graph", *arguments]).exit_code == 2
    assert run(cli, ["reducer", "graph", "nothing", "--app", "examples.orders.app:app"]).exit_code == 4
