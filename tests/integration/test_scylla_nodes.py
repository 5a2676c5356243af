"""Several nodes on one keyspace: node numbers, what a dead one leaves, what a frozen one may do."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.engines import Keyspace
from tradewire.adapters.scylla.lease import Lease
from tradewire.adapters.scylla.store import ScyllaStore
from tradewire.domain.errors import Unavailable
from tradewire.domain.ids import Clock, id_at, node_of
from tradewire.domain.outbox import DomainEvent
from tradewire.ports import Late
from tradewire.testing.store_contract import Shop

LEASE_S = 4.0
DEADLINE_S = 30.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Node:
    """A store as a node of its own has it."""

    def __init__(self, keyspace: Keyspace, cell: str = "nodes") -> None:
        self.cell = cell
        self.clock = Clock(now_ms)
        self.late: list[Late] = []
        self.store = ScyllaStore(
            keyspace.options,
            cell=cell,
            clock=self.clock,
            lease_s=LEASE_S,
            on_late=self.late.append,
        )
        self.shop = Shop(self.store, now_ms, cell)  # type: ignore[arg-type]  # time that passes
        self.shop.ids = self.clock

    async def log(self, after: int = 0, limit: int = 100) -> list[DomainEvent]:
        """All events of the log above an id, read page by page."""
        found: list[DomainEvent] = []
        while page := await self.store.journal.events(found[-1].id if found else after, limit):
            found += page
        return found

    async def die(self) -> None:
        """End as a killed process does: in the middle of everything, without a word."""
        await self.store._tasks.stop(DEADLINE_S)

    def stop_at(self, statement: str) -> None:
        """From now on, nothing of this kind reaches the cluster."""

        def refuse(name: str) -> None:
            if name == statement:
                raise Unavailable

        self.store.engine.on_statement = refuse


Start = Callable[[], Awaitable[Node]]


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_S} s: {what}") from None


async def finished(node: Node) -> bool:
    """Whether every run but that of this node is over."""
    rows = await node.store.engine.rows("RUNS", node.cell)
    assert node.store._run is not None
    return all(row[4] is not None for row in rows if row[0] != node.store._run.run)


async def test_each_node_has_a_number_of_its_own(start: Start) -> None:
    nodes = [await start() for _ in range(3)]
    numbers = [node_of(node.clock.next_id()) for node in nodes]
    assert len(set(numbers)) == len(nodes)


async def test_a_clock_that_is_behind_follows_those_of_other_nodes(start: Start) -> None:
    one, other = await start(), await start()
    one.clock.observe(id_at(now_ms() + 60_000))
    ahead = one.clock.next_id()

    async def follows() -> bool:
        return other.clock.next_id() > ahead

    await eventually(follows, "the clock follows")


async def test_what_one_node_writes_the_other_reads(start: Start) -> None:
    one, other = await start(), await start()
    conversation = await one.shop.direct()
    await one.shop.send(conversation, "alice", "from one")
    await other.shop.send(conversation, "bob", "from the other")
    for node in (one, other):
        assert await node.shop.texts(conversation) == ["from one", "from the other"]
        assert await node.shop.unread("alice") == {conversation: 1}


async def test_a_key_is_known_on_every_node(start: Start) -> None:
    one, other = await start(), await start()
    conversation = await one.shop.direct()
    first = await one.shop.send(conversation, key="k")
    again = (await other.shop.write(other.shop.message(conversation, key="k")))[0]
    assert again.duplicate
    assert again.message.message_id == first.message_id


async def test_the_log_is_one_for_all_nodes(start: Start) -> None:
    one, other = await start(), await start()
    conversation = await one.shop.direct()
    sent = [
        (await node.shop.send(conversation, text=str(n))).id
        for n, node in enumerate((one, other, one, other))
    ]

    async def complete() -> bool:
        events = await one.store.journal.events(0, 100)
        ids = [event.id for event in events if event.type == "MessageSent"]
        assert ids == sorted(sent)[: len(ids)]
        return len(ids) == len(sent)

    await eventually(complete, "all events are told")


async def test_a_group_that_a_dead_node_left_becomes_visible_and_is_announced(
    start: Start,
) -> None:
    dying, heir = await start(), await start()
    conversation = await dying.shop.direct()
    before = await heir.store.journal.newest_id()
    dying.stop_at("BATCH")
    lost = dying.shop.message(conversation, text="durable, not visible", key="k")
    dying.shop.append(lost)
    await eventually(lambda: _outbox_has(heir, dying), "the outbox row is there")
    await dying.die()
    assert await heir.shop.texts(conversation) == []
    younger = await heir.shop.send(conversation, "bob", "younger")
    await eventually(lambda: finished(heir), "the run is finished")
    assert await heir.shop.texts(conversation) == ["durable, not visible", "younger"]
    [late] = heir.late
    assert late.since > younger.id
    assert late.conversations == ((heir.shop.tenant, conversation),)
    assert late.blocks == ()
    assert {user for _, user in late.users} == {"alice", "bob"}
    assert await told_late(heir, younger.id) == [lost.message.message_id]
    sent = [
        event.id
        for event in await heir.store.journal.events(before, 100)
        if event.type == "MessageSent"
    ]
    assert sent == [lost.message.id, younger.id]


async def test_what_was_sent_again_meanwhile_is_not_made_visible_twice(start: Start) -> None:
    dying, heir = await start(), await start()
    conversation = await dying.shop.direct()
    dying.stop_at("BATCH")
    dying.shop.append(dying.shop.message(conversation, text="once", key="k"))
    await eventually(lambda: _outbox_has(heir, dying), "the outbox row is there")
    await dying.die()
    again = await heir.shop.send(conversation, text="once", key="k")
    await eventually(lambda: finished(heir), "the run is finished")
    [shown] = await heir.store.messages.after(heir.shop.tenant, conversation, 0, 10)
    assert shown.message_id == again.message_id
    assert await told_late(heir, 0) == []
    events = await heir.store.journal.events(0, 100)
    assert [event.id for event in events if event.type == "MessageSent"] == [again.id]


async def test_a_run_that_ended_in_good_order_needs_nobody(start: Start) -> None:
    one, other = await start(), await start()
    conversation = await one.shop.direct()
    await one.shop.send(conversation)
    await one.store.close()
    assert await finished(other)
    events = await other.store.journal.events(0, 10)
    assert [event.type for event in events] == ["ConversationCreated", "MessageSent"]


async def test_a_node_that_lost_its_lease_acknowledges_nothing_and_begins_anew(
    start: Start,
) -> None:
    node = await start()
    conversation = await node.shop.direct()
    first = await node.shop.send(conversation, text="before")
    run = node.store._run
    assert run is not None
    await node.store.engine.decide("DROP_LEASE", run._lease.name, run._lease._holder)

    async def lives_anew() -> bool:
        return node.store._run not in (None, run)

    await eventually(lives_anew, "another run")
    after = await node.shop.send(conversation, text="after")
    assert after.id > first.id
    assert await node.shop.texts(conversation) == ["before", "after"]
    await eventually(lambda: finished(node), "its own former run is finished")
    sent = [event.id for event in await node.log() if event.type == "MessageSent"]
    assert sent == [first.id, after.id]


async def test_a_frozen_node_acknowledges_nothing_when_it_thaws(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await start()
    conversation = await node.shop.direct()
    run = node.store._run
    assert run is not None
    now = time.monotonic()
    run._lease._now = lambda: now + 3 * LEASE_S
    with pytest.raises(Unavailable):
        await node.shop.send(conversation, text="too late")
    with pytest.raises(Unavailable):
        await node.store.check()


async def test_what_a_lapsed_run_has_not_registered_is_told_when_another_has_finished_it(
    start: Start,
) -> None:
    node = await start()
    conversation = await node.shop.direct()
    node.stop_at("MOVE_HORIZON")
    sent = await node.shop.send(conversation)

    async def told() -> list[int]:
        return [event.id for event in await node.log() if event.type == "MessageSent"]

    assert await told() == [sent.id]
    run = node.store._run
    assert run is not None
    now = time.monotonic()
    run._lease._now = lambda: now + 3 * LEASE_S
    assert await told() == []
    node.store.engine.on_statement = None

    async def told_again() -> bool:
        return await told() == [sent.id]

    await eventually(told_again, "the run is finished and told whole")


async def test_a_lease_is_for_one(start: Start) -> None:
    engine = (await start()).store.engine
    mine, other = (Lease(engine, "a name", holder, 60) for holder in ("mine", "other"))
    assert await mine.take()
    assert not await other.take()
    assert (mine.held, other.held) == (True, False)
    assert await mine.keep()
    assert not await other.keep()
    await mine.drop()
    assert (mine.held, await other.take()) == (False, True)


async def test_a_lease_that_runs_out_while_it_is_prolonged_is_lost(start: Start) -> None:
    engine, now_s = (await start()).store.engine, 0.0
    lease = Lease(engine, "another name", "mine", 60, now=lambda: now_s)
    assert await lease.take()
    prolonging = asyncio.create_task(lease.keep())
    await asyncio.sleep(0)
    now_s = 59.0
    assert not await prolonging
    assert not lease.held


async def test_one_node_publishes_and_another_follows_when_it_has_ended(start: Start) -> None:
    one, other = await start(), await start()
    assert await one.store.relay.leads()
    assert not await other.store.relay.leads()
    assert await one.store.relay.leads()
    await one.store.relay.move(one.clock.next_id())
    cursor = await other.store.relay.cursor()
    assert cursor == await one.store.relay.cursor()
    await one.store.close()
    assert await other.store.relay.leads()
    assert await other.store.relay.cursor() == cursor


async def test_nodes_that_have_nothing_to_tell_are_not_read(start: Start) -> None:
    one, idle = await start(), await start()
    conversation = await one.shop.direct()
    newest = (await one.shop.send(conversation)).id

    async def horizon_has_passed() -> bool:
        events = await idle.store.journal.events(0, 10)
        return bool(events) and events[-1].id == newest

    await eventually(horizon_has_passed, "the busy node has told how far it is")
    seen: list[str] = []
    idle.store.engine.on_statement = seen.append
    await idle.store.journal.events(0, 10)
    assert seen.count("SLICES") == 1
    seen.clear()
    await idle.store.journal.events(newest, 10)
    assert [name for name in seen if name in {"SLICES", "BATCHES"}] == []
    assert idle.store.journal.last_batch == 0


async def told_late(node: Node, since: int) -> list[str]:
    """The messages that bob hears of late who resumes from an id."""
    changes = (await node.shop.missed("bob", since)).changes
    return [change.subject for change in changes if change.kind == "MessageReceived"]


async def _outbox_has(heir: Node, dying: Node) -> bool:
    """Whether the dying node has written more than its first group."""
    assert dying.store._run is not None
    run = dying.store._run.run
    slices = await heir.store.engine.rows("SLICES", run)
    rows: list[Any] = []
    for (slice_,) in slices:
        rows += await heir.store.engine.rows("BATCHES", run, slice_, 0, 100)
    return len(rows) >= 2
