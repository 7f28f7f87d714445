"""What is refused when a reducer is registered, each with file and line, and what a good definition becomes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from enum import Enum, StrEnum
from types import FunctionType
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from onex_mesh.reducer.core import (
    Aggregator,
    FrozenDict,
    FrozenJson,
    Fsm,
    Intent,
    Next,
    ReducerContext,
    ReducerRegistry,
    transition,
)
from onex_mesh.reducer.core.freeze import mutable_part
from onex_mesh.runtime.definition import place_of
from onex_mesh.runtime.errors import ReducerNotFoundError, ValidationError
from onex_mesh.runtime.payload import Json
from tests.order_machine import Frozen, NewOrder, Order, OrderMachine, Status


class Loose(BaseModel):
    """A payload that could be changed."""

    items: list[int]


class Other(Frozen):
    """Another state."""

    status: Status = Status.IDLE


def marked(function: object, action: str = "GO", **options: object) -> object:
    """A copy of a function under @transition, so that tests may share the function."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(function.__code__, function.__globals__, function.__name__, None, function.__closure__)
    copy.__annotations__ = function.__annotations__
    mark = transition(action, **{"source": "*", "target": None, **options})  # type: ignore[arg-type]  # wrong on purpose
    return staticmethod(mark(copy))


def machine(function: object, **options: object) -> type:
    return type("Machine", (), {"state_model": Order, "go": marked(function, **options)})


# Signatures of transitions


def with_self(self: object, state: Order) -> Order:
    return state


def without_state(payload: object) -> Order:
    return Order()


def in_another_order(state: Order, ctx: ReducerContext, payload: object) -> Order:
    return state


def with_more(state: Order, payload: object, ctx: ReducerContext, more: int) -> Order:
    return state


def state_not_annotated(state, payload: object) -> Order:  # type: ignore[no-untyped-def]  # what is tested
    return Order()


def of_another_state(state: Other) -> Other:
    return state


def payload_not_annotated(state: Order, payload) -> Order:  # type: ignore[no-untyped-def]  # what is tested
    return state


def payload_changeable(state: Order, payload: Loose) -> Order:
    return state


def payload_of_dict(state: Order, payload: dict[str, int]) -> Order:
    return state


def ctx_of_another_type(state: Order, payload: object, ctx: int) -> Order:
    return state


def result_not_annotated(state: Order):  # type: ignore[no-untyped-def]  # noqa: ANN201, RUF100 - what is tested
    return state


def result_of_another_state(state: Order) -> Next[Other]:
    return Next(Other())


def result_of_nothing(state: Order) -> None:
    return None


async def asynchronous(state: Order) -> Order:
    return state


def generating(state: Order) -> Iterator[Order]:
    yield state


async def both(state: Order) -> AsyncIterator[Order]:
    yield state


def unknown_annotation(state: Order, payload: NoSuchModel) -> Order:  # type: ignore[name-defined]  # noqa: F821
    return state


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (with_self, "a transition has no `self`, which could be changed: put @staticmethod above it"),
        (without_state, r"expected (state, payload, ctx), not (payload)"),
        (in_another_order, r"expected (state, payload, ctx), not (state, ctx, payload)"),
        (with_more, r"expected (state, payload, ctx), not (state, payload, ctx, more)"),
        (state_not_annotated, "`state` is annotated with Order"),
        (of_another_state, "`state` is annotated with Order"),
        (payload_not_annotated, "`payload` is not annotated"),
        (payload_changeable, "the payload must not be changeable: Loose is not frozen"),
        (payload_of_dict, "`payload` is annotated with a frozen pydantic model"),
        (ctx_of_another_type, "`ctx` is annotated with ReducerContext"),
        (result_not_annotated, "the result is not annotated: Next[Order]"),
        (result_of_another_state, "a transition returns Next[Order], Order, or a tuple with intents"),
        (result_of_nothing, "a transition returns Next[Order], Order, or a tuple with intents"),
        (asynchronous, "a transition is pure and returns at once"),
        (generating, "a transition is pure and returns at once"),
        (both, "a transition is pure and returns at once"),
        (unknown_annotation, "an annotation cannot be resolved: name 'NoSuchModel' is not defined"),
    ],
)
def test_a_wrong_signature_is_refused_with_file_and_line(function: Callable[..., object], message: str) -> None:
    """R46: what a transition looks like is checked when it is registered, not when it first runs."""
    with pytest.raises(ValidationError, match=re.escape(message)) as caught:
        Fsm.from_class(machine(function))
    assert caught.value.message.startswith(f"{__file__}:{function.__code__.co_firstlineno}: ")


