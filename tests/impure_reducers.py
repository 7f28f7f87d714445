"""A corpus of impure transitions, guards' helpers, models and classes, each refused when it is registered.

Whatever stands behind `#!` in the line at fault is in the message; a function without one is somebody's helper.
"""

from __future__ import annotations

import asyncio
import builtins
import collections
import contextvars
import copy
import ctypes
import dataclasses
import datetime
import decimal
import email.utils
import functools
import gc
import importlib
import inspect
import itertools
import json
import locale
import logging
import math
import multiprocessing
import operator
import os
import os.path
import pathlib
import pickle
import platform
import random
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import types
import urllib.request
import uuid
import warnings
import weakref
import zoneinfo
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from datetime import datetime as moment
from enum import Enum
from time import time as clock
from typing import Annotated, ClassVar
from uuid import uuid4

import httpx
import numpy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, computed_field, field_validator, model_validator

from onex_mesh.reducer.core import ReducerContext
from tests import machine_tools
from tests.machine_tools import LOADED_AT as LOADED
from tests.order_machine import Item, Order

RATES = {"DE": 19}
ROWS = [1, 2]
SEEN: set[str] = set()
QUEUE: collections.deque[str] = collections.deque()
NUMBERS = iter(range(3))
COUNTER = itertools.count()
DICE = random.Random(1)
LOG = logging.getLogger("corpus")
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="x")
LOCK = threading.Lock()
NOW = functools.partial(datetime.datetime.now, datetime.UTC)
NOW_OF = operator.methodcaller("now")
TODAY_OF = operator.attrgetter("today")
MODULES = (math, time)
FUNCTIONS = (("draw", random.random),)
KINDS = frozenset({"tea", "pot"})
SETTINGS = types.SimpleNamespace(rate=19)
STARTED: float = time.time()
TOKEN = "x" + str(uuid4())
REGION = os.environ.get("REGION", "eu")
SALT = hash("salt")
total = 0


def done(state: Order, text: object) -> Order:
    return state.model_copy(update={"order_id": str(text)})


# The clock


def clock_of_time(state: Order) -> Order:
    return done(state, time.time())  #! time.time reads the clock


def clock_by_name(state: Order) -> Order:
    return done(state, clock())  #! clock reads the clock


def clock_monotonic(state: Order) -> Order:
    return done(state, time.monotonic_ns())  #! time.monotonic_ns reads the clock


def clock_local(state: Order) -> Order:
    return done(state, time.localtime().tm_hour)  #! time.localtime reads the clock


def clock_as_text(state: Order) -> Order:
    return done(state, time.strftime("%H"))  #! time.strftime reads the clock


def datetime_now(state: Order) -> Order:
    return done(state, datetime.datetime.now(datetime.UTC))  #! datetime.datetime.now reads the clock


def datetime_now_by_class(state: Order) -> Order:
    return done(state, moment.now(datetime.UTC))  #! moment.now reads the clock


def datetime_utcnow(state: Order) -> Order:
    return done(state, moment.utcnow())  #! moment.utcnow reads the clock


def datetime_today(state: Order) -> Order:
    return done(state, moment.today())  #! moment.today reads the clock


def date_today(state: Order) -> Order:
    return done(state, date.today())  #! date.today reads the clock


def datetime_by_local_alias(state: Order) -> Order:
    kind = datetime.datetime
    return done(state, kind.now(datetime.UTC))  #! .now reads the clock


def datetime_by_module_alias(state: Order) -> Order:
    module = datetime
    return done(state, module.datetime.utcnow())  #! .utcnow reads the clock


def datetime_of_an_instance(state: Order, payload: object, ctx: ReducerContext) -> Order:
    return done(state, ctx.now.now(datetime.UTC))  #! .now reads the clock


def datetime_by_type(state: Order, payload: object, ctx: ReducerContext) -> Order:
    return done(state, type(ctx.now).today())  #! .today reads the clock


