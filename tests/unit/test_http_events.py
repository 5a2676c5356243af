"""`/v1/events`: reading the log and feeding it."""

import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest

from tests.unit.http_server import Client, RecordingService, bearer, problem, serving
from tradewire.domain.incoming import IncomingEvent, UserBlocked
from tradewire.domain.limits import EVENTS_PAGE_MAX
from tradewire.domain.outbox import DomainEvent, PresenceData
from tradewire.edge.http_events import BODY_BYTES

LOG = [
    DomainEvent(number, "other" if number == 3 else "default", "UserOnline", "bob", data)
    for number, data in enumerate([PresenceData("bob", "2026-11-20T10:00:00.000Z")] * 5, 1)
]
EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/users",
    "type": "UserBlocked",
    "subject": "mallory",
    "data": {"user_id": "mallory"},
}
CE_HEADERS = {
    "ce-specversion": "1.0",
    "ce-id": "e%201",
    "ce-source": "/users",
    "ce-type": "UserBlocked",
    "Content-Type": "application/json",
}
TAKEN = IncomingEvent("e-1", "default", "UserBlocked", "mallory", UserBlocked(user_id="mallory"))


@pytest.fixture
def service() -> RecordingService:
    return RecordingService(LOG)


@pytest.fixture
async def client(service: RecordingService) -> AsyncIterator[Client]:
    async with serving(service) as client:
        yield client


async def page(client: Client, **params: str) -> tuple[list[str], str]:
    headers = bearer("shop", "service")
    async with client.get("/v1/events", params=params, headers=headers) as response:
        assert response.status == 200
        body = await response.json()
    return [event["sequence"] for event in body["events"]], body["next_after"]


async def post(client: Client, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = bearer("shop", "service") | {"Content-Type": "application/json"} | headers
    async with client.post("/v1/events", data=BytesIO(content), headers=given) as response:
        return response.status, await response.json(content_type=None)


async def test_the_log_is_read_page_by_page(client: Client) -> None:
    assert await page(client, limit="2") == (["1", "2"], "2")
    assert await page(client, after="4", limit="2") == (["5"], "5")
    assert await page(client, after="5") == ([], "5")


async def test_events_of_other_tenants_are_left_out(client: Client) -> None:
    assert await page(client) == (["1", "2", "4", "5"], "5")
    assert await page(client, after="2", limit="1") == ([], "3")


async def test_the_log_is_in_structured_form(client: Client) -> None:
    headers = bearer("shop", "service")
    async with client.get("/v1/events", params={"limit": "1"}, headers=headers) as response:
        body = await response.json()
    assert body["events"] == [
        {
            "specversion": "1.0",
            "id": "1",
            "source": "/tradewire/cell-1",
            "type": "UserOnline",
            "subject": "bob",
            "time": "2024-01-01T00:00:00.000Z",
            "datacontenttype": "application/json",
            "tenant": "default",
            "sequence": "1",
            "data": {"user_id": "bob", "last_seen": "2026-11-20T10:00:00.000Z"},
        }
    ]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"after": "x"}, "after"),
        ({"after": "-1"}, "after"),
        ({"limit": "0"}, "limit"),
        ({"limit": str(EVENTS_PAGE_MAX + 1)}, "limit"),
    ],
)
async def test_a_bad_page_is_refused(client: Client, params: dict[str, str], field: str) -> None:
    headers = bearer("shop", "service")
    async with client.get("/v1/events", params=params, headers=headers) as response:
        body = await problem(response, 400, "invalid_field")
    assert body["field"] == field


@pytest.mark.parametrize("roles", [(), ("admin",), ("moderator",)])
async def test_the_log_is_for_services(
    client: Client, service: RecordingService, roles: tuple[str, ...]
) -> None:
    headers = bearer("alice", *roles)
    async with client.get("/v1/events", headers=headers) as response:
        await problem(response, 403, "forbidden")
    async with client.post("/v1/events", json=EVENT, headers=headers) as response:
        await problem(response, 403, "forbidden")
    async with client.get("/v1/events") as response:
        await problem(response, 401, "unauthenticated")
    assert service.handled == []


@pytest.mark.parametrize("media_type", ["application/json", "application/cloudevents+json"])
async def test_one_event_is_handled(
    client: Client, service: RecordingService, media_type: str
) -> None:
    answer = await post(client, EVENT, **{"Content-Type": media_type})
    assert answer == (200, {"handled": 1, "duplicates": 0})
    assert service.handled == [TAKEN]


@pytest.mark.parametrize("media_type", ["application/json", "application/cloudevents-batch+json"])
async def test_an_array_is_handled_in_its_order(
    client: Client, service: RecordingService, media_type: str
) -> None:
    events = [{**EVENT, "id": f"e-{number}"} for number in range(3)]
    answer = await post(client, events, **{"Content-Type": media_type})
    assert answer == (200, {"handled": 3, "duplicates": 0})
    assert [event.ce_id for event in service.handled] == ["e-0", "e-1", "e-2"]


async def test_binary_mode_is_handled(client: Client, service: RecordingService) -> None:
    answer = await post(client, {"user_id": "mallory"}, **CE_HEADERS)
    assert answer == (200, {"handled": 1, "duplicates": 0})
    expected = UserBlocked(user_id="mallory")
    assert service.handled == [IncomingEvent("e 1", "default", "UserBlocked", None, expected)]


async def test_one_bad_event_lets_none_take_effect(
    client: Client, service: RecordingService
) -> None:
    status, body = await post(client, [EVENT, {**EVENT, "data": {}}])
    assert (status, body["code"], body["field"]) == (400, "invalid_field", "user_id")
    status, body = await post(client, [EVENT, {**EVENT, "type": "UserErased"}])
    assert (status, body["code"], body["field"]) == (400, "invalid_field", "type")
    assert service.handled == []


async def test_an_event_is_of_the_tenant_of_the_token(
    client: Client, service: RecordingService
) -> None:
    headers = bearer("shop", "service", tenant="shop-2")
    assert await post(client, EVENT, **headers) == (200, {"handled": 1, "duplicates": 0})
    assert [event.tenant for event in service.handled] == ["shop-2"]
    status, body = await post(client, [EVENT, {**EVENT, "tenant": "default"}], **headers)
    assert (status, body["code"], body["field"]) == (403, "forbidden", "tenant")
    assert len(service.handled) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "bad_request"),
        (b"{", {}, 400, "bad_request"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b" " * (BODY_BYTES + 1), {}, 413, "too_large"),
        ([EVENT] * (EVENTS_PAGE_MAX + 1), {}, 413, "too_large"),
        ({"user_id": "u"}, CE_HEADERS | {"ce-type": "Nothing"}, 400, "invalid_field"),
    ],
)
async def test_what_cannot_be_taken_is_refused(
    client: Client,
    service: RecordingService,
    body: object,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    answered, told = await post(client, body, **headers)
    assert (answered, told["code"]) == (status, code)
    assert service.handled == []
