"""One type of effect as the robustness tests see it: how to declare it, ask for it, stop it and count it."""

from __future__ import annotations

import abc
import enum
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onex.v1 import effect_pb2, intent_pb2
from tests.effect_engine import effect_contract, intent
from tests.proof.gates import Gates
from tests.proof.proxy import HoldingProxy


class Stage(enum.Enum):
    """When a node dies."""

    BEFORE = "before the effect"
    """The node has taken the action; the target has not got it."""
    DURING = "in the effect"
    """The target has got it, or half of it; the node does not know what came of it."""
    AFTER = "after the effect"
    """The node knows, and has recorded what it records; the workflow does not."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often the effect is there, counted at the target."""

    then: int
    """While the node stands where it is going to be killed."""
    in_the_end: int
    """When the workflow has completed."""
    repeat: str = "completed"
    """What the node that took over says of it in its audit record: completed or replayed."""


class EffectCase(abc.ABC):
    """A type of effect. Labels tell one effect from another; each is asked for under a key of its own."""

    name: ClassVar[str]
    """The target's name."""
    effect_type: ClassVar[str]
    operation: ClassVar[str] = ""
    intent_type: ClassVar[intent_pb2.IntentType]
    before: ClassVar[Counts] = Counts(then=0, in_the_end=1)
    during: ClassVar[Counts]
    after: ClassVar[Counts] = Counts(then=1, in_the_end=1, repeat="replayed")
    target: ClassVar[str | None] = None
    """What contracts name; None: the name."""
    replays: ClassVar[bool] = True
    """Whether a repeat is told that the work was done before; otherwise it does it again."""

    def variables(self) -> dict[str, str]:
        """Environment variables of the nodes, without the ONEX_ that all of them begin with."""
        return {}

    def counts(self, stage: Stage) -> Counts:
        """What docs/guarantees.md promises."""
        return {Stage.BEFORE: self.before, Stage.DURING: self.during, Stage.AFTER: self.after}[stage]

    @abc.abstractmethod
    async def open(self, folder: Path, stack: AsyncExitStack, gates: Gates) -> str:
        """Starts what the target is; closing the stack ends it.

        Returns:
            The target's declaration: lines of YAML below its name; empty for none.
        """

    @abc.abstractmethod
    def parameters(self, label: str) -> dict[str, object]:
        """The parameters of one effect."""

    @abc.abstractmethod
    async def count(self, label: str) -> int:
        """How often the effect is there."""

    @abc.abstractmethod
    def hold(self, stage: Stage, label: str) -> None:
        """Makes the node that executes an effect stand at a stage: BEFORE or DURING."""

    @abc.abstractmethod
    def is_held(self) -> bool:
        """Whether a node stands there."""

    @abc.abstractmethod
    def release(self) -> None:
        """Lets it go on, and everybody after it."""

    def drop(self) -> None:
        """Forgets what was held: who stood there is dead."""
        self.release()

    def prepare(self, label: str) -> None:  # noqa: B027  # most need nothing
        """Puts there what the effect needs, such as the file that it moves."""

    def contract(self, label: str, *, key: str = "") -> effect_pb2.EffectContract:
        """The effect as a contract."""
        target = self.name if self.target is None else self.target
        return effect_contract(self.effect_type, target, self.operation, self.parameters(label), key=key)

    def intent(self, label: str, *, key: str = "") -> intent_pb2.Intent:
        """The effect as an intent."""
        payload = self.parameters(label)
        if self.operation:
            payload["operation"] = self.operation
        is_custom = self.intent_type == intent_pb2.INTENT_TYPE_CUSTOM
        target = self.name if self.target is None else self.target
        return intent(
            label,
            self.intent_type,
            target,
            payload,
            key=key,
            custom_type=self.effect_type if is_custom else "",
        )


class NetworkCase(EffectCase):
    """A target behind a proxy."""

    proxy: HoldingProxy

    async def open(self, folder: Path, stack: AsyncExitStack, gates: Gates) -> str:
        """Starts the server, then the proxy."""
        port = await self.start_server(folder, stack)
        self.proxy = await stack.enter_async_context(HoldingProxy(port))
        return self.declaration(self.proxy.port)

    @abc.abstractmethod
    async def start_server(self, folder: Path, stack: AsyncExitStack) -> int:
        """Starts the server; returns its port."""

    @abc.abstractmethod
    def declaration(self, port: int) -> str:
        """The target's declaration, given the port to name."""

    def hold(self, stage: Stage, label: str) -> None:
        """Holds the request on its way there, or the answer on its way back."""
        if stage is Stage.BEFORE:
            self.proxy.hold_request(self.marker(stage, label))
        else:
            self.proxy.hold_answer(self.marker(stage, label))

    def marker(self, stage: Stage, label: str) -> bytes:
        """What only the request that counts has in it."""
        return label.encode()

    def is_held(self) -> bool:
        """Whether the proxy holds something."""
        return self.proxy.held.is_set()

    def release(self) -> None:
        """Forwards it."""
        self.proxy.release()

    def drop(self) -> None:
        """Nothing of a dead process reaches the server any more."""
        self.proxy.cut()


class LocalCase(EffectCase):
    """What a node does on its own machine: its process waits at gates."""

    points: ClassVar[dict[Stage, str]]
    gates: Gates
    _point = ""

    async def open(self, folder: Path, stack: AsyncExitStack, gates: Gates) -> str:
        """Starts nothing."""
        self.gates = gates
        self.folder = folder
        return self.declaration()

    @abc.abstractmethod
    def declaration(self) -> str:
        """The target's declaration."""

    def text(self, stage: Stage, label: str) -> str:
        """What comes by at the gate."""
        return label

    def hold(self, stage: Stage, label: str) -> None:
        """Shuts the gate."""
        self._point = self.points[stage]
        self.gates.shut(self._point, self.name, self.text(stage, label))

    def is_held(self) -> bool:
        """Whether somebody waits at the gate."""
        return self.gates.is_reached(self._point, self.name)

    def release(self) -> None:
        """Opens it."""
        self.gates.open(self._point, self.name)
