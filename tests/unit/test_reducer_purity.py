"""A corpus of impure reducers, each of which is refused: when it is registered, while it runs, or in development."""

from __future__ import annotations

import datetime
import datetime as dt
import decimal
import inspect
import pathlib
import sys
import threading
import time
import types
import uuid
from collections.abc import Callable
from datetime import date
from datetime import datetime as moment
from types import ModuleType

import loophole
import pytest
from pydantic import BaseModel, ConfigDict

from onex_mesh.reducer.core import Aggregator, Fsm, Next, ReducerContext, on_entry, on_exit, transition
from onex_mesh.reducer.core.emit import database_write
from onex_mesh.reducer.core.guard import Guard
from onex_mesh.reducer.core.machine import Applied, apply_action
from onex_mesh.reducer.core.purity import check_function, check_model
from onex_mesh.runtime.errors import PurityViolationError, ReductionFailedError
from tests import impure_reducers, pure_reducers
from tests.order_machine import Order, Status

MARK = "  #! "
STATE = {"items": [{"sku": "tea", "price": "1.25", "quantity": 2}, {"sku": "pot", "price": "9"}]}


def machine(function: Callable[..., object]) -> Fsm:
    body = {"state_model": Order, "go": staticmethod(transition("GO", source="*", target=None)(function))}
    return Fsm.from_class(type("Machine", (), body))


def run(function: Callable[..., object], state: object = None, *, twice: bool = True) -> Applied:
    now = moment(2026, 1, 1, tzinfo=dt.UTC)
    make = lambda: ReducerContext(now=now, action_id=str(uuid.UUID(int=7)))  # noqa: E731 - a fresh one each time
    return apply_action(machine(function), state, "GO", None, make, twice=twice)


def done(state: Order, text: object) -> Order:
    return state.model_copy(update={"order_id": str(text)})


def transitions_of(module: ModuleType) -> list[Callable[..., object]]:
    """The transitions of a corpus: what takes a state and is no helper of others."""
    return [
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        if next(iter(inspect.signature(value).parameters), "") == "state" and name != "done"
    ]


def models_of(module: ModuleType) -> list[type[BaseModel]]:
    return [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, BaseModel) and name.startswith("With")
    ]


def refused_where_it_is_marked(error: PurityViolationError, file: str) -> None:
    """The error names the line that is marked, and says what stands there."""
    place = str(error.error_context["place"])
    assert error.message.startswith(f"{place}: ")
    name, _, line = place.rpartition(":")
    assert name == file
    marked = pathlib.Path(file).read_text().splitlines()[int(line) - 1]
    assert MARK in marked, f"{error.message} is no line that is marked"
    assert marked.partition(MARK)[2] in error.message


# What is refused when it is registered

FILE = str(impure_reducers.__file__)
IMPURE = transitions_of(impure_reducers)
IMPURE_MODELS = models_of(impure_reducers)


@pytest.mark.parametrize("function", IMPURE, ids=lambda function: function.__name__)
def test_an_impure_transition_is_refused_when_it_is_registered(function: Callable[..., object]) -> None:
    """R47: clock, randomness, I/O, surroundings, globals, sets, dynamic code; with the call and the line."""
    with pytest.raises(PurityViolationError) as caught:
        check_function(function)
    refused_where_it_is_marked(caught.value, FILE)


@pytest.mark.parametrize("model", IMPURE_MODELS, ids=lambda model: model.__name__)
def test_an_impure_model_is_refused(model: type[BaseModel]) -> None:
    """R47: what runs when a payload or a state is read, made or written is part of the transition."""
    with pytest.raises(PurityViolationError) as caught:
        check_model(model)
    refused_where_it_is_marked(caught.value, FILE)


def test_the_corpus_is_whole() -> None:
    """R47: each line that is marked is one at which something of the corpus is refused; none is left over."""
    found = set()
    for check, each in [*((check_function, row) for row in IMPURE), *((check_model, row) for row in IMPURE_MODELS)]:
        with pytest.raises(PurityViolationError) as caught:
            check(each)
        found.add(int(str(caught.value.error_context["place"]).rpartition(":")[2]))
    lines = pathlib.Path(FILE).read_text().splitlines()
    assert found == {index for index, line in enumerate(lines, 1) if MARK in line}
    assert len(IMPURE) + len(IMPURE_MODELS) >= 180


def takes_clock(state: Order) -> Order:
    return done(state, time.time())


def takes_late(state: Order, payload: impure_reducers.WithProperty) -> Order:
    return state


def says_yes(state: Order) -> bool:
    return date.today().day == 1  # noqa: DTZ011 - what is tested


def keeps(state: Order) -> Order:
    return state


def leaves(state: Order) -> list[object]:
    return [time.time()]


class Count(BaseModel):
    """State of an aggregator."""

    model_config = ConfigDict(frozen=True)
    count: int = 0


