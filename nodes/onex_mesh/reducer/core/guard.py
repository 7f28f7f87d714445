"""The second check of purity: while a transition runs, Python's audit events tell what it touches (R47).

The hook sees files, sockets, processes, sleeping and the like, by whatever way they are reached. It does not see clocks
and random numbers; the check at registration and the comparison of two runs are for those.
"""

from __future__ import annotations

import decimal
import sys
import threading
from types import TracebackType
from typing import Self

from onex_mesh.runtime.errors import PurityViolationError

# time.sleep is audited from Python 3.13 on.
_EVENTS = frozenset(
    {
        "open", "time.sleep", "_thread.start_new_thread", "_thread.start_joinable_thread", "builtins.input",
        "builtins.breakpoint", "sys.settrace", "sys.setprofile", "sys.addaudithook", "sys._current_frames",
    }
)  # fmt: skip
_FAMILY_NAMES = """
    os socket subprocess shutil tempfile sqlite3 urllib http smtplib ftplib poplib imaplib nntplib telnetlib ctypes
    signal pty fcntl mmap glob pathlib webbrowser resource syslog winreg msvcrt _winapi dbm pickle marshal gc
"""
_FAMILIES = frozenset(_FAMILY_NAMES.split())
_IMPORT_MACHINERY = "<frozen importlib"


class _Watch(threading.local):
    """What this thread is watched for; each thread has its own."""

    depth = 0
    touched: PurityViolationError | None = None


_watch = _Watch()
_installed = threading.Lock()


# The default of Python: what the application or a thread has set must not change what a transition computes.
_DECIMALS = decimal.Context(
    prec=28,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-999999,
    Emax=999999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)


class Guard:
    """A `with` block in which this thread must touch nothing outside of itself. Not for `await`: it holds the thread.

    Decimals are computed with 28 digits in it, whatever context the thread has.

    Raises:
        PurityViolationError: At its end, or at once inside, when something was touched; also if the code inside caught
            the error.
    """

    __slots__ = ("_decimals", "_what")

    def __init__(self, what: str) -> None:
        """A block.

        Args:
            what: Who is watched, for the message: "the transition PLACE_ORDER".
        """
        self._what = what

    def __enter__(self) -> Self:
        install()
        self._decimals = decimal.getcontext()
        decimal.setcontext(_DECIMALS.copy())
        _watch.depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _watch.depth -= 1
        decimal.setcontext(self._decimals)
        touched, _watch.touched = _watch.touched, None
        if touched is not None:
            event = str(touched.error_context["event"])
            raise PurityViolationError(
                f"{touched.error_context['place']}: {self._what} does I/O ({event}); emit an intent",
                error_context=touched.error_context,
            ) from (None if error is touched else error)


def install() -> None:
    """Adds the hook to this process, once; Python cannot take one back, so it does nothing outside of a guard."""
    if _installed.acquire(blocking=False):
        sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    if not _watch.depth or _watch.touched is not None:
        return
    if event not in _EVENTS and event.partition(".")[0] not in _FAMILIES:
        return
    place = _place_outside_import()
    if place is None:
        return
    _watch.touched = PurityViolationError(
        f"{place}: {event} must not happen here", error_context={"event": event, "place": place}
    )
    raise _watch.touched


def _place_outside_import() -> str | None:
    """File and line of the innermost code that is neither Python's nor a package's; None while something is imported.

    A module that is imported late opens files; that is no side effect of the transition.
    """
    frame = sys._getframe(2)
    place = None
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_IMPORT_MACHINERY):
            return None
        if place is None and not file.startswith("<") and "site-packages" not in file and not _is_stdlib(file):
            place = f"{file}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # the loop ends at None
    return place or "?"


def _is_stdlib(file: str) -> bool:
    return file.startswith(_STDLIB)


_STDLIB = threading.__file__.rpartition("/")[0] + "/"
