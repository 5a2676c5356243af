"""Events of the marketplace coming in, and the log of what happened here (protocol §7)."""

import json
from itertools import pairwise
from typing import Any

import pytest

from tests.e2e.devices import (
    Call,
    Connect,
    Device,
    HttpCaller,
    cloud_event,
    direct,
    eventually,
    group,
    product,
    refused_handshake,
    say,
)
from tests.e2e.harness import Server

Json = dict[str, Any]


def order_created(order_id: str, *, items: list[str], **changed: Any) -> Json:
    """The data of an `OrderCreated` of these products."""
    price = {"amount": "19.90", "currency": "EUR"}
    order = {
        "order_id": order_id,
        "buyer_id": "buyer",
        "seller_id": "seller",
        "items": [
            {"product_id": item, "title": f"The {item}", "quantity": 1, "unit_price": price}
            for item in items
        ],
        "total": price,
        "status": "placed",
        "created_at": "2026-11-20T10:00:00.000Z",
    }
    return order | changed


def order_status(order_id: str, status: str, *, minute: int) -> Json:
    """The data of an `OrderStatusChanged`."""
    return {
        "order_id": order_id,
        "status": status,
        "changed_at": f"2026-11-20T11:{minute:02}:00.000Z",
    }


@pytest.fixture
async def shop(http: Call) -> HttpCaller:
    return await http("shop", "service")


async def take(shop: HttpCaller, *events: Json) -> Json:
    """Bring events in one request."""
    return await shop.request("POST", "/v1/events", json=events[0] if len(events) == 1 else events)


HANDLED = {"handled": 1, "duplicates": 0}
DUPLICATE = {"handled": 0, "duplicates": 1}


async def test_an_order_opens_its_conversation(connect: Connect, shop: HttpCaller) -> None:
    buyer, seller = await connect("buyer"), await connect("seller", protocol="msgpack")
    stranger = await connect("stranger")
    order = order_created("o-1", items=["p-1"])
    assert await take(shop, cloud_event("OrderCreated", **order)) == HANDLED
    for device in (buyer, seller):
        created, linked, posted = await device.heard()
        assert (created["type"], linked["type"], posted["type"]) == (
            "ConversationCreated", "OrderLinked", "MessageReceived",
        )  # fmt: skip
        conversation = created["conversation"]
        assert (conversation["kind"], conversation["product_id"]) == ("direct", "p-1")
        card = linked["order"]
        assert {name: card[name] for name in order} == order
        assert card["history"] == [{"status": "placed", "changed_at": order["created_at"]}]
        message = posted["message"]
        assert (message["content_type"], message["sender_id"]) == ("order", "system")
        assert message["metadata"] == {"order_id": "o-1"}
        assert message["card"] == card
        ids = {linked["conversation_id"], message["conversation_id"]}
        assert ids == {conversation["conversation_id"]}
    assert await stranger.heard() == []
    shown = await buyer.ask("GetConversation", conversation_id=ids.pop())
    assert shown["conversation"]["order_ids"] == ["o-1"]


@pytest.mark.parametrize(
    ("changed", "items", "context"),
    [
        ({"listing_id": "l-1"}, ["p-1"], {"listing_id": "l-1", "seller_id": "seller"}),
        ({}, ["p-1", "p-1"], {"product_id": "p-1", "seller_id": "seller"}),
        ({}, ["p-1", "p-2"], {"user_id": "seller"}),
        ({}, [], {"user_id": "seller"}),
    ],
    ids=["of the listing", "of the one product", "of the two users", "without items"],
)
async def test_an_order_finds_the_conversation_that_is_there(
    connect: Connect, shop: HttpCaller, changed: Json, items: list[str], context: Json
) -> None:
    buyer = await connect("buyer")
    made = await buyer.ask("CreateConversation", **context)
    await buyer.heard()
    order = order_created("o-1", items=items, **changed)
    assert await take(shop, cloud_event("OrderCreated", **order)) == HANDLED
    linked, posted = await buyer.heard()
    assert (linked["type"], posted["type"]) == ("OrderLinked", "MessageReceived")
    assert linked["conversation_id"] == made["conversation"]["conversation_id"]


async def test_an_order_is_posted_once_however_often_it_is_told(
    connect: Connect, shop: HttpCaller
) -> None:
    buyer = await connect("buyer")
    event = cloud_event("OrderCreated", **order_created("o-1", items=["p-1"]))
    assert await take(shop, event) == HANDLED
    assert await take(shop, event) == DUPLICATE
    assert await take(shop, event, event) == {"handled": 0, "duplicates": 2}
    again = cloud_event("OrderCreated", **order_created("o-1", items=["p-1"]))
    assert await take(shop, again) == HANDLED
    assert [event["type"] for event in await buyer.heard()] == [
        "ConversationCreated", "OrderLinked", "MessageReceived",
    ]  # fmt: skip


