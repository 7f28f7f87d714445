"""The machinery around every effect, with targets that do as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from onex.v1 import effect_pb2, intent_pb2
from onex_mesh.effect.core.breaker import BreakerState
from onex_mesh.effect.core.lane import Lane, open_lane
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.effect.core.targets import BreakerSettings, Limits, Retry, TargetConfig
from onex_mesh.runtime.errors import (
    ActionExpiredError,
    CircuitOpenError,
    EffectFailedError,
    InternalError,
    LeaseConflictError,
    OverloadedError,
    TargetNotFoundError,
    TargetUnavailableError,
    TemporaryDatabaseError,
    ValidationError,
)
from tests.effect_engine import AuditList, MemoryLedger, effect_world, intent

Behaviour = Callable[[EffectRequest, EffectContext], Awaitable[object]]


class Scripted:
    """A target that does as the test says and counts."""

    def __init__(self, behaviour: Behaviour, once: Once = Once.BY_TARGET, *, reads: bool = False) -> None:
        self.behaviour = behaviour
        self.once = once
        self.reads = reads
        self.calls: list[str] = []

    async def start(self) -> None:
        """Nothing."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Refuses a parameter named bad."""
        if "bad" in request.parameters:
            raise ValidationError("bad", violations=(("bad", "is bad"),))

        async def run(context: EffectContext) -> EffectValue:
            self.calls.append(request.operation or request.effect_type)
            return EffectValue(await self.behaviour(request, context))  # type: ignore[arg-type]  # plain JSON

        return EffectPlan(run=run, operation=request.operation or "do", once=self.once, is_read=self.reads)

    async def check(self) -> None:
        """Always well."""

    async def stop(self) -> None:
        """Nothing."""


class ScriptedConfig(TargetConfig):
    """Its declaration."""

    effect_types = ("api_call",)


def _lane(adapter: Scripted, *, name: str = "t", **settings: object) -> dict[str, Lane]:
    fast = Retry(max_retries=3, initial_backoff_s=0.005, max_backoff_s=0.02)
    config = ScriptedConfig(kind="scripted", **{"retry": fast, **settings})  # type: ignore[arg-type]  # test settings
    return {name: open_lane(name, config, adapter)}


def _failing(*errors: Exception, value: object = "ok") -> Behaviour:
    remaining = list(errors)

    async def behave(request: EffectRequest, context: EffectContext) -> object:
        if remaining:
            raise remaining.pop(0)
        return value

    return behave


def _away() -> TargetUnavailableError:
    return TargetUnavailableError("away")


async def test_temporary_errors_are_retried(tmp_path: Path) -> None:
    """R8, R14, R15: what is temporary is tried again as the target's policy says; attempts are counted."""
    target = Scripted(_failing(_away(), _away()))
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        output = await world.effect("api_call", "t", key="k")
        assert output.metadata.attempts == 3
        assert output.operation_result.json.string_value == "ok"
        assert world.lanes["t"].counters.succeeded == 1


async def test_the_last_error_is_raised_when_the_budget_is_spent(tmp_path: Path) -> None:
    """R15, R20: after max_retries the last error comes out, with its class and the attempts made."""
    target = Scripted(_failing(_away(), _away(), TargetUnavailableError("still away")))
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        with pytest.raises(TargetUnavailableError, match="still away") as failed:
            await world.effect("api_call", "t", key="k", retries=2)
        assert failed.value.error_context["attempts"] == 3
        assert failed.value.correlation_id == "corr-1"
        (record,) = world.audit.records
        assert (record.outcome, record.reason, record.attempts) == ("failed", "TARGET_UNAVAILABLE", 3)


async def test_refusals_are_not_retried(tmp_path: Path) -> None:
    """R15: what the target refused for good is tried once."""
    target = Scripted(_failing(EffectFailedError("no")))
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        with pytest.raises(EffectFailedError):
            await world.effect("api_call", "t", key="k", retries=5)
        assert len(target.calls) == 1


