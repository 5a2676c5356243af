"""Several nodes of one process as one, over a bus that may lose what it carries."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from tradewire.adapters.memory import MemoryStore
from tradewire.adapters.memory.bus import MemoryBus, Wire
from tradewire.adapters.memory.cluster import Cell, MemoryCluster
from tradewire.domain.caller import Caller
from tradewire.domain.commands import (
    AddMembers,
    BlockUser,
    CreateConversation,
    GetConversation,
    GetOnlineStatus,
    GetTypingIndicators,
    SendMessage,
    SetTypingIndicator,
)
from tradewire.domain.errors import Blocked, Close, NotFound, Unavailable
from tradewire.domain.events import Reconnect
from tradewire.domain.ids import Clock
from tradewire.edge import cluster
from tradewire.edge.cluster import ClusterHub
from tradewire.edge.hub import Connection
from tradewire.edge.outbound import Outbound
from tradewire.protocol import nodes as protocol
from tradewire.protocol.frames import CODECS
from tradewire.protocol.rate import TokenBucket
from tradewire.protocol.session import Limits, Session
from tradewire.telemetry.metrics import Metrics
from tradewire.telemetry.tasks import Tasks
from tradewire.testing.clock import ManualClock
from tradewire.usecases import sending
from tradewire.usecases.context import CACHE_AGE_S, DOUBTFUL_AGE_S, Context
from tradewire.usecases.service import Service

TENANT = "default"
DEADLINE_S = 5.0


def caller(user_id: str) -> Caller:
    return Caller(TENANT, user_id, frozenset(), None, 2e9)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


class Socket:
    """A connected device: what it was sent, and from where it was resumed.

    It is the transport of its connection as well.
    """

    def __init__(self, hub: ClusterHub, user_id: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.resumed: list[int] = []
        self.closed: list[Close] = []
        codec = CODECS["chat.v1.json"]
        outbound = Outbound(self, codec, batch=False)
        limits = Limits(0, 0)
        session = Session(
            hub.new_session_id(), caller(user_id), codec, limits, TokenBucket(0, 0), now=0.0
        )
        self.connection = Connection(
            hub,
            session,
            "phone",
            outbound,
            self.closed.append,
            self.resumed.append,
        )
        outbound.release(Reconnect(after_ms=0))

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.told if event["type"] != "Reconnect"]

    def write(self, data: bytes) -> None:
        while data:
            size, head = data[1], 2
            if size == 126:
                size, head = int.from_bytes(data[2:4]), 4
            self.told.append(msgspec.json.decode(data[head : head + size]))
            data = data[head + size :]

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Node:
    """A node of a cell: its hub and its use cases, on a store that all share."""

    def __init__(
        self, number: int, cell: Cell, wire: Wire, store: MemoryStore, *, listens: bool = True
    ) -> None:
        self.tasks = Tasks(lambda name, error: None)
        self.wall = ManualClock()
        clock = Clock(self.wall, number)
        self.run = clock.next_id()
        self.number = number
        self.cell = cell
        self.cluster = MemoryCluster(cell, number, self.run)
        self.hub = ClusterHub(
            Metrics(),
            per_device=1,
            cluster=self.cluster,
            bus=MemoryBus(wire),
            clock=clock,
            tasks=self.tasks,
        )
        self.service = Service(Context(store, self.hub, clock))
        self.tasks.start("hub", self.hub.run(self.service.neighbours), forever=True)
        if listens:
            self.listen()

    def listen(self) -> None:
        self.tasks.start("bus", self.hub.listen(), forever=True)

    async def connect(self, user_id: str) -> Socket:
        socket = Socket(self.hub, user_id)
        self.hub.join(socket.connection)
        await self.hub.placed(socket.connection.user)
        return socket

    async def give(self, user_id: str, command: Any) -> Any:
        return await self.service.execute(caller(user_id), command)

    async def send(self, user_id: str, room: str, key: str | None = None) -> Any:
        command = SendMessage(conversation_id=room, text="hello", key=key)
        return await self.service.sending.send(caller(user_id), command)

    async def send_first(self, user_id: str, room: str, key: str) -> Any:
        """Send as the session does that minted the key."""
        command = SendMessage(conversation_id=room, text="hello", key=key)
        sending = self.service.sending
        admission = await sending.prepare(caller(user_id), command, fresh=True)
        stored = asyncio.get_running_loop().create_future()
        sending.append(caller(user_id), command, admission, stored.set_result, fresh=True)
        return await stored

    async def die(self) -> None:
        await self.tasks.stop(DEADLINE_S)
        self.cell.end(self.number)

    async def end(self) -> None:
        await self.tasks.stop(DEADLINE_S)
        await self.hub.stop()
        self.cell.end(self.number)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes look for one another a hundred times a second."""
    monkeypatch.setattr(cluster, "TURN_S", 0.01)
    monkeypatch.setattr(cluster, "SEEN_BY_ALL_S", 0.05)
    monkeypatch.setattr(cluster, "ROUTE_AGE_S", 0.02)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node counts as silent after 0.2 s."""
    monkeypatch.setattr(cluster, "SILENT_S", 0.2)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def nodes(wire: Wire) -> AsyncIterator[list[Node]]:
    """Three nodes that hear one another."""
    cell, store = Cell(), MemoryStore(ManualClock())
    made = [Node(number, cell, wire, store) for number in (1, 2, 3)]
    await until(lambda: len(wire.places) == 3)
    await until(lambda: all(heard_all(node) for node in made))
    yield made
    for node in made:
        await node.tasks.stop(DEADLINE_S)
    await store.close()


def heard_all(node: Node) -> bool:
    peers = node.hub._peers.values()
    return node.hub._missed is None and len(peers) == 2 and all(peer.sequence for peer in peers)


async def room_of(node: Node, *users: str) -> str:
    first, second = users
    made = await node.give(first, CreateConversation(user_id=second))
    room: str = made.conversation.conversation_id
    return room


async def test_who_is_on_another_node_is_told(nodes: list[Node]) -> None:
    one, two, _ = nodes
    bob = await two.connect("bob")
    room = await room_of(one, "alice", "bob")
    sent = await one.send("alice", room)
    await until(lambda: "MessageReceived" in bob.types)
    (message,) = [event["message"] for event in bob.told if event["type"] == "MessageReceived"]
    assert message["message_id"] == sent.message.message_id
    assert two.service.context.clock.next_id() > sent.message.id


async def test_a_node_without_its_users_is_not_told(nodes: list[Node]) -> None:
    one, two, three = nodes
    bob, eve = await two.connect("bob"), await three.connect("eve")
    room = await room_of(one, "alice", "bob")
    heard: list[Any] = []
    take = three.hub._take
    three.hub._take = lambda item, *rest: (heard.append(item), take(item, *rest))  # type: ignore[method-assign,func-returns-value,assignment]
    await one.send("alice", room)
    await until(lambda: "MessageReceived" in bob.types)
    assert eve.types == []
    assert not [item for item in heard if isinstance(item, protocol.Told)]


async def test_lost_records_are_made_up_for_from_the_store(nodes: list[Node], wire: Wire) -> None:
    one, two, _ = nodes
    bob = await two.connect("bob")
    room = await room_of(one, "alice", "bob")
    await until(lambda: bob.resumed)
    bob.resumed.clear()
    wire.lossy = True
    sent = await one.send("alice", room)
    await until(lambda: not one.hub._items)
    wire.lossy = False
    await until(lambda: bob.resumed)
    assert bob.resumed[0] < sent.message.id


@pytest.mark.usefixtures("impatient")
async def test_while_a_node_is_not_heard_its_messages_are_read_from_the_store_again_and_again(
    nodes: list[Node], wire: Wire
) -> None:
    bob = await nodes[1].connect("bob")
    await until(lambda: bob.resumed)
    bob.resumed.clear()
    wire.lossy = True
    await until(lambda: len(bob.resumed) >= 3)
    assert bob.resumed == sorted(bob.resumed)


@pytest.fixture
async def deaf(nodes: list[Node], wire: Wire) -> AsyncIterator[Node]:
    """A fourth node, which cannot listen yet."""
    node = Node(4, nodes[0].cell, wire, nodes[0].service.context.store, listens=False)  # type: ignore[arg-type]
    yield node
    await node.tasks.stop(DEADLINE_S)


@pytest.mark.usefixtures("impatient")
async def test_a_node_that_cannot_listen_yet_reads_from_the_store(deaf: Node) -> None:
    bob = await deaf.connect("bob")
    await until(lambda: len(bob.resumed) >= 3)


async def test_what_a_node_tells_before_and_after_it_listens_is_heard(
    nodes: list[Node], deaf: Node, wire: Wire
) -> None:
    bob = await nodes[0].connect("bob")
    room = await room_of(deaf, "alice", "bob")
    for _ in range(5):
        await deaf.send("alice", room)
        await until(lambda: not deaf.hub._items)
    deaf.listen()
    await until(lambda: deaf.number in wire.places)
    await deaf.send("alice", room)
    await until(lambda: bob.types.count("MessageReceived") == 6)


async def test_what_a_user_sends_comes_after_what_a_resume_told_though_clocks_differ(
    nodes: list[Node], wire: Wire
) -> None:
    one, two, _ = nodes
    room = await room_of(one, "alice", "bob")
    wire.lossy = True
    one.wall.advance(2_000)
    first = await one.send("alice", room)
    await two.service.resume.missed(caller("alice"), 0)
    second = await two.send("alice", room)
    assert second.message.id > first.message.id


async def test_who_is_told_of_a_membership_by_a_resume_may_read_the_conversation(
    nodes: list[Node], wire: Wire
) -> None:
    one, two, _ = nodes
    made = await one.give("alice", CreateConversation(kind="group", title="lamps"))
    room = made.conversation.conversation_id
    await two.give("alice", GetConversation(conversation_id=room))
    wire.lossy = True
    await one.give("alice", AddMembers(conversation_id=room, user_ids=["carol"]))
    with pytest.raises(NotFound):
        await two.give("carol", GetConversation(conversation_id=room))
    await two.service.resume.missed(caller("carol"), 0)
    await two.give("carol", GetConversation(conversation_id=room))


async def test_a_node_that_died_is_made_up_for(nodes: list[Node]) -> None:
    one, two, _ = nodes
    bob = await two.connect("bob")
    await until(lambda: bob.resumed)
    bob.resumed.clear()
    moment = one.service.context.clock.next_id()
    await one.die()
    await until(lambda: bob.resumed)
    assert bob.resumed[0] <= moment + (1 << 22)


async def test_a_node_that_ends_in_good_order_leaves_nothing_to_make_up_for(
    nodes: list[Node],
) -> None:
    one, two, three = nodes
    bob = await two.connect("bob")
    await until(lambda: bob.resumed)
    bob.resumed.clear()
    await one.end()
    await until(lambda: one.run not in two.hub._peers)
    room = await room_of(three, "alice", "bob")
    await three.send("alice", room)
    await until(lambda: "MessageReceived" in bob.types)
    assert bob.resumed == []


async def test_who_comes_is_resumed_once_more_when_all_know(nodes: list[Node]) -> None:
    before = nodes[1].service.context.clock.next_id()
    bob = await nodes[1].connect("bob")
    again = await nodes[1].connect("bob")
    await until(lambda: again.resumed)
    assert len(again.resumed) == 1
    assert again.resumed[0] > before
    assert bob.connection not in nodes[1].hub.of_user((TENANT, "bob"))


async def test_who_is_added_is_resumed_for_nodes_that_had_not_heard_of_it(
    nodes: list[Node],
) -> None:
    one, two, _ = nodes
    carol = await two.connect("carol")
    await until(lambda: carol.resumed)
    carol.resumed.clear()
    made = await one.give(
        "alice", CreateConversation(kind="group", title="lamps", member_ids=["bob"])
    )
    added = AddMembers(conversation_id=made.conversation.conversation_id, user_ids=["carol"])
    await one.give("alice", added)
    await until(lambda: carol.resumed)


async def test_who_comes_while_another_node_lives_is_resumed_also_when_that_has_ended(
    nodes: list[Node],
) -> None:
    one, two, three = nodes
    bob = await two.connect("bob")
    await one.end()
    await three.end()
    await until(lambda: bob.resumed)


async def test_who_is_on_a_node_that_began_anew_is_resumed_once_more_when_all_know(
    nodes: list[Node],
) -> None:
    bob = await nodes[1].connect("bob")
    await until(lambda: bob.resumed)
    bob.resumed.clear()
    cluster_ = nodes[1].cluster
    cluster_.run = nodes[1].service.context.clock.next_id()
    nodes[1].cell.living[cluster_.node] = cluster_.run
    await until(lambda: len(bob.resumed) >= 2)


async def test_who_comes_to_a_node_that_is_alone_is_not(wire: Wire) -> None:
    store = MemoryStore(ManualClock())
    node = Node(1, Cell(), wire, store)
    await until(lambda: wire.places)
    running = len(node.tasks)
    bob = await node.connect("bob")
    assert len(node.tasks) > running
    await until(lambda: len(node.tasks) == running)
    assert bob.resumed == []
    await node.tasks.stop(DEADLINE_S)
    await store.close()


async def test_a_block_on_one_node_is_known_on_the_others(nodes: list[Node]) -> None:
    one, two, _ = nodes
    room = await room_of(one, "alice", "bob")
    await two.send("bob", room)
    assert two.service.context.blocks.peek((TENANT, "bob")) == frozenset()
    await one.give("alice", BlockUser(user_id="bob"))
    await until(lambda: two.service.context.blocks.peek((TENANT, "bob")) is None)
    with pytest.raises(Exception, match="block"):
        await two.send("bob", room)


@pytest.mark.usefixtures("impatient")
async def test_nodes_that_are_not_heard_make_caches_short_lived(
    nodes: list[Node], wire: Wire
) -> None:
    context = nodes[1].service.context
    wire.lossy = True
    await until(lambda: context.access.age_s == DOUBTFUL_AGE_S)
    wire.lossy = False
    await until(lambda: context.access.age_s == CACHE_AGE_S)


async def check_that_a_retry_waits(alice: Socket, room: str, first: Node, second: Node) -> None:
    """A send of alice's session on one node, retried on another at once, is stored once."""
    key = f"{alice.connection.session_id}:1"
    sent = asyncio.create_task(first.send_first("alice", room, key))
    again = await second.send("alice", room, key)
    assert again.duplicate
    assert again.message.message_id == (await sent).message.message_id
    assert alice.closed == [Close.RESTART]


