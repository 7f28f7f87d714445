"""A corpus of honest transitions: none of them may be refused, and each of them runs."""

from __future__ import annotations

import bisect
import calendar
import collections
import contextlib
import copy
import csv
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import heapq
import html
import http
import io
import itertools
import json
import math
import operator
import os
import pathlib
import re
import statistics
import string
import textwrap
import types
import typing
import unicodedata
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import numpy
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, computed_field, field_validator, model_validator

from onex_mesh.reducer.core import FrozenDict, ReducerContext
from tests import machine_tools
from tests.order_machine import Item, Order, Status

BERLIN = ZoneInfo("Europe/Berlin")
RATES: Mapping[str, Decimal] = types.MappingProxyType({"DE": Decimal("0.19"), "UK": Decimal("0.2")})
FROZEN = FrozenDict({"a": 1, "b": {"c": (1, 2)}})
STEPS = (("first", str.upper), ("second", str.lower))
KINDS = frozenset({"tea", "pot"})
NUMBERS = frozenset({1, 2, 3})
SKU = re.compile(r"[a-z]+")
BY_SKU = operator.attrgetter("sku")
UPPER = operator.methodcaller("upper")
ADD = functools.partial(operator.add, 1)
LISTS = TypeAdapter(list[int])
CENT = Decimal("0.01")
EXACT = decimal.Context(prec=50)
PI = math.pi
LICENCE = (pathlib.Path(__file__).parents[1] / "LICENSE").read_text()
LIMIT: int = 2**10
FIRST_DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def done(state: Order, text: object) -> Order:
    return state.model_copy(update={"order_id": str(text)})


class Kind(enum.StrEnum):
    """Kinds."""

    TEA = enum.auto()
    POT = enum.auto()

    @property
    def label(self) -> str:
        """For people."""
        return self.value.title()

    @classmethod
    def of(cls, text: str) -> Kind:
        """By its name."""
        return cls[text.upper()]


@dataclasses.dataclass(frozen=True, order=True)
class Money:
    """An amount."""

    amount: Decimal
    currency: str = "EUR"
    notes: tuple[str, ...] = dataclasses.field(default_factory=tuple)

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", self.amount.quantize(CENT, rounding=ROUND_HALF_UP))

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + other.amount, self.currency)

    def __hash__(self) -> int:
        return hash((self.amount, self.currency))


ZERO = Money(Decimal(0))


class Point(typing.NamedTuple):
    """A place."""

    x: int
    y: int = 0

    def moved(self) -> Point:
        """One further."""
        return self._replace(x=self.x + 1)


class Tally:
    """Something that counts, made and dropped within a transition."""

    def __init__(self) -> None:
        self.count = 0
        self._rows: list[str] = []

    def add(self, row: str) -> Tally:
        """One more."""
        self.count += 1
        self._rows.append(row)
        return self

    def save(self) -> None:
        """What no reducer calls."""
        pathlib.Path("tally").write_text(str(self.count))


class Rules:
    """Rules without anything to remember."""

    def rate(self, country: str) -> Decimal:
        """The rate of a country."""
        return RATES.get(country, Decimal(0))


RULES = Rules()


class Address(BaseModel):
    """A model with everything that a model may have."""

    model_config = ConfigDict(frozen=True)

    street: str = ""
    tags: tuple[str, ...] = Field(default_factory=tuple)
    extra: FrozenDict[str, int] = FrozenDict()

    @field_validator("street")
    @classmethod
    def stripped(cls, value: str) -> str:
        """Without blanks."""
        return value.strip()

    @model_validator(mode="after")
    def checked(self) -> Address:
        """Not too long."""
        if len(self.street) > 100:
            raise ValueError("too long")
        return self

    @computed_field
    @property
    def label(self) -> str:
        """For people."""
        return f"{self.street} {', '.join(sorted(set(self.tags)))}"

    @functools.cached_property
    def words(self) -> int:
        """How many there are."""
        return len(self.street.split())


class OutOfStockError(Exception):
    """There is none."""


@functools.cache
def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def pairs(items: tuple[Item, ...]) -> Iterator[tuple[str, int]]:
    for item in items:
        yield item.sku, item.quantity


def doubled(function: Callable[[int], int]) -> Callable[[int], int]:
    @functools.wraps(function)
    def wrapper(value: int) -> int:
        return 2 * function(value)

    return wrapper


@doubled
def plus_one(value: int) -> int:
    return value + 1


@functools.singledispatch
def spelled(value: object) -> str:
    return str(value)


@spelled.register
def _(value: int) -> str:
    return f"#{value}"