async def test_all_violations_before_anything_happens(tmp_path: Path) -> None:
    """R18: violations of the contract and of the parameters together; the target is not called, nothing is audited."""
    target = Scripted(_failing())
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        contract = effect_pb2.EffectContract(idempotency_key="a b")
        contract.external_service_config.target = "t"
        contract.io_operation_config.effect_type = "api_call"
        contract.io_operation_config.parameters["bad"] = True
        with pytest.raises(ValidationError) as refused:
            await world.executor.effect(contract, EffectContext())
        assert [path for path, _ in refused.value.violations] == [
            "idempotency_key",
            "io_operation_config.parameters.bad",
        ]
        assert target.calls == []
        assert world.audit.records == []


async def test_unknown_targets_and_types(tmp_path: Path) -> None:
    """R88: a target that is not configured, a type that the target does not take, a missing target."""
    async with effect_world(tmp_path, extra_lanes=_lane(Scripted(_failing()))) as world:
        with pytest.raises(TargetNotFoundError, match="'nowhere'"):
            await world.effect("api_call", "nowhere")
        with pytest.raises(TargetNotFoundError, match="has no effect 'nothing'"):
            await world.effect("nothing", "app")
        with pytest.raises(ValidationError, match="'notification': target 't' takes api_call"):
            await world.effect("notification", "t")
        with pytest.raises(ValidationError, match="target: is required"):
            await world.effect("api_call")


async def test_the_breaker_opens_probes_and_closes(tmp_path: Path) -> None:
    """R8, F17: failures of a target open its own breaker; calls are refused without touching it; a probe closes it."""
    target = Scripted(_failing(_away(), _away()))
    breaker = BreakerSettings(failure_threshold=2, recovery_s=0.05)
    async with effect_world(tmp_path, extra_lanes=_lane(target, breaker=breaker)) as world:
        for _ in range(2):
            with pytest.raises(TargetUnavailableError):
                await world.effect("api_call", "t", retries=0)
        with pytest.raises(CircuitOpenError):
            await world.effect("api_call", "t", retries=0)
        assert len(target.calls) == 2
        await asyncio.sleep(0.06)
        await world.effect("api_call", "t", retries=0)
        assert world.lanes["t"].breaker.state is BreakerState.CLOSED


async def test_a_retry_waits_for_the_breaker(tmp_path: Path) -> None:
    """R8, R25: an effect that meets an open breaker comes through once it half-opens, within its policy."""
    target = Scripted(_failing(_away()))
    breaker = BreakerSettings(failure_threshold=1, recovery_s=0.05)
    async with effect_world(tmp_path, extra_lanes=_lane(target, breaker=breaker)) as world:
        output = await world.effect("api_call", "t", key="k", retries=3)
        assert output.operation_result.json.string_value == "ok"
        assert len(target.calls) == 2


@pytest.mark.parametrize("error", [EffectFailedError("no"), TemporaryDatabaseError("locked"), ValueError("bug")])
async def test_answers_and_bugs_do_not_open_the_breaker(tmp_path: Path, error: Exception) -> None:
    """R8: a target that answers works, whatever it answers; neither does a bug of ours say anything about it."""
    target = Scripted(_failing(error))
    breaker = BreakerSettings(failure_threshold=1)
    async with effect_world(tmp_path, extra_lanes=_lane(target, breaker=breaker)) as world:
        with pytest.raises((EffectFailedError, TemporaryDatabaseError, InternalError)):
            await world.effect("api_call", "t", retries=0)
        assert world.lanes["t"].breaker.state is BreakerState.CLOSED


async def test_unexpected_exceptions_keep_their_text_inside(tmp_path: Path) -> None:
    """F18, R20: what nobody expected is INTERNAL; the cause is kept for the log and not in the message."""
    target = Scripted(_failing(RuntimeError("password is hunter2")))
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        with pytest.raises(InternalError) as failed:
            await world.effect("api_call", "t", retries=3)
        assert "hunter2" not in str(failed.value)
        assert isinstance(failed.value.__cause__, RuntimeError)
        assert len(target.calls) == 1


