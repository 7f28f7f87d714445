"""The failure policy: one for all coordination types (R102–R105, F30, F32).

A failed attempt is retried where its reason matches and the budget lasts; otherwise the step is skipped or the
workflow aborted. Reasons are error codes of the mesh, never class names.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from onex.v1 import common_pb2, workflow_pb2

RETRIES_MAX = 100

_TIMED_OUT = "ACTION_EXPIRED"


class Verdict(enum.Enum):
    """What happens after a failed attempt."""

    RETRY = "retry"
    SKIP = "skip"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """When to try again, how long to wait, and what to do when there is no try left."""

    retries_max: int
    conditions: frozenset[str]
    skip: bool
    backoff_initial_s: float = 0.1
    backoff_max_s: float = 30.0
    backoff_multiplier: float = 2.0
    jitter: float = 0.1

    def verdict(self, error: common_pb2.OnexError, attempts: int) -> Verdict:
        """What to do after the attempt number `attempts` (from 1) failed with `error` (R103)."""
        if attempts <= self.retries_max and self._matches(error):
            return Verdict.RETRY
        return Verdict.SKIP if self.skip else Verdict.ABORT

    def delay_s(self, attempts: int, chance: float) -> float:
        """Wait in seconds before the attempt after number `attempts`; `chance` in [0, 1) spreads it."""
        exponent = min(attempts - 1, 64)
        wait = min(self.backoff_initial_s * self.backoff_multiplier**exponent, self.backoff_max_s)
        return wait * (1.0 + self.jitter * chance)

    def _matches(self, error: common_pb2.OnexError) -> bool:
        if self.conditions:
            return error.reason in self.conditions
        return error.retryable or error.reason == _TIMED_OUT


def compile_policy(
    resolution: workflow_pb2.ConflictResolution, path: str, violations: list[tuple[str, str]]
) -> FailurePolicy:
    """The policy that a contract declares; what is wrong with it is added to `violations`."""
    if not 0 <= resolution.max_retries <= RETRIES_MAX:
        violations.append((f"{path}.max_retries", f"{resolution.max_retries} is not within 0 to {RETRIES_MAX}"))
    retry = resolution.retry_config
    if retry.backoff_multiplier and retry.backoff_multiplier < 1:
        violations.append((f"{path}.retry_config.backoff_multiplier", "must be at least 1"))
    if not 0 <= retry.jitter <= 1:
        violations.append((f"{path}.retry_config.jitter", "must be within 0 to 1"))
    for field in ("initial_backoff", "max_backoff"):
        duration: Duration = getattr(retry, field)
        if duration.seconds < 0 or duration.nanos < 0:
            violations.append((f"{path}.retry_config.{field}", "must not be negative"))
    return FailurePolicy(
        retries_max=resolution.max_retries if resolution.retry_enabled else 0,
        conditions=frozenset(resolution.retry_conditions),
        skip=resolution.continue_on_error,
        backoff_initial_s=_seconds(retry.initial_backoff) if retry.HasField("initial_backoff") else 0.1,
        backoff_max_s=_seconds(retry.max_backoff) if retry.HasField("max_backoff") else 30.0,
        backoff_multiplier=retry.backoff_multiplier or 2.0,
        jitter=retry.jitter if retry.jitter else 0.1,
    )


def _seconds(duration: Duration) -> float:
    return float(duration.seconds) + duration.nanos / 1e9
