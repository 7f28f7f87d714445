"""Points at which a process of a test can be made to wait: a file of a folder for each gate that is shut.

The test shuts a gate and sees when somebody waits at it; the process under test asks at its points whether one is
shut. Whoever is killed while it waits has done everything before that point and nothing after it.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

VARIABLE = "ONEX_PROOF_GATES"
"""The environment variable that names the folder."""

_POLL_S = 0.005


class Gates:
    """The gates of one folder.

    Args:
        folder: Where the files are; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def shut(self, point: str, owner: str, text: str) -> None:
        """Makes whoever comes to a point with something that holds the text wait there. An owner has one gate there."""
        # In one step, so that nobody reads half of it.
        draft = self._folder / f".{point}@{owner}"
        draft.write_text(text, encoding="utf-8")
        draft.rename(self._folder / f"{point}@{owner}.shut")

    def open(self, point: str, owner: str) -> None:
        """Lets go whoever waits; nobody waits there any more."""
        (self._folder / f"{point}@{owner}.shut").unlink(missing_ok=True)
        (self._folder / f"{point}@{owner}.reached").unlink(missing_ok=True)

    def is_reached(self, point: str, owner: str) -> bool:
        """Whether somebody waits."""
        return (self._folder / f"{point}@{owner}.reached").exists()

    def shut_gate(self, point: str, text: str) -> Path | None:
        """The gate at which one who comes with this text has to wait."""
        for path in self._folder.glob(f"{point}@*.shut"):
            try:
                if path.read_text(encoding="utf-8") in text:
                    return path
            except FileNotFoundError:
                # It was opened just now.
                continue
        return None

    def pass_through(self, point: str, text: str) -> None:
        """Waits, in a thread, while the gate is shut."""
        gate = self.shut_gate(point, text)
        if gate is not None:
            gate.with_suffix(".reached").touch()
            while gate.exists():
                time.sleep(_POLL_S)

    async def pass_by(self, point: str, text: str) -> None:
        """The same in an event loop."""
        gate = self.shut_gate(point, text)
        if gate is not None:
            gate.with_suffix(".reached").touch()
            while gate.exists():  # noqa: ASYNC110  # another process opens it
                await asyncio.sleep(_POLL_S)
