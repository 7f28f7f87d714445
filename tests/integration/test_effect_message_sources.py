"""What is particular to each broker: durable consumers and groups, made, changed, shared and left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import nats.js.api
import pytest

from onex_mesh.effect.adapters.nats.subscription import NatsMessages
from onex_mesh.effect.adapters.redis.subscription import RedisMessages
from onex_mesh.effect.core.kinds.nats import NatsTarget
from onex_mesh.effect.core.kinds.redis_stream import RedisStreamTarget
from onex_mesh.effect.core.message_ports import Burial, Delivery, MessageSource
from onex_mesh.effect.core.subscription_models import SubscriptionConfig
from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError
from tests.nats_server import NatsServer
from tests.redis_server import RedisServer
from tests.subscriptions import KEY, PREFIX, STREAM, NatsBroker, RedisBroker, jetstream, redis_client


def subscribed(**settings: object) -> SubscriptionConfig:
    """A subscription."""
    given: dict[str, object] = {
        "target": "bus",
        "durable": "mesh",
        "ack_wait_s": 1,
        "start_workflow": {"workflow": "w"},
        "dead_letters": {"file": "unused"},
    }
    return SubscriptionConfig.model_validate({**given, **settings})


@pytest.fixture
async def nats_broker() -> AsyncGenerator[NatsBroker, None]:
    """A NATS server with the stream."""
    server = NatsServer()
    server.start()
    try:
        broker = NatsBroker(server)
        await broker.prepare()
        yield broker
    finally:
        server.remove()


@pytest.fixture
async def redis_broker() -> AsyncGenerator[RedisBroker, None]:
    """A Redis server."""
    server = RedisServer()
    server.start()
    try:
        yield RedisBroker(server)
    finally:
        server.remove()


def nats_source(broker: NatsBroker, **settings: object) -> NatsMessages:
    """A consuming node's view of the stream."""
    facts = {"kind": "nats", "servers": [broker.server.url], "stream": STREAM, "prefix": PREFIX}  # type: ignore[union-attr]
    return NatsMessages(subscribed(**settings), NatsTarget.model_validate(facts), {})


def redis_source(broker: RedisBroker, consumer: str, **settings: object) -> RedisMessages:
    """A consuming node's view of the stream."""
    facts = {"kind": "redis_stream", "host": "127.0.0.1", "port": broker.server.port, "stream": KEY}
    return RedisMessages(subscribed(**settings), RedisStreamTarget.model_validate(facts), {}, consumer)


async def some(source: MessageSource, count: int) -> Sequence[Delivery]:
    """So many messages, however many fetches that takes."""
    found: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await source.fetch(count - len(found))
    return found


async def test_a_consumer_is_made_and_changed_as_it_is_declared(nats_broker: NatsBroker) -> None:
    """Issue item 5: the durable consumer follows the file; what the server would drop is never dropped."""
    first = nats_source(nats_broker, pending_max=10, filter_subject="orders.placed")
    assert await first.fetch(1) == []
    await first.close()
    async with jetstream(nats_broker.server.url) as (_, js):  # type: ignore[union-attr]
        made = (await js.consumer_info(STREAM, "mesh")).config
        assert (made.ack_wait, made.max_ack_pending, made.filter_subject) == (1, 10, "orders.placed")
        assert (made.max_deliver, made.deliver_policy) == (-1, nats.js.api.DeliverPolicy.ALL)
        second = nats_source(nats_broker, pending_max=20, filter_subject="orders.placed", ack_wait_s=5)
        await nats_broker.publish(b"{}")
        (message,) = await some(second, 1)
        await message.acknowledge()
        changed = (await js.consumer_info(STREAM, "mesh")).config
        assert (changed.ack_wait, changed.max_ack_pending) == (5, 20)
        await second.close()


async def test_a_new_consumer_may_begin_with_what_comes(nats_broker: NatsBroker, redis_broker: RedisBroker) -> None:
    """Issue item 5: `start: new` leaves what was there before the durable consumer or the group."""
    for broker, source in (
        (nats_broker, nats_source(nats_broker, start="new")),
        (redis_broker, redis_source(redis_broker, "a", start="new")),
    ):
        await broker.publish(b"old")
        assert await source.fetch(5) == []
        await broker.publish(b"new")
        (message,) = await some(source, 1)
        assert message.body == b"new"
        await message.acknowledge()
        assert await broker.outstanding() == 0
        await source.close()


