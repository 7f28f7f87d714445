"""A kind of target for tests of the machinery: effects wait at a door until the test opens it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.effect.core.targets import TargetConfig
from onex_mesh.effect.ports import TargetKind
from onex_mesh.runtime.errors import TargetUnavailableError


class DoorConfig(TargetConfig):
    """Its declaration."""

    effect_types = ("api_call",)

    label: str = ""
    token_file: Path | None = None

    def resolved(self, folder: Path) -> Self:
        """The token file, taken from the folder."""
        return self if self.token_file is None else self.model_copy(update={"token_file": folder / self.token_file})


@dataclass(eq=False, slots=True)
class Door:
    """Its adapter: an effect with `wait` waits until the door is opened; each answers with the door's label."""

    name: str
    config: DoorConfig
    token: str
    released: asyncio.Event = field(default_factory=asyncio.Event)
    entered: int = 0
    is_open: bool = False
    is_closed: bool = False
    is_broken: bool = False

    async def start(self) -> None:
        """Opens."""
        self.is_open = True

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Waits, or does not."""

        async def run(context: EffectContext) -> EffectValue:
            assert self.is_open
            assert not self.is_closed
            self.entered += 1
            if self.is_broken:
                raise TargetUnavailableError("the door is stuck")
            if request.parameters.get("wait"):
                await self.released.wait()
            return EffectValue(f"{self.config.label}{self.token}")

        is_read = bool(request.parameters.get("read"))
        return EffectPlan(run=run, operation="pass", once=Once.NOT_NEEDED, is_read=is_read)

    async def check(self) -> None:
        """Whether it is stuck."""
        if self.is_broken:
            raise TargetUnavailableError("the door is stuck")

    async def stop(self) -> None:
        """Closes."""
        self.is_closed = True


class Doors:
    """All doors that were opened, in order; `kinds` is what makes them."""

    def __init__(self) -> None:
        self.all: list[Door] = []

    @property
    def kinds(self) -> dict[str, TargetKind[TargetConfig]]:
        """The kind `door`."""
        return {"door": cast("TargetKind[TargetConfig]", TargetKind(DoorConfig, self._open))}

    def of(self, name: str) -> list[Door]:
        """The doors of one target, the oldest first."""
        return [door for door in self.all if door.name == name]

    def _open(self, name: str, config: DoorConfig, environment: Mapping[str, str]) -> Door:
        secret = read_secret(name, None, config.token_file, environment)
        door = Door(name, config, "" if secret is None else f" {secret.value}")
        self.all.append(door)
        return door