def json_payload(state: Order, payload: Json) -> Order:
    return state


def frozen_json_payload(state: Order, payload: FrozenJson) -> Order:
    return state


def tuple_result(state: Order) -> tuple[Order, list[Intent]]:
    return state, []


def context_only(state: Order, ctx: ReducerContext) -> Next[Order]:
    return Next(state)


@pytest.mark.parametrize("function", [json_payload, frozen_json_payload, tuple_result, context_only])
def test_a_right_signature_is_taken(function: Callable[..., object]) -> None:
    """R46: plain JSON as payload, no payload, and every form of result."""
    made = Fsm.from_class(machine(function)).transitions["GO"][0]
    assert made.payload_model is None


# States of transitions


class Color(StrEnum):
    """Not the states of an order."""

    RED = "RED"


def go(state: Order) -> Order:
    return state


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": Color.RED}, "the source <Color.RED: 'RED'> is not a Status"),
        ({"source": "IDLE"}, "the source 'IDLE' is not a Status"),
        ({"source": (Status.IDLE, Color.RED)}, "the source <Color.RED: 'RED'> is not a Status"),
        ({"source": ()}, "a transition has at least one source"),
        ({"target": Color.RED}, "the target <Color.RED: 'RED'> is not a Status"),
    ],
)
def test_states_of_a_transition_are_those_of_the_model(options: dict[str, object], message: str) -> None:
    """R65: a source or target that is no state is refused with the line of the transition."""
    with pytest.raises(ValidationError, match=re.escape(message)) as caught:
        Fsm.from_class(machine(go, **options))
    assert caught.value.message.startswith(f"{__file__}:{go.__code__.co_firstlineno}: ")


def from_final(state: Order) -> Order:
    return state


def test_nothing_leads_out_of_a_final_state() -> None:
    """R65: a source that is final is refused; the wildcard leaves final states out."""

    class Machine:
        state_model = Order
        final = Status.SHIPPED
        go = marked(from_final, "GO", source=(Status.IDLE, Status.SHIPPED))

    with pytest.raises(ValidationError, match="the source SHIPPED is final: nothing leads out of it"):
        Fsm.from_class(Machine)
    everywhere = Fsm.from_class(OrderMachine, name="o").final
    assert everywhere == {"SHIPPED"}


def again(state: Order) -> Order:
    return state


def test_a_transition_that_another_hides_is_refused() -> None:
    """R46: two transitions of one action from one state need a guard on the first."""

    class Machine:
        state_model = Order
        one = marked(go, "SEND", source=Status.IDLE)
        two = marked(again, "SEND", source=(Status.IDLE, Status.ORDER_PLACED))

    with pytest.raises(ValidationError, match="SEND from IDLE is declared twice"):
        Fsm.from_class(Machine)


def test_a_transition_for_all_the_others() -> None:
    """R46: one from "*" may follow others of its action, for the states that they leave; not if they leave none."""

    class Machine:
        state_model = Order
        one = marked(go, "SEND", source=Status.IDLE)
        two = marked(again, "SEND")

    assert len(Fsm.from_class(Machine).transitions["SEND"]) == 2

    class Everything:
        state_model = Order
        one = marked(go, "SEND", source=tuple(Status))
        two = marked(again, "SEND")

    with pytest.raises(ValidationError, match="SEND from IDLE, ORDER_PLACED, PAYMENT_CONFIRMED, SHIPPED is declared"):
        Fsm.from_class(Everything)


def guard_of_text(state: Order) -> str:
    return "yes"


def test_a_guard_returns_bool() -> None:
    """R46: anything else is refused, with the line of the guard."""
    with pytest.raises(ValidationError, match="a guard returns bool") as caught:
        Fsm.from_class(machine(go, guard=guard_of_text))
    assert caught.value.message.startswith(f"{__file__}:{guard_of_text.__code__.co_firstlineno}: ")


# The class


class PlainStatus(Enum):
    """Not strings."""

    A = 1


class NoStatus(Frozen):
    """No status."""

    count: int = 0


class NumberedStatus(Frozen):
    """A status that is no string."""

    status: PlainStatus = PlainStatus.A


class NeedsMore(Frozen):
    """No default for one field."""

    status: Status = Status.IDLE
    owner: str


class WithList(Frozen):
    """A list inside."""

    status: Status = Status.IDLE
    orders: tuple[NewOrder, ...] = ()
    names: list[str]


