"""Events of the marketplace coming in, and the log of what happened here (protocol §7)."""

import json

import pytest

from tests.e2e.devices import (
    Call,
    Connect,
    Device,
    HttpCaller,
    direct,
    refused_handshake,
    say,
)
from tests.e2e.harness import Server
from tests.e2e.marketplace import Json, cloud_event, order_created, order_status, product


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
