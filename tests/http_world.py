"""An effect engine with one HTTP target named `shop`, for tests; names can be made to have any address."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from onex_mesh.effect.adapters.http.network import Resolver, system_resolver
from onex_mesh.effect.adapters.http.target import HttpAdapter
from onex_mesh.effect.core.kinds.http import HttpTarget
from onex_mesh.effect.core.lane import open_lane
from onex_mesh.effect.core.target_file import read_target_file
from tests.effect_engine import MemoryLedger, World, effect_world

QUICK = "retry: {max_retries: 3, initial_backoff_s: 0.01, max_backoff_s: 0.02}"


class Names:
    """A resolver that says what a test wants; the last answer again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The next answer."""
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


@asynccontextmanager
async def http_world(
    folder: Path,
    base_url: str,
    *settings: str,
    allow: str = '[{methods: [GET, HEAD, POST, PUT, PATCH, DELETE], path: "/**"}]',
    private: str = "true",
    resolver: Resolver = system_resolver,
    ledger: MemoryLedger | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[World, None]:
    """The engine.

    Args:
        folder: Where its file of targets is written.
        base_url: Of the target.
        settings: Further lines of the target.
        allow: Its routes, as YAML in one line or with further indented ones.
        private: Its `allow_private`; empty leaves it out.
        resolver: Finds the addresses of the host.
        ledger: A ledger that other engines share.
        environment: Variables for credentials.
    """
    lines = ["kind: http", f"base_url: {base_url}", f"allow: {allow}", *settings]
    if not any(line.startswith("retry") for line in settings):
        lines.append(QUICK)
    if private:
        lines.append(f"allow_private: {private}")
    path = folder / "shop.yaml"
    path.write_text("targets:\n  shop:\n" + "".join(f"    {line}\n" for line in lines), encoding="utf-8")
    config = read_target_file(path, environment or {}).targets["shop"]
    assert isinstance(config, HttpTarget)
    adapter = HttpAdapter("shop", config, environment or {}, resolver=resolver)
    async with effect_world(folder, extra_lanes={"shop": open_lane("shop", config, adapter)}, ledger=ledger) as world:
        yield world
