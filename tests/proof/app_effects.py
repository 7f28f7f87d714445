"""Effects of the App: the lines that their runs left are counted."""

from __future__ import annotations

from typing import ClassVar

from onex.v1 import intent_pb2
from tests.proof.app import RUNS_VARIABLE
from tests.proof.case import Counts, LocalCase, Stage


class AppEffectCase(LocalCase):
    """A handler without the ledger: every repeat runs it again."""

    name = "app_plain"
    target = ""
    effect_type = "stamp"
    intent_type = intent_pb2.INTENT_TYPE_CUSTOM
    during: ClassVar[Counts] = Counts(then=1, in_the_end=2)
    after: ClassVar[Counts] = Counts(then=1, in_the_end=2)
    points: ClassVar = {Stage.BEFORE: "stamp-before", Stage.DURING: "stamp-done"}
    replays = False

    def declaration(self) -> str:
        """Needs none."""
        return ""

    def variables(self) -> dict[str, str]:
        """Where the lines go."""
        return {RUNS_VARIABLE.removeprefix("ONEX_").lower(): str(self.folder / "runs.txt")}

    def parameters(self, label: str) -> dict[str, object]:
        """What the line says."""
        return {"label": label}

    async def count(self, label: str) -> int:
        """Lines; all under one key."""
        path = self.folder / "runs.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        keys = [line.split()[1] for line in lines if line.split()[0] == label]
        assert len(set(keys)) <= 1
        return len(keys)


class RecordedAppEffectCase(AppEffectCase):
    """A handler under the ledger."""

    name = "app_recorded"
    effect_type = "stamp_recorded"
    after: ClassVar[Counts] = Counts(then=1, in_the_end=1, repeat="replayed")
    points: ClassVar = {Stage.BEFORE: "stamp_recorded-before", Stage.DURING: "stamp_recorded-done"}
    replays = True