async def test_a_foreign_consumer_is_refused(nats_broker: NatsBroker) -> None:
    """Issue item 5: one that does not wait for acknowledgements would lose messages."""
    async with jetstream(nats_broker.server.url) as (_, js):  # type: ignore[union-attr]
        config = nats.js.api.ConsumerConfig(durable_name="mesh", ack_policy=nats.js.api.AckPolicy.NONE)
        await js.add_consumer(STREAM, config)
    source = nats_source(nats_broker)
    with pytest.raises(EffectFailedError, match="does not pull with explicit acknowledgements"):
        await source.fetch(1)
    await source.close()


async def test_a_stream_that_is_not_there(nats_broker: NatsBroker) -> None:
    """R24: the error says so, and fetching goes on once it is there."""
    async with jetstream(nats_broker.server.url) as (_, js):  # type: ignore[union-attr]
        await js.delete_stream(STREAM)
        source = nats_source(nats_broker)
        with pytest.raises(EffectFailedError, match="stream not found"):
            await source.fetch(1)
        await js.add_stream(name=STREAM, subjects=[f"{PREFIX}.>"])
        await nats_broker.publish(b"1")
        assert (await some(source, 1))[0].body == b"1"
        await source.close()


async def test_a_consumer_that_was_deleted_is_made_again(nats_broker: NatsBroker) -> None:
    """R24: by an operator, while the node fetches."""
    source = nats_source(nats_broker)
    assert await source.fetch(2) == []
    async with jetstream(nats_broker.server.url) as (_, js):  # type: ignore[union-attr]
        await js.delete_consumer(STREAM, "mesh")
        # Requests that are with the server may be left without an answer; later ones find nobody.
        with pytest.raises(TargetUnavailableError, match=r"is not there|does not answer"):
            await some(source, 1)
        await nats_broker.publish(b"1")
        assert (await some(source, 1))[0].body == b"1"
    await source.close()


async def test_closing_gives_back_what_was_not_handed_out(nats_broker: NatsBroker) -> None:
    """Issue item 5: requests under way at a stop may still bring messages; they are another node's at once."""
    source, other = nats_source(nats_broker, ack_wait_s=600), nats_source(nats_broker, ack_wait_s=600)
    await nats_broker.publish(b"1")
    # Two are asked for and one comes: the second request is still with the server.
    (message,) = await source.fetch(2)
    await message.acknowledge()
    await nats_broker.publish(b"2")
    await source.close()
    (given_back,) = await some(other, 1)
    assert given_back.body == b"2"
    await other.close()


async def test_deliveries_are_counted_and_given_back(nats_broker: NatsBroker, redis_broker: RedisBroker) -> None:
    """Issue item 5: NAK with a delay, on either; the count decides when a refused message is buried."""
    for broker, source in (
        (nats_broker, nats_source(nats_broker)),
        (redis_broker, redis_source(redis_broker, "a")),
    ):
        await broker.publish(b"1", {"x-kind": "test"})
        for count in (1, 2, 3):
            (message,) = await some(source, 1)
            assert (message.deliveries, message.body, message.headers["x-kind"]) == (count, b"1", "test")
            await message.return_later(0.05)
        (message,) = await some(source, 1)
        assert message.place.startswith((f"{STREAM}:1", f"{KEY}:"))
        await message.acknowledge()
        # A second settlement of the same delivery does no harm, as after an answer that was lost.
        assert await broker.outstanding() == 0
        await source.close()


async def test_what_a_dead_consumer_held_is_claimed(redis_broker: RedisBroker) -> None:
    """Issue item 5: XAUTOCLAIM after ack_wait_s; what a live node says it is at work on is left to it."""
    dead, alive, other = (redis_source(redis_broker, name) for name in ("dead", "alive", "other"))
    for body in (b"1", b"2", b"3"):
        await redis_broker.publish(body)
    held = await some(dead, 2)
    (kept,) = await some(alive, 1)
    claimed: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(claimed) < 2:
            await kept.keep()
            claimed += await other.fetch(5)
    assert sorted((row.body, row.deliveries) for row in claimed) == [(b"1", 2), (b"2", 2)]
    for row in (*claimed, kept):
        await row.acknowledge()
    # The dead one comes back to life: what it says changes nothing any more.
    await held[0].keep()
    await held[0].return_later(0.1)
    await held[1].acknowledge()
    assert await redis_broker.outstanding() == 0
    for source in (dead, alive, other):
        await source.close()