class WithPrivate(Frozen):
    """A private attribute, which frozen models leave changeable."""

    status: Status = Status.IDLE
    _seen: int = PrivateAttr(default=0)


class Open(BaseModel):
    """Takes any further field."""

    model_config = ConfigDict(frozen=True, extra="allow")
    status: Status = Status.IDLE


class Nested(Frozen):
    """Something changeable two levels down."""

    status: Status = Status.IDLE
    parts: tuple[WithList, ...] = ()


def declared(**body: object) -> type:
    return type("Declared", (), {"go": marked(go), **body})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "`state_model` is missing"),
        ({"state_model": dict}, "`state_model` is missing"),
        ({"state_model": Loose}, "the state must not be changeable: Loose is not frozen"),
        ({"state_model": WithList}, "the state must not be changeable: names: list"),
        ({"state_model": Nested}, "the state must not be changeable: parts.names: list"),
        ({"state_model": WithPrivate}, "has private attributes"),
        ({"state_model": Open}, "allows extra fields"),
        ({"state_model": NoStatus}, "NoStatus has no field 'status'"),
        ({"state_model": NumberedStatus}, "NumberedStatus.status is a string enum"),
        ({"state_model": Order, "final": (Color.RED,)}, "the final state <Color.RED: 'RED'> is not a Status"),
        ({"state_model": Order, "initial": "IDLE"}, "`initial` is a Status or a Order, not 'IDLE'"),
    ],
)
def test_a_wrong_class_is_refused(body: dict[str, object], message: str) -> None:
    """R47, F38: the state is a frozen model with a string enum; nothing in it can be changed at any depth."""
    with pytest.raises(ValidationError, match=re.escape(message)):
        Fsm.from_class(declared(**body))


def own(state: NeedsMore) -> NeedsMore:
    return state


def test_the_first_state_must_be_complete() -> None:
    """R65: `initial` is a state of its own where the model has fields without default."""

    class Machine:
        state_model = NeedsMore
        initial: object = Status.IDLE
        go = marked(own)

    with pytest.raises(ValidationError, match="no initial state: owner without default") as caught:
        Fsm.from_class(Machine)
    assert re.match(rf"{re.escape(__file__)}:\d+: ", caught.value.message)
    Machine.initial = NeedsMore(owner="ann")
    assert Fsm.from_class(Machine).initial == NeedsMore(owner="ann")


def test_a_class_without_transitions_is_refused() -> None:
    """R46: with the line of the class."""

    class Empty:
        state_model = Order

    with pytest.raises(ValidationError, match="no transition: methods under @transition") as caught:
        Fsm.from_class(Empty)
    assert caught.value.message.startswith(place_of(Empty))


def test_a_class_method_is_refused() -> None:
    """R47: `cls` could hold a state of its own."""

    class Machine:
        state_model = Order

        @classmethod
        @transition("GO", source="*", target=None)
        def go(cls, state: Order) -> Order:
            return state

    with pytest.raises(ValidationError, match="a transition has no `cls`"):
        Fsm.from_class(Machine)


class Base:
    """What machines share."""

    state_model = Order

    @staticmethod
    @transition("TOUCH", source="*", target=None)
    def touch(state: Order) -> Order:
        """Nothing happens."""
        return state


class Derived(Base):
    """Adds an action, known by two names."""

    @staticmethod
    @transition("SHIP", source=Status.IDLE, target=Status.SHIPPED)
    @transition("SEND", source=Status.IDLE, target=Status.SHIPPED)
    def ship(state: Order) -> Order:
        """Off it goes."""
        return state.model_copy(update={"status": Status.SHIPPED})


def test_transitions_are_inherited_and_may_have_several_actions() -> None:
    """R46: a machine is the transitions of its class and those above it; the description is the first paragraph."""
    fsm = Fsm.from_class(Derived)
    assert (fsm.name, fsm.version, fsm.description) == ("derived", "1.0.0", "Adds an action, known by two names.")
    assert fsm.actions() == ["TOUCH", "SHIP", "SEND"]
    assert Fsm.from_class(OrderMachine).name == "order_machine"


@pytest.mark.parametrize(
    ("annotation", "found"),
    [
        (int | None, None),
        (tuple[int, ...], None),
        (frozenset[str], "frozenset, whose order differs from process to process; use a sorted tuple"),
        (Literal["a", "b"], None),
        (FrozenDict[str, tuple[int, ...]], None),
        (FrozenJson, None),
        (Order, None),
        (Status, None),
        (dict[str, int], "dict[str, int]"),
        (Mapping[str, int], "Mapping"),
        (tuple[list[int], ...], "list[int]"),
        (FrozenDict[str, set[int]], "set[int]"),
        (bytearray, "bytearray"),
        (Any, "Any"),
        (object, "object"),
    ],
)
def test_what_can_be_changed_is_told(annotation: object, found: str | None) -> None:
    """F38: types whose values could be changed in place are known by their annotation."""
    part = mutable_part(annotation)
    assert (part is None) if found is None else (part is not None and found.partition("[")[0] in part)