def datetime_by_getattr(state: Order) -> Order:
    return done(state, getattr(datetime.datetime, "now")(datetime.UTC))  #! datetime.datetime.now reads the clock


def datetime_by_getattr_of_local(state: Order) -> Order:
    kind = datetime.datetime
    return done(state, getattr(kind, "utcnow")())  #! 'utcnow' reads the clock


def datetime_by_computed_name(state: Order, payload: object) -> Order:
    return done(state, getattr(datetime.datetime, str(payload))())  #! getattr(datetime.datetime, …) runs code that


def datetime_by_methodcaller(state: Order) -> Order:
    return done(state, operator.methodcaller("now")(datetime.datetime))  #! 'now' reads the clock


def datetime_by_attrgetter(state: Order) -> Order:
    return done(state, operator.attrgetter("datetime.now")(datetime)())  #! 'datetime.now' reads the clock


def datetime_by_global_methodcaller(state: Order) -> Order:
    return done(state, NOW_OF(datetime.datetime))  #! NOW_OF reads the clock


def datetime_by_global_attrgetter(state: Order) -> Order:
    return done(state, TODAY_OF(datetime.date)())  #! TODAY_OF reads the clock


def datetime_by_partial(state: Order) -> Order:
    return done(state, NOW())  #! NOW reads the clock


def datetime_by_partial_inside(state: Order) -> Order:
    return done(state, functools.partial(moment.now, datetime.UTC)())  #! moment.now reads the clock


def datetime_by_dict(state: Order) -> Order:
    return done(state, datetime.datetime.__dict__["now"])  #! __dict__ reaches for what an object hides


def datetime_imported_inside(state: Order) -> Order:
    from datetime import datetime as kind

    return done(state, kind.now())  #! .now reads the clock


def time_imported_inside(state: Order) -> Order:
    import time as watch  #! import time reads the clock

    return done(state, watch.time())


def module_in_a_tuple(state: Order) -> Order:
    return done(state, MODULES[1].time())  #! MODULES reads the clock


def mail_date(state: Order) -> Order:
    return done(state, email.utils.formatdate())  #! email.utils.formatdate reads the clock


# The time zone of the machine


def zone_by_astimezone(state: Order, payload: object, ctx: ReducerContext) -> Order:
    return done(state, ctx.now.astimezone())  #! calls astimezone without a time zone, which depends on


def zone_by_fromtimestamp(state: Order) -> Order:
    return done(state, datetime.datetime.fromtimestamp(0))  #! calls fromtimestamp without a time zone


def zone_of_date(state: Order) -> Order:
    return done(state, date.fromtimestamp(0))  #! calls fromtimestamp without a time zone


def zone_from_files(state: Order, payload: object, ctx: ReducerContext) -> Order:
    return done(state, ctx.now.astimezone(zoneinfo.ZoneInfo("Europe/Berlin")))  #! zoneinfo.ZoneInfo reads the machine's


# Randomness


def random_number(state: Order) -> Order:
    return done(state, random.random())  #! random.random is random


def random_from_own_generator(state: Order) -> Order:
    return done(state, DICE.random())  #! DICE is random


def random_from_tuple(state: Order) -> Order:
    return done(state, dict(FUNCTIONS)["draw"]())  #! FUNCTIONS is random


def random_secret(state: Order) -> Order:
    return done(state, secrets.token_hex())  #! secrets.token_hex is random


def random_of_the_system(state: Order) -> Order:
    return done(state, os.urandom(4))  #! os.urandom does I/O


def random_of_numpy(state: Order) -> Order:
    return done(state, numpy.random.rand())  #! numpy.random is random


def random_of_numpy_generator(state: Order) -> Order:
    return done(state, numpy.random.default_rng().random())  #! numpy.random is random


def random_reseeded(state: Order, payload: object, ctx: ReducerContext) -> Order:
    ctx.random.seed()  #! .seed is random
    return done(state, ctx.random.random())