async def test_a_retry_on_another_node_waits_for_what_the_first_had_begun(
    nodes: list[Node],
) -> None:
    one, two, _ = nodes
    alice = await one.connect("alice")
    room = await room_of(one, "alice", "bob")
    await check_that_a_retry_waits(alice, room, one, two)


async def test_a_retry_that_comes_from_a_node_that_has_just_begun_waits_for_it(
    nodes: list[Node], deaf: Node
) -> None:
    two = nodes[1]
    two.hub._cluster.look_away()  # type: ignore[attr-defined]
    del two.hub._cluster._seen[deaf.number]  # type: ignore[attr-defined]
    deaf.listen()
    alice = await deaf.connect("alice")
    room = await room_of(nodes[0], "alice", "bob")
    await check_that_a_retry_waits(alice, room, deaf, two)


async def test_a_store_that_cannot_be_asked_which_nodes_live_fails_the_retry(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = nodes
    monkeypatch.setattr(sending, "COMMIT_DEADLINE_S", 0.2)
    monkeypatch.setattr(cluster, "UNSETTLED_S", 0.05)
    alice = await one.connect("alice")
    room = await room_of(one, "alice", "bob")
    key = f"{alice.connection.session_id}:1"

    async def fail() -> None:
        raise Unavailable

    monkeypatch.setattr(two.hub._cluster, "look", fail)
    with pytest.raises(Unavailable):
        await two.send("alice", room, key)
    monkeypatch.undo()
    assert not (await two.send("alice", room, key)).duplicate


async def test_who_may_have_missed_something_late_is_resumed_on_every_node(
    nodes: list[Node],
) -> None:
    one, two, _ = nodes
    alice, bob, carol = [
        await node.connect(user) for node, user in ((one, "alice"), (two, "bob"), (two, "carol"))
    ]
    await until(lambda: alice.resumed and bob.resumed and carol.resumed)
    carol.resumed.clear()
    since = one.service.context.clock.next_id()
    one.hub.resume([(TENANT, "alice"), (TENANT, "bob")], since)
    assert alice.resumed[-1] == since
    await until(lambda: bob.resumed[-1] == since)
    assert carol.resumed == []


async def test_two_nodes_that_retry_a_key_at_once_store_it_once(nodes: list[Node]) -> None:
    one, two, three = nodes
    alice = await one.connect("alice")
    room = await room_of(one, "alice", "bob")
    for number in range(20):
        key = f"{alice.connection.session_id}:{number}"
        for node in nodes:
            node.hub._settled.clear()
        results = await asyncio.gather(two.send("alice", room, key), three.send("alice", room, key))
        assert sorted(result.duplicate for result in results) == [False, True]


async def test_a_node_that_does_not_answer_for_its_session_is_not_waited_for_for_ever(
    nodes: list[Node], wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SETTLED_S", 0.1)
    one, two, _ = nodes
    alice = await one.connect("alice")
    room = await room_of(one, "alice", "bob")
    wire.lossy = True
    sent = await two.send("alice", room, f"{alice.connection.session_id}:1")
    assert not sent.duplicate


async def test_typing_and_presence_are_known_on_the_other_node(nodes: list[Node]) -> None:
    one, two, _ = nodes
    alice, bob = await one.connect("alice"), await two.connect("bob")
    room = await room_of(one, "alice", "bob")
    await one.give("alice", SetTypingIndicator(conversation_id=room, typing=True))
    await until(lambda: "TypingStarted" in bob.types)
    typing = await two.give("bob", GetTypingIndicators(conversation_id=room))
    assert typing.user_ids == ["alice"]
    seen = await two.give("bob", GetOnlineStatus(user_ids=["alice", "carol"]))
    assert [status.status for status in seen.statuses] == ["online", "offline"]
    bob.connection.watch(["alice"])
    one.hub.leave(alice.connection)
    await one.hub.placed((TENANT, "alice"))
    await one.service.presence.refresh(TENANT, "alice")
    seen = await two.give("bob", GetOnlineStatus(user_ids=["alice"]))
    assert [status.status for status in seen.statuses] == ["offline"]


async def test_who_moves_to_another_node_has_not_gone(nodes: list[Node]) -> None:
    one, two, three = nodes
    bob = await three.connect("bob")
    bob.connection.watch(["alice"])
    first = await one.connect("alice")
    await one.service.presence.refresh(TENANT, "alice")
    await until(lambda: bob.types == ["UserOnline"])
    second = await two.connect("alice")
    await two.service.presence.refresh(TENANT, "alice")
    one.hub.leave(first.connection)
    await one.hub.placed((TENANT, "alice"))
    await one.service.presence.refresh(TENANT, "alice")
    two.hub.leave(second.connection)
    await two.hub.placed((TENANT, "alice"))
    await two.service.presence.refresh(TENANT, "alice")
    await until(lambda: bob.types[-1] == "UserOffline")
    assert bob.types == ["UserOnline", "UserOffline"]


async def test_comings_that_were_not_heard_are_told_later(nodes: list[Node], wire: Wire) -> None:
    one, two, _ = nodes
    bob = await two.connect("bob")
    bob.connection.watch(["alice"])
    wire.lossy = True
    await one.connect("alice")
    await one.service.presence.refresh(TENANT, "alice")
    await until(lambda: not one.hub._items)
    wire.lossy = False
    await until(lambda: "UserOnline" in bob.types)
    assert not [event for event in bob.told if event.get("user_id") not in (None, "alice")]


async def test_the_users_of_a_node_that_died_are_told_as_gone(nodes: list[Node]) -> None:
    one, two, three = nodes
    bob, eve = await two.connect("bob"), await two.connect("eve")
    await two.give("eve", BlockUser(user_id="alice"))
    for watcher in (bob, eve):
        watcher.connection.watch(["alice", "carol"])
    for node, user in ((one, "alice"), (three, "carol")):
        await node.connect(user)
        await node.service.presence.refresh(TENANT, user)
    await until(lambda: bob.types.count("UserOnline") >= 2)
    assert set(bob.types) == {"UserOnline"}
    await one.die()
    await until(lambda: "UserOffline" in bob.types)
    (gone,) = [event["user_id"] for event in bob.told if event["type"] == "UserOffline"]
    assert gone == "alice"
    await until(lambda: eve.types.count("UserOnline") >= 2)
    assert "UserOffline" not in eve.types


async def test_a_change_that_was_not_heard_is_not_hidden_by_what_is_cached(
    nodes: list[Node], wire: Wire
) -> None:
    one, two, _ = nodes
    room = await room_of(one, "alice", "bob")
    await two.send("bob", room)
    wire.lossy = True
    await one.give("alice", BlockUser(user_id="bob"))
    await until(lambda: not one.hub._items)
    wire.lossy = False
    await until(lambda: two.service.context.blocks.peek((TENANT, "bob")) is None)
    with pytest.raises(Blocked):
        await two.send("bob", room)
