"""States and payloads cannot be changed, at any depth and by any way that Python has (F38)."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import pickle
from collections import OrderedDict, UserDict, UserList, defaultdict, deque
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from onex_mesh.reducer.core import FrozenDict, FrozenJson, Fsm, Next, ReducerContext, transition
from onex_mesh.reducer.core.emit import database_write
from onex_mesh.reducer.core.freeze import mutable_part
from onex_mesh.reducer.core.machine import apply_action
from onex_mesh.runtime.errors import OnexError, PurityViolationError, StateConsistencyError

T = TypeVar("T")


class Frozen(BaseModel):
    """Their base."""

    model_config = ConfigDict(frozen=True)


class Status(enum.StrEnum):
    """States."""

    A = "A"
    B = "B"


class Line(Frozen):
    """A line of it."""

    sku: str = ""
    tags: tuple[str, ...] = ()


class Bag(Frozen):
    """A state with everything in it."""

    status: Status = Status.A
    lines: tuple[Line, ...] = ()
    by: FrozenDict[str, Line] = FrozenDict()
    anything: FrozenJson = None


FULL = {
    "status": "A",
    "lines": [{"sku": "tea", "tags": ["x"]}],
    "by": {"k": {"sku": "pot", "tags": ["y"]}},
    "anything": {"a": [1, {"b": [2]}], "c": [[3]]},
}


def applied(function: Any, state: object = None, payload: object = None, *, twice: bool = True) -> Any:
    body = {"state_model": Bag, "go": staticmethod(transition("GO", source="*", target=None)(function))}
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    fsm = Fsm.from_class(type("Bags", (), body))
    return apply_action(fsm, state, "GO", payload, lambda: ReducerContext(now=now, action_id="a"), twice=twice)


def parts(value: object) -> list[object]:
    """A value and everything in it."""
    found = [value]
    inner: list[object] = []
    if isinstance(value, BaseModel):
        inner = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, FrozenDict):
        inner = list(value.values())
    elif isinstance(value, tuple):
        inner = list(value)
    for part in inner:
        found += parts(part)
    return found


def test_nothing_in_a_state_can_be_changed() -> None:
    """F38: no list, dict or set at any depth, whatever JSON it came from; nor in the state that comes out."""
    for state in (Bag.model_validate(FULL), applied(keep, FULL).state):
        assert len(parts(state)) > 15
        assert {type(part) for part in parts(state)} == {Bag, Status, tuple, Line, str, FrozenDict, int}
        with pytest.raises(ValidationError, match="frozen"):
            state.status = Status.B
        with pytest.raises(ValidationError, match="frozen"):
            state.by["k"].sku = "x"
        with pytest.raises(ValidationError, match="frozen"):
            del state.lines


def keep(state: Bag) -> Bag:
    return state


def test_a_frozen_dict_has_no_way_in() -> None:
    """F38: neither by item nor by attribute; copies and pickles are equal and frozen too."""
    frozen = FrozenDict({"a": [1, {"b": 2}]})
    for change in (
        lambda: frozen.__setitem__("a", 1),  # type: ignore[attr-defined]  # it has none
        lambda: frozen.update({}),  # type: ignore[attr-defined]  # likewise
    ):
        with pytest.raises(AttributeError):
            change()
    with pytest.raises(TypeError, match="cannot be changed"):
        frozen._items = {}  # type: ignore[misc]  # what is tested
    with pytest.raises(TypeError, match="cannot be changed"):
        del frozen._hash
    with pytest.raises(TypeError, match="does not support item assignment"):
        frozen._items["a"] = 1  # type: ignore[index]  # what is tested
    for again in (copy.copy(frozen), copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):  # noqa: S301 - our own
        assert again == frozen
        assert hash(again) == hash(frozen)
    source = {"a": [1]}
    kept = FrozenDict(source)
    source["a"].append(2)
    assert kept["a"] == (1,)


class Rows(list[int]):
    """A list of its own."""


class Table(dict[str, int]):
    """A dict of its own."""


@pytest.mark.parametrize(
    ("value", "frozen"),
    [
        (Rows([1]), (1,)),
        (Table(a=1), FrozenDict({"a": 1})),
        (OrderedDict(a=[1]), FrozenDict({"a": (1,)})),
        (defaultdict(list, a=[1]), FrozenDict({"a": (1,)})),
        (UserDict({"a": [1]}), FrozenDict({"a": (1,)})),
        ((1, [2]), (1, (2,))),
    ],
)
def test_lists_and_dicts_of_any_class_are_frozen(value: object, frozen: object) -> None:
    """F38: subclasses of list and dict, and other mappings, become tuples and FrozenDicts as well."""
    found = Bag(anything=value).anything
    assert found == frozen
    assert type(found) is type(frozen)


@pytest.mark.parametrize(
    "value", [{1}, frozenset({1}), bytearray(b"x"), deque([1]), UserList([1]), object(), [[{"a"}]]]
)
def test_what_is_not_json_is_no_frozen_json(value: object) -> None:
    """F38, F22: sets, buffers and objects of any class are refused with their type, also inside."""
    with pytest.raises(ValidationError, match=r"a (set|frozenset|bytearray|deque|UserList|object) is not JSON"):
        Bag(anything=value)


class Bad(enum.Enum):
    """An enum of lists."""

    ONE = ("a", [1])


class Slotted:
    """Some class."""


class Page(Frozen, Generic[T]):
    """A model of any type."""

    items: tuple[T, ...] = ()


class Private(Frozen):
    """A private attribute."""

    _cache: dict[str, int] = PrivateAttr(default_factory=dict)


class Arbitrary(Frozen):
    """A class of its own as a field."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    value: Slotted | None = None


