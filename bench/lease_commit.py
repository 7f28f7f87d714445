"""How many commits a second the lease kernel makes, and what group commit brings.

    python -m bench.lease_commit [--seconds 2] [--writers 1,16,64,256] [--fsync] [--windows 3]

Starts an etcd of its own. Writers, each the owner of a workflow, commit as fast as they are let; a commit carries a
state of about 200 bytes and a record of about 900. For each number of writers every way to send them is measured in
turn, in several windows so that what else the machine does hits all alike:

- alone      one etcd request per commit, 64 requests in flight
- group x N  commits that wait travel together, N requests in flight at most

Printed per way: commits per second, latency p50 and p99, processor time of this process and of etcd per commit, and the
ratio of the rate to `alone`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import uvloop

from onex.v1.common_pb2 import Payload
from onex.v1.workflow_pb2 import STEP_STATUS_COMPLETED, Commit, StepResult, StepState, WorkflowState
from onex_lease import EmbeddedEtcd, EtcdClient, Journal, Keyspace, Ownership, Session


@dataclass(frozen=True, slots=True)
class Way:
    """A way to send commits.

    Attributes:
        name: How it is printed.
        in_flight_max: Requests under way at the same time.
        members_max: Commits per request.
    """

    name: str
    in_flight_max: int
    members_max: int


ALONE = Way("alone", 64, 1)
WAYS = (ALONE, Way("group x 1", 1, 60), Way("group x 2", 2, 60), Way("group x 4", 4, 60))


@dataclass(slots=True)
class Cell:
    """What was measured of one way with one number of writers, over all windows."""

    latencies_s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    own_cpu_s: float = 0.0
    etcd_cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Commits per second, median of the windows."""
        return statistics.median(self.rates)

    def quantile_ms(self, share: float) -> float:
        """Latency in ms that `share` of the commits stayed within."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


def _record() -> Commit:
    state = WorkflowState(
        name="order", correlation_id="c" * 36, steps=[StepState(status=STEP_STATUS_COMPLETED, result_epoch=3)] * 5
    )
    state.contract_digest = b"d" * 32
    results = [StepResult(step_id=f"step{number}", result=Payload(data=b"x" * 200)) for number in range(3)]
    return Commit(state=state, results=results)


async def _write(journal: Journal, ownership: Ownership, until: float, cell: Cell) -> None:
    while (begin := time.perf_counter()) < until:
        await journal.commit(ownership, _record())
        cell.latencies_s.append(time.perf_counter() - begin)


async def _window(
    journal: Journal, owned: Sequence[Ownership], seconds: float, etcd: psutil.Process, cell: Cell
) -> None:
    gc.collect()
    done, own, other = len(cell.latencies_s), time.process_time(), sum(etcd.cpu_times()[:2])
    begin = time.perf_counter()
    await asyncio.gather(*(_write(journal, ownership, begin + seconds, cell) for ownership in owned))
    elapsed_s = time.perf_counter() - begin
    cell.own_cpu_s += time.process_time() - own
    cell.etcd_cpu_s += sum(etcd.cpu_times()[:2]) - other
    cell.rates.append((len(cell.latencies_s) - done) / elapsed_s)


def _print(writers: int, cells: dict[Way, Cell]) -> None:
    for way, cell in cells.items():
        count = len(cell.latencies_s)
        print(
            f"{writers:>7}  {way.name:<10} {cell.rate:>9,.0f}"
            f" {cell.quantile_ms(0.5):>8.2f} {cell.quantile_ms(0.99):>8.2f}"
            f" {cell.own_cpu_s / count * 1e6:>8.0f} {cell.etcd_cpu_s / count * 1e6:>8.0f}"
            f" {cell.rate / cells[ALONE].rate:>7.2f}",
            flush=True,
        )


async def _measure(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        etcd = await EmbeddedEtcd.start(data_dir=Path(folder), fsync=options.fsync)
        try:
            client = await EtcdClient.connect(etcd.endpoint)
            session = await Session.open(client, instance_id="bench", ttl_s=60)
            print(f"etcd {etcd.version}, {'with' if options.fsync else 'without'} fsync, {options.windows} windows of")
            print(f"{options.seconds:g} s for each line; CPU in µs per commit, of this process and of etcd")
            print("writers  way        commits/s   p50 ms   p99 ms  own CPU etcd CPU   ratio")
            for number, writers in enumerate(options.writers):
                cells = {way: Cell() for way in WAYS}
                for window in range(options.windows):
                    for way, cell in cells.items():
                        keys = Keyspace(f"bench-{number}-{window}-{way.members_max}-{way.in_flight_max}")
                        journal = Journal(client, keys, in_flight_max=way.in_flight_max, members_max=way.members_max)
                        owned = await asyncio.gather(*(_start(journal, session, each) for each in range(writers)))
                        await _window(journal, owned, options.seconds, psutil.Process(etcd.pid), cell)
                        for ownership in owned:
                            await journal.release(ownership)
                _print(writers, cells)
            await session.close()
            await client.close()
        finally:
            await etcd.stop()


async def _start(journal: Journal, session: Session, number: int) -> Ownership:
    record = _record()
    record.workflow_id = f"order-{number}"
    return await journal.start(session, record)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a window (2)")
    parser.add_argument("--windows", type=int, default=3, help="windows per line (3)")
    parser.add_argument("--fsync", action="store_true", help="let etcd write through to the disk, as in production")
    parser.add_argument(
        "--writers",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[1, 16, 64, 256],
        help="numbers of concurrent writers (1,16,64,256)",
    )
    uvloop.run(_measure(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
