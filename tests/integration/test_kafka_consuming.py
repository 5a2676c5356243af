"""Events of the marketplace that come by Kafka (protocol §7)."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.e2e.devices import Device, connected
from tests.e2e.harness import Server, serving
from tests.e2e.marketplace import Json, cloud_event, order_created, order_status, product
from tests.e2e.places import Place, place
from tests.kafka import Bus, eventually

ORDERS, PRODUCTS, USERS = "commerce.orders.v1", "commerce.products.v1", "commerce.users.v1"
DEAD = "chat.dead-letters.v1"

__all__ = ["place"]


@pytest.fixture
async def server(place: Place, bus: Bus) -> AsyncIterator[Server]:
    bus.tenant = place.tenant("default")
    async with serving(place, **bus.environ) as running:
        yield running


@pytest.fixture
async def buyer(server: Server) -> AsyncIterator[Device]:
    async with connected(server, "buyer") as device:
        yield device


async def test_an_order_is_posted_once_however_often_it_comes(bus: Bus, buyer: Device) -> None:
    event = cloud_event("OrderCreated", **order_created("o-1", items=["p-1"]))
    for _ in range(3):
        await bus.tell(ORDERS, "o-1", event)
        await bus.tell_binary(ORDERS, "o-1", event)
    paid = cloud_event("OrderStatusChanged", **order_status("o-1", "paid", minute=1))
    await bus.tell(ORDERS, "o-1", paid)
    conversation = (await buyer.hear("OrderUpdated"))["conversation_id"]
    page = await buyer.ask("GetMessages", conversation_id=conversation)
    assert [message["content_type"] for message in page["messages"]] == ["order", "system"]


async def test_the_newest_version_of_a_product_wins_whatever_the_order(
    bus: Bus, buyer: Device
) -> None:
    made = await buyer.ask("CreateConversation", product_id="p-1", seller_id="seller")
    conversation = made["conversation"]["conversation_id"]
    card = {"content_type": "product", "metadata": {"product_id": "p-1"}}
    await buyer.ask("SendMessage", conversation_id=conversation, **card)
    for version in (3, 1, 9, 2, *range(4, 9)):
        event = cloud_event("ProductUpdated", **product("p-1", version))
        await bus.tell(PRODUCTS, "p-1", event)

    async def shows_the_newest() -> bool:
        page = await buyer.ask("GetMessages", conversation_id=conversation)
        found: Json = page["messages"][0].get("card", {})
        return bool(found == product("p-1", 9))

    await eventually(shows_the_newest, "the card is that of version 9")
    await bus.tell(PRODUCTS, "p-1", cloud_event("ProductDeleted", product_id="p-1", version=10))
    told: list[int] = []
    while told[-1:] != [10]:
        told.append((await buyer.hear("ProductUpdated"))["product"]["version"])
    # Versions between them may have been passed over; none may come back.
    assert told == sorted(set(told))
    assert told[-2:] == [9, 10]


async def test_a_user_blocked_on_the_platform_is_disconnected(bus: Bus, server: Server) -> None:
    async with connected(server, "mallory") as mallory:
        await bus.tell(USERS, "mallory", cloud_event("UserBlocked", user_id="mallory"))
        assert await mallory.closed() == 4403


POISON: dict[str, tuple[bytes | None, tuple[tuple[str, bytes], ...], str]] = {
    "no-json": (b"\xff\x00{", (("content-type", b"application/cloudevents+json"),), "bad_request"),
    "no-type": (b"{}", (("trace", b"\x00\xff"),), "bad_request"),
    "no-event": (b"{}", (), "unsupported_media_type"),
    "tombstone": (None, (), "unsupported_media_type"),
    "unknown": (
        json.dumps(cloud_event("OrderVanished", order_id="o-1")).encode(),
        (("content-type", b"application/cloudevents+json"),),
        "invalid_field",
    ),
    "no-order": (
        json.dumps(
            cloud_event("OrderStatusChanged", **order_status("o-9", "sent", minute=1))
        ).encode(),
        (("content-type", b"application/cloudevents+json"),),
        "invalid_field",
    ),
}


async def test_what_cannot_be_handled_is_kept_byte_for_byte_and_stops_nothing(
    bus: Bus, buyer: Device, server: Server
) -> None:
    for number, (key, (value, headers, _)) in enumerate(POISON.items()):
        await bus.put(ORDERS, key, value, *headers)
        order = order_created(f"o-{number}", items=[f"p-{number}"])
        await bus.tell(ORDERS, key, cloud_event("OrderCreated", **order))
    linked = {(await buyer.hear("OrderLinked"))["order"]["order_id"] for _ in POISON}
    assert linked == {f"o-{number}" for number in range(len(POISON))}

    async def all_are_there() -> bool:
        return len(await bus.records(DEAD)) == len(POISON)

    await eventually(all_are_there, "the dead letters are there")
    for record in await bus.records(DEAD):
        value, headers, code = POISON[record.key.decode()]
        assert (record.value, record.headers[: len(headers)]) == (value, headers)
        told = {name: text.decode() for name, text in record.headers[len(headers) :]}
        assert told["dlq_topic"] == bus.prefix + ORDERS
        assert told["dlq_error"].startswith(f"{code}: ")
        assert told["dlq_attempts"] == "1"
        assert told.keys() == {
            f"dlq_{name}" for name in ("topic", "partition", "offset", "error", "attempts", "time")
        }
    metrics = await server_metrics(server)
    assert (
        f'tradewire_dead_letters_total{{topic="{bus.prefix}{ORDERS}"}} {len(POISON)}.0' in metrics
    )


async def server_metrics(server: Server) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        return await answer.text()