class Fold:
    """An honest aggregator."""

    @staticmethod
    def initial() -> Count:
        """Nothing."""
        return Count()

    @staticmethod
    def step(state: Count, record: object) -> Count:
        """One more."""
        return Count(count=state.count + 1)

    @staticmethod
    def merge(left: Count, right: Count) -> Count:
        """Both."""
        return Count(count=left.count + right.count)

    @staticmethod
    def finish(state: Count) -> int:
        """The count."""
        return state.count


def late_initial() -> Count:
    return Count(count=time.time_ns())


def late_step(state: Count, record: object) -> Count:
    return Count(count=time.time_ns())


def late_merge(left: Count, right: Count) -> Count:
    return Count(count=time.time_ns())


def late_finish(state: Count) -> int:
    return time.time_ns()


def fresh(function: Callable[..., object]) -> Callable[..., object]:
    """The same function anew: decorators leave their marks on it."""
    made = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    made.__annotations__ = function.__annotations__
    return made


@pytest.mark.parametrize(
    "added",
    [
        transition("MORE", source="*", target=None)(fresh(takes_clock)),
        transition("MORE", source="*", target=None, guard=says_yes)(fresh(keeps)),
        on_entry(Status.SHIPPED)(fresh(takes_clock)),
        on_exit(Status.IDLE)(fresh(leaves)),
        transition("MORE", source="*", target=None)(fresh(takes_late)),
    ],
    ids=["transition", "guard", "entry", "exit", "payload"],
)
def test_every_function_of_a_machine_is_checked(added: Callable[..., object]) -> None:
    """R47: transitions, guards, entry and exit actions, models of payloads."""
    body = {"state_model": Order, "go": staticmethod(transition("GO", source="*", target=None)(fresh(keeps)))}
    assert Fsm.from_class(type("Machine", (), body)).actions() == ["GO"]
    with pytest.raises(PurityViolationError, match="reads the clock"):
        Fsm.from_class(type("Machine", (), {**body, "added": staticmethod(added)}))


@pytest.mark.parametrize("late", [late_initial, late_step, late_merge, late_finish])
def test_every_function_of_an_aggregator_is_checked(late: Callable[..., object]) -> None:
    """R47, R54: initial, step, merge and finish."""
    part = late.__name__.removeprefix("late_")
    assert Aggregator.from_class(Fold).name == "fold"
    with pytest.raises(PurityViolationError, match=r"time\.time_ns reads the clock"):
        Aggregator.from_class(type("Late", (Fold,), {part: staticmethod(late)}))


def test_a_long_function_is_read_to_its_end() -> None:
    """R47: a chain of names is followed where it takes more than 256 names, too."""
    many = "\n".join(f"    state.n{number}" for number in range(300))
    source = f"def long(state):\n{many}\n    return datetime.datetime.now()\n"
    names: dict[str, object] = {"datetime": datetime, "__name__": __name__}
    exec(compile(source, __file__, "exec"), names)  # noqa: S102 - our own text
    with pytest.raises(PurityViolationError, match=r"datetime\.datetime\.now reads the clock"):
        check_function(names["long"])


def test_a_closure_is_looked_into() -> None:
    """R47: what a function took along from where it was made counts too."""

    def made(source: ModuleType) -> Callable[[Order], Order]:
        def go(state: Order) -> Order:
            return done(state, source.time())

        return go

    with pytest.raises(PurityViolationError, match=r"source\.time reads the clock"):
        machine(made(time))


def test_a_closure_is_not_changed() -> None:
    """R47: nonlocal is a hidden state."""

    def made() -> Callable[[Order], Order]:
        count = 0

        def go(state: Order) -> Order:
            nonlocal count
            count += 1
            return state

        return go

    with pytest.raises(PurityViolationError, match="nonlocal count changes a variable of another function"):
        machine(made())


# What is pure, and must not be refused


@pytest.mark.parametrize("function", transitions_of(pure_reducers), ids=lambda function: function.__name__)
def test_an_honest_transition_is_taken(function: Callable[..., object]) -> None:
    """R92: what derives from state, payload and action is no violation, runs, and gives the same twice."""
    assert run(function, STATE).status == "IDLE"


# What is refused while it runs


def hidden_file(state: Order) -> Order:
    return done(state, loophole.read())


def hidden_listing(state: Order) -> Order:
    return done(state, loophole.list_folder())


def hidden_process(state: Order) -> Order:
    return done(state, loophole.run_process())


def hidden_sleep(state: Order) -> Order:
    return done(state, loophole.sleep())


def hidden_connection(state: Order) -> Order:
    return done(state, loophole.connect())


def hidden_and_caught(state: Order) -> Order:
    try:
        loophole.read()
    except Exception:  # noqa: BLE001 - what is tested
        return state
    return state


