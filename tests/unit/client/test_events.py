"""Events: each once and in order, a slow consumer, delivery receipts."""

import asyncio
from collections.abc import Callable

import pytest

from tests.unit.client.peer import (
    DEADLINE_S,
    ManualClock,
    Peer,
    joined,
    next_event,
    read,
    received,
    sync_completed,
    typing,
)
from tradewire.client import Client

Connect = Callable[..., Client]


@pytest.mark.parametrize("protocol", ["json", "msgpack"])
async def test_events_come_in_order_alone_or_together(
    peer: Peer, connect: Connect, protocol: str
) -> None:
    client = connect(protocol=protocol)
    events = [received(1), typing(), read(2), {"type": "New", "x": [1, None, "é"]}]
    async with joined(client, peer) as end:
        await end.tell(*events)
        await end.tell_together(received(3), received(4))
        heard = [await next_event(client) for _ in range(6)]
        assert heard == [*events, received(3), received(4)]


async def test_a_resume_repeats_nothing_and_is_announced(peer: Peer, connect: Connect) -> None:
    client = connect()
    async with joined(client, peer) as end:
        await end.tell(received(1), read(2))
        assert [await next_event(client) for _ in range(2)] == [received(1), read(2)]
        end.cut()
        resumed = await peer.welcome(cursor=9)
        await resumed.tell(received(1), read(2), received(3), sync_completed(8, truncated=True))
        assert await next_event(client) == received(3)
        assert await next_event(client) == sync_completed(8, truncated=True)
        assert client.cursor == 8


async def test_a_break_within_a_resume_begins_it_again(peer: Peer, connect: Connect) -> None:
    client = connect(since=5)
    async with joined(client, peer, cursor=100) as end:
        await end.tell(received(90))
        assert await next_event(client) == received(90)
        end.cut()
        resumed = await peer.welcome(cursor=110)
        assert resumed.query["since"] == "5"
        await resumed.tell(received(7), received(90), sync_completed(105))
        assert await next_event(client) == received(7)
        assert (await next_event(client))["type"] == "SyncCompleted"
        resumed.cut()
        again = await peer.welcome()
        assert again.query["since"] == "105"


async def test_a_slow_consumer_still_gets_replies_and_later_all_events(
    peer: Peer, connect: Connect
) -> None:
    client = connect(max_events=2)
    async with joined(client, peer) as end:
        await end.tell(received(1), received(2), received(3))
        task = asyncio.create_task(client.request("GetUnreadCount"), name="request")
        await end.reply(await end.heard("GetUnreadCount"), total=3)
        async with asyncio.timeout(DEADLINE_S):
            assert await task == {"total": 3}
        assert client.state == "resuming"
        assert await next_event(client) == received(1)
        resumed = await peer.welcome()
        assert resumed.query["since"] == "2"
        await resumed.tell(received(3))
        assert await next_event(client) == received(2)
        assert await next_event(client) == received(3)


async def test_received_messages_are_acknowledged_once_for_each_conversation(
    peer: Peer, connect: Connect, clock: ManualClock
) -> None:
    client = connect(acknowledge_delivery=True, clock=clock)
    async with joined(client, peer) as end:
        await end.tell(received(1))
        first = await end.heard("MarkMessagesAsDelivered")
        assert (first["conversation_id"], first["up_to"]) == ("c1", "1")
        await end.tell_together(
            received(2),
            received(5, conversation_id="c2"),
            received(4),
            received(3),
            received(6, sender_id="alice", conversation_id="c3"),
        )
        for _ in range(5):
            await next_event(client)
        await clock.advance(0.2)
        acknowledged = [await end.heard("MarkMessagesAsDelivered") for _ in range(2)]
        assert {c["conversation_id"]: c["up_to"] for c in acknowledged} == {"c1": "4", "c2": "5"}
        assert all("id" not in command for command in [first, *acknowledged])
        await clock.advance(29.8)
        await end.heard("Ping")


async def test_a_receipt_that_may_have_been_lost_with_its_connection_is_sent_again(
    peer: Peer, connect: Connect
) -> None:
    client = connect(acknowledge_delivery=True)
    async with joined(client, peer) as end:
        await end.tell(received(1))
        await end.heard("MarkMessagesAsDelivered")
        end.cut()
        resumed = await peer.welcome()
        await resumed.tell(received(1))
        assert (await resumed.heard("MarkMessagesAsDelivered"))["up_to"] == "1"


async def test_many_receipts_are_spread(peer: Peer, connect: Connect, clock: ManualClock) -> None:
    client = connect(acknowledge_delivery=True, clock=clock)
    async with joined(client, peer) as end:
        await end.tell_together(*(received(i, conversation_id=f"c{i}") for i in range(1, 16)))
        for i in range(1, 11):
            assert (await end.heard("MarkMessagesAsDelivered"))["up_to"] == str(i)
        assert end.heard_no_more()
        await clock.advance(0.2)
        for i in range(11, 16):
            assert (await end.heard("MarkMessagesAsDelivered"))["up_to"] == str(i)
