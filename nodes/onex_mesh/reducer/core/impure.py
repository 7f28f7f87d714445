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

_IO_MODULES = """
    os posix nt shutil tempfile glob fileinput mmap io _io socket _socket ssl select selectors subprocess pty
    _posixsubprocess http urllib smtplib ftplib poplib imaplib telnetlib xmlrpc sqlite3 dbm shelve logging syslog
    requests httpx aiohttp urllib3 httpcore boto3 botocore redis asyncpg psycopg psycopg2 sqlalchemy pymongo kafka nats
    grpc aetcd fsspec structlog
"""

IMPURE_MODULES: Mapping[str, str] = {
    **dict.fromkeys(("time", "_time"), CLOCK),
    **dict.fromkeys(("random", "_random", "secrets", "numpy.random"), RANDOM),
    **dict.fromkeys(_IO_MODULES.split(), IO),
    **dict.fromkeys(("sys", "platform", "getpass", "locale", "pwd", "grp", "resource", "psutil", "gc"), SURROUNDINGS),
    **dict.fromkeys(
        ("threading", "_thread", "multiprocessing", "asyncio", "concurrent", "signal", "sched", "queue"), CONCURRENT
    ),
    **dict.fromkeys(("ctypes", "_ctypes", "importlib", "code", "runpy", "pickle", "cffi"), DYNAMIC),
}
"""Why, by the first name or the first two names of a module."""

IMPURE_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today"), CLOCK),
    "datetime.date.today": CLOCK,
    **dict.fromkeys(("uuid.uuid1", "uuid.uuid4", "uuid.uuid6", "uuid.uuid7", "uuid.getnode"), RANDOM_ID),
    **dict.fromkeys(("builtins.open", "builtins.print", "builtins.input", "builtins.breakpoint"), IO),
    # The second is where Python 3.13 defines them.
    **{f"{module}.{name}Path": IO for module in ("pathlib", "pathlib._local") for name in ("", "Posix", "Windows")},
    **dict.fromkeys(
        ("builtins.exec", "builtins.eval", "builtins.compile", "builtins.__import__", "builtins.globals"), DYNAMIC
    ),
    **dict.fromkeys(("builtins.hash", "builtins.id"), PROCESS),
    **dict.fromkeys(("builtins.setattr", "builtins.delattr"), IN_PLACE),
}
"""Why, by module and qualified name."""