def comprehensions(state: Order) -> Order:
    by_sku = {item.sku: item for item in state.items}
    rows = [(sku, item.quantity) for sku, item in by_sku.items() if item.quantity]
    return done(state, (rows, list(pairs(state.items)), sum(item.quantity for item in state.items)))


def local_collections(state: Order) -> Order:
    rows = [item.sku for item in state.items]
    rows.append("x")
    rows.sort()
    counts: dict[str, int] = collections.defaultdict(int)
    for row in rows:
        counts[row] += 1
    del counts["x"]
    queue = collections.deque(rows)
    queue.appendleft(queue.pop())
    top = collections.Counter(rows).most_common(1)
    heap = [3, 1, 2]
    heapq.heapify(heap)
    bisect.insort(rows, "b")
    return done(state, (dict(counts), list(queue), top, heap, rows))


def constants(state: Order) -> Order:
    return done(state, (LICENCE[:10], LIMIT, FIRST_DAY.year, PI, CENT, machine_tools.RATE))


def decimals(state: Order) -> Order:
    total = sum((item.price * item.quantity for item in state.items), Decimal(0))
    gross = (total * (1 + RATES["DE"])).quantize(CENT, rounding=ROUND_HALF_UP)
    with decimal.localcontext(decimal.Context(prec=5)):
        third = Decimal(1) / 3
    return done(state, (gross, third, EXACT.divide(Decimal(1), Decimal(3)), fractions.Fraction(1, 3)))


def dates(state: Order, payload: object, ctx: ReducerContext) -> Order:
    until = ctx.now + datetime.timedelta(days=1)
    local = ctx.now.astimezone(BERLIN).date()
    parsed = datetime.datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    stamp = datetime.datetime.fromtimestamp(0, datetime.UTC)
    of = datetime.datetime.combine(local, datetime.time(12), tzinfo=BERLIN)
    days = calendar.monthrange(local.year, local.month)[1]
    return done(state, (until, local.isoformat(), max(until, parsed), stamp, of, days, f"{ctx.now:%Y-%m}"))


def context(state: Order, payload: object, ctx: ReducerContext) -> Order:
    drawn = ctx.random.choice(("a", "b")), ctx.random.randrange(9), ctx.random.sample(range(9), 3)
    return done(state, (ctx.uuid(), ctx.uuid("order"), drawn, ctx.action_id, ctx.correlation_id))


def ids(state: Order) -> Order:
    return done(state, (uuid.UUID(int=1), uuid.uuid5(uuid.NAMESPACE_URL, "x"), hashlib.sha256(b"x").hexdigest()))


def sets(state: Order) -> Order:
    names = {item.sku for item in state.items} | {"z", "a"}
    several = len(names) > 1 and "z" in names and names >= {"a"} and names.isdisjoint({"q"})
    found = sorted(names), sorted(name.upper() for name in names), min(names), any(name == "a" for name in names)
    names -= {"a"}
    return done(state, (several, found, len(names & KINDS), "tea" in KINDS, [number for number in {1, 2, 3}]))


def sets_that_become_lists(state: Order) -> Order:
    names = {item.sku for item in state.items}
    names = sorted(names)
    seen: set[str] = set()
    rows = []
    for name in names:
        if name not in seen:
            seen.add(name)
            rows.append(name)
    numbers = [number for number in NUMBERS]
    return done(state, (list(names), ",".join(names), rows, numbers, _count(seen)))


def _count(names: set[str]) -> int:
    return len(names)


def texts(state: Order) -> Order:
    found = SKU.findall("tea pot"), re.sub(r"\s+", " ", "a  b"), string.Template("$a").substitute(a=1)
    shown = f"{state.total:.2f}", "%s-%d" % ("a", 1), "{:>5}".format("x"), textwrap.dedent(" x"), html.escape("<")
    return done(state, (found, shown, unicodedata.normalize("NFC", "x"), urllib.parse.quote("a b"), UPPER("x")))


def json_and_csv(state: Order) -> Order:
    text = json.dumps({"b": 1, "a": [1, 2]}, sort_keys=True)
    file = io.StringIO()
    csv.writer(file).writerow(["a", "b"])
    rows = list(csv.DictReader(io.StringIO("x,y\n1,2\n")))
    return done(state, (json.loads(text), file.getvalue(), rows, io.BytesIO(b"x").read()))


def numbers(state: Order) -> Order:
    values = [1.5, 2.5, 4.0]
    figures = math.fsum(values), math.isclose(PI, 3.14), statistics.mean(values), statistics.stdev(values)
    return done(state, (figures, round(2.5), divmod(7, 2), pow(2, 10), abs(-1), float("1.5"), int("7"), fibonacci(9)))


