"""Algorithms of the tests that worker processes must be able to import."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from onex_mesh.compute.core import ComputeContext


class Line(BaseModel):
    """A row."""

    model_config = ConfigDict(frozen=True)
    sku: str
    pence: int


class Where(BaseModel):
    """A place to tell about."""

    folder: str = ""


def square(data: list[int]) -> list[int]:
    """Squares."""
    return [item * item for item in data]


def cheaper(data: list[Line]) -> list[Line]:
    """Half the price."""
    return [Line(sku=line.sku, pence=line.pence // 2) for line in data]


def fatal(data: list[int]) -> list[int]:
    """Dies of a negative number, as a crash in native code would."""
    if min(data) < 0:
        # Late enough that the chunks beside it are under way.
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return data


def note_pid(data: list[int], params: Where) -> list[int]:
    """Leaves the number of its process behind, and stays for a while."""
    Path(params.folder, str(os.getpid())).touch()
    time.sleep(data[0])
    return [os.getpid()]


def lock(data: list[int]) -> list[object]:
    """Returns what pickle refuses."""
    return [threading.Lock()]


def fail_at(data: list[int], ctx: ComputeContext) -> list[int]:
    """Fails at a negative number, and says which one of all."""
    for index, item in enumerate(data, ctx.offset):
        if item < 0:
            raise ValueError(f"item {index} is negative")
    return data


def patient(data: float, ctx: ComputeContext) -> str:
    """Works for as many seconds as it is told, and asks now and then whether anybody waits."""
    ends_at = time.monotonic() + data
    while time.monotonic() < ends_at:
        ctx.check()
        time.sleep(0.005)
    return "done"


def hungry(data: list[int]) -> list[int]:
    """Takes as many MiB as it is told and keeps them for a while."""
    taken = b"x" * (data[0] * 1024 * 1024)
    if data[0]:
        time.sleep(60)
    return [len(taken)]


def table_bytes(data: pa.Table) -> pa.Table:
    """How many bytes the buffers of its chunk have, by the row."""
    return pa.table({"n": data.column("n"), "bytes": [data.get_total_buffer_size()] * data.num_rows})


def total(data: list[int]) -> int:
    """The sum."""
    return sum(data)


def sum_of_totals(partials: list[int]) -> int:
    """The sum of the sums of chunks."""
    return sum(partials)


def enriched(data: list[dict[str, str]], prices: pa.Table, surcharges: list[int]) -> list[Line]:
    """Prices lines by a table, with all surcharges on top."""
    pence = {row["sku"]: row["pence"] for row in prices.to_pylist()}
    return [Line(sku=line["sku"], pence=pence[line["sku"]] + sum(surcharges)) for line in data]
