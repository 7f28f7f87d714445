"""Retry policies: how long to wait, and when to give up."""

from __future__ import annotations

import pytest

from onex.v1 import common_pb2
from onex_mesh.effect.core.retry import NO_RETRY, RetryRules, read_retry_policy
from onex_mesh.runtime.errors import EffectFailedError, OnexError, TargetUnavailableError

RULES = RetryRules(max_retries=5, initial_backoff_s=1.0, max_backoff_s=6.0, backoff_multiplier=2.0, jitter=0.5)
TEMPORARY = TargetUnavailableError("away")


def _wait(
    rules: RetryRules,
    error: OnexError = TEMPORARY,
    *,
    attempt: int = 1,
    elapsed_s: float = 0.0,
    remaining_s: float | None = None,
    random: float = 0.0,
) -> float | None:
    return rules.wait_s(error, attempt=attempt, elapsed_s=elapsed_s, remaining_s=remaining_s, random=lambda: random)


def test_waits_grow_up_to_the_cap() -> None:
    """R15, F16: each wait is the last one times the multiplier, at most max_backoff."""
    assert [_wait(RULES, attempt=attempt) for attempt in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 6.0, 6.0]


def test_retries_are_counted_not_attempts() -> None:
    """R14, F16: max_retries=5 allows six attempts; the default allows one."""
    assert _wait(RULES, attempt=5) is not None
    assert _wait(RULES, attempt=6) is None
    assert _wait(NO_RETRY, attempt=1) is None


def test_jitter_adds_its_share() -> None:
    """F16: a jitter of 0.5 adds up to half of the wait."""
    assert _wait(RULES, random=0.0) == 1.0
    assert _wait(RULES, random=0.5) == 1.25


def test_only_temporary_errors_are_retried() -> None:
    """R15: what the target refused for good is not tried again, nor what is marked as unsafe to repeat."""
    assert _wait(RULES, EffectFailedError("no")) is None
    unsafe = TargetUnavailableError("lost in the middle")
    unsafe.retryable = False
    assert _wait(RULES, unsafe) is None


def test_retry_on_names_the_reasons() -> None:
    """R80: with retry_on only these reasons are retried, whatever their mark."""
    rules = RetryRules(max_retries=1, retry_on=frozenset({"EFFECT_FAILED"}))
    assert _wait(rules, EffectFailedError("no")) is not None
    assert _wait(rules, TEMPORARY) is None


def test_the_target_may_ask_for_a_longer_wait() -> None:
    """R15: Retry-After is the shortest wait, above the cap, too."""
    asked = TargetUnavailableError("busy", error_context={"retry_after_s": 20.0})
    assert _wait(RULES, asked) == 20.0
    assert _wait(RULES, TargetUnavailableError("busy", error_context={"retry_after_s": 0.1})) == 1.0


def test_no_wait_beyond_the_deadline_or_the_budget() -> None:
    """F16: a wait that would reach the deadline or max_elapsed is not begun; the error is raised at once."""
    assert _wait(RULES, remaining_s=1.0) is None
    assert _wait(RULES, remaining_s=1.5) == 1.0
    limited = RetryRules(max_retries=5, initial_backoff_s=1.0, max_elapsed_s=3.0)
    assert _wait(limited, elapsed_s=1.9) == 1.0
    assert _wait(limited, elapsed_s=2.1) is None


def test_long_series_do_not_overflow() -> None:
    """F16: a hundred retries with the largest multiplier stay at the cap."""
    rules = RetryRules(max_retries=100, backoff_multiplier=100.0, max_backoff_s=7.0, jitter=0.0)
    assert _wait(rules, attempt=100) == 7.0


def test_a_policy_message_with_defaults() -> None:
    """R80: what a policy leaves out has the defaults of the contract."""
    rules, found = read_retry_policy(common_pb2.RetryPolicy(max_retries=2, retry_on=["X"]), "retry_config")
    assert not found
    assert rules == RetryRules(2, 0.1, 30.0, 2.0, 0.1, None, frozenset({"X"}))


def test_every_violation_of_a_policy_is_named() -> None:
    """R18: all that is wrong with a policy, with the path of each field."""
    policy = common_pb2.RetryPolicy(max_retries=101, backoff_multiplier=0.5, jitter=1.5)
    policy.initial_backoff.FromSeconds(-1)
    _, found = read_retry_policy(policy, "retry_policy")
    assert [path for path, _ in found] == [
        "retry_policy.max_retries",
        "retry_policy.initial_backoff",
        "retry_policy.backoff_multiplier",
        "retry_policy.jitter",
    ]


@pytest.mark.parametrize("value", [-1, 101])
def test_the_number_of_retries_is_bounded(value: int) -> None:
    """R14: 0 to 100."""
    _, found = read_retry_policy(common_pb2.RetryPolicy(max_retries=value), "p")
    assert found == [("p.max_retries", f"{value} is not within 0 to 100")]
