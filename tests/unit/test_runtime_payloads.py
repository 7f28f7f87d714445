"""What a node does with payloads that are too large to travel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onex.v1 import action_pb2, common_pb2, compute_pb2, reducer_pb2
from onex_mesh.runtime import errors, owed_payloads
from onex_mesh.runtime.payload import (
    ARROW_TYPE,
    INLINE_BYTES_MAX,
    JSON_TYPE,
    bytes_payload,
    content_bytes,
    from_payload,
    json_payload,
)
from onex_mesh.runtime.payload_store import PAYLOAD_BYTES_MAX
from onex_mesh.runtime.payloads import Payloads
from tests.inprocess import until
from tests.payload_stores import Recording, files_below

LARGE = "x" * INLINE_BYTES_MAX


@pytest.fixture
def store(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def step(data: common_pb2.Payload) -> action_pb2.StepOutput:
    return action_pb2.StepOutput(step_id="a", compute=compute_pb2.ComputeOutput(processed_data=data))


@pytest.mark.parametrize("value", [{"b": [1, 2.5, None, True], "a": "ä"}, [], "text", 2**53, 1e300, -1.5])
def test_json_is_kept_as_its_text(value: object) -> None:
    """R129: any tool reads it, and it comes back as the same value."""
    assert json.loads(content_bytes(json_payload(value))) == value
    assert from_payload(bytes_payload(content_bytes(json_payload(value)), JSON_TYPE)) == value


def test_equal_json_has_equal_bytes() -> None:
    """R48: so a step that is repeated, in any process, writes the same object."""
    one, other = json_payload({"a": 1, "b": {"c": 2, "d": 3}}), json_payload({"b": {"d": 3, "c": 2}, "a": 1})
    assert content_bytes(one) == content_bytes(other) == b'{"a":1,"b":{"c":2,"d":3}}'


async def test_a_result_that_fits_is_left_alone(store: Recording, tmp_path: Path) -> None:
    """R39: nothing is put for it."""
    output = step(json_payload("x" * 1000))
    before = output.SerializeToString()
    await Payloads(store).fit_step(output)
    assert output.SerializeToString() == before
    assert files_below(tmp_path) == {}


async def test_a_large_result_becomes_its_location(store: Recording) -> None:
    """R39: with content type, digest and size; twice the same, under one name."""
    first, second = step(json_payload(LARGE)), step(json_payload(LARGE))
    await Payloads(store).fit_step(first)
    await Payloads(store).fit_step(second)
    found = first.compute.processed_data
    assert (found.content_type, found.location.size_bytes) == (JSON_TYPE, INLINE_BYTES_MAX + 2)
    assert found.location.uri.endswith(found.location.digest)
    assert first == second
    table = step(bytes_payload(b"\xff" * (INLINE_BYTES_MAX + 1), ARROW_TYPE))
    await Payloads(store).fit_step(table)
    assert table.compute.processed_data.content_type == ARROW_TYPE


async def test_only_as_much_is_put_as_it_takes(store: Recording) -> None:
    """R64: of two payloads that are too much together, the larger one is put."""
    reduction = reducer_pb2.ReducerOutput(
        aggregated_data=json_payload("a" * 150_000), state=json_payload("b" * 160_000)
    )
    output = action_pb2.StepOutput(reduction=reduction)
    await Payloads(store).fit_step(output)
    assert output.reduction.state.HasField("location")
    assert output.reduction.aggregated_data.HasField("json")
    assert output.ByteSize() <= INLINE_BYTES_MAX


async def test_without_a_store_all_is_as_it_was() -> None:
    """R39: the result stays; an answer that no message carries is refused, and told what to set."""
    output = step(json_payload(LARGE))
    payloads = Payloads(answer_bytes_max=INLINE_BYTES_MAX)
    await payloads.fit_step(output)
    assert output.compute.processed_data.HasField("json")
    assert await payloads.fit(output.compute.processed_data) == output.compute.processed_data
    with pytest.raises(errors.PayloadTooLargeError, match="set ONEX_PAYLOAD_STORE"):
        await payloads.fit_answer(output)


async def test_an_answer_stays_inline_as_long_as_a_message_carries_it(store: Recording) -> None:
    """R29: a direct caller gets data where he can, a location where he cannot."""
    small, large = step(json_payload(LARGE)), step(json_payload(LARGE * 2))
    payloads = Payloads(store, answer_bytes_max=INLINE_BYTES_MAX + 100)
    await payloads.fit_answer(small)
    await payloads.fit_answer(large)
    assert small.compute.processed_data.HasField("json")
    assert large.compute.processed_data.HasField("location")


async def test_an_answer_that_is_large_otherwise_is_refused(store: Recording) -> None:
    """R149: what is no payload cannot become a location."""
    output = compute_pb2.ComputeOutput(processed_data=json_payload(1))
    output.output_schema.update({"description": LARGE})
    with pytest.raises(errors.PayloadTooLargeError, match="a message carries at most 1000") as caught:
        await Payloads(store, answer_bytes_max=1000).fit_answer(output)
    assert "ONEX_PAYLOAD_STORE" not in caught.value.message


async def test_contents_take_the_place_of_locations(store: Recording) -> None:
    """R147: a command is whole before it is executed; the one that was given is not changed."""
    kept = await Payloads(store).fit(json_payload({"rows": LARGE}))
    command = action_pb2.Command(compute=compute_pb2.ComputeContract(input_data=kept))
    command.compute.inputs["right"].CopyFrom(json_payload(7))
    whole = await Payloads(store).fetched(command)
    assert from_payload(whole.compute.input_data) == {"rows": LARGE}
    assert from_payload(whole.compute.inputs["right"]) == 7
    assert command.compute.input_data.HasField("location")
    assert await Payloads(store).fetched(whole) is whole


async def test_what_was_just_put_or_fetched_is_not_read_again(store: Recording) -> None:
    """R28: adjacent steps on one node do not go to the store and back."""
    maker, reader = Payloads(store), Payloads(store)
    kept = await maker.fit(json_payload(LARGE))
    assert from_payload(await maker.fetch(kept, "input_data")) == LARGE
    assert store.gets == []
    for _ in range(2):
        assert from_payload(await reader.fetch(kept, "input_data")) == LARGE
    assert len(store.gets) == 1


async def test_what_cannot_be_fetched_is_told_with_its_path(store: Recording, tmp_path: Path) -> None:
    """R20, R149: missing, changed, of another size, away, or no store on this node."""
    kept = await Payloads(store).fit(json_payload(LARGE))
    command = action_pb2.Command(compute=compute_pb2.ComputeContract(input_data=kept))

    async def refused(payloads: Payloads, given: action_pb2.Command) -> errors.OnexError:
        with pytest.raises(errors.OnexError) as caught:
            await payloads.fetched(given)
        return caught.value

    no_store = await refused(Payloads(), command)
    assert (no_store.reason, no_store.retryable) == ("DEPENDENCY_UNAVAILABLE", True)
    assert "compute.input_data is in a payload store, and this node has none" in no_store.message
    store.is_away = True
    assert (await refused(Payloads(store), command)).reason == "DEPENDENCY_UNAVAILABLE"
    store.is_away = False
    wrong = action_pb2.Command()
    wrong.CopyFrom(command)
    wrong.compute.input_data.location.size_bytes += 1
    found = await refused(Payloads(store), wrong)
    assert isinstance(found, errors.ValidationError)
    assert found.violations[0][0] == "compute.input_data.location.size_bytes"
    path = tmp_path / kept.location.uri
    path.write_bytes(b"y" * kept.location.size_bytes)
    assert "has another SHA-256" in (await refused(Payloads(store), command)).message
    path.unlink()
    gone = await refused(Payloads(store), command)
    assert gone.message == f"compute.input_data.location.uri: nothing is at {kept.location.uri!r}"


async def test_more_than_may_be_taken_is_refused_before_it_is_read(store: Recording, tmp_path: Path) -> None:
    """R44: by what the location says, and by what is there; several count together."""
    kept = await Payloads(store).fit(json_payload(LARGE))
    boast = common_pb2.Payload()
    boast.CopyFrom(kept)
    boast.location.size_bytes = PAYLOAD_BYTES_MAX + 1
    with pytest.raises(errors.PayloadTooLargeError):
        await Payloads(store).fetch(boast, "input_data")
    modest = common_pb2.Payload()
    modest.CopyFrom(kept)
    modest.location.size_bytes = 0
    for payloads in (Payloads(store), warm := Payloads(store)):
        if payloads is warm:
            await warm.fetch(modest, "input_data")
        with pytest.raises(errors.PayloadTooLargeError):
            await payloads.fetch(modest, "input_data", bytes_max=INLINE_BYTES_MAX)


async def test_several_locations_share_the_bound(store: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """R44: what a command brings together is bounded, not each part of it."""
    monkeypatch.setattr("onex_mesh.runtime.payloads.PAYLOAD_BYTES_MAX", 3 * INLINE_BYTES_MAX // 2)
    contract = compute_pb2.ComputeContract()
    for name in ("left", "right"):
        contract.inputs[name].CopyFrom(await Payloads(store).fit(json_payload(LARGE + name)))
    with pytest.raises(errors.PayloadTooLargeError):
        await Payloads(store).fetched(contract)


async def test_a_store_that_is_away_when_a_result_is_put(store: Recording) -> None:
    """R20: retryable; the metrics tell of it."""
    told: list[tuple[str, str]] = []
    payloads = Payloads(store, observe=lambda operation, seconds, reason: told.append((operation, reason)))
    store.is_away = True
    with pytest.raises(errors.DependencyResolutionError) as caught:
        await payloads.fit_step(step(json_payload(LARGE)))
    assert caught.value.retryable
    store.is_away = False
    await payloads.fetch(await payloads.fit(json_payload(LARGE)), "input_data")
    assert told == [("payload_put", "DEPENDENCY_UNAVAILABLE"), ("payload_put", "")]


async def test_what_cannot_be_made_again_waits_for_the_store(
    store: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9: its location is known at once, its content is here, and it follows when the store is back."""
    monkeypatch.setattr(owed_payloads, "_WAIT_MIN_S", 0.01)
    payloads = Payloads(store)
    store.is_away = True
    owed = await payloads.keep_for_sure(json_payload(LARGE))
    assert from_payload(await payloads.fetch(owed, "result")) == LARGE
    assert files_below(tmp_path) == {}
    store.is_away = False
    await until(lambda: bool(store.puts))
    assert store.puts == [owed.location.uri]
    assert from_payload(await Payloads(store).fetch(owed, "result")) == LARGE
    await payloads.close()


async def test_a_node_that_stops_tries_once_more(store: Recording, tmp_path: Path) -> None:
    """R134: what waits is put on the way out, if the store is there."""
    payloads = Payloads(store)
    store.is_away = True
    owed = await payloads.keep_for_sure(json_payload(LARGE))
    store.is_away = False
    await payloads.close()
    assert list(files_below(tmp_path)) == [owed.location.uri]


async def test_what_waits_is_bounded(store: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """R44: beyond the bound it is refused, and what waits already stays."""
    monkeypatch.setattr(owed_payloads, "OWED_BYTES_MAX", INLINE_BYTES_MAX * 3 // 2)
    payloads = Payloads(store)
    store.is_away = True
    owed = await payloads.keep_for_sure(json_payload(LARGE))
    with pytest.raises(errors.DependencyResolutionError, match="wait for it"):
        await payloads.keep_for_sure(json_payload(LARGE + "other"))
    assert from_payload(await payloads.fetch(owed, "result")) == LARGE
    store.is_away = False
    await payloads.close()