async def test_a_slow_target_times_out(tmp_path: Path) -> None:
    """R154: the timeout of the contract or the target ends the attempt; without a key a write is not repeated."""
    cancelled = asyncio.Event()

    async def hang(request: EffectRequest, context: EffectContext) -> object:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return None

    target = Scripted(hang)
    async with effect_world(tmp_path, extra_lanes=_lane(target, limits=Limits(timeout_s=5.0))) as world:
        with pytest.raises(TargetUnavailableError, match="did not answer within") as failed:
            await world.effect("api_call", "t", timeout_s=0.02, retries=3)
        assert cancelled.is_set()
        assert (len(target.calls), failed.value.retryable) == (1, False)
        with pytest.raises(TargetUnavailableError):
            await world.effect("api_call", "t", key="k", timeout_s=0.02, retries=1)
        assert len(target.calls) == 3


async def test_the_deadline_of_the_caller_ends_it(tmp_path: Path) -> None:
    """R138: past the deadline nothing starts, and what runs ends as ACTION_EXPIRED; the breaker does not count it."""
    loop = asyncio.get_running_loop()

    async def hang(request: EffectRequest, context: EffectContext) -> object:
        await asyncio.sleep(60)
        return None

    target = Scripted(hang)
    async with effect_world(tmp_path, extra_lanes=_lane(target, breaker=BreakerSettings(failure_threshold=1))) as world:
        with pytest.raises(ActionExpiredError, match="before the target answered"):
            await world.effect("api_call", "t", context=EffectContext(deadline=loop.time() + 0.03))
        with pytest.raises(ActionExpiredError, match="before the effect began"):
            await world.effect("api_call", "t", context=EffectContext(deadline=loop.time() - 1))
        assert len(target.calls) == 1
        assert world.lanes["t"].breaker.state is BreakerState.CLOSED


async def test_two_at_once_under_one_key(tmp_path: Path) -> None:
    """R9: of two executions at once one works and the other gets its result as replayed."""
    release = asyncio.Event()

    async def wait(request: EffectRequest, context: EffectContext) -> object:
        await release.wait()
        return len(target.calls)

    target = Scripted(wait)
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        first = asyncio.create_task(world.effect("api_call", "t", key="k"))
        second = asyncio.create_task(world.effect("api_call", "t", key="k"))
        other = asyncio.create_task(world.effect("api_call", "t", key="other"))
        await asyncio.sleep(0.01)
        release.set()
        done = await asyncio.gather(first, second, other)
        assert [row.metadata.replayed for row in done] == [False, True, False]
        assert [row.metadata.attempts for row in done] == [1, 0, 1]
        assert len(target.calls) == 2


async def test_a_failure_is_not_shared(tmp_path: Path) -> None:
    """R9: whoever waited for an execution that failed or was cancelled does the work itself."""
    release = asyncio.Event()

    async def fail_first(request: EffectRequest, context: EffectContext) -> object:
        if len(target.calls) == 1:
            await release.wait()
            raise EffectFailedError("first")
        return "second"

    target = Scripted(fail_first)
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        first = asyncio.create_task(world.effect("api_call", "t", key="k"))
        second = asyncio.create_task(world.effect("api_call", "t", key="k"))
        await asyncio.sleep(0.01)
        release.set()
        with pytest.raises(EffectFailedError):
            await first
        assert (await second).operation_result.json.string_value == "second"


async def test_a_recorded_result_answers_a_repeat(tmp_path: Path) -> None:
    """R9: the ledger answers for a target that cannot deduplicate; another node has the same ledger."""
    ledger = MemoryLedger()
    target = Scripted(_failing(value={"id": 7}), Once.BY_LEDGER)
    async with effect_world(tmp_path, extra_lanes=_lane(target), ledger=ledger) as world:
        await world.effect("api_call", "t", key="k")
    async with effect_world(tmp_path, extra_lanes=_lane(target), ledger=ledger) as world:
        again = await world.effect("api_call", "t", key="k")
        assert (again.metadata.replayed, again.metadata.attempts) == (True, 0)
        assert again.operation_result.json.struct_value["id"] == 7
        assert world.audit.records[0].outcome == "replayed"
    assert len(target.calls) == 1