# Aggregators


class Tally(Frozen):
    """State of an aggregator."""

    count: int = 0


class Good:
    """Counts."""

    @staticmethod
    def initial() -> Tally:
        """None."""
        return Tally()

    @staticmethod
    def step(state: Tally, record: object) -> Tally:
        """One more."""
        return Tally(count=state.count + 1)

    @staticmethod
    def finish(state: Tally) -> int:
        """How many."""
        return state.count


class NoFinish:
    """Unfinished."""

    initial = staticmethod(Good.initial)
    step = staticmethod(Good.step)


class Bound(Good):
    """Methods with self."""

    def finish(self, state: Tally) -> int:  # type: ignore[override]  # what is tested
        """Finishes."""
        return state.count


class OtherRecord(Good):
    """Records that could be changed."""

    @staticmethod
    def step(state: Tally, record: Loose) -> Tally:
        """One more."""
        return state


class OtherNames(Good):
    """Names of its own."""

    @staticmethod
    def step(total: Tally, item: object) -> Tally:
        """One more."""
        return total


class OtherState(Good):
    """A state that changes its type."""

    @staticmethod
    def step(state: Tally, record: object) -> int:  # type: ignore[override]  # what is tested
        """One more."""
        return state.count


class WithParams(Good):
    """Parameters that are no model."""

    @staticmethod
    def step(state: Tally, record: object, params: dict[str, int]) -> Tally:  # type: ignore[override]  # likewise
        """One more."""
        return state


class LooseState(Good):
    """A state that could be changed."""

    @staticmethod
    def initial() -> Loose:  # type: ignore[override]  # what is tested
        """None."""
        return Loose(items=[])


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (NoFinish, "'finish' is missing"),
        (Bound, "'finish': put @staticmethod above it"),
        (OtherRecord, "the records must not be changeable: Loose is not frozen"),
        (OtherNames, "`record` is annotated with a frozen pydantic model"),
        (OtherState, "the result is annotated with Tally"),
        (WithParams, "`params` is annotated with a pydantic model"),
        (LooseState, "the state must not be changeable: Loose is not frozen"),
    ],
)
def test_a_wrong_aggregator_is_refused_with_file_and_line(definition: type, message: str) -> None:
    """R54: an aggregator is checked when it is registered."""
    with pytest.raises(ValidationError, match=re.escape(message)) as caught:
        Aggregator.from_class(definition)
    assert re.match(rf"{re.escape(__file__)}:\d+: ", caught.value.message)


# The registry


def test_a_name_and_version_are_taken_once() -> None:
    """R54: the refusal tells where the first one stands."""
    registry = ReducerRegistry()
    registry.add_class(OrderMachine, name="order")
    with pytest.raises(ValidationError, match=r"'order' 1\.0\.0 is registered already, at ") as caught:
        registry.add_class(OrderMachine, name="order")
    assert place_of(OrderMachine) in caught.value.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "with space"}, "'with space' is not a name"),
        ({"name": "9"}, "'9' is not a name"),
        ({"version": "one"}, "'one' is not a version such as 1.0.0"),
    ],
)
def test_names_and_versions_are_checked(options: dict[str, str], message: str) -> None:
    """R54: what may stand in the registry."""
    with pytest.raises(ValidationError, match=message):
        ReducerRegistry().add_class(OrderMachine, **options)


def test_what_is_not_registered_is_answered_with_what_is() -> None:
    """R54, R66: the error names the reducer, and the known names or versions."""
    registry = ReducerRegistry()
    with pytest.raises(ReducerNotFoundError, match="no reducer 'order' is registered; known: none"):
        registry.get("order")
    registry.add_class(OrderMachine, name="order")
    registry.add_class(Good)
    with pytest.raises(ReducerNotFoundError, match="no reducer 'oder' is registered; known: good, order"):
        registry.get("oder")
    with pytest.raises(ReducerNotFoundError, match=r"has no version '2\.0\.0'; it has 1\.0\.0"):
        registry.get("order", "2.0.0")
    assert isinstance(registry.get("good"), Aggregator)
