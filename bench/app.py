"""The application that is measured: nothing to compute, nothing to do, so that only the mesh itself costs anything."""

from __future__ import annotations

from collections.abc import Mapping

from bench.callers import STEPS
from onex_mesh.app import App
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.payload import Json

app = App("bench", version="1.0.0", description="Workflows of five no-op steps.")


@app.algorithm(name="noop", version="1.0.0")
def noop(data: Json) -> Json:
    """Returns what it got."""
    return data


@app.effect("noop")
async def noop_effect(parameters: Mapping[str, Json], context: EffectContext) -> Json:
    """Touches nothing."""
    return None


def _workflow(name: str, durability: str, command: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "name": name,
        "version": "1.0.0",
        "coordination_type": "SEQUENTIAL",
        "durability": durability,
        "steps": [{"step_id": f"step_{number}", **command} for number in range(1, STEPS + 1)],
    }


_COMPUTE: Mapping[str, Json] = {"compute": {"algorithm_config": {"algorithm_type": "noop"}, "input_data": 1}}
_EFFECT: Mapping[str, Json] = {"effect": {"io_operation_config": {"effect_type": "noop"}}}

app.workflow(_workflow("journalled", "EVERY_STEP", _COMPUTE))
app.workflow(_workflow("pure", "PURITY_AWARE", _COMPUTE))
app.workflow(_workflow("effects", "PURITY_AWARE", _EFFECT))

WORKFLOWS = ("journalled", "pure", "effects")