async def test_keys_of_one_target_are_not_those_of_another(tmp_path: Path) -> None:
    """R79: the same key at two targets is two effects."""
    target = Scripted(_failing(), Once.BY_LEDGER)
    lanes = {**_lane(target, name="a"), **_lane(target, name="b")}
    async with effect_world(tmp_path, extra_lanes=lanes) as world:
        await world.effect("api_call", "a", key="k")
        assert not (await world.effect("api_call", "b", key="k")).metadata.replayed
    assert len(target.calls) == 2


async def test_a_failed_effect_gives_its_claim_back(tmp_path: Path) -> None:
    """R25: after a failure the key can be claimed again."""
    target = Scripted(_failing(EffectFailedError("no")), Once.BY_LEDGER)
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        with pytest.raises(EffectFailedError):
            await world.effect("api_call", "t", key="k")
        assert world.ledger.claimed == set()
        assert not (await world.effect("api_call", "t", key="k")).metadata.replayed


async def test_a_claim_of_another_executor_is_waited_for(tmp_path: Path) -> None:
    """R9: while another node works under the key this one waits, and takes the result that is recorded."""
    target = Scripted(_failing(value="mine"), Once.BY_LEDGER)
    other = MemoryLedger()
    async with effect_world(tmp_path, extra_lanes=_lane(target), ledger=other) as world:
        await world.effect("api_call", "t", key="k")
        (key, recorded) = other.results.popitem()
        other.claimed.add(key)
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, other.results.__setitem__, key, recorded)
        again = await world.effect("api_call", "t", key="k")
        assert again.metadata.replayed
        other.results.clear()
        with pytest.raises(LeaseConflictError):
            await world.effect("api_call", "t", key="k", context=EffectContext(deadline=loop.time() + 0.1))
    assert len(target.calls) == 1


async def test_a_result_that_cannot_be_recorded_does_not_undo_the_effect(tmp_path: Path) -> None:
    """R25: the effect has happened; a ledger that is away then does not make it a failure."""

    class Forgetful(MemoryLedger):
        async def record(self, claim: object, result: bytes) -> None:
            raise TargetUnavailableError("etcd is away")

    target = Scripted(_failing(value="done"), Once.BY_LEDGER)
    async with effect_world(tmp_path, extra_lanes=_lane(target), ledger=Forgetful()) as world:
        output = await world.effect("api_call", "t", key="k")
        assert output.operation_result.json.string_value == "done"


async def test_reads_are_cached_as_the_contract_says(tmp_path: Path) -> None:
    """R23: within its ttl the same read is answered from the cache; other parameters and writes are not."""
    target = Scripted(_failing(value=1), Once.NOT_NEEDED, reads=True)
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        first = await world.effect("api_call", "t", "get", {"a": 1}, cache_s=60)
        again = await world.effect("api_call", "t", "get", {"a": 1}, cache_s=60)
        other = await world.effect("api_call", "t", "get", {"a": 2}, cache_s=60)
        fresh = await world.effect("api_call", "t", "get", {"a": 1})
        assert [row.metadata.from_cache for row in (first, again, other, fresh)] == [False, True, False, False]
        assert again.metadata.attempts == 0
        assert world.audit.records[1].outcome == "cached"
    writing = Scripted(_failing(value=1))
    async with effect_world(tmp_path, extra_lanes=_lane(writing)) as world:
        for _ in range(2):
            assert not (await world.effect("api_call", "t", cache_s=60)).metadata.from_cache


