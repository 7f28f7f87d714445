"""How many transitions a second a state machine makes: in Python, in YAML, and as a plain function for comparison.

    python -m bench.transitions [--seconds 1] [--windows 5]

The order machine's PLACE_ORDER with ten items, which computes a total and emits three intents. The plain function does
the same with pydantic models and nothing else: no checks of states, no guard against I/O, no reading back of what it
returns. All ways take turns, several windows each; what is printed is the median and its ratio to the plain function.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from onex_mesh.reducer.core import Fsm, Next, ReducerContext
from onex_mesh.reducer.core.declarative.build import read_machine
from onex_mesh.reducer.core.machine import apply_action
from tests.order_machine import NewOrder, Order, OrderMachine

_FILE = Path(__file__).resolve().parents[1] / "tests" / "order_machine.yaml"
_PAYLOAD = {
    "items": [{"sku": f"sku-{number}", "price": "12.50", "quantity": number} for number in range(1, 11)],
    "customer_email": "ann@example.org",
}
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; the exit code is 0 where all ways came to the same total."""
    parser = argparse.ArgumentParser(prog="bench.transitions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a window; default: 1")
    parser.add_argument("--windows", type=int, default=5, help="windows of each way; default: 5")
    options = parser.parse_args(arguments)
    in_python, in_yaml = Fsm.from_class(OrderMachine, name="order"), read_machine(_FILE)
    ways: dict[str, Callable[[], object]] = {
        "plain function": _plain,
        "machine in Python": lambda: _applied(in_python),
        "machine in YAML": lambda: _applied(in_yaml),
        "in Python, twice": lambda: _applied(in_python, twice=True),
        "in YAML, twice": lambda: _applied(in_yaml, twice=True),
    }
    totals = {name: way() for name, way in ways.items()}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.windows):
        for name, way in ways.items():
            rates[name].append(_rate(way, options.seconds))
    base = statistics.median(rates["plain function"])
    print(f"PLACE_ORDER with ten items, {options.windows} windows of {options.seconds:g} s")
    print(f"{'way':<20} {'transitions/s':>14} {'ratio':>7}")
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"{name:<20} {rate:>14,.0f} {rate / base:>7.2f}")
    if len({str(total) for total in totals.values()}) > 1:
        print(f"the ways differ: {totals}", file=sys.stderr)
        return 1
    return 0


def _context() -> ReducerContext:
    return ReducerContext(now=_NOW, action_id="2f4a3a52-1c6d-4f0e-8a44-111111111111", correlation_id="bench")


def _plain() -> object:
    """What an application without a mesh would write."""
    placed = OrderMachine.place(Order(), NewOrder.model_validate(_PAYLOAD), _context())
    assert isinstance(placed, Next)
    return placed.state.model_dump(mode="json")["total"]


def _applied(fsm: Fsm, *, twice: bool = False) -> object:
    return apply_action(fsm, None, "PLACE_ORDER", _PAYLOAD, _context, twice=twice).document["total"]


def _rate(way: Callable[[], object], seconds: float) -> float:
    count, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        way()
        count += 1
    return count / elapsed


if __name__ == "__main__":
    sys.exit(main())
