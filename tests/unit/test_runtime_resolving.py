"""Templates whose inputs lie in the payload store."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from onex.v1 import action_pb2, common_pb2
from onex_mesh.runtime import errors, resolving
from onex_mesh.runtime.payload import (
    ARROW_TYPE,
    INLINE_BYTES_MAX,
    JSON_TYPE,
    bytes_payload,
    from_payload,
    from_struct,
    json_payload,
    to_struct,
    to_value,
)
from onex_mesh.runtime.payloads import Payloads
from onex_mesh.runtime.resolving import resolved
from onex_mesh.runtime.templates import Scope, compile_command, compile_value
from tests.payload_stores import Recording

LARGE = {"rows": [{"qty": 2, "price": 2.5}], "text": "x" * INLINE_BYTES_MAX, "big": 1e300}


@pytest.fixture
def store(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


async def scope(store: Recording, value: object = LARGE) -> Scope:
    """A scope whose input and step `read` are one location."""
    kept = await Payloads(store).fit(json_payload(value))
    assert kept.HasField("location")
    return Scope(kept, {"read": kept}, to_struct({"n": 1}), {"id": "w-1"}, {"left_out": "skipped"})


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${steps.read.output.rows[0]}", {"qty": 2, "price": 2.5}),
        ("${input.rows[0].qty * 2}", 4),
        ("n is ${steps.read.output.rows[0].qty}", "n is 2"),
        ({"price": "${input.rows[0].price}", "id": "${workflow.id}"}, {"price": 2.5, "id": "w-1"}),
        ("${steps.read.status}", "completed"),
        ("${steps.left_out.output}", None),
        ("${size(steps.read.output.text)}", INLINE_BYTES_MAX),
    ],
)
async def test_what_is_looked_into_is_fetched(store: Recording, template: object, value: object) -> None:
    """R106: the same value as if it had travelled."""
    whole = await scope(store)
    found = await resolved(compile_value(to_value(template)), whole, Payloads(store))
    assert from_payload(found) == value
    inline = Scope(json_payload(LARGE), {"read": json_payload(LARGE)}, whole.params, whole.workflow, whole.statuses)
    assert compile_value(to_value(template)).resolve(inline) == found


async def test_what_is_passed_on_stays_where_it_is(store: Recording) -> None:
    """R147: also beside a template that looks into it; nothing is fetched for the first by itself."""
    given = await scope(store)
    command = action_pb2.Command()
    command.compute.input_data.CopyFrom(json_payload("${steps.read.output}"))
    only = await resolved(compile_command(command), given, Payloads(store))
    assert (only.compute.input_data, store.gets) == (given.input, [])
    command.compute.algorithm_config.parameters.update({"first": "${input.rows[0].qty}"})
    both = await resolved(compile_command(command), given, Payloads(store))
    assert both.compute.input_data == given.input
    assert from_struct(both.compute.algorithm_config.parameters) == {"first": 2}


async def test_it_is_resolved_in_a_thread(store: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """R28: reading a large JSON text holds up nobody else."""
    threads: list[threading.Thread] = []
    parse = resolving.parse_json

    def noted(data: bytes) -> object:
        threads.append(threading.current_thread())
        return parse(data)

    monkeypatch.setattr(resolving, "parse_json", noted)
    await resolved(compile_value(to_value("${input.rows}")), await scope(store), Payloads(store))
    assert threads
    assert threading.main_thread() not in threads


async def test_what_fails_says_where(store: Recording) -> None:
    """R18, R20: a field that is not there; bytes that are no JSON; a store that is away or none."""
    given = await scope(store)
    template = compile_value(to_value("${input.nothing}"))
    with pytest.raises(errors.ValidationError, match=r"input\.nothing"):
        await resolved(template, given, Payloads(store))
    with pytest.raises(errors.DependencyResolutionError, match="input is in a payload store, and this node has none"):
        await resolved(template, given, Payloads())
    store.is_away = True
    with pytest.raises(errors.DependencyResolutionError):
        await resolved(template, given, Payloads(store))
    store.is_away = False
    table = await Payloads(store).fit(bytes_payload(b"\xff" * (INLINE_BYTES_MAX + 1), ARROW_TYPE))
    of_table = Scope(table, {}, given.params, given.workflow)
    with pytest.raises(errors.ValidationError):
        await resolved(template, of_table, Payloads(store))
    location = await store.put(b"{not json")
    broken = Scope(common_pb2.Payload(location=location, content_type=JSON_TYPE), {}, given.params, given.workflow)
    with pytest.raises(errors.ValidationError, match="not JSON"):
        await resolved(template, broken, Payloads(store))


async def test_what_is_looked_into_is_bounded_together(store: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """R44: a template may not bring more than a command may hold, and it is not read first."""
    monkeypatch.setattr(resolving, "RESOLVED_BYTES_MAX", INLINE_BYTES_MAX * 3 // 2)
    template = compile_value(to_value("${size(input.text) + size(steps.read.output.text)}"))
    with pytest.raises(errors.PayloadTooLargeError):
        await resolved(template, await scope(store), Payloads(store))


async def test_json_bytes_that_no_value_holds_are_read_all_the_same(store: Recording) -> None:
    """F22: integers beyond ±2^53 that came as bytes of type JSON spoil only what reads them."""
    location = await store.put(b'{"id": 9007199254740993, "n": 4}')
    given = Scope(common_pb2.Payload(location=location, content_type=JSON_TYPE), {}, to_struct({}), {})
    assert from_payload(await resolved(compile_value(to_value("${input.n}")), given, Payloads(store))) == 4
    with pytest.raises(errors.ValidationError, match="beyond"):
        await resolved(compile_value(to_value("${input.id}")), given, Payloads(store))
