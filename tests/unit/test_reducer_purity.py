"""A corpus of impure reducers, each of which is refused: when it is registered, while it runs, or in development."""

from __future__ import annotations

import datetime
import datetime as dt
import functools
import io
import os
import pathlib
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import date
from datetime import datetime as moment
from random import choice
from time import time as clock
from types import ModuleType
from uuid import uuid4

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from onex_mesh.reducer.core import Fsm, ReducerContext, transition
from onex_mesh.reducer.core.guard import Guard
from onex_mesh.reducer.core.machine import apply_action
from onex_mesh.reducer.core.purity import check_function
from onex_mesh.runtime.errors import PurityViolationError
from tests.order_machine import Order

RATES = {"DE": 19}
SEEN: set[str] = set()
QUEUE: deque[str] = deque()
NUMBERS = iter(range(3))
DICE = random.Random(1)
ROOT = pathlib.Path("/")
total = 0


def machine(function: Callable[..., object]) -> Fsm:
    body = {"state_model": Order, "go": staticmethod(transition("GO", source="*", target=None)(function))}
    return Fsm.from_class(type("Machine", (), body))


def done(state: Order, text: object) -> Order:
    return state.model_copy(update={"order_id": str(text)})


# What is refused when it is registered


def reads_clock(state: Order) -> Order:
    return done(state, time.time())


def reads_clock_by_name(state: Order) -> Order:
    return done(state, clock())


def reads_date(state: Order) -> Order:
    return done(state, datetime.datetime.now(datetime.UTC))


def reads_date_by_alias(state: Order) -> Order:
    return done(state, dt.datetime.now(dt.UTC))


def reads_date_by_class(state: Order) -> Order:
    return done(state, moment.now(dt.UTC))


def reads_today(state: Order) -> Order:
    return done(state, date.today())  # noqa: DTZ011 - what is tested


def draws(state: Order) -> Order:
    return done(state, random.random())


def draws_by_name(state: Order) -> Order:
    return done(state, choice((1, 2)))


def draws_from_own_generator(state: Order) -> Order:
    return done(state, DICE.random())


def draws_secret(state: Order) -> Order:
    return done(state, secrets.token_hex())


def makes_id(state: Order) -> Order:
    return done(state, uuid.uuid4())


def makes_id_by_name(state: Order) -> Order:
    return done(state, uuid4())


def opens_file(state: Order) -> Order:
    with open("/etc/hostname") as file:  # noqa: PTH123 - what is tested
        return done(state, file.read())


def opens_file_by_path(state: Order) -> Order:
    return done(state, pathlib.Path("/etc/hostname").read_text())


def opens_file_by_module(state: Order) -> Order:
    return done(state, io.open("/etc/hostname").read())  # noqa: UP020 - what is tested


def reads_environment(state: Order) -> Order:
    return done(state, os.environ["HOME"])


def reads_arguments(state: Order) -> Order:
    return done(state, sys.argv)


def prints(state: Order) -> Order:
    print(state)  # noqa: T201 - what is tested
    return state


def connects(state: Order) -> Order:
    return done(state, socket.create_connection(("127.0.0.1", 1)))


def runs_process(state: Order) -> Order:
    return done(state, subprocess.run(["true"], check=True))


def starts_thread(state: Order) -> Order:
    return done(state, threading.Thread())


def imports_inside(state: Order) -> Order:
    import urllib.request

    return done(state, urllib.request.urlopen("http://localhost"))


def imports_by_name(state: Order) -> Order:
    return done(state, __import__("time").time())


def evaluates(state: Order) -> Order:
    return done(state, eval("1"))  # noqa: S307 - what is tested


def hashes(state: Order) -> Order:
    return done(state, hash("text"))


def identifies(state: Order) -> Order:
    return done(state, id(state))


def changes_global(state: Order) -> Order:
    global total
    total += 1
    return state


def remembers(state: Order) -> Order:
    SEEN.add(state.order_id)
    return state


def looks_up(state: Order) -> Order:
    return done(state, RATES["DE"])


def queues(state: Order) -> Order:
    QUEUE.append(state.order_id)
    return state


def counts(state: Order) -> Order:
    return done(state, next(NUMBERS))


def sets_attribute(state: Order) -> Order:
    state.order_id = "x"  # type: ignore[misc]  # what is tested
    return state


def sets_attribute_by_name(state: Order) -> Order:
    setattr(state, "order_id", "x")  # noqa: B010 - what is tested
    return state


def through_another(state: Order) -> Order:
    return done(state, _twice_removed())


def _twice_removed() -> float:
    return max(_thrice_removed() for _ in range(2))


def _thrice_removed() -> float:
    return time.monotonic()


@functools.cache
def _cached() -> float:
    return time.perf_counter()


def through_cache(state: Order) -> Order:
    return done(state, _cached())