async def test_a_stale_response_is_asked_for_again(tmp_path: Path) -> None:
    """R23: after the ttl the target is asked."""
    target = Scripted(_failing(value=1), Once.NOT_NEEDED, reads=True)
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        await world.effect("api_call", "t", cache_s=0.01)
        await asyncio.sleep(0.02)
        assert not (await world.effect("api_call", "t", cache_s=0.01)).metadata.from_cache


async def test_the_audit_record_says_who_what_where(tmp_path: Path) -> None:
    """R11: who, what, target, key, token, attempts, outcome and correlation id; never the parameters."""
    target = Scripted(_failing(_away(), value="secret answer"))
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        context = EffectContext(correlation_id="c", workflow_id="wf", step_id="s", fencing_token=9)
        await world.effect("api_call", "t", "POST", {"card": "4111"}, key="k", context=context)
        (record,) = world.audit.records
        assert (record.node, record.target, record.effect_type, record.operation) == (
            "effect-test",
            "t",
            "api_call",
            "POST",
        )
        assert (record.correlation_id, record.workflow_id, record.step_id) == ("c", "wf", "s")
        assert (record.idempotency_key, record.fencing_token) == ("k", 9)
        assert (record.attempts, record.outcome, record.reason) == (2, "completed", "")
        assert record.duration_s > 0
        assert "4111" not in repr(record)
        assert "secret answer" not in repr(record)
        assert world.observations.seen == [("effect:api_call", "")]


async def test_nothing_happens_that_could_not_be_audited(tmp_path: Path) -> None:
    """R11: with no room for audit records effects are refused."""

    class Full(AuditList):
        def require_room(self) -> None:
            raise OverloadedError("no room")

    target = Scripted(_failing())
    async with effect_world(tmp_path, extra_lanes=_lane(target), audit=Full()) as world:
        with pytest.raises(OverloadedError):
            await world.effect("api_call", "t")
        assert target.calls == []


async def test_cancelling_reaches_the_target(tmp_path: Path) -> None:
    """R109, R164: a cancelled effect stops at its target, is audited, and leaves no slot taken."""
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def hang(request: EffectRequest, context: EffectContext) -> object:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return None

    async with effect_world(tmp_path, extra_lanes=_lane(Scripted(hang))) as world:
        running = asyncio.create_task(world.effect("api_call", "t", key="k"))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert stopped.is_set()
        assert world.audit.records[0].outcome == "cancelled"
        assert world.lanes["t"].slots.in_use == 0
        await asyncio.wait_for(world.engine.drained(), 5)


async def test_a_target_takes_no_more_calls_than_it_says(tmp_path: Path) -> None:
    """R154: the concurrency of a target is bounded, and a busy target does not slow another one."""
    running = most = 0

    async def count(request: EffectRequest, context: EffectContext) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return None

    lanes = {
        **_lane(Scripted(count), name="narrow", limits=Limits(concurrency=3)),
        **_lane(Scripted(_failing()), name="free"),
    }
    async with effect_world(tmp_path, extra_lanes=lanes) as world:
        crowd = [asyncio.create_task(world.effect("api_call", "narrow")) for _ in range(12)]
        await asyncio.sleep(0)
        await world.effect("api_call", "free")
        assert not all(task.done() for task in crowd)
        await asyncio.gather(*crowd)
    assert most == 3


