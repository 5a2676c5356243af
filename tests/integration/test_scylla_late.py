"""What becomes visible late: whoever resumes from a younger cursor hears of it all the same."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from tests.integration.test_scylla_nodes import Node, Start, eventually, finished
from tests.integration.test_scylla_races import SOON_S, Gate, check_once, hold_up
from tradewire.adapters.scylla import journal
from tradewire.domain.errors import NotFound, Unavailable
from tradewire.ports import MissedChange


async def changes_after(node: Node, user: str, since: int) -> dict[str, MissedChange]:
    """The changes that a user hears of who resumes from an id, by their kind."""
    return {change.kind: change for change in (await node.shop.missed(user, since)).changes}


async def test_all_that_a_dead_node_left_is_heard_of_as_what_it_is(start: Start) -> None:
    dying, heir = await start(), await start()
    room = await dying.shop.direct()
    message = await dying.shop.send(room, text="before")
    made = dying.shop.direct_write("bob", "carol")
    marker = dying.shop.marker(room, "bob")
    dying.stop_at("BATCH")
    left = [
        dying.shop.append(made, dying.shop.message(made.conversation_id, "carol")),
        dying.shop.append(marker),
    ]
    await asyncio.sleep(SOON_S)
    await dying.die()
    since = (await heir.shop.send(room, text="younger")).id
    assert await changes_after(heir, "alice", since) == {}
    await eventually(lambda: finished(heir), "the run is finished")
    assert all(isinstance(outcome, Unavailable) for outcome in await asyncio.gather(*left))
    heard = await changes_after(heir, "bob", since)
    assert heard["ConversationCreated"].conversation_id == made.conversation_id
    assert heard["ConversationCreated"].change_id == made.change_id
    assert heard["MessageReceived"].conversation_id == made.conversation_id
    receipt = (await changes_after(heir, "alice", since))["MessageRead"]
    assert (receipt.subject, receipt.detail) == ("bob", message.message_id)
    [late] = heir.late
    assert late.since > since
    assert {user for _, user in late.users} == {"alice", "bob", "carol"}
    assert {each for _, each in late.conversations} == {room, made.conversation_id}


async def test_what_one_user_alone_is_told_is_heard_of_late(start: Start) -> None:
    dying, heir = await start(), await start()
    await dying.shop.direct()
    dying.stop_at("BATCH")
    left = asyncio.create_task(dying.shop.block("alice", "bob"))
    await asyncio.sleep(SOON_S)
    await dying.die()
    since = heir.clock.next_id()
    await eventually(lambda: finished(heir), "the run is finished")
    with pytest.raises(Unavailable):
        await left
    block = (await changes_after(heir, "alice", since))["UserBlocked"]
    assert (block.subject, block.detail) == ("bob", "1")
    assert block.change_id < since
    [late] = heir.late
    assert {user for _, user in late.blocks} == {"alice", "bob"}


async def test_that_a_conversation_was_deleted_is_known_late(start: Start) -> None:
    dying, heir = await start(), await start()
    room = await dying.shop.direct()
    await heir.shop.send(room)
    dying.stop_at("BATCH")
    left = asyncio.create_task(dying.shop.delete_conversation(room))
    await asyncio.sleep(SOON_S)
    await dying.die()
    since = heir.clock.next_id()
    await eventually(lambda: finished(heir), "the run is finished")
    with pytest.raises(Unavailable):
        await left
    [late] = heir.late
    assert (heir.shop.tenant, room) in late.conversations
    assert "ConversationDeleted" in await changes_after(heir, "bob", since)
    with pytest.raises(NotFound):
        await heir.shop.send(room, text="too late")


async def test_of_a_late_change_and_a_younger_one_the_younger_is_told(start: Start) -> None:
    dying, heir = await start(), await start()
    room = await dying.shop.group("alice", "bob")
    dying.stop_at("BATCH")
    left = asyncio.create_task(dying.shop.add(room, "carol"))
    await asyncio.sleep(SOON_S)
    await dying.die()
    heir.clock.observe(dying.clock.next_id())
    assert await heir.shop.add(room, "carol")
    since = heir.clock.next_id()
    added = (await changes_after(heir, "bob", 0))["MemberAdded"]
    await eventually(lambda: finished(heir), "the run is finished")
    with pytest.raises(Unavailable):
        await left
    assert (await changes_after(heir, "bob", 0))["MemberAdded"] == added
    assert (await changes_after(heir, "bob", since))["MemberAdded"].change_id < added.change_id


async def test_what_the_cluster_held_up_is_heard_of(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LATE_S", SOON_S / 2)
    node = await start()
    gate = Gate(node.store.engine)
    slow = gate.hold("BATCH")
    made = node.shop.direct_write("alice", "bob")
    making = node.shop.append(made)
    await asyncio.sleep(SOON_S)
    since = node.clock.next_id()
    slow.set()
    assert isinstance(await making, Unavailable)
    await node.store.journal.drained()
    assert len(node.late) == 1
    created = (await changes_after(node, "bob", since))["ConversationCreated"]
    assert (created.conversation_id, created.change_id) == (made.conversation_id, made.change_id)


async def test_what_waited_too_long_for_its_group_is_not_acknowledged(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LATE_S", SOON_S)
    node = await start()
    room = await node.shop.direct()
    await node.shop.send(room)
    slow = Gate(node.store.engine).hold("BATCH")
    sending = [node.shop.append(node.shop.message(room, text=text)) for text in "12"]
    await asyncio.sleep(SOON_S / 2)
    waiting = node.shop.append(node.shop.message(room, text="3"))
    await asyncio.sleep(2 * SOON_S)
    slow.set()
    outcomes = await asyncio.gather(*sending, waiting)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)


async def test_a_retry_that_is_still_being_written_when_its_first_try_appears_is_there_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = await start(), await start()
    room = await slow.shop.direct()
    held, sending = await hold_up(slow, room, monkeypatch)
    monkeypatch.undo()
    writing = Gate(other.store.engine).hold("BATCH")
    again = other.shop.append(other.shop.message(room, text="once", key="k"))
    await asyncio.sleep(SOON_S)
    monkeypatch.setattr(journal, "LATE_S", SOON_S)
    held.set()
    await asyncio.sleep(SOON_S)
    monkeypatch.undo()
    writing.set()
    [stored] = other.shop.taken(await again)
    assert not stored.duplicate
    assert isinstance(await sending, Unavailable)
    await slow.store.journal.drained()
    await check_once(other, room, stored.message)


async def test_a_message_that_its_key_did_not_follow_is_dropped_when_it_was_sent_again(
    start: Start,
) -> None:
    dying, heir = await start(), await start()
    room = await dying.shop.direct()
    await dying.shop.send(room, "bob", "before")
    engine = dying.store.engine
    write = engine.write

    async def write_part(mutations: Any) -> None:
        await write([row for row in mutations if row[0] == "ADD_MESSAGE"])
        raise Unavailable

    engine.write = write_part  # type: ignore[method-assign]
    sending: Awaitable[Any] = dying.shop.append(dying.shop.message(room, text="once", key="k"))
    await asyncio.sleep(SOON_S)
    await dying.die()
    assert await heir.shop.texts(room) == ["before", "once"]
    again = await heir.shop.send(room, text="once", key="k")
    await eventually(lambda: finished(heir), "the run is finished")
    assert isinstance(await sending, Unavailable)
    shown = await heir.store.messages.after(heir.shop.tenant, room, 0, 10)
    assert [message.message_id for message in shown[1:]] == [again.message_id]
