"""The targets that are open. A changed declaration takes effect without dropping what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from onex_mesh.effect.core.counters import Counters
from onex_mesh.effect.core.fingerprint import fingerprint
from onex_mesh.effect.core.lane import Lane, open_lane
from onex_mesh.effect.core.redaction import NOTHING_SECRET, Redactor
from onex_mesh.effect.core.target_file import TargetFile
from onex_mesh.effect.core.targets import TargetConfig
from onex_mesh.effect.ports import TargetAdapter
from onex_mesh.runtime.errors import ValidationError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new file changed, by name."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class Roster:
    """The lanes of the declared targets, by name. For one event loop.

    Args:
        open_adapter: Makes the adapter of a declaration; it is started here.
        redactor_of: Makes what knows the credentials of a declaration.
    """

    def __init__(
        self,
        open_adapter: Callable[[str, TargetConfig], TargetAdapter],
        redactor_of: Callable[[TargetConfig], Redactor] = lambda _: NOTHING_SECRET,
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        """The open targets. The same mapping for good; its content follows the file."""
        self._open_adapter = open_adapter
        self._redactor_of = redactor_of
        self._prints: dict[str, bytes] = {}
        self._counters: dict[str, Counters] = {}
        self._leaving: dict[asyncio.Task[None], Lane] = {}

    async def apply(self, file: TargetFile) -> Changes:
        """Has the targets of a file open, and no others.

        What did not change keeps its adapter, its breaker and its connections. What did is opened before the old one is
        let go, which is closed after its last effect. If one cannot be opened, nothing changes.

        Raises:
            ValidationError: A target's configuration cannot work; file and line are in the message.
        """
        prints = await asyncio.to_thread(_fingerprints, file)
        fresh: dict[str, Lane] = {}
        try:
            for name, config in file.targets.items():
                if self._prints.get(name) != prints[name]:
                    fresh[name] = await self._opened(name, config, file)
        except BaseException:
            await _close(fresh.values())
            raise
        # Nothing is awaited from here on: no effect sees half of the change.
        removed = [name for name in self.lanes if name not in file.targets]
        changes = Changes(
            added=tuple(name for name in fresh if name not in self.lanes),
            changed=tuple(name for name in fresh if name in self.lanes),
            removed=tuple(removed),
        )
        for name in (*changes.changed, *removed):
            lane = self.lanes[name]
            task = asyncio.create_task(_let_go(lane), name=f"let go {name}")
            self._leaving[task] = lane
            task.add_done_callback(self._leaving.pop)
        for name in removed:
            del self.lanes[name]
        self.lanes.update(fresh)
        self._prints = prints
        return changes

    @property
    def leaving(self) -> list[str]:
        """Names of former targets that still have effects under way."""
        return [lane.name for lane in self._leaving.values()]

    async def stop(self) -> None:
        """Closes everything, also what is still in use."""
        leaving = dict(self._leaving)
        for lane in leaving.values():
            lane.give_up()
        await asyncio.gather(*leaving)
        await _close(self.lanes.values())
        self.lanes.clear()
        self._prints.clear()

    async def _opened(self, name: str, config: TargetConfig, file: TargetFile) -> Lane:
        redactor = await asyncio.to_thread(self._redactor_of, config)
        try:
            adapter = self._open_adapter(name, config)
            await adapter.start()
        except ValidationError as error:
            text = redactor.text(f"{file.where(name)}: {error.message}")
            raise ValidationError(text, violations=error.violations) from error
        counters = self._counters.setdefault(name, Counters())
        return open_lane(name, config, adapter, counters=counters, redactor=redactor)


async def _let_go(lane: Lane) -> None:
    await lane.idle()
    await _close([lane])


def _fingerprints(file: TargetFile) -> dict[str, bytes]:
    return {name: fingerprint(config) for name, config in file.targets.items()}


async def _close(lanes: Iterable[Lane]) -> None:
    for lane in lanes:
        try:
            await lane.adapter.stop()
        except Exception as error:  # noqa: BLE001  # one that closes badly must not keep the others open
            log.warning("a target could not be closed in order", target=lane.name, why=type(error).__name__)