def random_id(state: Order) -> Order:
    return done(state, uuid.uuid4())  #! uuid.uuid4 is random


def random_id_by_name(state: Order) -> Order:
    return done(state, uuid4())  #! uuid4 is random


def random_id_of_the_machine(state: Order) -> Order:
    return done(state, uuid.uuid1())  #! uuid.uuid1 is random


def random_id_by_alias(state: Order) -> Order:
    module = uuid
    return done(state, module.uuid4())  #! .uuid4 is random


def random_id_imported_inside(state: Order) -> Order:
    from uuid import uuid4 as made  #! uuid.uuid4 is random

    return done(state, made())


def random_by_import(state: Order) -> Order:
    return done(state, __import__("random").random())  #! __import__ runs code that cannot be checked


# Files, sockets, processes


def file_opened(state: Order) -> Order:
    with open("/etc/hostname") as file:  #! open does I/O
        return done(state, file.read())


def file_by_builtins(state: Order) -> Order:
    return done(state, builtins.open("/etc/hostname").read())  #! builtins.open does I/O


def file_by_builtins_of_module(state: Order) -> Order:
    return done(state, __builtins__["open"]("/etc/hostname"))  #! __builtins__ reads its surroundings


def file_by_path(state: Order) -> Order:
    return done(state, pathlib.Path("/etc/hostname").read_text())  #! pathlib.Path does I/O


def file_by_method(state: Order, payload: object) -> Order:
    return done(state, payload.read_text())  #! .read_text does I/O


def file_exists(state: Order) -> Order:
    return done(state, os.path.exists("/etc"))  #! os.path.exists does I/O


def file_temporary(state: Order) -> Order:
    return done(state, tempfile.mkdtemp())  #! tempfile.mkdtemp does I/O


def database(state: Order) -> Order:
    return done(state, sqlite3.connect(":memory:"))  #! sqlite3.connect does I/O


def process(state: Order) -> Order:
    return done(state, subprocess.run(["true"], check=True))  #! subprocess.run does I/O


def process_by_shell(state: Order) -> Order:
    return done(state, os.system("true"))  #! os.system does I/O


def connection(state: Order) -> Order:
    return done(state, socket.create_connection(("127.0.0.1", 1)))  #! socket.create_connection does I/O


def name_of_the_host(state: Order) -> Order:
    return done(state, socket.gethostname())  #! socket.gethostname does I/O


def page(state: Order) -> Order:
    return done(state, urllib.request.urlopen("http://localhost"))  #! urllib.request does I/O


def page_by_httpx(state: Order) -> Order:
    return done(state, httpx.get("http://localhost"))  #! httpx.get does I/O


def prints(state: Order) -> Order:
    print(state)  #! print does I/O
    return state


def writes_to_stdout(state: Order) -> Order:
    sys.stdout.write("x")  #! sys.stdout
    return state


def asks(state: Order) -> Order:
    return done(state, input())  #! input does I/O


def logs(state: Order) -> Order:
    LOG.info("here")  #! LOG does I/O
    return state


def logs_at_the_root(state: Order) -> Order:
    logging.warning("here")  #! logging.warning does I/O
    return state


def warns(state: Order) -> Order:
    warnings.warn("here", stacklevel=1)  #! warnings.warn does I/O
    return state


# The surroundings


def environment(state: Order) -> Order:
    return done(state, os.environ["HOME"])  #! os.environ does I/O


def environment_by_getenv(state: Order) -> Order:
    return done(state, os.getenv("HOME"))  #! os.getenv does I/O


def process_id(state: Order) -> Order:
    return done(state, os.getpid())  #! os.getpid does I/O


def folder(state: Order) -> Order:
    return done(state, os.getcwd())  #! os.getcwd does I/O


def folder_by_path(state: Order) -> Order:
    return done(state, os.path.abspath("x"))  #! os.path.abspath does I/O


