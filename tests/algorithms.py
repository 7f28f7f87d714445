"""Algorithms of the tests that worker processes must be able to import."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from onex_mesh.compute.core import ComputeContext
from onex_mesh.runtime.errors import OnexError


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


def asking(data: list[int], params: Where, ctx: ComputeContext) -> list[int]:
    """Asks whether anybody waits, for as many seconds as it is told, and leaves behind why it ended."""
    Path(params.folder, "begun").touch()
    ends_at = time.monotonic() + data[0]
    try:
        while time.monotonic() < ends_at:
            ctx.check()
            time.sleep(0.01)
    except OnexError as error:
        Path(params.folder, error.reason).touch()
        raise
    return data


def gorging(data: list[int], ctx: ComputeContext) -> list[int]:
    """Takes as many MiB as it is told, keeps them, and asks now and then whether anybody waits."""
    taken = b"x" * (data[0] * 1024 * 1024)
    for _ in range(3_000):
        ctx.check()
        time.sleep(0.01)
    return [len(taken)]


def hoarding(data: list[int]) -> list[int]:
    """Takes as many MiB as it is told and keeps them for so many ms, and never asks anything."""
    taken = b"x" * (data[0] * 1024 * 1024)
    time.sleep(data[1] / 1000)
    return [len(taken)]


def doubled(data: pa.Table) -> pa.Table:
    """A table of its own, not a view of its input."""
    return pa.table({"n": pc.multiply(data.column("n"), 2)})


def widened(data: pa.Table) -> pa.Table:
    """24 columns of one."""
    return pa.table({f"c{number}": pc.add(data.column("n"), number) for number in range(24)})


def last_column(partials: list[pa.Table]) -> pa.Table:
    """One of the 24, of all chunks."""
    return pa.concat_tables(partials).select(["c23"])


def refusing(data: pa.Table) -> pa.Table:
    """Fails at once."""
    raise ValueError(f"{data.num_rows} rows are not welcome")


def deadly(data: pa.Table) -> pa.Table:
    """Dies of a table."""
    os.kill(os.getpid(), signal.SIGKILL)
    return data


def enriched(data: list[dict[str, str]], prices: pa.Table, surcharges: list[int]) -> list[Line]:
    """Prices lines by a table, with all surcharges on top."""
    pence = {row["sku"]: row["pence"] for row in prices.to_pylist()}
    return [Line(sku=line["sku"], pence=pence[line["sku"]] + sum(surcharges)) for line in data]