async def test_a_status_updates_the_card_and_is_posted(connect: Connect, shop: HttpCaller) -> None:
    buyer = await connect("buyer")
    await take(shop, cloud_event("OrderCreated", **order_created("o-1", items=["p-1"])))
    conversation = (await buyer.hear("OrderLinked"))["conversation_id"]
    await buyer.heard()
    sent = cloud_event("OrderStatusChanged", **order_status("o-1", "sent", minute=2))
    assert await take(shop, sent) == HANDLED
    updated, posted = await buyer.heard()
    assert (updated["type"], updated["conversation_id"]) == ("OrderUpdated", conversation)
    assert updated["order"]["status"] == "sent"
    message = posted["message"]
    assert (message["content_type"], message["sender_id"]) == ("system", "system")
    assert message["metadata"]["order_id"] == "o-1"
    assert "sent" in message["text"]
    assert await take(shop, sent) == DUPLICATE
    late = cloud_event("OrderStatusChanged", **order_status("o-1", "paid", minute=1))
    assert await take(shop, late) == HANDLED
    card = (await buyer.hear("OrderUpdated"))["order"]
    assert card["status"] == "sent"
    assert [change["status"] for change in card["history"]] == ["placed", "paid", "sent"]
    page = await buyer.ask("GetMessages", conversation_id=conversation)
    assert [m["content_type"] for m in page["messages"]] == ["order", "system", "system"]
    assert page["messages"][0]["card"] == card


async def test_an_order_message_shows_its_card_to_its_parties_only(
    connect: Connect, shop: HttpCaller
) -> None:
    await take(shop, cloud_event("OrderCreated", **order_created("o-1", items=["p-1"])))
    buyer, snoop = await connect("buyer"), await connect("snoop")
    message = {"content_type": "order", "metadata": {"order_id": "o-1"}}
    sent = await buyer.ask("SendMessage", conversation_id=await direct(buyer, "seller"), **message)
    assert sent["message"]["card"]["order_id"] == "o-1"
    error = await snoop.refused(
        "SendMessage", conversation_id=await direct(snoop, "friend"), **message
    )
    assert (error["code"], error["status"]) == ("not_found", 404)


async def test_the_newest_version_of_a_product_wins(connect: Connect, shop: HttpCaller) -> None:
    buyer = await connect("buyer")
    made = await buyer.ask("CreateConversation", product_id="p-1", seller_id="seller")
    conversation = made["conversation"]["conversation_id"]
    await buyer.ask(
        "SendMessage",
        conversation_id=conversation,
        content_type="product",
        metadata={"product_id": "p-1"},
    )
    await buyer.heard()
    for version in (2, 1, 3, 3):
        await take(shop, cloud_event("ProductUpdated", **product("p-1", version)))
    told = await buyer.heard()
    assert {event["type"] for event in told} == {"ProductUpdated"}
    versions = [event["product"]["version"] for event in told]
    assert versions == sorted(versions)
    assert set(versions) == {2, 3}
    await take(shop, cloud_event("ProductDeleted", product_id="p-1", version=2))
    assert await card_of(buyer, conversation) == product("p-1", 3)
    await take(shop, cloud_event("ProductDeleted", product_id="p-1", version=4))
    await take(shop, cloud_event("ProductUpdated", **product("p-1", 3)))
    (gone,) = [event["product"] for event in await buyer.heard()]
    assert (gone["status"], gone["version"]) == ("deleted", 4)
    assert await card_of(buyer, conversation) == gone
    await take(shop, cloud_event("ProductUpdated", **product("p-1", 5)))
    assert await card_of(buyer, conversation) == product("p-1", 5)


async def card_of(device: Device, conversation_id: str) -> Json:
    page = await device.ask("GetMessages", conversation_id=conversation_id)
    card: Json = page["messages"][0]["card"]
    return card


async def test_a_product_deleted_before_it_was_known_stays_deleted(
    connect: Connect, shop: HttpCaller
) -> None:
    buyer = await connect("buyer")
    await take(shop, cloud_event("ProductDeleted", product_id="p-1", version=2))
    await take(shop, cloud_event("ProductUpdated", **product("p-1", 1)))
    sent = await buyer.ask(
        "SendMessage",
        conversation_id=await direct(buyer, "seller"),
        content_type="product",
        metadata={"product_id": "p-1"},
    )
    assert sent["message"].get("card", {}).get("status") != "active"


async def test_a_block_by_a_user_stops_these_two(connect: Connect, shop: HttpCaller) -> None:
    alice, bob, carol = [await connect(user) for user in ("alice", "bob", "carol")]
    conversation, other = await direct(alice, "bob"), await direct(alice, "carol")
    for device in (alice, bob, carol):
        await device.heard()
    pair = {"user_id": "bob", "blocked_by": "alice"}
    await take(shop, cloud_event("UserBlocked", **pair, reason="spam"))
    (told,) = await alice.heard()
    assert (told["type"], told["user_id"], told["blocked"]) == ("UserBlocked", "bob", True)
    assert await bob.heard() == []
    assert (await alice.ask("GetBlockedUsers"))["user_ids"] == ["bob"]
    for device in (alice, bob):
        error = await device.refused("SendMessage", conversation_id=conversation, text="hi")
        assert (error["code"], error["status"]) == ("blocked", 403)
    await say(alice, other, "hi")
    await take(shop, cloud_event("UserUnblocked", **pair))
    (told,) = await alice.heard()
    assert (told["user_id"], told["blocked"]) == ("bob", False)
    await say(bob, conversation, "hi again")


