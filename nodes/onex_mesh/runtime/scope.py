"""What templates read: the workflow's input, what its steps returned, the step's parameters and the workflow itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from google.protobuf import struct_pb2

from onex.v1 import common_pb2
from onex_mesh.runtime.payload import from_payload, from_struct

ROOTS = ("input", "steps", "params", "workflow")

Path: TypeAlias = tuple[str | int, ...]
"""A way into a value: names of fields and positions in lists."""
INPUT: Path = ("input",)


def output_of(step_id: str) -> Path:
    """The path of the output of a step."""
    return ("steps", step_id, "output")


def is_status(path: Path) -> bool:
    """Whether a path leads to the status of a step, for which its output is not looked into."""
    return len(path) == 3 and (path[0], path[2]) == ("steps", "status")


@dataclass(frozen=True, slots=True)
class Scope:
    """What templates read.

    Attributes:
        input: Input of the workflow.
        steps: Output of each step that has one.
        params: Parameters of the step.
        workflow: `id`, `correlation_id` and `name`.
        statuses: Status of steps without output, such as "skipped"; a step with an output is "completed".
        contents: What was fetched of the input and of outputs that are locations, by their path.
    """

    input: common_pb2.Payload
    steps: Mapping[str, common_pb2.Payload]
    params: struct_pb2.Struct
    workflow: Mapping[str, str]
    statuses: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[Path, common_pb2.Payload] = field(default_factory=dict)

    def content(self, path: Path) -> common_pb2.Payload | None:
        """What a path names as a whole (see `whole`), to be looked into: the content of a location that was fetched."""
        return self.contents.get(path) or self.whole(path)

    def whole(self, path: Path) -> common_pb2.Payload | None:
        """The payload that a path names as a whole: `input` or `steps.<id>.output`; None if it names something else."""
        if path == ("input",):
            return self.input
        if len(path) == 3 and path[0] == "steps" and path[2] == "output":
            return self.steps.get(str(path[1]))
        return None

    def stored(self, paths: Iterable[Path]) -> list[Path]:
        """Those of the paths, each of a whole payload, that lead to a location."""
        wholes = ((path, self.whole(path)) for path in paths)
        return sorted(path for path, whole in wholes if whole is not None and whole.HasField("location"))

    def status(self, step_id: str) -> str | None:
        """The status of a step; None if it is not known."""
        return self.statuses.get(step_id, "completed" if step_id in self.steps else None)

    def follow(self, path: Path) -> struct_pb2.Value | None:
        """The value at a path, where all of the way is JSON; None leaves the question, and the error, to CEL."""
        root = path[0]
        if root == "input":
            payload = self.content(path[:1])
            return None if payload is None else _within(payload, path[1:])
        if root == "steps":
            if is_status(path):
                status = self.status(str(path[1]))
                return None if status is None else struct_pb2.Value(string_value=status)
            if len(path) < 3 or path[2] != "output":
                return None
            payload = self.content(path[:3])
            return None if payload is None else _within(payload, path[3:])
        if root == "params" and len(path) > 1 and path[1] in self.params.fields:
            return _descend(self.params.fields[str(path[1])], path[2:])
        return None


class Variables:
    """A scope as CEL takes it: converted once, and only what is asked for."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._roots: dict[str, object] = {}
        self._steps: dict[str, object] = {}

    def get(self, roots: Iterable[str], steps: Iterable[str]) -> dict[str, object]:
        """The variables of an expression.

        Args:
            roots: The variables that it reads.
            steps: The steps that it reads of `steps`.

        Raises:
            ValidationError: One is a payload that is not here, or not the JSON that it claims to be.
        """
        return {root: self._known_steps(steps) if root == "steps" else self._root(root) for root in roots}

    def _root(self, root: str) -> object:
        if root not in self._roots:
            scope = self.scope
            if root == "input":
                self._roots[root] = from_payload(scope.content(INPUT) or scope.input)
            elif root == "params":
                self._roots[root] = from_struct(scope.params)
            else:
                self._roots[root] = dict(scope.workflow)
        return self._roots[root]

    def _known_steps(self, step_ids: Iterable[str]) -> dict[str, object]:
        known = self._steps
        scope = self.scope
        found: dict[str, object] = {}
        for step_id in step_ids:
            if step_id not in known:
                status, output = scope.status(step_id), scope.content(output_of(step_id))
                if status is None:
                    continue
                known[step_id] = {"output": None if output is None else from_payload(output), "status": status}
            found[step_id] = known[step_id]
        return found


def _within(payload: common_pb2.Payload, path: Sequence[str | int]) -> struct_pb2.Value | None:
    return _descend(payload.json, path) if payload.WhichOneof("content") == "json" else None


def _descend(value: struct_pb2.Value, path: Sequence[str | int]) -> struct_pb2.Value | None:
    for part in path:
        kind = value.WhichOneof("kind")
        if isinstance(part, int):
            if kind != "list_value" or part >= len(value.list_value.values):
                return None
            value = value.list_value.values[part]
        else:
            if kind != "struct_value" or part not in value.struct_value.fields:
                return None
            value = value.struct_value.fields[part]
    return value
