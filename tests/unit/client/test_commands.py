"""Commands: their keys, their order, their retries and their deadlines."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.client.peer import DEADLINE_S, ManualClock, Peer, PeerSocket, joined
from tradewire.client import Client, Closed, CommandError, ConnectionLost

Connect = Callable[..., Client]


def sending(client: Client, *texts: str, conversation: str = "c1") -> list[asyncio.Task[Any]]:
    """Send texts at once, in this order."""
    return [
        asyncio.create_task(client.send(conversation, text), name=f"send-{text}") for text in texts
    ]


async def results(*tasks: asyncio.Task[Any]) -> list[Any]:
    async with asyncio.timeout(DEADLINE_S):
        return await asyncio.gather(*tasks)


async def acknowledge(end: PeerSocket, text: str) -> str:
    """Expect the send of a text, acknowledge it and return its key."""
    command = await end.heard("SendMessage")
    assert command["text"] == text
    await end.reply(command, message={"message_id": "1", "text": text}, duplicate=False)
    return str(command["key"])


@pytest.mark.parametrize("protocol", ["json", "msgpack"])
async def test_a_send_carries_a_fresh_key_of_its_session_and_returns_the_result(
    peer: Peer, connect: Connect, protocol: str
) -> None:
    client = connect(protocol=protocol)
    async with joined(client, peer) as end:
        tasks = sending(client, "héllo", "there")
        keys = [await acknowledge(end, "héllo"), await acknowledge(end, "there")]
        assert [r["message"]["text"] for r in await results(*tasks)] == ["héllo", "there"]
        assert keys == ["s1:1", "s1:2"]


async def test_a_key_of_the_callers_own_is_kept(peer: Peer, connect: Connect) -> None:
    client = connect()
    async with joined(client, peer) as end:
        task = asyncio.create_task(client.send("c1", "a", key="mine", metadata={"x": 1}))
        command = await end.heard("SendMessage")
        assert (command["key"], command["metadata"]) == ("mine", {"x": 1})
        await end.reply(command, duplicate=True)
        assert await results(task) == [{"duplicate": True}]


async def test_unacknowledged_sends_are_repeated_in_order_with_their_keys(
    peer: Peer, connect: Connect
) -> None:
    client = connect()
    async with joined(client, peer, cursor=7) as end:
        tasks = [sending(client, text, conversation=text)[0] for text in "abc"]
        first = [await end.heard("SendMessage") for _ in tasks]
        end.cut()
        resumed = await peer.welcome("s2")
        again = [await resumed.heard("SendMessage") for _ in tasks]
        assert [c["key"] for c in again] == [c["key"] for c in first] == ["s1:1", "s1:2", "s1:3"]
        assert [c["text"] for c in again] == ["a", "b", "c"]
        for command in again:
            await resumed.reply(command, duplicate=False)
        await results(*tasks)
        task = sending(client, "d")
        assert await acknowledge(resumed, "d") == "s2:1"
        await results(*task)


async def test_a_send_begun_while_disconnected_takes_the_key_of_the_next_session(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock, reconnect_base_s=1.0)
    async with joined(client, peer) as end:
        await end.close(1012)
        await clock.asleep(1.0)
        task = sending(client, "a")
        await clock.advance(1.0)
        resumed = await peer.welcome("s2")
        assert await acknowledge(resumed, "a") == "s2:1"
        await results(*task)


async def test_sends_to_one_conversation_wait_for_one_another_and_others_do_not(
    peer: Peer, connect: Connect
) -> None:
    client = connect()
    async with joined(client, peer) as end:
        tasks = [*sending(client, "a1", "a2", conversation="a"), *sending(client, "b1")]
        first, other = await end.heard("SendMessage"), await end.heard("SendMessage")
        assert (first["text"], other["text"]) == ("a1", "b1")
        assert end.heard_no_more()
        await end.reply(first)
        await end.reply(other)
        await acknowledge(end, "a2")
        await results(*tasks)


async def test_a_passing_error_is_retried_before_the_next_send_after_the_time_asked_for(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock)
    async with joined(client, peer) as end:
        tasks = sending(client, "a", "b")
        refused = await end.heard("SendMessage")
        await end.refuse(refused, "rate_limited", 429, retry_after_ms=700)
        await clock.advance(0.7 + 0.1)
        refused = await end.heard("SendMessage")
        await end.refuse(refused, "unavailable", 503)
        await clock.advance(0.2)
        assert await acknowledge(end, "a") == "s1:1"
        assert await acknowledge(end, "b") == "s1:2"
        await results(*tasks)


async def test_a_refusal_is_raised_with_all_it_says(peer: Peer, connect: Connect) -> None:
    client = connect()
    async with joined(client, peer) as end:
        task = asyncio.create_task(client.request("UpdateConversation", title=3))
        await end.refuse(await end.heard("UpdateConversation"), "invalid_field", 400, field="title")
        with pytest.raises(CommandError, match="invalid_field: no") as raised:
            await results(task)
        assert (raised.value.status, raised.value.field) == (400, "title")


async def test_a_deadline_without_an_answer_tells_the_key(peer: Peer, connect: Connect) -> None:
    client = connect()
    async with joined(client, peer) as end:
        with pytest.raises(ConnectionLost, match="SendMessage was not answered within") as raised:
            await client.send("c1", "a", timeout_s=0.05)
        assert raised.value.key == "s1:1"
        late = await end.heard("SendMessage")
        await end.reply(late)
        task = sending(client, "b")
        await acknowledge(end, "b")
        await results(*task)


async def test_a_deadline_raises_the_passing_reason_found_last(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock)
    async with joined(client, peer) as end:
        task = asyncio.create_task(client.send("c1", "a", timeout_s=0.5))
        await end.refuse(await end.heard("SendMessage"), "overloaded", 503)
        with pytest.raises(CommandError, match="overloaded"):
            await results(task)


async def test_the_number_of_waiting_commands_is_bounded(peer: Peer, connect: Connect) -> None:
    client = connect(max_pending=1)
    async with joined(client, peer) as end:
        task = asyncio.create_task(client.request("GetUnreadCount"))
        command = await end.heard("GetUnreadCount")
        with pytest.raises(ConnectionLost):
            await client.request("GetBlockedUsers", timeout_s=0.05)
        assert end.heard_no_more()
        await end.reply(command, total=0)
        assert await results(task) == [{"total": 0}]


async def test_reads_and_set_states_are_repeated_after_a_reconnect(
    peer: Peer, connect: Connect
) -> None:
    client = connect()
    async with joined(client, peer) as end:
        commands = ["GetMessages", "ArchiveConversation", "CreateConversation"]
        tasks = [asyncio.create_task(client.request(c, conversation_id="c1")) for c in commands]
        for command in commands:
            await end.heard(command)
        end.cut()
        resumed = await peer.welcome()
        for command in commands:
            await resumed.reply(await resumed.heard(command), done=command)
        assert [r["done"] for r in await results(*tasks)] == commands


@pytest.mark.parametrize(
    ("command", "fields"),
    [("CreateConversation", {"kind": "group"}), ("ReportMessage", {"reason": "spam"})],
)
async def test_what_is_not_idempotent_is_not_repeated_once_its_fate_is_unknown(
    peer: Peer, connect: Connect, command: str, fields: dict[str, Any]
) -> None:
    client = connect()
    async with joined(client, peer) as end:
        task = asyncio.create_task(client.request(command, **fields))
        await end.refuse(await end.heard(command), "unavailable", 503)
        with pytest.raises(CommandError, match="unavailable"):
            await results(task)
        task = asyncio.create_task(client.request(command, **fields))
        await end.heard(command)
        end.cut()
        with pytest.raises(ConnectionLost, match="before the reply"):
            await results(task)
        resumed = await peer.welcome()
        task = asyncio.create_task(client.request("GetUnreadCount"))
        await resumed.reply(await resumed.heard("GetUnreadCount"))
        await results(task)


async def test_a_forwarded_message_gets_a_key_too(peer: Peer, connect: Connect) -> None:
    client = connect()
    async with joined(client, peer) as end:
        fields: dict[str, Any] = {
            "conversation_id": "c1",
            "message_id": "1",
            "to_conversation_id": "c2",
        }
        task = asyncio.create_task(client.request("ForwardMessage", **fields))
        command = await end.heard("ForwardMessage")
        assert command["key"] == "s1:1"
        await end.reply(command)
        await results(task)


async def test_a_frame_over_the_limit_is_refused_here_and_the_connection_stays(
    peer: Peer, connect: Connect
) -> None:
    client = connect()
    async with joined(client, peer) as end:
        with pytest.raises(CommandError, match="too_large") as raised:
            await client.send("c1", "x" * 70_000)
        assert raised.value.status == 413
        task = sending(client, "a")
        await acknowledge(end, "a")
        await results(*task)


@pytest.mark.parametrize("value", [object(), "\ud800", float("nan")])
async def test_what_cannot_be_encoded_is_the_callers_error(
    peer: Peer, connect: Connect, value: object
) -> None:
    client = connect()
    async with joined(client, peer):
        with pytest.raises((TypeError, ValueError)):
            await client.request("UpdateConversation", title=value)


async def test_closing_ends_what_waits_and_leaves_nothing_running(
    peer: Peer, connect: Connect
) -> None:
    client = connect()
    before = asyncio.all_tasks()
    async with joined(client, peer) as end:
        tasks = sending(client, "a", "b")
        await end.heard("SendMessage")
        await client.close()
        for task in tasks:
            with pytest.raises(Closed):
                await results(task)
        await end.gone()
        assert client.state == "closed"
        with pytest.raises(Closed):
            await client.send("c1", "c")
        assert [event async for event in client.events()] == []
    ours = {t.get_name() for t in asyncio.all_tasks() - before}
    assert not {name for name in ours if name.startswith("tradewire-client")}


async def test_closing_does_not_wait_for_a_retry(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(clock=clock)
    async with joined(client, peer) as end:
        tasks = sending(client, "a", "b")
        refusal = {"retry_after_ms": 60_000}
        await end.refuse(await end.heard("SendMessage"), "rate_limited", 429, **refusal)
        await clock.asleep(60.1)
        await client.close()
        for task in tasks:
            with pytest.raises(Closed):
                await results(task)


async def test_a_cancelled_call_leaves_room_for_the_next(peer: Peer, connect: Connect) -> None:
    client = connect(max_pending=1)
    async with joined(client, peer) as end:
        task = sending(client, "a")[0]
        await end.heard("SendMessage")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        after = sending(client, "b")
        assert await acknowledge(end, "b") == "s1:2"
        await results(*after)