async def test_a_block_on_the_platform_ends_at_its_time(
    connect: Connect, shop: HttpCaller, server: Server
) -> None:
    mallory = await connect("mallory")
    past, future = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00+02:00"
    await take(shop, cloud_event("UserBlocked", user_id="mallory", until=past))
    assert await mallory.heard() == []
    blocked = cloud_event("UserBlocked", user_id="mallory", until=future)
    await take(shop, blocked)
    assert await mallory.closed() == 4403
    body, status, _ = await refused_handshake(server.url, {"token": server.token("mallory")})
    assert (status, body["code"]) == (403, "blocked")
    await take(shop, cloud_event("UserUnblocked", user_id="mallory"))
    assert await take(shop, blocked) == DUPLICATE
    assert await (await connect("mallory")).heard() == []


GOOD = order_created("o-1", items=["p-1"])


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (cloud_event("OrderVanished", order_id="o-1"), "type"),
        ({**cloud_event("OrderCreated", **GOOD), "specversion": "2.0"}, "specversion"),
        ({**cloud_event("OrderCreated", **GOOD), "id": ""}, "id"),
        ({**cloud_event("OrderCreated", **GOOD), "time": "now"}, "time"),
        ({**cloud_event("OrderCreated", **GOOD), "data": "text"}, "data"),
        (cloud_event("OrderCreated", **GOOD | {"buyer_id": 7}), "buyer_id"),
        (cloud_event("OrderCreated", **GOOD | {"seller_id": "buyer"}), "seller_id"),
        (cloud_event("OrderCreated", **GOOD | {"created_at": "then"}), "created_at"),
        (cloud_event("OrderCreated", **GOOD | {"total": {"amount": 1}}), "total.currency"),
        (cloud_event("OrderStatusChanged", **order_status("o-9", "paid", minute=1)), "order_id"),
        (cloud_event("ProductUpdated", **product("p-1", -1)), "version"),
        (cloud_event("ProductDeleted", product_id="p-1"), "version"),
        (cloud_event("UserBlocked", user_id="two words"), "user_id"),
        (cloud_event("UserBlocked", user_id="bob", until="2030"), "until"),
        (cloud_event("UserBlocked", user_id="bob", blocked_by="bob"), "blocked_by"),
        (cloud_event("UserUnblocked"), "user_id"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["type"],
)
async def test_an_invalid_event_is_refused_with_all_that_came_with_it(
    connect: Connect, shop: HttpCaller, event: Json, field: str
) -> None:
    buyer = await connect("buyer")
    good = cloud_event("OrderCreated", **order_created("o-2", items=["p-1"]))
    for request in ([event], [good, event]):
        body = await take(shop, *request)
        assert (shop.status, body["code"], body["field"]) == (400, "invalid_field", field)
    assert await buyer.heard() == []
    assert await take(shop, good) == HANDLED


async def test_a_batch_may_build_on_itself(connect: Connect, shop: HttpCaller) -> None:
    buyer = await connect("buyer")
    assert await take(
        shop,
        cloud_event("OrderCreated", **order_created("o-1", items=["p-1"])),
        cloud_event("OrderStatusChanged", **order_status("o-1", "paid", minute=1)),
    ) == {"handled": 2, "duplicates": 0}
    assert [event["type"] for event in await buyer.heard()] == [
        "ConversationCreated", "OrderLinked", "MessageReceived", "OrderUpdated", "MessageReceived",
    ]  # fmt: skip


async def test_binary_mode_is_taken(connect: Connect, shop: HttpCaller) -> None:
    buyer = await connect("buyer")
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "binary-1",
        "ce-source": "/marketplace",
        "ce-type": "OrderCreated",
        "ce-subject": "o-1",
        "Content-Type": "application/json",
    }
    data = json.dumps(order_created("o-1", items=["p-1"])).encode()
    for expected in (HANDLED, DUPLICATE):
        assert await shop.request("POST", "/v1/events", data=data, headers=headers) == expected
    assert len(await buyer.heard()) == 3
    headers["ce-type"] = "OrderVanished"
    body = await shop.request("POST", "/v1/events", data=data, headers=headers)
    assert (shop.status, body["code"], body["field"]) == (400, "invalid_field", "ce_type")


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


async def test_the_log_tells_what_happened(connect: Connect, shop: HttpCaller) -> None:
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
        assert event["source"] == "/tradewire/default"
        assert event["subject"] == conversation
        assert event["tenant"] == "default"
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