def file_of_the_module(state: Order) -> Order:
    return done(state, __file__)  #! __file__ reads its surroundings


def arguments(state: Order) -> Order:
    return done(state, sys.argv)  #! sys.argv


def modules(state: Order) -> Order:
    return done(state, sys.modules["time"].time())  #! sys.modules


def system(state: Order) -> Order:
    return done(state, platform.node())  #! platform.node reads its surroundings


def language(state: Order) -> Order:
    return done(state, locale.getlocale())  #! locale.getlocale reads its surroundings


def garbage(state: Order) -> Order:
    return done(state, len(gc.get_objects()))  #! gc.get_objects reads its surroundings


def weak(state: Order) -> Order:
    return done(state, weakref.ref(state)() is None)  #! weakref.ref reads its surroundings


def frames(state: Order) -> Order:
    return done(state, inspect.currentframe().f_back.f_lineno)  #! inspect.currentframe reads its surroundings


def context_variable(state: Order) -> Order:
    return done(state, VARIABLE.get())  #! VARIABLE reads its surroundings


def precision_read(state: Order) -> Order:
    return done(state, decimal.getcontext().prec)  #! decimal.getcontext depends on the decimal context


def precision_set(state: Order) -> Order:
    decimal.setcontext(decimal.Context(prec=3))  #! decimal.setcontext depends on the decimal context
    return state


# Something beside the transition


def thread(state: Order) -> Order:
    return done(state, threading.Thread())  #! threading.Thread runs something beside


def thread_pool(state: Order) -> Order:
    return done(state, ThreadPoolExecutor())  #! ThreadPoolExecutor runs something beside


def lock(state: Order) -> Order:
    with LOCK:  #! LOCK runs something beside
        return state


def loop(state: Order) -> Order:
    return done(state, asyncio.new_event_loop())  #! asyncio.new_event_loop runs something beside


def coroutine(state: Order) -> Order:
    async def later() -> float:
        await asyncio.sleep(0)  #! asyncio.sleep runs something beside
        return 1.0

    return done(state, later())


def processes(state: Order) -> Order:
    return done(state, multiprocessing.Pool)  #! multiprocessing.Pool


# Code that cannot be checked


def evaluates(state: Order) -> Order:
    return done(state, eval("1"))  #! eval runs code that cannot be checked


def executes(state: Order) -> Order:
    exec("total = 1")  #! exec runs code that cannot be checked
    return state


def compiles(state: Order) -> Order:
    return done(state, compile("1", "x", "eval"))  #! compile runs code that cannot be checked


def reads_globals(state: Order) -> Order:
    return done(state, globals()["time"].time())  #! globals runs code that cannot be checked


def reads_vars(state: Order) -> Order:
    return done(state, vars(datetime.datetime)["now"])  #! vars runs code that cannot be checked


def imports(state: Order) -> Order:
    return done(state, importlib.import_module("time").time())  #! importlib.import_module runs code that cannot be


def unpickles(state: Order) -> Order:
    return done(state, pickle.loads(b""))  #! pickle.loads runs code that cannot be checked


def foreign(state: Order) -> Order:
    return done(state, ctypes.CDLL(None).time(None))  #! ctypes.CDLL runs code that cannot be checked


def makes_function(state: Order) -> Order:
    return done(state, types.FunctionType(compiles.__code__, {}))  #! types.FunctionType runs code


def reads_globals_of_a_function(state: Order) -> Order:
    return done(state, done.__globals__["time"])  #! done.__globals__ reaches for what an object hides


def looks_for_subclasses(state: Order) -> Order:
    return done(state, object.__subclasses__())  #! object.__subclasses__ reaches for what an object hides


# What differs from process to process


def hashes(state: Order) -> Order:
    return done(state, hash("text"))  #! hash differs from process to process


def identifies(state: Order) -> Order:
    return done(state, id(state))  #! id differs from process to process


