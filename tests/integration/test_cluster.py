"""Two nodes on one keyspace that Kafka makes one: whoever is on either hears the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from tests.e2e.harness import Server, serving
from tests.e2e.marketplace import cloud_event, order_created
from tests.e2e.places import Place
from tests.engines import Keyspace
from tradewire.client import Client, CommandError
from tradewire.testing.engines import Kafka

DEADLINE_S = 20.0
BURST = 40

pytestmark = pytest.mark.asyncio(loop_scope="module")


class User:
    """A connected client, and all that it has heard."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    async def listen(self) -> None:
        async for event in self.client.events():
            self.heard.append(event)
            self._more.set()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What was heard of one type."""
        return [event for event in self.heard if event["type"] == kind]

    async def hears(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many of a type were heard."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self.of(kind)) < count:
                self._more.clear()
                await self._more.wait()
        return self.of(kind)

    async def hears_of(self, sender: str, count: int) -> list[int]:
        """The ids of so many messages of a user, as they were heard. A resume, which comes after
        every connect to a node, repeats the user's own as well.
        """

        def ids() -> list[int]:
            messages = [event["message"] for event in self.of("MessageReceived")]
            return [int(each["message_id"]) for each in messages if each["sender_id"] == sender]

        async with asyncio.timeout(DEADLINE_S):
            while len(ids()) < count:
                self._more.clear()
                await self._more.wait()
        return ids()

    async def ask(self, command: str, **fields: Any) -> Any:
        return await self.client.request(command, **fields)


class Cell:
    """Two nodes, and who is connected to them."""

    def __init__(self, servers: list[Server], stack: AsyncExitStack, place: Place) -> None:
        self.servers = servers
        self.place = place
        self._stack = stack

    async def connect(self, user: str, node: int, **options: Any) -> User:
        client = await self._stack.enter_async_context(self.servers[node].client(user, **options))
        connected = User(client)
        listening = asyncio.create_task(connected.listen())
        self._stack.callback(listening.cancel)
        return connected


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(
    keyspace: Keyspace, kafka_engine: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Server]]:
    """Two nodes of a cell on the engines of all tests."""
    own = uuid4().hex[:12]
    kafka = {
        "KAFKA_BROKERS": kafka_engine.brokers,
        "KAFKA_REPLICATION_FACTOR": "1",
        "KAFKA_PARTITIONS": "2",
        "KAFKA_TOPIC_PREFIX": f"{own}.",
    }
    data = {"DATA_DIR": str(tmp_path_factory.mktemp("data"))}
    place = Place({**keyspace.environ, **kafka, **data}, f"cell-{own}", f"-{own}")
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(place)) for _ in range(2)]


@pytest_asyncio.fixture(loop_scope="module")
async def cell(servers: list[Server]) -> AsyncIterator[Cell]:
    """The nodes for one test, whose users are its own."""
    async with AsyncExitStack() as stack:
        yield Cell(servers, stack, servers[0].place)


def users(*names: str) -> list[str]:
    """Names that no other test has."""
    own = uuid4().hex[:8]
    return [f"{name}-{own}" for name in names]


async def direct(one: User, other: str) -> str:
    made = await one.ask("CreateConversation", user_id=other)
    room: str = made["conversation"]["conversation_id"]
    return room


async def test_users_on_two_nodes_hear_each_other_in_one_order(cell: Cell) -> None:
    alice_id, bob_id = users("alice", "bob")
    alice, bob = await cell.connect(alice_id, 0), await cell.connect(bob_id, 1)
    room = await direct(alice, bob_id)
    await bob.hears("ConversationCreated")

    async def talk(user: User) -> list[int]:
        sent = [await user.client.send(room, f"{n}") for n in range(BURST)]
        return [int(each["message"]["message_id"]) for each in sent]

    by_alice, by_bob = await asyncio.gather(talk(alice), talk(bob))
    assert await bob.hears_of(alice_id, BURST) == by_alice
    assert await alice.hears_of(bob_id, BURST) == by_bob
    page = await bob.ask("GetMessages", conversation_id=room, limit=200)
    stored = [int(message["message_id"]) for message in page["messages"]]
    assert stored == sorted(by_alice + by_bob)


async def test_an_answer_sorts_after_what_it_answers(cell: Cell) -> None:
    alice_id, bob_id = users("alice", "bob")
    alice, bob = await cell.connect(alice_id, 0), await cell.connect(bob_id, 1)
    room = await direct(alice, bob_id)
    for number in range(1, 6):
        asked = await alice.client.send(room, "question")
        await bob.hears("MessageReceived", number)
        answered = await bob.client.send(room, "answer")
        await alice.hears("MessageReceived", number)
        assert int(answered["message"]["message_id"]) > int(asked["message"]["message_id"])


async def test_typing_receipts_and_presence_cross(cell: Cell) -> None:
    alice_id, bob_id = users("alice", "bob")
    alice = await cell.connect(alice_id, 0)
    await alice.ask("WatchPresence", user_ids=[bob_id])
    bob = await cell.connect(bob_id, 1)
    assert (await alice.hears("UserOnline"))[0]["user_id"] == bob_id
    async with asyncio.timeout(DEADLINE_S):
        while await status(alice, bob_id) != "online":
            await asyncio.sleep(0.05)
    room = await direct(alice, bob_id)
    await bob.ask("SetTypingIndicator", conversation_id=room, typing=True)
    assert (await alice.hears("TypingStarted"))[0]["user_id"] == bob_id
    sent = await alice.client.send(room, "hello")
    await bob.ask("MarkMessagesAsRead", conversation_id=room, all=True)
    assert (await alice.hears("MessageRead"))[0]["up_to"] == sent["message"]["message_id"]
    await bob.client.close()
    assert (await alice.hears("UserOffline"))[0]["user_id"] == bob_id


async def status(user: User, of: str) -> str:
    [found] = (await user.ask("GetOnlineStatus", user_ids=[of]))["statuses"]
    shown: str = found["status"]
    return shown


async def test_a_change_on_one_node_holds_on_the_other(cell: Cell) -> None:
    alice_id, bob_id, carol_id = users("alice", "bob", "carol")
    alice, bob = await cell.connect(alice_id, 0), await cell.connect(bob_id, 1)
    carol = await cell.connect(carol_id, 1)
    made = await alice.ask(
        "CreateConversation", kind="group", title="lamps", member_ids=[bob_id, carol_id]
    )
    room = made["conversation"]["conversation_id"]
    await carol.hears("ConversationCreated")
    await carol.client.send(room, "hello")
    await alice.ask("RemoveMember", conversation_id=room, user_id=carol_id)
    await bob.hears("MemberRemoved")
    with pytest.raises(CommandError) as caught:
        await carol.client.send(room, "still here")
    assert caught.value.code == "not_found"
    own = await direct(alice, bob_id)
    await bob.client.send(own, "hello")
    await alice.ask("BlockUser", user_id=bob_id)
    async with asyncio.timeout(DEADLINE_S):
        while await may_send(bob, own):
            await asyncio.sleep(0.05)


async def may_send(user: User, room: str) -> bool:
    try:
        await user.client.send(room, "hello")
    except CommandError as error:
        if error.code != "blocked":
            raise
        return False
    return True


async def test_a_key_that_is_sent_again_through_the_other_node_is_there_once(cell: Cell) -> None:
    alice_id, bob_id = users("alice", "bob")
    alice, bob = await cell.connect(alice_id, 1), await cell.connect(bob_id, 1)
    room = await direct(alice, bob_id)
    results = []
    for number in range(20):
        # The connection breaks as soon as the message is on its way, perhaps before it is read.
        async with cell.servers[0].socket(alice_id) as socket:
            session = (await socket.receive_json())["session_id"]
            command = {"conversation_id": room, "key": f"{session}:1", "text": f"{number}"}
            await socket.send_json({"type": "SendMessage", "id": 1, **command})
            results.append(await alice.client.send(**command))  # type: ignore[arg-type]
    page = await bob.ask("GetMessages", conversation_id=room)
    assert [message["text"] for message in page["messages"]] == [str(n) for n in range(20)]
    stored = [message["message_id"] for message in page["messages"]]
    assert [result["message"]["message_id"] for result in results] == stored
    assert sorted(await bob.hears_of(alice_id, 20)) == [int(each) for each in stored]


async def test_an_order_appears_once_on_both_nodes_however_often_it_is_sent(
    cell: Cell, kafka_engine: Kafka
) -> None:
    buyer_id, seller_id = users("buyer", "seller")
    buyer, seller = await cell.connect(buyer_id, 0), await cell.connect(seller_id, 1)
    order = order_created(uuid4().hex, items=["p-1"], buyer_id=buyer_id, seller_id=seller_id)
    event = cloud_event("OrderCreated", **order) | {"tenant": cell.place.tenant("default")}
    prefix = cell.place.environ["KAFKA_TOPIC_PREFIX"]
    headers = [("content-type", b"application/cloudevents+json")]
    async with AIOKafkaProducer(bootstrap_servers=kafka_engine.brokers) as producer:
        for _ in range(3):
            await producer.send_and_wait(
                f"{prefix}commerce.orders.v1",
                msgspec.json.encode(event),
                key=order["order_id"].encode(),
                headers=headers,
            )
        status = cloud_event(
            "OrderStatusChanged", order_id=order["order_id"], status="paid",
            changed_at="2026-11-20T10:00:00.000Z",
        ) | {"tenant": cell.place.tenant("default")}  # fmt: skip
        await producer.send_and_wait(
            f"{prefix}commerce.orders.v1",
            msgspec.json.encode(status),
            key=order["order_id"].encode(),
            headers=headers,
        )
    for user in (buyer, seller):
        # The last of its key: whatever the repetitions of the first did has been heard before it.
        await user.hears("OrderUpdated")
        [linked] = user.of("OrderLinked")
        assert linked["order"]["order_id"] == order["order_id"]
        kinds = [each["message"]["content_type"] for each in user.of("MessageReceived")]
        assert kinds[:1] == ["order"]
        assert kinds.count("order") == 1
