"""Messages that no honest client sends: refused with a reason that does not repeat them, and nothing is done."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onex.v1 import effect_pb2, intent_pb2
from onex_mesh.effect.adapters.audit_lines import facts, line
from onex_mesh.effect.core.request import EffectContext
from onex_mesh.runtime.errors import OnexError, TargetNotFoundError, ValidationError
from tests.effect_engine import World, effect_contract, effect_world, intent

TARGETS = "  files: {kind: file, root: files}"
WRITE = {"operation": "write", "path": "x", "content": "y"}
MEGABYTE = "k" * 1_048_576

Spoil = Callable[[effect_pb2.EffectContract], None]


def _contract() -> effect_pb2.EffectContract:
    return effect_contract("file_operation", "files", "write", {"path": "x", "content": "y"})


def _set(path: str, value: object) -> Spoil:
    def spoil(contract: effect_pb2.EffectContract) -> None:
        holder: object = contract
        *outer, last = path.split(".")
        for name in outer:
            holder = getattr(holder, name)
        setattr(holder, last, value)

    return spoil


def _parameter(name: str, value: object) -> Spoil:
    return lambda contract: contract.io_operation_config.parameters.update({name: value})


def _json_body(data: bytes) -> Spoil:
    def spoil(contract: effect_pb2.EffectContract) -> None:
        contract.io_operation_config.body.data = data
        contract.io_operation_config.body.content_type = "application/json"

    return spoil


@pytest.mark.parametrize(
    ("spoil", "path", "reason"),
    [
        (_set("external_service_config.target", MEGABYTE), "target", "longer than 128"),
        (_set("external_service_config.target", "files\n"), "target", "cannot be printed"),
        (_set("external_service_config.target", "files\x00"), "target", "cannot be printed"),
        (_set("external_service_config.target", "files\u202e"), "target", "cannot be printed"),
        (_set("io_operation_config.effect_type", MEGABYTE), "io_operation_config.effect_type", "longer than 128"),
        (_set("io_operation_config.effect_type", "database_write"), "effect_type", "takes file_operation"),
        (_set("io_operation_config.effect_type", ""), "io_operation_config.effect_type", "is required"),
        (_set("io_operation_config.operation", MEGABYTE), "io_operation_config.operation", "longer than 128"),
        (_set("io_operation_config.operation", "write\r\n"), "io_operation_config.operation", "cannot be printed"),
        (_set("idempotency_key", MEGABYTE), "idempotency_key", "1 to 255 visible ASCII"),
        (_set("idempotency_key", "a\nb"), "idempotency_key", "1 to 255 visible ASCII"),
        (_set("correlation_id", MEGABYTE), "correlation_id", "longer than 1000"),
        (_set("correlation_id", "a\r\nx-evil: 1"), "correlation_id", "cannot be printed"),
        (_set("cache.key", MEGABYTE), "cache.key", "longer than 1000"),
        (_set("cache.ttl.seconds", -1), "cache.ttl", "is negative"),
        (_set("external_service_config.timeout.seconds", -1), "external_service_config.timeout", "is negative"),
        (_set("retry_config.max_retries", 10**6), "retry_config.max_retries", "0 to 100"),
        (_set("retry_config.max_retries", -1), "retry_config.max_retries", "0 to 100"),
        (_set("retry_config.jitter", float("nan")), "retry_config.jitter", "0 to 1"),
        (_set("retry_config.backoff_multiplier", float("inf")), "retry_config.backoff_multiplier", "1 to 100"),
        (_set("retry_config.initial_backoff.seconds", -5), "retry_config.initial_backoff", "is negative"),
        (_parameter("operation", 7), "io_operation_config.parameters.operation", "not a text"),
        (_parameter("operation", "delete"), "io_operation_config.parameters.operation", "contradicts"),
        (_parameter("content", {"a": [1.0, float("nan")]}), "io_operation_config.parameters.content.a[1]", "nan"),
        (_parameter("content", float("inf")), "io_operation_config.parameters.content", "inf"),
        (_json_body(b"[" * 100_000), "io_operation_config.body", "too deep"),
        (_json_body(b"[" * 200 + b"]" * 200), "io_operation_config.body", "deeper than 60"),
        (_json_body(b'{"a": NaN}'), "io_operation_config.body.a", "nan"),
        (_json_body(b"{"), "io_operation_config.body", "not JSON"),
        (_json_body(b"1" * 10_000), "io_operation_config.body", "not JSON"),
    ],
)
async def test_contracts(tmp_path: Path, spoil: Spoil, path: str, reason: str) -> None:
    """R18: each is refused with its field and its reason, in a message of bounded size, before anything is touched."""
    async with effect_world(tmp_path, TARGETS) as world:
        contract = _contract()
        spoil(contract)
        with pytest.raises(ValidationError) as refused:
            await world.executor.effect(contract, EffectContext())
        assert any(field == path and reason in text for field, text in refused.value.violations)
        _refused_briefly(refused.value)
        _nothing_was_done(world, tmp_path)


async def test_a_target_that_nobody_configured(tmp_path: Path) -> None:
    """R18: an unknown target is TARGET_NOT_FOUND, whatever else is wrong."""
    async with effect_world(tmp_path, TARGETS) as world:
        for name in ("nowhere", "../files", "files;drop", "app:charge"):
            with pytest.raises(TargetNotFoundError) as refused:
                await world.effect("file_operation", name, "write", WRITE)
            _refused_briefly(refused.value)
        _nothing_was_done(world, tmp_path)


async def test_content_that_is_too_large(tmp_path: Path) -> None:
    """R154: more than the target takes is PAYLOAD_TOO_LARGE before anything is touched."""
    async with effect_world(tmp_path, "  files: {kind: file, root: files, limits: {size_bytes: 1000}}") as world:
        with pytest.raises(OnexError) as refused:
            await world.effect("file_operation", "files", "write", {"path": "x", "content": "y" * 1001})
        assert refused.value.reason == "PAYLOAD_TOO_LARGE"
        _nothing_was_done(world, tmp_path)


@pytest.mark.parametrize(
    ("message", "path", "reason"),
    [
        (intent("", intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", WRITE), "intent_id", "is required"),
        (intent(MEGABYTE, intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", WRITE), "intent_id", "1 to 255"),
        (intent("a\x07", intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", WRITE), "intent_id", "1 to 255"),
        (intent("a", intent_pb2.INTENT_TYPE_UNSPECIFIED, "files", WRITE), "intent_type", "is required"),
        (intent("a", 99, "files", WRITE), "intent_type", "99 is unknown"),  # type: ignore[arg-type]  # an open enum
        (intent("a", intent_pb2.INTENT_TYPE_CUSTOM, "app", WRITE), "custom_type", "is required"),
        (
            intent("a", intent_pb2.INTENT_TYPE_CUSTOM, "app", WRITE, custom_type=MEGABYTE),
            "custom_type",
            "longer than 128",
        ),
        (intent("a", intent_pb2.INTENT_TYPE_API_CALL, "files", WRITE), "effect_type", "takes file_operation"),
        (
            intent("a", intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", WRITE, custom_type="x"),
            "custom_type",
            "not CUSTOM",
        ),
        (intent("a", intent_pb2.INTENT_TYPE_FILE_OPERATION, "", WRITE), "target", "is required"),
        (intent("a", intent_pb2.INTENT_TYPE_FILE_OPERATION, MEGABYTE, WRITE), "target", "longer than 128"),
        (
            intent("a", intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", WRITE, priority=77),  # type: ignore[arg-type]
            "priority",
            "77 is not known",
        ),
        (
            intent("a", intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", WRITE, key=MEGABYTE),
            "idempotency_key",
            "1 to 255",
        ),
        (
            intent("a", intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", {**WRITE, "operation": MEGABYTE}),
            "payload.operation",
            "longer than 128",
        ),
    ],
    ids=range(14),
)
async def test_intents(tmp_path: Path, message: intent_pb2.Intent, path: str, reason: str) -> None:
    """R18, R86: a spoilt intent fails by itself, with field and reason; the one beside it is executed."""
    good = intent("good", intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", {**WRITE, "path": "good"})
    async with effect_world(tmp_path, TARGETS) as world:
        results = {row.intent_id: row for row in await world.intents([message, good])}
        refused, done = results[message.intent_id], results["good"]
        assert done.status == intent_pb2.INTENT_STATUS_COMPLETED
        assert (refused.status, refused.attempts) == (intent_pb2.INTENT_STATUS_FAILED, 0)
        assert refused.error.reason == "VALIDATION_FAILED"
        assert reason in refused.error.message
        assert path in refused.error.message
        assert len(refused.error.SerializeToString()) < 10_000
        assert len(refused.record.SerializeToString()) < 1_000
        assert [file.name for file in (tmp_path / "files").iterdir()] == ["good"]


async def test_too_many_intents(tmp_path: Path) -> None:
    """R154: ten thousand in one batch are refused as a whole, over a call and in an action, and none is executed."""
    many = [
        intent(str(n), intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", {**WRITE, "path": str(n)}) for n in range(10_000)
    ]
    async with effect_world(tmp_path, TARGETS) as world:
        with pytest.raises(ValidationError, match="10000 intents are more than 1000"):
            await world.intents(many)
        _nothing_was_done(world, tmp_path)


async def test_two_intents_of_one_id(tmp_path: Path) -> None:
    """R73, R85: results are told apart by their ids, so a batch in which two are the same is refused as a whole."""
    twins = [
        intent(name, intent_pb2.INTENT_TYPE_FILE_OPERATION, "files", {**WRITE, "path": str(n)})
        for n, name in enumerate(("a", "b", "a", "b", "c"))
    ]
    async with effect_world(tmp_path, TARGETS) as world:
        with pytest.raises(ValidationError) as refused:
            await world.intents(twins)
        assert refused.value.violations == (
            ("intents[2].intent_id", "is that of intents[0], too"),
            ("intents[3].intent_id", "is that of intents[1], too"),
        )
        _nothing_was_done(world, tmp_path)


async def test_control_characters_do_not_break_the_audit_line(tmp_path: Path) -> None:
    """R11: what contracts may put into a record stays one line of JSON."""
    async with effect_world(tmp_path, TARGETS) as world:
        with pytest.raises(OnexError):
            await world.effect("file_operation", "files", "read", {"path": "nothing"})
        (record,) = world.audit.records
    spoilt = dataclasses.replace(record, message='two\nlines\r\x00 \u2028 "quoted"', operation="a\tb")
    written = line(spoilt, facts(spoilt))
    assert written.count(b"\n") == 1
    assert json.loads(written)["message"] == spoilt.message


def _refused_briefly(error: OnexError) -> None:
    assert len(error.message) < 1_000
    assert all(len(str(fact)) <= 255 for fact in error.error_context.values() if isinstance(fact, str))


def _nothing_was_done(world: World, folder: Path) -> None:
    assert list((folder / "files").iterdir()) == []
    assert world.audit.records == []
    assert world.lanes["files"].counters.failed == 0