def sorts_by_hash(state: Order) -> Order:
    return done(state, sorted(state.items, key=hash))  #! hash differs from process to process


def hashes_by_method(state: Order) -> Order:
    return done(state, "x".__hash__())  #! .__hash__ differs from process to process


# The order of sets


def set_looped_over(state: Order) -> Order:
    text = ""
    for part in {"a", "b"}:  #! iterates over a set, whose order differs from process to process: sort it
        text += part
    return done(state, text)


def set_joined(state: Order) -> Order:
    return done(state, ",".join({item.sku for item in state.items}))  #! joins a set


def set_listed(state: Order) -> Order:
    names = set(state.order_id)
    return done(state, list(names | {"z"}))  #! makes a list of a set


def set_comprehended(state: Order) -> Order:
    return done(state, [name for name in frozenset(state.order_id)])  #! iterates over a set


def set_popped(state: Order) -> Order:
    names: set[str] = {item.sku for item in state.items}
    return done(state, names.pop())  #! takes any item out of a set


def set_unpacked(state: Order) -> Order:
    first, *_ = {"a", "b"}  #! unpacks a set
    return done(state, first)


def set_starred(state: Order) -> Order:
    return done(state, max(*set(state.order_id), "a"))  #! unpacks a set


def set_spelled(state: Order) -> Order:
    return done(state, f"{set(state.order_id)}")  #! writes a set as text


def set_spelled_by_str(state: Order) -> Order:
    return done(state, str(set(state.order_id)))  #! makes a str of a set


def set_spelled_by_percent(state: Order) -> Order:
    return done(state, "%s" % set(state.order_id))  #! writes a set as text


def set_spelled_by_format(state: Order) -> Order:
    return done(state, "{}".format(set(state.order_id)))  #! makes a format of a set


def set_as_json(state: Order) -> Order:
    names = {item.sku for item in state.items}
    return done(state, json.dumps(names, default=list))  #! makes a dumps of a set


def set_of_the_module(state: Order) -> Order:
    return done(state, [kind for kind in KINDS])  #! iterates over a set


def set_from_a_helper(state: Order) -> Order:
    return done(state, list(_names(state)))  #! makes a list of a set


def _names(state: Order) -> set[str]:
    return {item.sku for item in state.items}


def set_given_to_a_helper(state: Order) -> Order:
    return done(state, _first({item.sku for item in state.items}))


def _first(names: object) -> str:
    for name in names:  #! iterates over a set
        return name
    return ""


def set_annotated_in_a_helper(state: Order) -> Order:
    return done(state, _any_of(frozenset()))


def _any_of(names: frozenset[str]) -> str:
    return next(iter(names), "")  #! makes a iter of a set


def set_of_views(state: Order, payload: object) -> Order:
    return done(state, list(dict(payload).keys() & {"a": 1}.keys()))  #! makes a list of a set


def set_into_a_dict(state: Order) -> Order:
    return done(state, dict.fromkeys(set(state.order_id), 1))  #! makes a fromkeys of a set


def set_into_a_model(state: Order) -> Order:
    return Order(items={item for item in state.items})  #! gives a set to Order


def set_summed(state: Order) -> Order:
    return done(state, sum({item.quantity * 0.1 for item in state.items}))  #! makes a sum of a set


def set_reduced(state: Order) -> Order:
    return done(state, functools.reduce(operator.add, set(state.order_id)))  #! makes a reduce of a set


def set_counted(state: Order) -> Order:
    return done(state, collections.Counter(set(state.order_id)).most_common(1))  #! makes a Counter of a set


def set_sorted_by_length(state: Order) -> Order:
    return done(state, sorted(set(state.order_id), key=len))  #! has sorted tell those of a set with the same key apart


def set_in_one_branch(state: Order, payload: object) -> Order:
    names = sorted(state.order_id)
    if payload:
        names = set(names)
    return done(state, list(names))  #! makes a list of a set


