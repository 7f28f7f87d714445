"""The breaker of a target: when it opens, probes and closes."""

from __future__ import annotations

import pytest

from onex_mesh.effect.core.breaker import Breaker, BreakerRules, BreakerState
from onex_mesh.runtime.errors import CircuitOpenError


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _breaker(clock: Clock, *, failures: int = 3, probes: int = 1) -> Breaker:
    return Breaker(BreakerRules(failure_threshold=failures, recovery_s=10.0, probes=probes), clock)


def _fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed(breaker.enter("t"))


def test_it_opens_after_failures_in_a_row() -> None:
    """R8: three failures in a row open it; a success in between begins the count anew."""
    breaker = _breaker(Clock())
    _fail(breaker, 2)
    breaker.succeeded(breaker.enter("t"))
    _fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    _fail(breaker, 1)
    assert breaker.state is BreakerState.OPEN


def test_an_open_one_refuses_and_says_for_how_long() -> None:
    """R8: an open breaker refuses with CIRCUIT_OPEN, retryable, and names the time that is left."""
    clock = Clock()
    breaker = _breaker(clock)
    _fail(breaker, 3)
    clock.now += 4.0
    with pytest.raises(CircuitOpenError, match="'t' is open") as refused:
        breaker.enter("t")
    assert refused.value.retryable
    assert refused.value.error_context == {"target": "t", "retry_after_s": 6.0}


def test_it_half_opens_and_closes_after_a_success() -> None:
    """R8: once its time is over, one probe passes, a second one at once does not, and its success closes it."""
    clock = Clock()
    breaker = _breaker(clock)
    _fail(breaker, 3)
    clock.now += 10.0
    assert breaker.state is BreakerState.HALF_OPEN
    probe = breaker.enter("t")
    with pytest.raises(CircuitOpenError):
        breaker.enter("t")
    breaker.succeeded(probe)
    assert breaker.state is BreakerState.CLOSED


def test_a_failed_probe_opens_it_for_the_whole_time_again() -> None:
    """R8: a probe that fails opens it again for recovery_s."""
    clock = Clock()
    breaker = _breaker(clock)
    _fail(breaker, 3)
    clock.now += 10.0
    breaker.failed(breaker.enter("t"))
    clock.now += 9.9
    assert breaker.state is BreakerState.OPEN
    clock.now += 0.1
    assert breaker.state is BreakerState.HALF_OPEN


def test_as_many_probes_as_it_says_close_it() -> None:
    """R8: with probes=2 two may be under way, and both have to succeed."""
    clock = Clock()
    breaker = _breaker(clock, probes=2)
    _fail(breaker, 3)
    clock.now += 10.0
    first, second = breaker.enter("t"), breaker.enter("t")
    breaker.succeeded(first)
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.succeeded(second)
    assert breaker.state is BreakerState.CLOSED


def test_a_cancelled_probe_gives_its_place_back() -> None:
    """R8: a cancelled call says nothing about the target; another probe may follow."""
    clock = Clock()
    breaker = _breaker(clock)
    _fail(breaker, 3)
    clock.now += 10.0
    breaker.left(breaker.enter("t"))
    breaker.succeeded(breaker.enter("t"))
    assert breaker.state is BreakerState.CLOSED


def test_answers_to_earlier_calls_do_not_count() -> None:
    """R8: a call that began before it opened neither closes it nor counts against the probes."""
    clock = Clock()
    breaker = _breaker(clock)
    early = breaker.enter("t")
    _fail(breaker, 3)
    breaker.succeeded(early)
    assert breaker.state is BreakerState.OPEN
    clock.now += 10.0
    breaker.failed(early)
    assert breaker.state is BreakerState.HALF_OPEN


def _window(clock: Clock) -> Breaker:
    return Breaker(BreakerRules(failure_threshold=100, failure_rate=0.5, window_calls=10, slow_s=2.0), clock)


def test_it_opens_when_too_many_of_the_last_calls_failed() -> None:
    """R8: half of the last ten calls failing opens it, though never two in a row did; fewer calls say nothing."""
    breaker = _window(Clock())
    for _ in range(4):
        breaker.failed(breaker.enter("t"))
        breaker.succeeded(breaker.enter("t"))
    breaker.succeeded(breaker.enter("t"))
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(breaker.enter("t"))
    assert breaker.state is BreakerState.OPEN


def test_what_is_long_ago_does_not_count() -> None:
    """R8: only the last calls count, and none from before it opened."""
    clock = Clock()
    breaker = _window(clock)
    for _ in range(4):
        breaker.failed(breaker.enter("t"))
    for _ in range(7):
        breaker.succeeded(breaker.enter("t"))
    breaker.failed(breaker.enter("t"))
    assert breaker.state is BreakerState.CLOSED
    _fail(breaker, 4)
    assert breaker.state is BreakerState.OPEN
    clock.now += 10.0
    breaker.succeeded(breaker.enter("t"))
    assert breaker.state is BreakerState.CLOSED
    for _ in range(9):
        breaker.succeeded(breaker.enter("t"))
    breaker.failed(breaker.enter("t"))
    assert breaker.state is BreakerState.CLOSED


def test_what_is_too_slow() -> None:
    """R8: an answer is slow where an operator says so; by default none is."""
    clock = Clock()
    assert [_window(clock).is_slow(took_s) for took_s in (1.0, 2.0, 2.5)] == [False, False, True]
    assert not _breaker(clock).is_slow(1e9)


def test_who_would_be_refused_need_not_wait_for_a_turn() -> None:
    """R8: the look ahead refuses as the entry does, and takes no probe's place."""
    clock = Clock()
    breaker = _breaker(clock)
    breaker.require_passable("t")
    _fail(breaker, 3)
    with pytest.raises(CircuitOpenError):
        breaker.require_passable("t")
    clock.now += 10.0
    breaker.require_passable("t")
    breaker.require_passable("t")
    breaker.enter("t")
    with pytest.raises(CircuitOpenError):
        breaker.require_passable("t")
