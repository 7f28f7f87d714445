"""Turns every way a command can end badly into an exit code and a few lines on stderr."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from typing import ParamSpec, TypeVar

import typer

from onex_mesh.cli import exit_codes
from onex_mesh.cli.console import notes, print_error, print_failure
from onex_mesh.runtime.errors import OnexError

_Parameters = ParamSpec("_Parameters")
_Value = TypeVar("_Value")


def shielded(command: Callable[_Parameters, int | None]) -> Callable[_Parameters, None]:
    """A command that never ends with a traceback; what it returns is its exit code.

    With ONEX_DEBUG=1 in the environment an unexpected error shows its traceback all the same.
    """

    @functools.wraps(command)
    def shield(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
        raise typer.Exit(_outcome(lambda: command(*args, **kwargs)))

    return shield


def _outcome(command: Callable[[], int | None]) -> int:
    try:
        code = command() or exit_codes.OK
        sys.stdout.flush()
        return code
    except OnexError as error:
        print_error(error)
        return exit_codes.exit_code_of(error)
    except KeyboardInterrupt:
        notes().print("interrupted")
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.BROKEN_PIPE
    except typer.Exit as leave:
        return leave.exit_code
    except Exception as error:
        if not _is_of_command_line(error):
            if os.environ.get("ONEX_DEBUG"):
                traceback.print_exception(error)
            print_failure(
                f"a fault in onex-mesh: {type(error).__name__}: {error}",
                "ONEX_DEBUG=1 shows where; please report it",
            )
            return exit_codes.INTERNAL
        raise


def _is_of_command_line(error: Exception) -> bool:
    """Whether Typer shows the error by itself, as it does for wrong options."""
    return isinstance(error, typer.BadParameter)


def run_async(work: Coroutine[object, object, _Value]) -> _Value:
    """Runs a coroutine to its end; Ctrl-C cancels it and raises KeyboardInterrupt."""
    return asyncio.run(work)