def set_extended(state: Order) -> Order:
    rows = ["a"]
    rows += set(state.order_id)  #! adds a set to something that has an order
    return done(state, rows)


def set_after_a_failure(state: Order, payload: object) -> Order:
    names = sorted(state.order_id)
    try:
        names = set(names)
        names.add(payload["name"])
    except KeyError:
        return done(state, list(names))  #! makes a list of a set
    return state


def set_by_union(state: Order) -> Order:
    return done(state, list(set.union(*[{item.sku} for item in state.items])))  #! makes a list of a set


def set_or_nothing(state: Order, payload: object) -> Order:
    return done(state, list(set(state.order_id) or payload))  #! makes a list of a set


def set_into_a_slice(state: Order) -> Order:
    rows = ["a"]
    rows[1:] = {"b", state.order_id}  #! puts a set into something that has an order
    return done(state, rows)


def frames_of_a_generator(state: Order) -> Order:
    return done(state, (row for row in ()).gi_frame.f_back)  #! .gi_frame reaches for what an object hides


# What could change, or is changed


def constant_of_the_clock(state: Order) -> Order:
    return done(state, STARTED)  #! STARTED holds what time.time gave at


def constant_of_randomness(state: Order) -> Order:
    return done(state, TOKEN.upper())  #! TOKEN holds what uuid4 gave at


def constant_of_the_environment(state: Order) -> Order:
    return done(state, REGION)  #! REGION holds what os.environ gave at


def constant_of_a_hash(state: Order) -> Order:
    return done(state, SALT)  #! SALT holds what hash gave at


def constant_of_another_module(state: Order) -> Order:
    return done(state, machine_tools.LOADED_AT)  #! machine_tools.LOADED_AT holds what time.time gave at


def constant_imported(state: Order) -> Order:
    return done(state, LOADED)  #! LOADED holds what time.time gave at


def global_changed(state: Order) -> Order:
    global total
    total += 1  #! global total changes a global
    return state


def global_set(state: Order) -> Order:
    SEEN.add(state.order_id)  #! SEEN is a set outside of the function
    return state


def global_dict(state: Order) -> Order:
    return done(state, RATES["DE"])  #! RATES is a dict outside of the function


def global_list_in_a_comprehension(state: Order) -> Order:
    return done(state, [row for row in ROWS])  #! ROWS is a list outside of the function


def global_deque(state: Order) -> Order:
    QUEUE.append(state.order_id)  #! QUEUE is a deque outside of the function
    return state


def global_iterator(state: Order) -> Order:
    return done(state, next(NUMBERS))  #! NUMBERS is a range_iterator outside of the function


def global_count(state: Order) -> Order:
    return done(state, next(COUNTER))  #! COUNTER is a count outside of the function


def global_namespace(state: Order) -> Order:
    return done(state, SETTINGS.rate)  #! SETTINGS is a SimpleNamespace outside of the function


class Clerk:  #! Clerk.names is a list outside of the function
    """Somebody with a memory and a watch."""

    visits = 0
    names: ClassVar[list[str]] = []

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.count = 0

    def __call__(self) -> int:
        return self.rate

    def up(self) -> int:
        """One more."""
        self.count += 1
        return self.count

    def looks(self) -> float:
        """What time it is."""
        return time.time()  #! time.time reads the clock

    @property
    def hour(self) -> float:
        """What hour it is."""
        return time.perf_counter()  #! time.perf_counter reads the clock

    @staticmethod
    def static() -> float:
        """What time it is."""
        return time.thread_time()  #! time.thread_time reads the clock

    @classmethod
    def of_class(cls) -> float:
        """What time it is."""
        return time.process_time()  #! time.process_time reads the clock

    def remembers(self) -> int:
        """How often it was asked, in all."""
        type(self).visits += 1  #! .visits = … changes something in place
        return self.visits

    def notes(self) -> int:
        """Whom it saw."""
        self.names.append("x")
        return len(self.names)


