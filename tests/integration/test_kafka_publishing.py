"""Domain events that go out by Kafka (protocol §7): all of them, in order, whatever fails."""

import asyncio
import json
import statistics
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tests.e2e.devices import Device, connected, direct, group, say
from tests.e2e.harness import DEADLINE_S, Server, serving
from tests.e2e.marketplace import cloud_event, order_created
from tests.e2e.places import Place, embedded
from tests.engines import Keyspace
from tests.kafka import Bus, bus_on, eventually, headers_of, message_ids, type_of
from tradewire.adapters.kafka.options import Options
from tradewire.adapters.kafka.publisher import KafkaPublisher
from tradewire.adapters.kafka.topics import make_topics
from tradewire.adapters.scylla.store import ScyllaStore
from tradewire.domain.errors import Unavailable
from tradewire.domain.ids import id_ms
from tradewire.domain.outbox import DomainEvent
from tradewire.testing.engines import kafka

SCHEMAS = Path(__file__).parents[2] / "schemas" / "events"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return embedded(tmp_path)


async def told(bus: Bus, sent: list[str]) -> None:
    """Wait until just these messages are published, in this order, repetitions aside."""

    async def complete() -> bool:
        return list(dict.fromkeys(message_ids(await bus.published()))) == sent

    await eventually(complete, f"{len(sent)} messages are published in order")


async def test_what_happens_is_published_as_its_schema_says(bus: Bus, place: Place) -> None:
    async with serving(place, **bus.environ) as server, connected(server, "alice") as alice:
        conversation = await group(alice, "bob")
        about = {"conversation_id": conversation}
        (message,) = await say(alice, conversation, "one")
        async with connected(server, "bob") as bob:
            await bob.ask("MarkMessagesAsDelivered", **about, up_to=message)
            await bob.ask("MarkMessagesAsRead", **about, up_to=message)
        await alice.ask("EditMessage", **about, message_id=message, text="two")
        await alice.ask("UpdateConversation", **about, title="Club")
        await alice.ask("AddMembers", **about, user_ids=["carol"])
        await alice.ask("RemoveMember", **about, user_id="carol")
        await alice.ask("DeleteMessage", **about, message_id=message)

        async def complete() -> bool:
            # Of comings and goings too: they are in partitions of their own, which may come later.
            return len(await bus.records("chat.events.v1")) == 12

        await eventually(complete, "all events are published")
    records = await bus.records("chat.events.v1")
    types = {
        key: [type_of(record) for record in records if record.key.decode() == key]
        for key in (conversation, "alice", "bob")
    }
    assert types[conversation] == [
        "ConversationCreated", "MessageSent", "MessageDelivered", "MessageRead", "MessageEdited",
        "ConversationUpdated", "MemberAdded", "MemberRemoved", "MessageDeleted",
    ]  # fmt: skip
    assert types["alice"][:1] == ["UserOnline"]  # She leaves before the records are read again.
    assert types["bob"] == ["UserOnline", "UserOffline"]
    for record in records:
        headers = headers_of(record)
        schema = json.loads((SCHEMAS / f"{headers['ce_type']}.json").read_text())
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(
            json.loads(record.value)
        )
        assert record.key.decode() == headers["ce_subject"]
        assert headers["ce_source"] == f"/tradewire/{place.cell}"
        assert (headers["ce_specversion"], headers["content-type"]) == ("1.0", "application/json")


async def test_batches_are_cut_and_keys_are_placed_as_other_clients_place_them(bus: Bus) -> None:
    host, _, port = bus.brokers.partition(":")
    options = Options(
        brokers=((host, int(port)),),
        topic_prefix=bus.prefix,
        replication_factor=1,
        partitions=5,
        batch_bytes=16_384,
    )
    await make_topics(options)
    keys = [f"key-{number}" for number in range(9)]
    for key in keys:
        await bus.put("chat.events.v1", key, b"by another client")
    partition_of = {r.key.decode(): r.partition for r in await bus.records("chat.events.v1")}
    publisher = KafkaPublisher(options, "/tradewire/here")
    events = [
        DomainEvent(number, "default", "MessageDeleted", keys[number % 9], {"text": "x" * 1_000})
        for number in range(1, 1_001)
    ]
    try:
        await publisher.publish(events)
    finally:
        await publisher.close()
    told: dict[str, list[int]] = {key: [] for key in keys}
    for record in await bus.records("chat.events.v1"):
        assert record.partition == partition_of[record.key.decode()]
        if record.value != b"by another client":
            told[record.key.decode()].append(int(headers_of(record)["ce_id"]))
    assert told == {key: [event.id for event in events if event.subject == key] for key in keys}


