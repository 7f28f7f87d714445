"""When to try again: exponential backoff with jitter, a cap, a budget of retries and a deadline (R14, R15, F16)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from google.protobuf import duration_pb2

from onex.v1 import common_pb2
from onex_mesh.runtime.errors import OnexError

_RETRIES_MAX = 100
_ATTEMPT_MIN_S = 0.001


@dataclass(frozen=True, slots=True)
class RetryRules:
    """A retry policy. The default tries once."""

    max_retries: int = 0
    """Retries after the first attempt."""
    initial_backoff_s: float = 0.1
    max_backoff_s: float = 30.0
    backoff_multiplier: float = 2.0
    jitter: float = 0.1
    """Random share added to each wait, 0 to 1."""
    max_elapsed_s: float | None = None
    """Longest time over all attempts; None: until the deadline of the call."""
    retry_on: frozenset[str] = frozenset()
    """Error reasons to retry on; empty: every error marked retryable."""

    def covers(self, error: OnexError) -> bool:
        """Whether an error is one to try again after."""
        return error.reason in self.retry_on if self.retry_on else error.retryable

    def wait_s(
        self,
        error: OnexError,
        *,
        attempt: int,
        elapsed_s: float,
        remaining_s: float | None,
        random: Callable[[], float],
    ) -> float | None:
        """How long to wait before the next attempt; None: give up and raise the error.

        Args:
            error: How the last attempt ended. Its `error_context["retry_after_s"]`, where the target sent one, is the
                shortest wait.
            attempt: Attempts made, from 1.
            elapsed_s: Time since the first attempt began.
            remaining_s: Time until the caller's deadline; None without one. A wait that would reach it is not begun.
            random: Uniform in [0, 1).
        """
        if attempt > self.max_retries or not self.covers(error):
            return None
        # The exponent is bounded so that a long series cannot overflow; the cap has been reached long before.
        grown = self.initial_backoff_s * self.backoff_multiplier ** min(attempt - 1, 64)
        wait = min(grown, self.max_backoff_s) * (1.0 + self.jitter * random())
        asked = error.error_context.get("retry_after_s")
        if isinstance(asked, int | float):
            wait = max(wait, float(asked))
        if self.max_elapsed_s is not None and elapsed_s + wait > self.max_elapsed_s:
            return None
        if remaining_s is not None and wait + _ATTEMPT_MIN_S > remaining_s:
            return None
        return wait


NO_RETRY = RetryRules()


def read_retry_policy(policy: common_pb2.RetryPolicy, path: str) -> tuple[RetryRules, list[tuple[str, str]]]:
    """The rules of a policy message, and what is wrong with it as (field path, description)."""
    found = list(_violations(policy, path))
    if found:
        return NO_RETRY, found
    return (
        RetryRules(
            max_retries=policy.max_retries,
            initial_backoff_s=_seconds(policy.initial_backoff) or 0.1,
            max_backoff_s=_seconds(policy.max_backoff) or 30.0,
            backoff_multiplier=policy.backoff_multiplier or 2.0,
            jitter=policy.jitter or 0.1,
            max_elapsed_s=_seconds(policy.max_elapsed) or None,
            retry_on=frozenset(policy.retry_on),
        ),
        [],
    )


def _violations(policy: common_pb2.RetryPolicy, path: str) -> Iterator[tuple[str, str]]:
    if not 0 <= policy.max_retries <= _RETRIES_MAX:
        yield f"{path}.max_retries", f"{policy.max_retries} is not within 0 to {_RETRIES_MAX}"
    for name, value in (
        ("initial_backoff", policy.initial_backoff),
        ("max_backoff", policy.max_backoff),
        ("max_elapsed", policy.max_elapsed),
    ):
        if _seconds(value) < 0:
            yield f"{path}.{name}", "is negative"
    if policy.backoff_multiplier and not 1 <= policy.backoff_multiplier <= 100:
        yield f"{path}.backoff_multiplier", f"{policy.backoff_multiplier} is not within 1 to 100"
    if not 0 <= policy.jitter <= 1:
        yield f"{path}.jitter", f"{policy.jitter} is not within 0 to 1"


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