CLERK = Clerk(1)


def global_object(state: Order) -> Order:
    return done(state, CLERK.up())  #! CLERK is a Clerk outside of the function, which could change


def global_object_called(state: Order) -> Order:
    return done(state, CLERK())  #! CLERK is a Clerk outside of the function, which could change


def global_object_read(state: Order) -> Order:
    return done(state, CLERK.rate)  #! CLERK is a Clerk outside of the function, which could change


def class_attribute_read(state: Order) -> Order:
    return done(state, Clerk.names)  #! Clerk.names is a list outside of the function


def class_attribute_by_method(state: Order) -> Order:
    return done(state, Clerk(1).notes())


def class_attribute_changed(state: Order) -> Order:
    Clerk.visits += 1  #! .visits = … changes something in place
    return state


def class_attribute_changed_by_method(state: Order) -> Order:
    return done(state, Clerk(1).remembers())


def function_attribute(state: Order) -> Order:
    done.calls = 1  #! .calls = … changes something in place
    return state


def attribute_set(state: Order) -> Order:
    state.order_id = "x"  #! .order_id = … changes something in place
    return state


def attribute_deleted(state: Order) -> Order:
    del state.order_id  #! .order_id = … changes something in place
    return state


def attribute_set_by_name(state: Order) -> Order:
    setattr(state, "order_id", "x")  #! setattr changes something in place
    return state


def attribute_set_by_object(state: Order) -> Order:
    object.__setattr__(state, "order_id", "x")  #! object.__setattr__ changes something in place
    return state


def attribute_set_by_dict(state: Order) -> Order:
    state.__dict__["order_id"] = "x"  #! __dict__ reaches for what an object hides
    return state


def default_argument(state: Order) -> Order:
    return done(state, _with_memory(state.order_id))


def _with_memory(name: str, seen: list[str] = []) -> int:  #! _with_memory is a list outside of the function
    seen.append(name)
    return len(seen)


# By way of other code


def through_a_function(state: Order) -> Order:
    return done(state, _once_removed())


def _once_removed() -> float:
    return max(_twice_removed() for _ in range(2))


def _twice_removed() -> float:
    return time.time_ns()  #! time.time_ns reads the clock


def through_a_cache(state: Order) -> Order:
    return done(state, _cached())


@functools.cache
def _cached() -> float:
    return time.perf_counter_ns()  #! time.perf_counter_ns reads the clock


def through_a_decorator(state: Order) -> Order:
    return done(state, _decorated())


def _timed(function):
    @functools.wraps(function)
    def wrapper():
        return function(), time.gmtime()  #! time.gmtime reads the clock

    return wrapper


@_timed
def _decorated() -> float:
    return 1.0


def through_dispatch(state: Order) -> Order:
    return done(state, _dispatched(1))


@functools.singledispatch
def _dispatched(value: object) -> str:
    return str(value)


@_dispatched.register
def _(value: int) -> str:
    return str(time.ctime(value) + time.asctime())  #! time.ctime reads the clock


def through_a_lambda(state: Order) -> Order:
    return done(state, sorted([state], key=lambda _: time.time()))  #! time.time reads the clock


def through_a_generator(state: Order) -> Order:
    return done(state, sum(time.time() for _ in range(2)))  #! time.time reads the clock


def through_a_method(state: Order) -> Order:
    return done(state, Clerk(1).looks())


def through_a_property(state: Order) -> Order:
    return done(state, Clerk(1).hour)


def through_a_static_method(state: Order) -> Order:
    return done(state, Clerk.static())


def through_a_class_method(state: Order) -> Order:
    return done(state, Clerk.of_class())


class Reading:
    """A descriptor that reads the clock."""

    def __get__(self, instance: object, owner: type) -> float:
        return time.clock_gettime(0)  #! time.clock_gettime reads the clock


