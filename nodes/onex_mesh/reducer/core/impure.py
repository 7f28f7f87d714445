"""What pure code must not touch, and why: modules, and single names of modules that are otherwise allowed."""

from __future__ import annotations

from collections.abc import Mapping

CLOCK = "reads the clock: use ctx.now"
RANDOM = "is random: use ctx.random"
RANDOM_ID = "is random: use ctx.uuid()"
IO = "does I/O: emit an intent"
SURROUNDINGS = "reads its surroundings: pass what is needed in the payload"
CONCURRENT = "runs something beside the transition"
DYNAMIC = "runs code that cannot be checked"
PROCESS = "differs from process to process"
IN_PLACE = "changes something in place"
HIDDEN = "reaches for what an object hides, which cannot be checked"
TIME_ZONE = "depends on the time zone of the machine: name the time zone"
DECIMALS = "depends on the decimal context of the thread: name precision or rounding, as `quantize` takes it"

_IO_MODULES = """
    os posix nt shutil tempfile glob fileinput mmap io _io socket _socket ssl select selectors subprocess pty tty
    termios fcntl _posixsubprocess
    http.client http.server http.cookiejar urllib.request urllib.response urllib.robotparser
    smtplib ftplib poplib imaplib telnetlib nntplib xmlrpc socketserver sqlite3 _sqlite3 dbm shelve logging syslog
    linecache netrc mailbox filecmp webbrowser readline curses warnings _warnings
    requests httpx aiohttp urllib3 httpcore websockets boto3 botocore redis asyncpg psycopg psycopg2 aiosqlite
    sqlalchemy pymongo kafka nats grpc aetcd fsspec structlog loguru rich click typer
"""
_SURROUNDINGS_MODULES = """
    sys platform getpass locale _locale pwd grp spwd resource psutil gc weakref _weakref inspect traceback site
    sysconfig tracemalloc faulthandler contextvars _contextvars atexit
"""
_CONCURRENT_MODULES = """
    threading _thread multiprocessing asyncio _asyncio concurrent signal sched queue _queue trio anyio dask distributed
"""
_DYNAMIC_MODULES = """
    ctypes _ctypes importlib imp code codeop runpy pkgutil zipimport pickle _pickle marshal dill cloudpickle joblib cffi
"""

IMPURE_MODULES: Mapping[str, str] = {
    **dict.fromkeys(("time", "_time"), CLOCK),
    **dict.fromkeys(("random", "_random", "secrets", "numpy.random", "faker"), RANDOM),
    **dict.fromkeys(("shortuuid", "ulid", "nanoid"), RANDOM_ID),
    **dict.fromkeys(_IO_MODULES.split(), IO),
    **dict.fromkeys(_SURROUNDINGS_MODULES.split(), SURROUNDINGS),
    **dict.fromkeys(_CONCURRENT_MODULES.split(), CONCURRENT),
    **dict.fromkeys(_DYNAMIC_MODULES.split(), DYNAMIC),
}
"""Why, by the first name or the first two names of a module."""

PURE_NAMES = frozenset({"_io.StringIO", "_io.BytesIO"})
"""What is pure of these modules all the same."""

_PATH_MODULES = ("posixpath", "genericpath", "ntpath")
_PATH_READERS = """
    exists lexists isfile isdir islink ismount getsize getmtime getatime getctime samefile sameopenfile realpath abspath
    relpath expanduser expandvars
"""

IMPURE_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"), CLOCK),
    **dict.fromkeys(("datetime.date.today", "email.utils.localtime", "email.utils.formatdate"), CLOCK),
    **dict.fromkeys(("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7", "uuid.getnode"), RANDOM_ID),
    "email.utils.make_msgid": RANDOM_ID,
    "statistics.NormalDist.samples": RANDOM,
    **dict.fromkeys(("builtins.open", "builtins.print", "builtins.input", "builtins.breakpoint", "gzip.open"), IO),
    # The second is where Python 3.13 defines them.
    **{f"{module}.{name}Path": IO for module in ("pathlib", "pathlib._local") for name in ("", "Posix", "Windows")},
    **{f"{module}.{name}": IO for module in _PATH_MODULES for name in _PATH_READERS.split()},
    "zoneinfo.ZoneInfo": "reads the machine's time zones: make it once, at the top of the module",
    **dict.fromkeys(
        (
            "builtins.exec", "builtins.eval", "builtins.compile", "builtins.__import__", "builtins.globals",
            "builtins.vars", "builtins.function", "builtins.code", "types.FunctionType", "types.CodeType",
        ),
        DYNAMIC,
    ),
    **dict.fromkeys(("builtins.hash", "builtins.id", "builtins.dir"), PROCESS),
    **dict.fromkeys(("builtins.setattr", "builtins.delattr"), IN_PLACE),
    **dict.fromkeys(
        ("decimal.getcontext", "decimal.setcontext", "_decimal.getcontext", "_decimal.setcontext"), DECIMALS
    ),
}  # fmt: skip
"""Why, by module and qualified name."""

TELLING_CALLS: Mapping[str, str] = {
    **dict.fromkeys(("now", "utcnow", "today"), CLOCK),
    **dict.fromkeys(("uuid1", "uuid4", "uuid6", "uuid7", "getnode"), RANDOM_ID),
    **dict.fromkeys(("urandom", "getrandom", "token_bytes", "token_hex", "token_urlsafe", "seed"), RANDOM),
    **dict.fromkeys(("read_text", "read_bytes", "write_text", "write_bytes"), IO),
}
"""Methods that are impure by their name, whatever object they are called of, where that is not known."""

_HIDING = """
    __dict__ __globals__ __builtins__ __code__ __closure__ __subclasses__ __getattribute__ __reduce__ __reduce_ex__
    __import__ __loader__ __spec__ f_globals f_locals f_builtins f_back gi_frame
    cr_frame ag_frame tb_frame
"""
TELLING_ATTRIBUTES: Mapping[str, str] = {
    **dict.fromkeys(_HIDING.split(), HIDDEN),
    **dict.fromkeys(("__setattr__", "__delattr__"), IN_PLACE),
    "__hash__": PROCESS,
}
"""Attributes that lead past every check, of whatever object."""


def module_reason(name: str) -> str:
    """Why a module must not be used; empty if nothing is known against it."""
    parts = name.split(".")
    return next((IMPURE_MODULES[key] for key in (".".join(parts[:2]), parts[0]) if key in IMPURE_MODULES), "")