def inside_lambda(state: Order) -> Order:
    return done(state, sorted([state], key=lambda _: time.time()))


class Clerk:
    """Somebody who looks at the clock."""

    @staticmethod
    def now() -> float:
        """Now."""
        return time.time()

    @classmethod
    def also_now(cls) -> float:
        """Likewise."""
        return time.time()


def through_static_method(state: Order) -> Order:
    return done(state, Clerk.now())


def through_class_method(state: Order) -> Order:
    return done(state, Clerk.also_now())


def loops_over_set(state: Order) -> Order:
    text = ""
    for part in {"a", "b"}:
        text += part
    return done(state, text)


def joins_set(state: Order) -> Order:
    return done(state, ",".join({item.sku for item in state.items}))


def lists_set(state: Order) -> Order:
    names = set(state.order_id)
    return done(state, list(names | {"z"}))


def comprehends_set(state: Order) -> Order:
    return done(state, [name for name in frozenset(state.order_id)])  # noqa: C416  # the point


def pops_set(state: Order) -> Order:
    names: set[str] = {item.sku for item in state.items}
    return done(state, names.pop())


def unpacks_set(state: Order) -> Order:
    first, *_ = {"a", "b"}
    return done(state, first)


def spells_set(state: Order) -> Order:
    return done(state, f"{set(state.order_id)}")


CORPUS = [
    (reads_clock, "time.time reads the clock", 1),
    (reads_clock_by_name, "clock reads the clock", 1),
    (reads_date, "datetime.datetime.now reads the clock", 1),
    (reads_date_by_alias, "dt.datetime.now reads the clock", 1),
    (reads_date_by_class, "moment.now reads the clock", 1),
    (reads_today, "date.today reads the clock", 1),
    (draws, "random.random is random", 1),
    (draws_by_name, "choice is random", 1),
    (draws_from_own_generator, "DICE.random is random", 1),
    (draws_secret, "secrets.token_hex is random", 1),
    (makes_id, r"uuid.uuid4 is random: use ctx.uuid\(\)", 1),
    (makes_id_by_name, "uuid4 is random", 1),
    (opens_file, "open does I/O", 1),
    (opens_file_by_path, "pathlib.Path does I/O", 1),
    (opens_file_by_module, "io.open does I/O", 1),
    (reads_environment, "os.environ does I/O", 1),
    (reads_arguments, "sys.argv", 1),
    (prints, "print does I/O", 1),
    (connects, "socket.create_connection does I/O", 1),
    (runs_process, "subprocess.run does I/O", 1),
    (starts_thread, "threading.Thread runs something beside", 1),
    (imports_inside, "import urllib.request does I/O", 1),
    (imports_by_name, "__import__ runs code that cannot be checked", 1),
    (evaluates, "eval runs code that cannot be checked", 1),
    (hashes, "hash differs from process to process", 1),
    (identifies, "id differs from process to process", 1),
    (changes_global, "global total changes a global", 2),
    (remembers, "SEEN.* is a set outside of the function", 1),
    (looks_up, "RATES is a dict outside of the function", 1),
    (queues, "QUEUE.* is a deque outside of the function", 1),
    (counts, "NUMBERS is a range_iterator outside of the function", 1),
    (sets_attribute, ".order_id = … changes something in place", 1),
    (sets_attribute_by_name, "setattr changes something in place", 1),
    (inside_lambda, "time.time reads the clock", 1),
    (loops_over_set, "loops_over_set iterates over a set, whose order differs from process to process: sort it", 2),
    (joins_set, "joins a set", 1),
    (lists_set, "makes a list of a set", 2),
    (comprehends_set, "iterates over a set", 1),
    (pops_set, "takes any item out of a set", 2),
    (unpacks_set, "unpacks a set", 1),
    (spells_set, "writes a set as text", 1),
]


@pytest.mark.parametrize(("function", "message", "line"), CORPUS, ids=[function.__name__ for function, _, _ in CORPUS])
def test_an_impure_transition_is_refused_when_it_is_registered(
    function: Callable[..., object], message: str, line: int
) -> None:
    """R47: clock, randomness, I/O, surroundings, globals and dynamic code; with the line that does it."""
    with pytest.raises(PurityViolationError, match=message) as caught:
        machine(function)
    place = f"{__file__}:{function.__code__.co_firstlineno + line}"
    assert caught.value.error_context["place"] == place
    assert caught.value.message.startswith(f"{place}: ")


@pytest.mark.parametrize("function", [through_another, through_cache, through_static_method, through_class_method])
def test_the_functions_that_a_transition_calls_are_checked_too(function: Callable[..., object]) -> None:
    """R47: however far away in the application's own code; the line is that of the culprit."""
    with pytest.raises(PurityViolationError, match="reads the clock") as caught:
        machine(function)
    _, _, line = str(caught.value.error_context["place"]).rpartition(":")
    assert int(line) not in range(function.__code__.co_firstlineno, function.__code__.co_firstlineno + 2)


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


