"""Files and logs of events: contents and lines are counted."""

from __future__ import annotations

import json
from typing import ClassVar

from onex.v1 import intent_pb2
from tests.proof.case import Counts, LocalCase, Stage

CONTENT = "what is to stand there\n"


class _FileCase(LocalCase):
    """One operation in a folder that is named by the label."""

    effect_type = "file_operation"
    intent_type = intent_pb2.INTENT_TYPE_FILE_OPERATION
    during: ClassVar[Counts] = Counts(then=0, in_the_end=1)
    points: ClassVar = {Stage.BEFORE: "file-open", Stage.DURING: "file-rename"}

    def declaration(self) -> str:
        """A folder of its own."""
        return f"kind: file\nroot: {self.folder}/{self.name}\nlimits: {{timeout_s: 40}}\n"

    def parameters(self, label: str) -> dict[str, object]:
        """A file in the folder of the label."""
        return {"path": f"{label}/file.txt", "content": CONTENT}

    def prepare(self, label: str) -> None:
        """The folder."""
        (self.folder / self.name / label).mkdir(parents=True)

    async def count(self, label: str) -> int:
        """How often the content is there; anything else that is in the folder of the label counts as a hundred."""
        place = self.folder / self.name / label
        found = {path.name: path.read_text(encoding="utf-8") for path in place.iterdir()}
        strange = [name for name in found if not name.startswith(".onex") and name not in ("file.txt", "source.txt")]
        return self.content_count(found) + 100 * len(strange)

    def content_count(self, found: dict[str, str]) -> int:
        """How often, given the contents by name."""
        return int(found.get("file.txt") == CONTENT)


class FileWriteCase(_FileCase):
    """A write over an older file, killed before the new one gets the name."""

    name = "file_write"
    operation = "write"
    after: ClassVar[Counts] = Counts(then=1, in_the_end=1)
    replays = False

    def prepare(self, label: str) -> None:
        """An older file."""
        super().prepare(label)
        (self.folder / self.name / label / "file.txt").write_text("old\n", encoding="utf-8")

    def content_count(self, found: dict[str, str]) -> int:
        """The old content has to be whole as long as the new one is not there."""
        assert found["file.txt"] in ("old\n", CONTENT)
        return super().content_count(found)


class FileAppendCase(_FileCase):
    """An append, killed when half of the data is written."""

    name = "file_append"
    operation = "append"
    points: ClassVar = {Stage.BEFORE: "file-open", Stage.DURING: "file-torn"}

    def text(self, stage: Stage, label: str) -> str:
        """The folder as it is opened, or the file as it is written."""
        return label if stage is Stage.BEFORE else f"{label}/file.txt"

    def content_count(self, found: dict[str, str]) -> int:
        """Whole lines."""
        return found.get("file.txt", "").count(CONTENT)


class FileCopyCase(_FileCase):
    """A copy, killed before the copy gets its name."""

    name = "file_copy"
    operation = "copy"

    def parameters(self, label: str) -> dict[str, object]:
        """Within the folder."""
        return {"path": f"{label}/source.txt", "destination": f"{label}/file.txt"}

    def prepare(self, label: str) -> None:
        """The source."""
        super().prepare(label)
        (self.folder / self.name / label / "source.txt").write_text(CONTENT, encoding="utf-8")


class FileMoveCase(FileCopyCase):
    """A move, killed when the file has its new name and the journal does not say so."""

    name = "file_move"
    operation = "move"
    during: ClassVar[Counts] = Counts(then=1, in_the_end=1, repeat="replayed")
    points: ClassVar = {Stage.BEFORE: "file-open", Stage.DURING: "file-renamed"}

    def content_count(self, found: dict[str, str]) -> int:
        """In exactly one of the two places."""
        assert ("file.txt" in found) != ("source.txt" in found)
        return super().content_count(found)


class EventLogCase(LocalCase):
    """Lines of events, killed before the journal is opened, or when half of the line is written."""

    name = "event_log"
    effect_type = "message_publish"
    intent_type = intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH
    during: ClassVar[Counts] = Counts(then=0, in_the_end=1)
    points: ClassVar = {Stage.BEFORE: "file-open", Stage.DURING: "file-torn"}

    def declaration(self) -> str:
        """A folder of its own."""
        return f"kind: event_log\npath: {self.folder}/log/events.jsonl\nlimits: {{timeout_s: 40}}\n"

    def parameters(self, label: str) -> dict[str, object]:
        """An event."""
        return {"event_type": "order.placed", "data": {"label": label}}

    def text(self, stage: Stage, label: str) -> str:
        """The file of events."""
        return "events.jsonl"

    async def count(self, label: str) -> int:
        """Whole lines with the label."""
        path = self.folder / "log/events.jsonl"
        found = 0
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else ():
            if line.endswith("\n"):
                found += json.loads(line)["data"]["label"] == label
        return found
