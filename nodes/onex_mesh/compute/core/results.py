"""Results of pure algorithms, kept for as long as contracts ask for it."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from onex.v1 import compute_pb2
from onex_mesh.compute.core.algorithm import Algorithm

RESULT_BYTES_MAX = 1024 * 1024
"""Larger results are not kept."""

TOTAL_BYTES_MAX = 64 * 1024 * 1024
"""What all kept results may come to; the ones that were used longest ago go first."""


class ResultCache:
    """Outputs by what was computed.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._size_bytes = 0

    def key(self, contract: compute_pb2.ComputeContract, algorithm: Algorithm) -> bytes:
        """What makes two computations the same: algorithm, version, parameters, input and format, or the contract's
        own cache key instead of the last three. Empty if no cache is asked for, or the algorithm is not pure."""
        if not algorithm.pure or not contract.HasField("cache") or _ttl_s(contract) <= 0:
            return b""
        if contract.cache.key:
            return hashlib.sha256(f"{algorithm.name}\0{algorithm.version}\0{contract.cache.key}".encode()).digest()
        same = compute_pb2.ComputeContract()
        same.CopyFrom(contract)
        for field in ("correlation_id", "metadata", "cache"):
            same.ClearField(field)
        same.algorithm_config.version = algorithm.version
        return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()

    def get(self, key: bytes) -> compute_pb2.ComputeOutput | None:
        """A copy of what is kept under a key and still fresh."""
        until, data = self._kept.get(key, (0.0, b""))
        if not key or until <= self._clock():
            return None
        self._kept.move_to_end(key)
        output = compute_pb2.ComputeOutput.FromString(data)
        output.performance_metrics.from_cache = True
        return output

    def put(self, key: bytes, contract: compute_pb2.ComputeContract, output: compute_pb2.ComputeOutput) -> None:
        """Keeps an output for as long as the contract says; a large one is not kept."""
        if not key or output.ByteSize() > RESULT_BYTES_MAX:
            return
        _, before = self._kept.pop(key, (0.0, b""))
        data = output.SerializeToString()
        self._kept[key] = (self._clock() + _ttl_s(contract), data)
        self._size_bytes += len(data) - len(before)
        while self._size_bytes > TOTAL_BYTES_MAX:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._size_bytes -= len(oldest)


def _ttl_s(contract: compute_pb2.ComputeContract) -> float:
    ttl = contract.cache.ttl
    return float(ttl.seconds) + ttl.nanos / 1e9