async def test_intents_run_by_priority_and_one_failure_stops_nothing(tmp_path: Path) -> None:
    """R84, R85, R86: results in the order of priority, each with id, status and error; all were tried."""

    async def behave(request: EffectRequest, context: EffectContext) -> object:
        if request.parameters.get("fail"):
            raise EffectFailedError("refused")
        return request.parameters["n"]

    target = Scripted(behave)
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        results = await world.intents(
            [
                intent("background", intent_pb2.INTENT_TYPE_API_CALL, "t", {"n": 1}, priority=5),
                intent("normal-1", intent_pb2.INTENT_TYPE_API_CALL, "t", {"n": 2}),
                intent("unknown", intent_pb2.INTENT_TYPE_CACHE_UPDATE, "t", priority=2),
                intent("critical", intent_pb2.INTENT_TYPE_API_CALL, "t", {"fail": True}, priority=1),
                intent("normal-2", intent_pb2.INTENT_TYPE_API_CALL, "t", {"n": 3}),
            ]
        )
    assert [row.intent_id for row in results] == ["critical", "unknown", "normal-1", "normal-2", "background"]
    done, failed = intent_pb2.INTENT_STATUS_COMPLETED, intent_pb2.INTENT_STATUS_FAILED
    assert [row.status for row in results] == [failed, failed, done, done, done]
    assert [row.error.reason for row in results[:2]] == ["EFFECT_FAILED", "VALIDATION_FAILED"]
    assert [row.attempts for row in results] == [1, 0, 1, 1, 1]
    assert results[0].error.correlation_id == "corr-1"
    assert results[2].result.json.number_value == 2


async def test_intents_are_retried_only_where_they_say_so(tmp_path: Path) -> None:
    """R87: the target's policy does not apply to intents; their own does."""
    target = Scripted(_failing(_away(), _away()))
    async with effect_world(tmp_path, extra_lanes=_lane(target)) as world:
        (once,) = await world.intents([intent("a", intent_pb2.INTENT_TYPE_API_CALL, "t")])
        assert (once.status, once.attempts) == (intent_pb2.INTENT_STATUS_FAILED, 1)
        (retried,) = await world.intents([intent("b", intent_pb2.INTENT_TYPE_API_CALL, "t", retries=2)])
        assert (retried.status, retried.attempts) == (intent_pb2.INTENT_STATUS_COMPLETED, 2)


async def test_a_slow_target_does_not_delay_others_of_the_same_priority(tmp_path: Path) -> None:
    """R86, R154: within a priority targets work side by side; each result comes as it ends."""
    release = asyncio.Event()

    async def slow(request: EffectRequest, context: EffectContext) -> object:
        await release.wait()
        return None

    async def quick(request: EffectRequest, context: EffectContext) -> object:
        if len(fast.calls) == 2:
            release.set()
        return None

    fast = Scripted(quick)
    lanes = {**_lane(Scripted(slow), name="slow"), **_lane(fast, name="fast")}
    async with effect_world(tmp_path, extra_lanes=lanes) as world:
        results = await asyncio.wait_for(
            world.intents(
                [
                    intent("slow", intent_pb2.INTENT_TYPE_API_CALL, "slow"),
                    intent("fast-1", intent_pb2.INTENT_TYPE_API_CALL, "fast"),
                    intent("fast-2", intent_pb2.INTENT_TYPE_API_CALL, "fast"),
                ]
            ),
            10,
        )
    assert [row.intent_id for row in results] == ["fast-1", "fast-2", "slow"]


async def test_a_batch_is_bounded(tmp_path: Path) -> None:
    """R154: more than a thousand intents in one batch are refused as a whole."""
    async with effect_world(tmp_path) as world:
        with pytest.raises(ValidationError, match="1001 intents"):
            await world.intents([intent(str(n), intent_pb2.INTENT_TYPE_API_CALL, "t") for n in range(1001)])


async def test_a_batch_that_is_abandoned_stops(tmp_path: Path) -> None:
    """R164: when the caller goes away nothing of the batch runs on."""
    stopped = asyncio.Event()

    async def hang(request: EffectRequest, context: EffectContext) -> object:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return None

    lanes = {**_lane(Scripted(hang), name="a"), **_lane(Scripted(_failing()), name="b")}
    async with effect_world(tmp_path, extra_lanes=lanes) as world:
        running = world.executor.intents(
            [intent("a", intent_pb2.INTENT_TYPE_API_CALL, "a"), intent("b", intent_pb2.INTENT_TYPE_API_CALL, "b")],
            EffectContext(),
        )
        assert (await anext(running)).intent_id == "b"
        await running.aclose()  # type: ignore[attr-defined]  # an async generator
        assert stopped.is_set()
        assert world.engine.under_way == 0