async def test_a_node_goes_on_where_the_last_one_stopped(bus: Bus, place: Place) -> None:
    sent: list[str] = []
    for text in ("before", "after"):
        async with serving(place, **bus.environ) as server, connected(server, "alice") as alice:
            sent += await say(alice, await direct(alice, "bob"), text)
            await told(bus, sent)
    assert message_ids(await bus.published()) == sent


async def test_what_was_written_without_kafka_is_published_later(bus: Bus, place: Place) -> None:
    async with serving(place) as server, connected(server, "alice") as alice:
        sent = await say(alice, await direct(alice, "bob"), *map(str, range(20)))
    async with serving(place, **bus.environ):
        await told(bus, sent)


async def test_sends_go_on_without_kafka_and_are_published_when_it_is_back(place: Place) -> None:
    with kafka(quick=True, kinds=("process",)) as engine:
        async with AsyncExitStack() as stack:
            bus = await stack.enter_async_context(bus_on(engine.brokers))
            server = await stack.enter_async_context(serving(place, **bus.environ))
            alice = await stack.enter_async_context(connected(server, "alice"))
            conversation = await direct(alice, "bob")
            sent = await say(alice, conversation, "before")
            await told(bus, sent)
            await asyncio.to_thread(engine.kill)
            sent += await say(alice, conversation, *map(str, range(20)))
            await eventually(lambda: away(server.url), "the node says that Kafka is away")
            sent += await say(alice, conversation, "still away")
            await asyncio.to_thread(engine.start)
            await told(bus, sent)
            sent += await say(alice, conversation, "after")
            await told(bus, sent)
            order = order_created("o-1", items=["p-1"], buyer_id="alice")
            await bus.tell("commerce.orders.v1", "o-1", cloud_event("OrderCreated", **order))
            await alice.hear("OrderLinked")


async def test_a_node_starts_without_kafka(place: Place) -> None:
    environ = {"KAFKA_BROKERS": "127.0.0.1:1"}
    async with serving(place, **environ) as server, connected(server, "alice") as alice:
        await say(alice, await direct(alice, "bob"), "hi")
        assert await away(server.url)


async def away(url: str) -> bool:
    """Whether a node says that it is ready, and that Kafka is away."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as answer:
        told = await answer.json()
    assert (answer.status, told["ready"]) == (200, True)
    return bool(told["checks"]["kafka"] != "ok")


@pytest.fixture
def shared(lent_keyspace: Keyspace, tmp_path: Path) -> Place:
    """A cell of this test on the cluster."""
    own = uuid4().hex[:12]
    return Place({**lent_keyspace.environ, "DATA_DIR": str(tmp_path)}, f"cell-{own}", f"-{own}")


async def test_two_nodes_publish_everything_once_in_the_order_of_conversations(
    bus: Bus, shared: Place
) -> None:
    async with AsyncExitStack() as stack:
        devices: list[Device] = []
        for user in ("alice", "bob"):
            server = await stack.enter_async_context(serving(shared, **bus.environ))
            devices.append(await stack.enter_async_context(connected(server, user)))
        await told(bus, await say(devices[0], await direct(devices[0], "dave"), "it has begun"))
        rooms = [await direct(devices[0], peer) for peer in ("bob", "carol")]
        sent: dict[str, list[str]] = {room: [] for room in rooms}
        for number in range(20):
            sent[rooms[0]] += await say(devices[number % 2], rooms[0], str(number))
            sent[rooms[1]] += await say(devices[0], rooms[1], str(number))

        async def complete() -> bool:
            return len(message_ids(await bus.published())) == 41

        await eventually(complete, "all is published")
    records = await bus.published()
    for room, messages in sent.items():
        assert message_ids([each for each in records if each.key.decode() == room]) == messages
    late_ms = [
        record.timestamp - id_ms(int(headers_of(record)["ce_id"]))
        for record in records
        if type_of(record) == "MessageSent"
    ]
    assert statistics.median(late_ms) < 500


async def test_a_leader_that_dies_is_followed_by_the_other(bus: Bus, shared: Place) -> None:
    environ = {**bus.environ, "NODE_LEASE_SECONDS": "2"}
    async with (
        serving(shared, **environ) as leader,
        connected(leader, "alice") as alice,
        serving(shared, **environ) as other,
        connected(other, "bob") as bob,
    ):
        conversation = await direct(alice, "bob")
        sent = await say(alice, conversation, "before")
        await told(bus, sent)
        await die(leader)
        sent += await say(bob, conversation, *map(str, range(5)))
        await told(bus, sent)


async def die(server: Server) -> None:
    """End as a killed process does: without a word to the store or to Kafka."""
    node = server.node
    assert isinstance(node._store, ScyllaStore)
    assert node._store.relay._lease.held
    await node._store._tasks.stop(DEADLINE_S)
    node._store.engine.on_statement = refuse
    await node._duties.stop(DEADLINE_S)


def refuse(_: str) -> None:
    raise Unavailable