@pytest.mark.parametrize(
    ("function", "event"),
    [
        (hidden_file, "open"),
        (hidden_listing, "os.listdir"),
        (hidden_process, "subprocess.Popen"),
        pytest.param(
            hidden_sleep,
            "time.sleep",
            marks=pytest.mark.xfail(sys.version_info < (3, 13), reason="audited from Python 3.13 on", strict=True),
        ),
        (hidden_connection, "socket"),
        (hidden_and_caught, "open"),
    ],
)
def test_io_is_refused_while_a_transition_runs(function: Callable[..., object], event: str) -> None:
    """R47: in a package that nobody looked into; named with the application's line, also if the error is caught."""
    with pytest.raises(PurityViolationError, match="the transition GO does I/O") as caught:
        run(function, twice=False)
    assert str(caught.value.error_context["event"]).startswith(event)
    name, _, line = str(caught.value.error_context["place"]).rpartition(":")
    assert name == __file__
    assert "loophole." in pathlib.Path(__file__).read_text().splitlines()[int(line) - 1]


def third(state: Order) -> Order:
    return done(state, decimal.Decimal(1) / 3)


def test_decimals_do_not_depend_on_the_thread() -> None:
    """R48: 28 digits, whatever precision the application set; its own context is there again afterwards."""
    with decimal.localcontext(prec=4):
        assert run(third).document["order_id"] == "0." + 28 * "3"
        assert decimal.getcontext().prec == 4


def leaves_the_process(state: Order) -> Order:
    raise SystemExit(3)


def test_a_transition_cannot_end_the_node() -> None:
    """R19: a SystemExit is a failure of the transition like any other exception."""
    with pytest.raises(ReductionFailedError, match=r"the transition GO failed at .*: SystemExit: 3"):
        run(leaves_the_process)


# What is refused in development


def hidden_count(state: Order) -> Order:
    return done(state, loophole.count())


def writes_address(state: Order) -> Order:
    return done(state, object())


def emits_address(state: Order) -> Next[Order]:
    return Next(state, [database_write("orders", data={"who": str(loophole.read)})])


def hidden_change(state: Order) -> Order:
    loophole.change(state, "order_id", "changed")
    return state


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (hidden_count, r"two runs of GO differ in state: order_id is '\d+' and then '\d+'"),
        (writes_address, r"GO writes where an object is in memory into its state: <object object at 0x"),
        (emits_address, r"GO writes where an object is in memory into its intents: <function read at 0x"),
        (hidden_change, r"GO changed the state that it was given: order_id is '' and then 'changed'"),
    ],
)
def test_two_runs_are_compared(function: Callable[..., object], told: str) -> None:
    """R47, R48: in development, what neither bytecode nor audit events tell; with file and line of the transition."""
    with pytest.raises(PurityViolationError, match=told) as caught:
        run(function)
    assert caught.value.message.startswith(f"{__file__}:{function.__code__.co_firstlineno}: ")


# What cannot be caught


def hidden_day(state: Order) -> Order:
    return done(state, loophole.day())


def hidden_memory(state: Order) -> Order:
    loophole.keep(state)
    return state


class Sorted(BaseModel):
    """Somebody who keeps a set."""

    model_config = ConfigDict(frozen=True)
    names: frozenset[str] = frozenset()


def set_in_an_object(state: Order) -> Order:
    return done(state, list(Sorted(names=frozenset({"a"})).names))


BORN = loophole.day()


def constant_of_a_package(state: Order) -> Order:
    return done(state, BORN)


@pytest.mark.parametrize("function", [hidden_day, hidden_memory, set_in_an_object, constant_of_a_package])
def test_what_cannot_be_caught(function: Callable[..., object]) -> None:
    """R47: the holes that docs/reducer.md names, and no more than those: this fails once one of them is closed."""
    assert run(function).status == "IDLE"


# What is around a violation


def test_the_guard_watches_its_own_thread_only() -> None:
    """R47: what the node itself does beside a transition, and after it, is its own matter."""
    found: list[str] = []

    def read() -> None:
        found.append(pathlib.Path(__file__).read_text()[:3])

    thread = threading.Thread(target=read)
    with Guard("the test"):
        pass
    thread.start()
    with Guard("the test"):
        for _ in range(10_000):
            if found:
                break
    thread.join()
    read()
    assert found == ['"""', '"""']


def test_a_module_that_is_imported_late_is_no_violation() -> None:
    """R47: Python reads files to import; that is not the transition's doing."""
    sys.modules.pop("this", None)
    sys.modules.pop("colorsys", None)
    with Guard("the test"):
        import colorsys
    assert colorsys.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)


def test_a_builtin_function_has_nothing_to_check() -> None:
    """R47: what has no bytecode is judged by its name where it is used, not here."""
    check_function(len)
