"""The HTTP interface over the real use cases and a store in memory."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tests.unit.http_server import Client, bearer, serving
from tradewire.adapters.memory.store import MemoryStore
from tradewire.domain.caller import Caller
from tradewire.domain.commands import Command
from tradewire.domain.ids import EPOCH_MS, Clock
from tradewire.edge.hub import LocalHub
from tradewire.protocol import examples, openapi
from tradewire.telemetry.metrics import Metrics
from tradewire.usecases.context import Context
from tradewire.usecases.service import Service

DOCUMENT = openapi.document()
ALICE, BOB, EVE = bearer("alice"), bearer("bob"), bearer("eve")
SHOP = bearer("shop", "service")


class Open(Service):
    """The real service, with what the interface further asks for: nothing limits, all is ready."""

    def limiter(self, caller: Caller, command: type[Command] | None) -> None:
        pass

    async def readiness(self) -> dict[str, str | None]:
        return {}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    store = MemoryStore(lambda: EPOCH_MS + 1)
    hub = LocalHub(Metrics(), per_device=1)
    context = Context(store, hub, Clock(lambda: EPOCH_MS + 1))
    async with serving(Open(context)) as client:
        yield client
    await store.close()


async def call(
    client: Client, headers: dict[str, str], method: str, path: str, **given: Any
) -> tuple[int, Any]:
    async with client.request(method, path, headers=headers, **given) as response:
        return response.status, await response.json(content_type=None)


async def conversation(client: Client) -> str:
    body = {"product_id": "lamp-7", "seller_id": "bob"}
    status, told = await call(client, ALICE, "POST", "/v1/conversations", json=body)
    assert status == 201
    conversation_id: str = told["conversation"]["conversation_id"]
    return conversation_id


def event(kind: str, number: int = 1) -> dict[str, Any]:
    data = examples.shown(examples.CONSUMED[kind])
    common = {"specversion": "1.0", "id": f"e-{number}", "source": "/shop"}
    return {**common, "type": kind, "data": data}


async def test_a_conversation_is_made_once(client: Client) -> None:
    body = {"product_id": "lamp-7", "seller_id": "bob"}
    first = await call(client, ALICE, "POST", "/v1/conversations", json=body)
    again = await call(client, ALICE, "POST", "/v1/conversations", json=body)
    assert (first[0], first[1]["created"]) == (201, True)
    assert (again[0], again[1]["created"]) == (200, False)
    assert again[1]["conversation"] == first[1]["conversation"]


async def test_a_message_is_sent_once_for_a_key(client: Client) -> None:
    body = {"conversation_id": await conversation(client), "text": "hello"}
    headers = ALICE | {"Idempotency-Key": "k-1"}
    first = await call(client, headers, "POST", "/v1/messages", json=body)
    again = await call(client, headers, "POST", "/v1/messages", json=body)
    other = await call(client, headers, "POST", "/v1/messages", json={**body, "text": "bye"})
    assert (first[0], first[1]["duplicate"]) == (201, False)
    assert (again[0], again[1]["duplicate"]) == (200, True)
    assert again[1]["message"] == first[1]["message"]
    assert (other[0], other[1]["code"]) == (409, "key_reused")


async def test_what_is_not_ones_own_is_not_found(client: Client) -> None:
    path = f"/v1/conversations/{await conversation(client)}"
    for method, address in (("GET", path), ("GET", f"{path}/messages"), ("DELETE", path)):
        status, told = await call(client, EVE, method, address)
        assert (status, told["code"]) == (404, "not_found")


async def test_answers_are_as_the_document_says(client: Client) -> None:
    conversation_id = await conversation(client)
    path = f"/v1/conversations/{conversation_id}"
    body = {"conversation_id": conversation_id, "text": "hello", "metadata": {"a": [1]}}
    _, sent = await call(client, ALICE, "POST", "/v1/messages", json=body)
    message = f"{path}/messages/{sent['message']['message_id']}"
    up_to = {"up_to": sent["message"]["message_id"]}
    steps: list[tuple[str, str, str, Any]] = [
        ("GetConversation", "GET", path, None),
        ("GetUserConversations", "GET", "/v1/conversations?limit=5&unread=true", None),
        ("GetMessages", "GET", f"{path}/messages?after=0&limit=1", None),
        ("GetMessage", "GET", message, None),
        ("GetUnreadCount", "GET", "/v1/unread", None),
        ("MarkMessagesAsDelivered", "POST", f"{path}/delivered", up_to),
        ("MarkMessagesAsRead", "POST", f"{path}/read", up_to),
        ("SetTypingIndicator", "PUT", f"{path}/typing", {"typing": True}),
        ("GetTypingIndicators", "GET", f"{path}/typing", None),
        ("SetOnlineStatus", "PUT", "/v1/presence", {"status": "away"}),
        ("GetOnlineStatus", "GET", "/v1/presence?user_ids=alice,bob", None),
        ("GetMembers", "GET", f"{path}/members", None),
        ("PinConversation", "PUT", f"{path}/pin", {"pinned": True}),
        ("MuteConversation", "PUT", f"{path}/mute", {"until": "2124-01-01T00:00:00Z"}),
        ("ArchiveConversation", "PUT", f"{path}/archive", {"archived": True}),
        ("UpdateConversation", "PATCH", path, {"metadata": {"lamp": "on"}}),
        ("BlockUser", "PUT", "/v1/blocks/eve", None),
        ("GetBlockedUsers", "GET", "/v1/blocks", None),
        ("UnblockUser", "DELETE", "/v1/blocks/eve", None),
        ("DeleteConversation", "DELETE", f"{path}?scope=me", None),
    ]
    operations = {
        operation["operationId"]: operation
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
    }
    for name, method, address, given in steps:
        status, told = await call(client, BOB, method, address, json=given)
        assert status == 200, (name, told)
        answer = operations[name]["responses"]["200"]["content"]["application/json"]
        schema = {**answer["schema"], "components": DOCUMENT["components"]}
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(told)


async def test_an_order_event_is_handled_once_and_told_in_the_log(client: Client) -> None:
    handled = await call(client, SHOP, "POST", "/v1/events", json=event("OrderCreated"))
    again = await call(client, SHOP, "POST", "/v1/events", json=[event("OrderCreated")])
    assert handled == (200, {"handled": 1, "duplicates": 0})
    assert again == (200, {"handled": 0, "duplicates": 1})
    _, log = await call(client, SHOP, "GET", "/v1/events")
    assert [told["type"] for told in log["events"]] == ["ConversationCreated", "MessageSent"]
    sequences = [int(told["sequence"]) for told in log["events"]]
    assert sequences == sorted(sequences)
    assert log["next_after"] == str(sequences[-1])
    assert log["events"][1]["data"]["message"]["content_type"] == "order"
    rest = await call(client, SHOP, "GET", f"/v1/events?after={log['next_after']}")
    assert rest == (200, {"events": [], "next_after": log["next_after"]})


async def test_a_batch_with_an_event_that_cannot_be_handled_changes_nothing(
    client: Client,
) -> None:
    unknown_order = event("OrderStatusChanged", 2)
    unknown_order["data"]["order_id"] = "nobody-placed-it"
    batch = [event("OrderCreated"), unknown_order]
    status, told = await call(client, SHOP, "POST", "/v1/events", json=batch)
    assert (status, told["code"], told["field"]) == (400, "invalid_field", "order_id")
    assert (await call(client, SHOP, "GET", "/v1/events"))[1]["events"] == []


async def test_a_user_blocked_on_the_platform_is_refused(client: Client) -> None:
    blocked = {**event("UserBlocked"), "data": {"user_id": "eve"}}
    assert (await call(client, SHOP, "POST", "/v1/events", json=blocked))[0] == 200
    status, told = await call(client, EVE, "GET", "/v1/unread")
    assert (status, told["code"]) == (403, "blocked")
