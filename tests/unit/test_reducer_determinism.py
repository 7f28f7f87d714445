"""The same actions come to the same bytes in every process, whatever the seed of its hashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from onex.v1 import reducer_pb2
from onex_mesh.app import App
from onex_mesh.reducer.core import FrozenDict
from onex_mesh.reducer.reduction import Origin, Reductions
from onex_mesh.runtime.errors import OnexError
from onex_mesh.runtime.payload import json_payload
from tests.order_machine import OrderMachine

ROOT = Path(__file__).parents[2]
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS = [
    {"sku": sku, "price": f"{price}.10", "quantity": price}
    for price, sku in enumerate(["tea", "pot", "cup", "spoon"], 1)
]
ACTIONS: list[tuple[str, object]] = [
    ("SHIP_ORDER", None),
    ("PLACE_ORDER", {"items": [], "customer_email": "a@b.example"}),
    ("PLACE_ORDER", {"items": ITEMS, "customer_email": "a@b.example"}),
    ("CONFIRM_PAYMENT", {"reference": "r", "amount": "1"}),
    ("CONFIRM_PAYMENT", {"reference": "r", "amount": "31.0"}),
    ("SHIP_ORDER", None),
    ("EAT_ORDER", None),
]


class Words(BaseModel):
    """How often each word was there, and which ones."""

    model_config = ConfigDict(frozen=True)
    counts: FrozenDict[str, int] = FrozenDict()
    known: tuple[str, ...] = ()


class Counting:
    """An aggregator that works with dicts and sets, and puts its sets in order."""

    @staticmethod
    def initial() -> Words:
        """None."""
        return Words()

    @staticmethod
    def step(state: Words, record: object) -> Words:
        """One more word."""
        word = str(record)
        counts = state.counts | {word: state.counts.get(word, 0) + 1}
        return Words(counts=counts, known=tuple(sorted(set(counts) | {"the"})))

    @staticmethod
    def merge(left: Words, right: Words) -> Words:
        """Both."""
        words = sorted(set(left.counts) | set(right.counts))
        counts = {word: left.counts.get(word, 0) + right.counts.get(word, 0) for word in words}
        return Words(counts=FrozenDict(counts), known=tuple(sorted({*left.known, *right.known})))

    @staticmethod
    def finish(state: Words) -> dict[str, object]:
        """All of it."""
        return {"counts": dict(state.counts), "known": list(state.known)}


app = App("determinism")
app.reducer(name="python")(OrderMachine)
app.reducer_file(ROOT / "tests" / "order_machine.yaml")
app.reducer(name="words")(Counting)


async def outcomes() -> list[str]:
    """Every output as bytes, in hexadecimal, and every refusal with its message."""
    reductions = Reductions(app.reducers, development=True)
    found = []

    async def reduce(contract: reducer_pb2.ReducerContract, index: int) -> reducer_pb2.ReducerOutput | None:
        try:
            output = await reductions.reduce(
                contract, Origin("corr", f"action-{index}", BEGAN + timedelta(hours=index))
            )
        except OnexError as error:
            found.append(f"{error.reason} {error.message}")
            return None
        # How long it took is told, and differs.
        output.reduction_metrics.ClearField("execution_time")
        found.append(output.SerializeToString(deterministic=True).hex())
        return output

    for name in ("python", "order"):
        contract = reducer_pb2.ReducerContract()
        contract.reduction_config.reducer = name
        for index, (action, payload) in enumerate(ACTIONS):
            contract.fsm_action.action = action
            contract.fsm_action.payload.CopyFrom(json_payload(payload))  # type: ignore[arg-type]  # plain JSON
            output = await reduce(contract, index)
            if output is not None:
                contract.current_state.CopyFrom(output.aggregated_data)
    contract = reducer_pb2.ReducerContract()
    contract.reduction_config.reducer = "words"
    contract.reduction_config.aggregation_method = reducer_pb2.AGGREGATION_METHOD_CUSTOM
    contract.streaming_config.enabled = True
    contract.streaming_config.chunk_size = 3
    contract.input_data.CopyFrom(
        json_payload(["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "the", "cat"])
    )
    await reduce(contract, 0)
    return found


SCRIPT = """
import asyncio, json
from tests.unit.test_reducer_determinism import outcomes
print(json.dumps([hash("text"), asyncio.run(outcomes())]))
"""


async def test_every_process_comes_to_the_same_bytes() -> None:
    """R48: both forms of a machine and an aggregator, with three seeds of hashes; states, intents, ids and refusals."""
    here = await outcomes()
    assert len(here) == 15
    assert sum(" " in row for row in here) == 8, "four refusals of each machine"
    hashes = set()
    for seed in ("0", "1", "2"):
        hashed, there = json.loads(_output(SCRIPT, seed))
        hashes.add(hashed)
        assert there == here
    assert len(hashes) == 3, "the processes did have other seeds"


def test_the_test_would_notice() -> None:
    """R48: what goes by the order of a set does differ between these processes."""
    script = "print([*{'tea', 'pot', 'cup', 'spoon', 'the', 'quick'}])"
    assert len({_output(script, seed) for seed in ("0", "1", "2")}) > 1


def _output(script: str, seed: str) -> bytes:
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "site-packages")))
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True, timeout=60)
    return done.stdout