async def test_a_consumer_leaves_its_group_unless_it_holds_messages(redis_broker: RedisBroker) -> None:
    """Issue item 5: deleting a consumer deletes what it holds, so one that holds something stays."""
    idle, holding = redis_source(redis_broker, "idle"), redis_source(redis_broker, "holding")
    assert await idle.fetch(1) == []
    await redis_broker.publish(b"1")
    await some(holding, 1)
    await idle.close()
    await holding.close()
    async with redis_client(redis_broker.server.port) as client:
        assert [row["name"] for row in await client.xinfo_consumers(KEY, "mesh")] == ["holding"]
    successor = redis_source(redis_broker, "successor")
    (message,) = await some(successor, 1)
    assert message.deliveries == 2
    await successor.close()


async def test_no_more_are_handed_out_than_may_be_pending(redis_broker: RedisBroker) -> None:
    """R154: the bound counts what all nodes hold."""
    first = redis_source(redis_broker, "a", concurrency=2, pending_max=3, ack_wait_s=600)
    second = redis_source(redis_broker, "b", concurrency=2, pending_max=3, ack_wait_s=600)
    for number in range(5):
        await redis_broker.publish(str(number).encode())
    held = [*await some(first, 2), *await some(second, 1)]
    assert await second.fetch(5) == []
    await held[0].acknowledge()
    assert len(await second.fetch(5)) == 1
    await first.close()
    await second.close()


async def test_a_stream_that_was_deleted_is_followed_anew(redis_broker: RedisBroker) -> None:
    """R24: the group went with the stream; the next fetch makes both again."""
    source = redis_source(redis_broker, "a")
    assert await source.fetch(1) == []
    async with redis_client(redis_broker.server.port) as client:
        await client.delete(KEY)
    with pytest.raises(EffectFailedError, match="NOGROUP"):
        await source.fetch(1)
    await redis_broker.publish(b"1")
    assert (await some(source, 1))[0].body == b"1"
    await source.close()


async def test_messages_of_other_producers(redis_broker: RedisBroker) -> None:
    """Issue item 5: the whole event in `event`, or the data in `data` beside the attributes."""
    source = redis_source(redis_broker, "a")
    async with redis_client(redis_broker.server.port) as client:
        await client.xadd(KEY, {"event": "{}"})
        await client.xadd(KEY, {"ce-id": "1", "data": "5"})
    first, second = await some(source, 2)
    assert (first.body, dict(first.headers)) == (b"{}", {})
    assert (second.body, dict(second.headers)) == (b"5", {"ce-id": "1"})
    await source.close()


async def test_a_dead_letter_that_cannot_be_written_is_not_acknowledged(
    nats_broker: NatsBroker, redis_broker: RedisBroker
) -> None:
    """Issue item 5: no stream takes the subject; the key of the stream holds something else: the message stays."""
    burial = Burial("placed", "VALIDATION_FAILED", "two\nlines", 3)
    source: MessageSource = nats_source(nats_broker, dead_letters={"subject": "nowhere.at.all"})
    await nats_broker.publish(b"1")
    (message,) = await some(source, 1)
    with pytest.raises(TargetUnavailableError, match="no stream takes the message"):
        await message.bury(burial)
    assert await nats_broker.outstanding() == 1
    await source.close()
    source = redis_source(redis_broker, "a", dead_letters={"stream": "taken"})
    async with redis_client(redis_broker.server.port) as client:
        await client.set("taken", "by something else")
    await redis_broker.publish(b"1")
    (message,) = await some(source, 1)
    with pytest.raises(EffectFailedError, match="WRONGTYPE"):
        await message.bury(burial)
    assert await redis_broker.outstanding() == 1
    await source.close()


async def test_a_dead_letter_is_kept_once(nats_broker: NatsBroker) -> None:
    """Issue item 5: a node that died between the dead letter and the acknowledgement: JetStream knows its id."""
    source = nats_source(nats_broker, dead_letters={"subject": "dead.orders"})
    burial = Burial("placed", "VALIDATION_FAILED", "two\nlines", 3)
    await nats_broker.publish(b"1", {"Nats-Msg-Id": "own", "x": "y"})
    (message,) = await some(source, 1)
    await source.bury(message, burial)  # type: ignore[arg-type]  # it is the source's own
    await message.bury(burial)
    (letter,) = await nats_broker.letters()
    assert letter == {
        "reason": "VALIDATION_FAILED",
        "message": "two lines",
        "deliveries": "3",
        "place": f"{STREAM}:1",
        "body": "1",
    }
    assert await nats_broker.outstanding() == 0
    await source.close()