def numpy_numbers(state: Order) -> Order:
    return done(state, (float(numpy.mean([1.0, 2.0])), numpy.cumsum([1, 2]).tolist()))


def iterators(state: Order) -> Order:
    groups = [(key, len(list(rows))) for key, rows in itertools.groupby("aab")]
    chained = list(itertools.chain("ab", "c")), list(itertools.islice(itertools.count(), 3))
    product = functools.reduce(operator.mul, (1, 2, 3)), list(map(ADD, (1, 2))), list(zip("ab", (1, 2), strict=True))
    return done(state, (groups, chained, product, sorted(state.items, key=BY_SKU), list(reversed("ab"))))


def enums(state: Order) -> Order:
    kinds = [kind.label for kind in Kind]
    return done(state, (kinds, Kind.of("tea"), Kind("pot"), Kind["TEA"], getattr(Kind, "TEA"), Status.IDLE.value))


def dataclasses_of_its_own(state: Order) -> Order:
    total = functools.reduce(operator.add, (Money(item.price) for item in state.items), ZERO)
    other = dataclasses.replace(total, currency="USD")
    return done(state, (total, other, max(total, ZERO).amount, dataclasses.asdict(other)["currency"]))


def tuples_with_names(state: Order) -> Order:
    return done(state, Point(1).moved())


def objects_of_its_own(state: Order) -> Order:
    tally = Tally()
    for item in state.items:
        tally.add(item.sku)
    return done(state, (tally.count, RULES.rate("DE")))


def models(state: Order) -> Order:
    address = Address(street=" Elm St ", tags=("b", "a"), extra={"x": 1})
    moved = address.model_copy(update={"street": "Oak St"})
    extra = address.extra | {"y": 2}
    return done(
        state, (address.label, address.words, moved.model_dump(mode="json"), extra["y"], LISTS.dump_python([1]))
    )


def frozen_mappings(state: Order) -> Order:
    return done(state, (FROZEN["a"], sorted(FROZEN), {**FROZEN}["b"]["c"], dict(RATES), RATES.get("UK")))


def functions_in_tuples(state: Order) -> Order:
    return done(state, [(name, function("Ab")) for name, function in STEPS])


def decorated(state: Order) -> Order:
    return done(state, (plus_one(1), spelled(1), spelled("x")))


def closures(state: Order) -> Order:
    count = 0

    def up() -> int:
        nonlocal count
        count += 1
        return count

    id = "x"  # noqa: A001 - a name that a builtin has too
    found = [name for name in ("x", "y") if (lambda text: text == id)(name)]
    return done(state, (up(), up(), count, found))


def matches(state: Order, payload: object) -> Order:
    match payload:
        case {"kind": str(kind)} if kind:
            return done(state, kind)
        case Point(x=x):
            return done(state, x)
        case [first, *_]:
            return done(state, first)
        case None | int():
            return state
    return done(state, "other")


def errors(state: Order) -> Order:
    try:
        raise OutOfStockError("none")
    except (OutOfStockError, ValueError, OSError) as error:
        text = f"{type(error).__name__}: {error}"
    finally:
        text = "none"
    with contextlib.suppress(KeyError):
        text = {"a": text}["a"]
    return done(state, text)


def walrus_and_unpacking(state: Order) -> Order:
    if (count := len(state.items)) > 10:
        return done(state, count)
    first, *rest = (1, 2, 3)
    return done(state, (first, rest, {**{"a": 1}, "b": 2}, [*rest, first]))


def copies(state: Order) -> Order:
    return done(state, (copy.copy([1]), copy.deepcopy({"a": [1]})))


def paths_and_codes(state: Order) -> Order:
    joined = os.path.join("a", "b"), os.sep, pathlib.PurePosixPath("a/b.txt").suffix
    return done(state, (joined, http.HTTPStatus.OK.value, http.HTTPStatus(404).phrase))


def own_locals(state: Order) -> Order:
    rate, name = 1, "x"
    return done(state, "{name} {rate}".format(**{key: value for key, value in (("name", name), ("rate", rate))}))


def attributes_by_name(state: Order, payload: object) -> Order:
    return done(state, [getattr(state, name) for name in ("order_id", "total")] + [hasattr(payload, "kind")])


def inner_class(state: Order) -> Order:
    class Row(typing.NamedTuple):
        name: str

    return done(state, Row("x").name)


def helper_imported_inside(state: Order) -> Order:
    from math import sqrt

    return done(state, sqrt(4))
