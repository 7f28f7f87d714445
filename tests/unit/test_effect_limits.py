"""The limits of a target: its rate, its retry budget, its turns; and what is taken out of its errors."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_mesh.effect.core.budget import RetryBudget
from onex_mesh.effect.core.rate import TokenBucket
from onex_mesh.effect.core.redaction import Redactor, redactor_of
from onex_mesh.effect.core.request import Priority
from onex_mesh.effect.core.slots import Slots
from onex_mesh.effect.core.target_file import read_target_file
from onex_mesh.effect.core.targets import BreakerSettings, Limits, Retry, TargetConfig
from onex_mesh.runtime.errors import OnexError, OverloadedError, TargetUnavailableError, ValidationError


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """R154: after a pause `burst` calls at once, from then on `rate_per_s` a second; what is not used comes back."""
    clock = Clock()
    bucket = TokenBucket(2.0, 3, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s() == 0.5
    assert bucket.wait_s(4) == 2.0
    clock.now += 0.5
    assert [bucket.take(), bucket.take()] == [True, False]
    clock.now += 60.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    bucket.give_back()
    assert [bucket.take(), bucket.take()] == [True, False]


@given(
    rate=st.floats(0.5, 50),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0.0, 2.0), min_size=1, max_size=60),
)
def test_no_time_sees_more_calls_than_burst_and_rate(rate: float, burst: int, pauses: list[float]) -> None:
    """R154: between any two moments there are at most burst + rate·time calls."""
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock)
    made: list[float] = []
    for pause in pauses:
        clock.now += pause
        while bucket.take():
            made.append(clock.now)
    for first, begin in enumerate(made):
        for last in range(first, len(made)):
            assert last - first + 1 <= burst + rate * (made[last] - begin) + 1e-3


def test_the_budget_bounds_retries_by_calls() -> None:
    """R8, F16: retries are at most a share of the calls of the last ten seconds, beside those always allowed."""
    clock = Clock()
    budget = RetryBudget(0.2, 0.5, clock)
    assert [budget.take() for _ in range(6)] == [True] * 5 + [False]
    for _ in range(100):
        budget.called()
    assert sum(budget.take() for _ in range(100)) == 20
    clock.now += 9.0
    assert not budget.take()
    clock.now += 1.0
    assert [budget.take() for _ in range(6)] == [True] * 5 + [False]


def test_a_budget_of_nothing_allows_nothing() -> None:
    """R8: an operator can turn retries off, whatever contracts say."""
    budget = RetryBudget(0.0, 0.0, Clock())
    budget.called()
    assert not budget.take()


async def test_a_rate_lets_in_one_after_the_other() -> None:
    """R84, R154: those that wait for the rate are let in by priority, one for each token."""
    clock = Clock()
    slots = Slots("t", 8, waiting_max=10, clock=clock, bucket=TokenBucket(100.0, 1, clock))
    await slots.enter(Priority.NORMAL)
    order: list[str] = []

    async def enter(name: str, priority: Priority) -> None:
        await slots.enter(priority)
        order.append(name)

    tasks = [
        asyncio.create_task(enter("low", Priority.LOW)),
        asyncio.create_task(enter("normal", Priority.NORMAL)),
        asyncio.create_task(enter("critical", Priority.CRITICAL)),
    ]
    await asyncio.sleep(0.05)
    assert (order, slots.waiting, slots.in_use) == ([], 3, 1)
    for count in (1, 2, 3):
        clock.now += 0.01
        async with asyncio.timeout(5):
            while len(order) < count:  # noqa: ASYNC110  # the timer of the slots has no event
                await asyncio.sleep(0.001)
        assert slots.in_use == 1 + count
    assert order == ["critical", "normal", "low"]
    await asyncio.gather(*tasks)


async def test_a_rate_that_leaves_no_time_refuses_at_once() -> None:
    """R154: who could not be let in before the deadline is OVERLOADED at once and told when there would be room."""
    clock = Clock()
    slots = Slots("t", 8, waiting_max=10, clock=clock, bucket=TokenBucket(1.0, 1, clock))
    await slots.enter(Priority.NORMAL, clock.now + 5)
    waiting = [asyncio.create_task(slots.enter(Priority.NORMAL, clock.now + 30)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="busy") as refused:
        await slots.enter(Priority.NORMAL, clock.now + 4)
    assert refused.value.retryable
    assert refused.value.error_context == {"target": "t", "retry_after_s": 5.0}
    assert slots.waiting == 4
    urgent = asyncio.create_task(slots.enter(Priority.CRITICAL, clock.now + 4))
    await asyncio.sleep(0)
    assert slots.waiting == 5
    for task in (*waiting, urgent):
        task.cancel()
    await asyncio.gather(*waiting, urgent, return_exceptions=True)
    assert slots.waiting == 0


async def test_a_turn_that_does_not_come_before_the_deadline() -> None:
    """R154: who waits for a slot until the deadline is OVERLOADED, and takes no place afterwards."""
    loop = asyncio.get_running_loop()
    slots = Slots("t", 1, waiting_max=10, clock=loop.time)
    await slots.enter(Priority.NORMAL)
    with pytest.raises(OverloadedError, match="before the deadline"):
        await slots.enter(Priority.NORMAL, loop.time() + 0.02)
    assert (slots.waiting, slots.in_use) == (0, 1)
    slots.leave()
    assert slots.in_use == 0


async def test_those_who_give_up_do_not_pile_up() -> None:
    """R154, R164: behind calls that hang, callers who come and go leave nothing behind."""
    slots = Slots("t", 1, waiting_max=5, clock=Clock())
    await slots.enter(Priority.NORMAL)
    for _ in range(400):
        waiting = asyncio.create_task(slots.enter(Priority.NORMAL))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert slots.waiting == 0
    assert len(slots._queue) <= 65
    last = asyncio.create_task(slots.enter(Priority.NORMAL))
    await asyncio.sleep(0)
    slots.leave()
    await asyncio.wait_for(last, 5)


async def test_a_call_that_was_not_made_costs_no_token() -> None:
    """R154: a slot that is given back unused gives its token back, too."""
    clock = Clock()
    slots = Slots("t", 1, waiting_max=5, clock=clock, bucket=TokenBucket(1.0, 1, clock))
    await slots.enter(Priority.NORMAL)
    slots.leave(used=False)
    await asyncio.wait_for(slots.enter(Priority.NORMAL), 5)


def test_settings_of_the_limits() -> None:
    """R154: a burst without a rate says nothing; the burst is by default what the rate gives in a second."""
    with pytest.raises(ValueError, match="needs rate_per_s"):
        Limits(burst=3)
    clock = Clock()
    assert Limits().bucket(clock) is None
    for limits, burst in ((Limits(rate_per_s=0.5), 1), (Limits(rate_per_s=7.5), 7), (Limits(rate_per_s=1, burst=4), 4)):
        bucket = limits.bucket(clock)
        assert bucket is not None
        assert sum(bucket.take() for _ in range(20)) == burst
    assert Retry(budget_share=0, budget_per_s=0.1).budget(clock).take()
    assert BreakerSettings(failure_rate=0.25, window_calls=8, slow_s=2).rules().slow_s == 2.0


def test_credentials_are_taken_out_of_errors(tmp_path: Path) -> None:
    """R17: in messages and facts of an error and of what caused it, wherever the target or a library put them; found by
    the names of the fields, in variables, mappings of them, and files."""
    (tmp_path / "password").write_text("pa55-in-a-file\n", encoding="utf-8")
    (tmp_path / "targets.yaml").write_text(
        "targets:\n"
        "  shop: {kind: http, base_url: 'https://shop.example', allow: [{methods: [GET], path: /x}],\n"
        "         bearer_token_env: TOKEN, header_env: {x-api-key: API_KEY}}\n"
        "  db: {kind: database, dsn: 'postgresql://shop@db/shop', password_file: password,"
        " tables: {t: {columns: [a]}}}\n",
        encoding="utf-8",
    )
    environment = {"TOKEN": "t0ken-value", "API_KEY": "k3y", "OTHER": "not-a-secret"}
    targets = read_target_file(tmp_path / "targets.yaml", environment).targets
    shop, database = (redactor_of(targets[name], environment) for name in ("shop", "db"))
    cause = TargetUnavailableError("pa55-in-a-file was wrong", error_context={"rows": [{"a": "x pa55-in-a-file"}]})
    error = OnexError("401: 'pa55-in-a-file'", error_context={"body": "pa55-in-a-file", "status": 401})
    error.__cause__ = cause
    database.error(error)
    assert (error.message, str(error), error.error_context) == (
        "401: '***'",
        "401: '***'",
        {"body": "***", "status": 401},
    )
    assert (cause.message, cause.error_context) == ("*** was wrong", {"rows": [{"a": "x ***"}]})
    # Three characters are no credential that is worth the words that would be blackened.
    assert shop.text("t0ken-value k3y not-a-secret") == "*** k3y not-a-secret"
    try:
        raise ValueError("bad header t0ken-value")
    except ValueError as raised:
        trace = shop.trace(raised)
    assert trace.endswith("ValueError: bad header ***")
    assert Redactor(["secret", "secret-and-more"]).text("secret-and-more, secret") == "***, ***"


def test_parts_of_credentials_are_credentials(tmp_path: Path) -> None:
    """R17: each line of a key, and what is secret in a URL that is a credential; certificates are none."""
    (tmp_path / "key").write_text("-----BEGIN KEY-----\nbm90IGEga2V5IGJ1dA\n-----END KEY-----\n", encoding="utf-8")
    (tmp_path / "ca").write_text("a certificate that all may see", encoding="utf-8")
    environment = {"HOOK": "https://user-name:pass-word-1@hooks.example/T0KEN-OF-IT/b?sig=s1gn4ture"}
    config = Several(kind="several", key_file=tmp_path / "key", ca_file=tmp_path / "ca", url_env="HOOK")
    redactor = redactor_of(config, environment)
    said = (
        "POST hooks.example/T0KEN-OF-IT/b (s1gn4ture, pass-word-1): bm90IGEga2V5IGJ1dA, a certificate that all may see"
    )
    assert redactor.text(said) == "POST hooks.example/***/b (***, ***): ***, a certificate that all may see"


class Several(TargetConfig):
    """A target with several credentials."""

    key_file: Path
    ca_file: Path
    url_env: str


def test_a_missing_file_is_no_error_here(tmp_path: Path) -> None:
    """R18: whoever needs the credential says that it is missing when the target is opened."""
    (tmp_path / "targets.yaml").write_text(
        "targets: {db: {kind: database, dsn: 'postgresql://shop@db/shop', password_file: nowhere,"
        " tables: {t: {columns: [a]}}}}\n",
        encoding="utf-8",
    )
    target = read_target_file(tmp_path / "targets.yaml", {}).targets["db"]
    assert redactor_of(target, {}).text("all of it") == "all of it"
    text = "targets: {f: {kind: file, root: x, limits: {burst: 2}}}\n"
    (tmp_path / "targets.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValidationError, match=r"burst: needs rate_per_s"):
        read_target_file(tmp_path / "targets.yaml", {})
