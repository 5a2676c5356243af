"""The log of what happened here, for other services to read (protocol §7)."""

from itertools import pairwise

import pytest

from tests.e2e.devices import Call, Connect, HttpCaller, direct, eventually, group, say
from tests.e2e.harness import Server
from tests.e2e.marketplace import Json, cloud_event, product


@pytest.fixture
async def shop(http: Call) -> HttpCaller:
    return await http("shop", "service")


async def log(shop: HttpCaller, limit: int = 1_000) -> list[Json]:
    """The whole log in its order, but for presence."""
    found: list[Json] = []
    after = "0"
    while True:
        page = await shop.ask("GetEvents", after=after, limit=limit)
        assert len(page["events"]) <= limit
        if page["next_after"] == after:
            return [event for event in found if not event["type"].startswith("User")]
        found += page["events"]
        after = page["next_after"]


async def test_the_log_tells_what_happened(
    server: Server, connect: Connect, shop: HttpCaller
) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    conversation = await group(alice, "bob")
    about = {"conversation_id": conversation}
    sent = await alice.ask("SendMessage", **about, text="one", metadata={"a": 1}, key="k")
    message = sent["message"]["message_id"]
    await bob.ask("MarkMessagesAsDelivered", **about, up_to=message)
    await bob.ask("MarkMessagesAsRead", **about, up_to=message)
    await alice.ask("EditMessage", **about, message_id=message, text="two")
    await alice.ask("UpdateConversation", **about, title="Club")
    await alice.ask("AddMembers", **about, user_ids=["carol"])
    await alice.ask("RemoveMember", **about, user_id="carol")
    await alice.ask("DeleteMessage", **about, message_id=message)
    events = await log(shop)
    data = {event["type"]: event["data"] for event in events}
    assert [event["type"] for event in events] == [
        "ConversationCreated", "MessageSent", "MessageDelivered", "MessageRead", "MessageEdited",
        "ConversationUpdated", "MemberAdded", "MemberRemoved", "MessageDeleted",
    ]  # fmt: skip
    receipt = {"conversation_id": conversation, "user_id": "bob", "up_to": message}
    member = {"conversation_id": conversation, "user_id": "carol"}
    assert data["ConversationCreated"]["conversation"]["conversation_id"] == conversation
    assert data["MessageSent"] == {"message": sent["message"]}
    assert data["MessageDelivered"] == data["MessageRead"] == receipt
    assert data["MessageEdited"]["message"]["text"] == "two"
    assert data["ConversationUpdated"]["conversation"]["title"] == "Club"
    assert data["MemberAdded"] == {**member, "role": "member"}
    assert data["MemberRemoved"] == {**member, "role": "member"}
    assert data["MessageDeleted"] == {
        "conversation_id": conversation, "message_id": message, "deleted_by": "alice",
    }  # fmt: skip
    for event in events:
        assert event["specversion"] == "1.0"
        assert event["source"] == f"/tradewire/{server.place.cell}"
        assert event["subject"] == conversation
        assert event["tenant"] == server.place.tenant("default")
        assert event["datacontenttype"] == "application/json"
        assert event["id"] == event["sequence"]


async def test_each_message_is_in_the_log_once_and_in_order(
    connect: Connect, shop: HttpCaller
) -> None:
    alice, bob = await connect("alice"), await connect("bob")
    conversation = await direct(alice, "bob")
    for number in range(40):
        for device in (alice, bob):
            frame = {"type": "SendMessage", "conversation_id": conversation, "id": f"{number}"}
            await device.put({**frame, "text": str(number), "key": f"key-{number // 2}-{number}"})
            await device.put({**frame, "text": str(number), "key": f"key-{number // 2}-{number}"})
    for device in (alice, bob):
        await device.ask("Ping")
    page = await alice.ask("GetMessages", conversation_id=conversation, limit=200)
    sent = [message["message_id"] for message in page["messages"]]
    assert len(sent) == 80
    events = await log(shop, limit=7)
    sequence = [int(event["sequence"]) for event in events]
    assert all(earlier < later for earlier, later in pairwise(sequence))
    assert [event["data"]["message"]["message_id"] for event in events[1:]] == sent


async def test_the_card_of_a_product_message_is_for_its_readers_and_not_for_the_log(
    connect: Connect, shop: HttpCaller
) -> None:
    await shop.ask("TakeEvents", **cloud_event("ProductUpdated", **product("p-1", 4)))
    alice = await connect("alice")
    message = {"content_type": "product", "metadata": {"product_id": "p-1"}}
    conversation = await direct(alice, "bob")
    sent = (await alice.ask("SendMessage", conversation_id=conversation, **message))["message"]
    assert sent.pop("card")["product_id"] == "p-1"
    assert (await log(shop))[-1]["data"] == {"message": sent}


async def test_what_was_refused_or_repeated_is_not_in_the_log(
    connect: Connect, shop: HttpCaller
) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")
    await direct(alice, "bob")
    about = {"conversation_id": conversation}
    for _ in range(2):
        await alice.ask("SendMessage", **about, text="once", key="k")
    await alice.refused("SendMessage", **about, text="twice", key="k")
    await alice.refused("SendMessage", **about, text="")
    await alice.ask("MarkMessagesAsRead", **about, all=True)
    await alice.ask("ArchiveConversation", **about, archived=True)
    assert [event["type"] for event in await log(shop)] == ["ConversationCreated", "MessageSent"]


async def test_the_log_is_read_by_services_of_its_tenant_only(
    connect: Connect, http: Call, shop: HttpCaller
) -> None:
    alice, twin = await connect("alice"), await connect("alice", tenant="elsewhere")
    mine = await say(alice, await direct(alice, "bob"), "mine")
    theirs = await say(twin, await direct(twin, "bob"), "theirs")
    elsewhere = await http("shop", "service", tenant="elsewhere")
    for reader, sent in ((shop, mine), (elsewhere, theirs)):
        events = await log(reader)
        found = [e["data"]["message"]["message_id"] for e in events if e["type"] == "MessageSent"]
        assert found == sent
    error = await (await http("alice")).refused("GetEvents")
    assert (error["code"], error["status"]) == ("forbidden", 403)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"after": "-1"}, "after"),
        ({"after": "first"}, "after"),
        ({"limit": 0}, "limit"),
        ({"limit": 1_001}, "limit"),
        ({"limit": "all"}, "limit"),
    ],
    ids=str,
)
async def test_a_page_of_the_log_that_is_none(shop: HttpCaller, query: Json, field: str) -> None:
    error = await shop.refused("GetEvents", **query)
    assert (error["code"], error["field"]) == ("invalid_field", field)


async def test_reading_on_finds_what_came_later(connect: Connect, shop: HttpCaller) -> None:
    alice = await connect("alice")
    conversation = await direct(alice, "bob")

    async def settled() -> bool:
        page = await shop.ask("GetEvents")
        return {"UserOnline", "ConversationCreated"} <= {e["type"] for e in page["events"]}

    await eventually(settled, "what there is so far")
    end = (await shop.ask("GetEvents"))["next_after"]
    assert await shop.ask("GetEvents", after=end) == {"events": [], "next_after": end}
    (message,) = await say(alice, conversation, "later")
    page = await shop.ask("GetEvents", after=end)
    assert [event["id"] for event in page["events"]] == [message] == [page["next_after"]]
