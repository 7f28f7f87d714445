"""Entry point of `onex-mesh`: whatever happens, the user sees lines that were written for people."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

_INTERRUPTED = 130


def main() -> NoReturn:
    """Runs the command line and ends the process with its exit code."""
    try:
        # Imported here, because loading takes a moment and Ctrl-C may come in it.
        from onex_mesh.cli.commands import cli

        cli(prog_name="onex-mesh")
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(0)


if __name__ == "__main__":
    main()