class Deep(Frozen):
    """A list, far down."""

    by: FrozenDict[str, tuple[Arbitrary | None, ...]] = FrozenDict()


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        (tuple, "tuple, whose items may be anything"),
        (Bad, "Bad.ONE is a tuple"),
        (Page, "items: ~T"),
        (Page[str], None),
        (Page[list[str]], "items: list"),
        (Private, "Private has private attributes"),
        (Arbitrary, "value: Slotted"),
        (Deep, "by.value: Slotted"),
        (Status, None),
    ],
)
def test_what_could_be_changed_is_refused_by_its_annotation(annotation: object, told: str | None) -> None:
    """F38: wherever in a model it stands."""
    found = mutable_part(annotation)
    assert found is None if told is None else found is not None and told in found


def by_construct(state: Bag) -> Bag:
    return Bag.model_construct(status=Status.A, lines=[Line()], by={}, anything=None)


def by_copy(state: Bag) -> Bag:
    return state.model_copy(update={"lines": [Line()]})


def by_copy_of_a_line(state: Bag) -> Bag:
    return state.model_copy(update={"lines": (Line().model_copy(update={"tags": ["a"]}),)})


def by_copy_of_the_wrong_type(state: Bag) -> Bag:
    return state.model_copy(update={"status": "A"})


def by_unknown_field(state: Bag) -> Bag:
    return state.model_copy(update={"extra": [1]})


@pytest.mark.parametrize("function", [by_construct, by_copy, by_copy_of_a_line, by_copy_of_the_wrong_type])
def test_what_pydantic_does_not_check_is_not_stored(function: Any) -> None:
    """F38, R67: model_construct and model_copy take anything; a state that holds a list is refused."""
    with pytest.raises(
        StateConsistencyError, match=r"the transition GO left a state that cannot be stored: .*Expected"
    ):
        applied(function, FULL)


def test_what_is_no_field_is_dropped() -> None:
    """F38: the state that comes out is read anew."""
    assert set(applied(by_unknown_field).state.__dict__) == set(Bag.model_fields)


def by_item(state: Bag) -> Bag:
    state.by["k"] = Line()  # type: ignore[index]  # what is tested
    return state


def by_append(state: Bag) -> Bag:
    state.lines.append(Line())  # type: ignore[attr-defined]  # what is tested
    return state


def by_payload(state: Bag, payload: object) -> Bag:
    payload["rows"] += (1,)  # type: ignore[index]  # what is tested
    return state


@pytest.mark.parametrize("function", [by_item, by_append, by_payload])
def test_a_transition_that_tries_fails(function: Any) -> None:
    """F38: state and payload take no change, and the error has the line."""
    with pytest.raises(OnexError) as failed:
        applied(function, FULL, {"rows": [1]})
    line = function.__code__.co_firstlineno + 1
    assert f"{__file__}:{line}" in failed.value.message


def by_attribute(state: Bag) -> Bag:
    state.status = Status.B  # type: ignore[misc]  # what is tested
    return state


def by_dict(state: Bag) -> Bag:
    state.__dict__["status"] = Status.B
    return state


def by_object(state: Bag) -> Bag:
    object.__setattr__(state, "status", Status.B)
    return state


@pytest.mark.parametrize("function", [by_attribute, by_dict, by_object])
def test_the_ways_around_are_refused_when_it_is_registered(function: Any) -> None:
    """F38, R47: with the line."""
    with pytest.raises(PurityViolationError) as refused:
        applied(function)
    assert refused.value.error_context["place"] == f"{__file__}:{function.__code__.co_firstlineno + 1}"


def emits(state: Bag) -> Next[Bag]:
    rows = [1]
    intent = database_write("t", data={"rows": rows, "state": state})
    rows.append(2)
    return Next(state, [intent])


def test_intents_are_frozen_when_they_are_made() -> None:
    """R82, F38: what is changed afterwards does not reach them."""
    intent = applied(emits, FULL).intents[0]
    assert intent.payload["data"]["rows"] == (1,)
    assert {type(part) for part in parts(intent.payload)} == {FrozenDict, tuple, str, int}
    with pytest.raises(AttributeError):
        intent.target = "other"