class Nosy(BaseModel):
    """A payload whose validator looks at the clock."""

    model_config = ConfigDict(frozen=True)
    at: float = 0

    @field_validator("at")
    @classmethod
    def fresh(cls, value: float) -> float:
        """Not from the future."""
        return min(value, time.time())


def takes_nosy(state: Order, payload: Nosy) -> Order:
    return done(state, payload.at)


def test_validators_of_the_payload_are_checked() -> None:
    """R47: what runs when a payload is read is part of the transition."""
    with pytest.raises(PurityViolationError, match=r"time\.time reads the clock"):
        machine(takes_nosy)


def guard_of_the_day(state: Order) -> bool:
    return date.today().day == 1  # noqa: DTZ011 - what is tested


def guarded(state: Order) -> Order:
    return state


def test_guards_are_checked() -> None:
    """R47: a guard decides, so it must be pure."""

    class Machine:
        state_model = Order
        go = staticmethod(transition("GO", source="*", target=None, guard=guard_of_the_day)(guarded))

    with pytest.raises(PurityViolationError, match=r"date\.today"):
        Fsm.from_class(Machine)


# What is pure, and must not be refused

VAT = (("DE", 19), ("UK", 20))


def sorted_items(state: Order) -> Order:
    return state.model_copy(update={"items": tuple(sorted(state.items, key=lambda item: item.sku))})


def uses_time_types(state: Order, payload: object, ctx: ReducerContext) -> Order:
    until = ctx.now + datetime.timedelta(days=1)
    parsed = datetime.datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    return done(
        state, max(until, parsed).isoformat() + str(uuid.UUID(int=1)) + str(uuid.uuid5(uuid.NAMESPACE_URL, "x"))
    )


def uses_context(state: Order, ctx: ReducerContext) -> Order:
    return done(state, f"{ctx.uuid()} {ctx.random.choice(('a', 'b'))} {dict(VAT)['DE']}")


def uses_locals(state: Order) -> Order:
    rows = [item.sku for item in state.items]
    rows.append("x")
    counts = {row: len(row) for row in rows}
    counts["y"] = 1
    if not counts:
        raise ValueError("none")
    return done(state, counts)


def uses_sets_in_order(state: Order) -> Order:
    names = {item.sku for item in state.items} | {"z", "a"}
    several = len(names) > 1 and "z" in names and any(name == "a" for name in names)
    numbers = [number for number in {1, 2, 3}]  # noqa: C416  # whole numbers have one order
    return done(state, (sorted(names), sorted(name.upper() for name in names), several, numbers, min(names)))


@pytest.mark.parametrize("function", [sorted_items, uses_time_types, uses_context, uses_locals, uses_sets_in_order])
def test_pure_transitions_are_taken(function: Callable[..., object]) -> None:
    """R92: what derives from state, payload and action is no violation, and runs."""
    applied = apply_action(
        machine(function),
        None,
        "GO",
        None,
        lambda: ReducerContext(now=moment(2026, 1, 1, tzinfo=dt.UTC), action_id=str(uuid.UUID(int=7))),
        twice=True,
    )
    assert applied.status == "IDLE"


# What is refused while it runs


class Loophole:
    """Hides its callee from any look at bytecode."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function


FILE = Loophole(lambda: open("/etc/hostname"))  # noqa: PTH123, SIM115 - what is tested
LISTING = Loophole(lambda: os.listdir("/"))  # noqa: PTH208 - what is tested
PROCESS = Loophole(lambda: subprocess.run(["true"], check=True))
SLEEP = Loophole(lambda: time.sleep(0))
CONNECTION = Loophole(lambda: socket.socket().connect(("127.0.0.1", 9)))


def hidden_file(state: Order) -> Order:
    return done(state, FILE.function())


def hidden_listing(state: Order) -> Order:
    return done(state, LISTING.function())


def hidden_process(state: Order) -> Order:
    return done(state, PROCESS.function())


def hidden_sleep(state: Order) -> Order:
    return done(state, SLEEP.function())


def hidden_connection(state: Order) -> Order:
    return done(state, CONNECTION.function())


def hidden_and_caught(state: Order) -> Order:
    try:
        FILE.function()
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
    """R47: files, folders, processes, waiting and sockets, however they are reached, also if the error is caught."""
    fsm = machine(function)
    with pytest.raises(PurityViolationError, match="the transition GO does I/O") as caught:
        apply_action(fsm, None, "GO", None, lambda: ReducerContext(now=moment.now(dt.UTC), action_id="a"))
    assert str(caught.value.error_context["event"]).startswith(event)
    assert str(caught.value.error_context["place"]).startswith(f"{__file__}:")


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
