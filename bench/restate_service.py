"""The peer's side of the comparison: a Restate handler of five journalled no-op steps.

Runs in an environment of its own, which has restate-sdk and hypercorn and nothing of onex-mesh.
"""

from __future__ import annotations

import restate  # type: ignore[import-not-found, unused-ignore]  # not a dependency: see restate_install.py

STEPS = 5


async def noop() -> int:
    """A step that does nothing."""
    return 1


async def journalled(ctx: restate.Context) -> int:
    """Runs the steps; each result is in Restate's journal before the next step starts. Returns how many there were."""
    completed = 0
    for _ in range(STEPS):
        completed += await ctx.run_typed("step", noop)
    return completed


bench = restate.Service("Bench")
bench.handler()(journalled)
app = restate.app([bench])