class Meter:
    """Something with a descriptor."""

    reading = Reading()


def through_a_descriptor(state: Order) -> Order:
    return done(state, Meter().reading)


class Stamped(type):
    """A metaclass that reads the clock."""

    def __call__(cls) -> object:
        return time.clock_gettime_ns(0)  #! time.clock_gettime_ns reads the clock


class Stamp(metaclass=Stamped):
    """Its class."""


def through_a_metaclass(state: Order) -> Order:
    return done(state, Stamp())


@dataclasses.dataclass(frozen=True)
class Line:
    """A dataclass with a default that is made when it is."""

    key: str = dataclasses.field(default_factory=lambda: str(uuid4()))  #! uuid4 is random


def through_a_default_factory(state: Order) -> Order:
    return done(state, Line().key)


class Tool(Enum):
    """Values that can be changed."""

    HAMMER = ("a", [])


def through_an_enum(state: Order) -> Order:
    return done(state, Tool.HAMMER.value)  #! Tool.HAMMER is a list outside of the function


@dataclasses.dataclass(frozen=True)
class Holder:
    """Frozen at the surface."""

    rows: list[int]


HOLDER = Holder([1])


def through_a_frozen_surface(state: Order) -> Order:
    return done(state, HOLDER.rows)  #! HOLDER is a list outside of the function


def copies_the_module(state: Order) -> Order:
    return done(state, copy.copy(time).time())  #! time reads the clock


# Models: what runs when a payload is read


class Frozen(BaseModel):
    """Their base."""

    model_config = ConfigDict(frozen=True)


class WithValidator(Frozen):
    """A validator that looks at the clock."""

    at: float = 0

    @field_validator("at")
    @classmethod
    def fresh(cls, value: float) -> float:
        """Not from the future."""
        return min(value, time.time())  #! time.time reads the clock


class WithModelValidator(Frozen):
    """Likewise, of the whole."""

    at: float = 0

    @model_validator(mode="after")
    def fresh(self) -> WithModelValidator:
        """Not from the future."""
        assert self.at < time.time()  #! time.time reads the clock
        return self


class WithComputedField(Frozen):
    """A field that is another one each time."""

    @computed_field
    @property
    def key(self) -> str:
        """A key."""
        return str(uuid4())  #! uuid4 is random


class WithFactory(Frozen):  #! WithFactory.key is random
    """A default that is another one each time."""

    key: uuid.UUID = Field(default_factory=uuid4)


class WithAnnotatedValidator(Frozen):  #! time.time reads the clock
    """A validator in an annotation."""

    name: Annotated[str, AfterValidator(lambda value: value + str(time.time()))] = ""


class WithInit(Frozen):
    """A constructor of its own."""

    name: str = ""

    def __init__(self, **fields: object) -> None:
        super().__init__(name=os.getenv("USER"))  #! os.getenv does I/O


class WithPostInit(Frozen):
    """What comes after the constructor."""

    name: str = ""

    def model_post_init(self, context: object) -> None:
        """Looks at the clock."""
        assert time.time() > 0  #! time.time reads the clock


class WithProperty(Frozen):
    """A property that looks at the clock."""

    @property
    def age(self) -> float:
        """Its age."""
        return time.time()  #! time.time reads the clock


class Inner(Frozen):
    """A model inside of another one."""

    at: float = 0

    @field_validator("at")
    @classmethod
    def fresh(cls, value: float) -> float:
        """Not from the future."""
        return min(value, time.time())  #! time.time reads the clock


class WithInner(Frozen):
    """A model in a tuple of another one."""

    inner: tuple[Inner, ...] = ()
    items: tuple[Item, ...] = ()


class Missing(Enum):
    """An enum that looks at the clock for what it does not know."""

    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> Missing:
        return cls.A if time.time() else cls.A  #! time.time reads the clock


class WithEnum(Frozen):
    """An enum as a field."""

    kind: Missing = Missing.A
