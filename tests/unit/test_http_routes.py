"""Which command a request means, and what its answer looks like."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.unit.http_server import Client, RecordingService, bearer, problem, serving
from tradewire.domain import commands
from tradewire.domain.commands import COMMANDS, Command
from tradewire.domain.results import ConversationResult, MessageResult
from tradewire.protocol import examples
from tradewire.protocol.examples import CONVERSATION_ID, MESSAGE_ID
from tradewire.protocol.routes import RESULTS, ROUTES, Route

CONVERSATION = f"/v1/conversations/{CONVERSATION_ID}"


@pytest.fixture
def service() -> RecordingService:
    return RecordingService()


@pytest.fixture
async def client(service: RecordingService) -> AsyncIterator[Client]:
    async with serving(service) as client:
        yield client


async def get(client: Client, path: str, **params: str) -> tuple[int, Any]:
    async with client.get(path, params=params, headers=bearer()) as response:
        return response.status, await response.json(content_type=None)


def example_of(route: Route) -> Command:
    """The example of a route's command, without what only a frame has."""
    example = examples.MESSAGES[route.command]
    assert isinstance(example, Command)
    return msgspec.structs.replace(example, id=None)


def fields_of(route: Route) -> dict[str, Any]:
    return examples.shown(examples.MESSAGES[route.command])


def as_query(fields: dict[str, Any]) -> dict[str, str]:
    written = {
        name: ",".join(value) if isinstance(value, list) else json.dumps(value).strip('"')
        for name, value in fields.items()
    }
    return {name: value for name, value in written.items() if name not in {"type", "id"}}


def test_every_command_but_those_of_a_connection_has_one_route() -> None:
    of_a_connection = {commands.WatchPresence, commands.RefreshToken, commands.Ping}
    assert [route.command for route in ROUTES if route.command in of_a_connection] == []
    assert {route.command for route in ROUTES} == set(COMMANDS) - of_a_connection
    assert len(ROUTES) == len(COMMANDS) - len(of_a_connection)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.command.__name__)
async def test_a_route_gives_its_command(
    client: Client, service: RecordingService, route: Route
) -> None:
    fields = fields_of(route)
    path = route.path.format(**fields)
    given: dict[str, Any] = {"json": fields} if route.has_body else {"params": as_query(fields)}
    async with client.request(route.method, path, headers=bearer(), **given) as response:
        body = await response.json()
    assert service.command == example_of(route)
    assert body == msgspec.to_builtins(examples.MESSAGES[RESULTS[route.command]])
    assert response.status == (201 if route.creates else 200)
    assert service.limited == [route.command]


async def test_the_caller_is_the_tokens(client: Client, service: RecordingService) -> None:
    headers = bearer("carol", "moderator", tenant="shop-2")
    async with client.get("/v1/unread", headers=headers) as response:
        assert response.status == 200
    ((caller, _),) = service.commands
    assert (caller.tenant, caller.user_id) == ("shop-2", "carol")
    assert caller.roles == {"moderator"}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/conversations", ConversationResult(examples.CONVERSATION, created=False)),
        ("/v1/messages", MessageResult(examples.MESSAGE, duplicate=True)),
    ],
)
async def test_what_existed_is_answered_with_200(
    client: Client, service: RecordingService, path: str, answer: Any
) -> None:
    service.answer = answer
    body = {"conversation_id": CONVERSATION_ID, "text": "hello", "user_id": "bob"}
    async with client.post(path, json=body, headers=bearer()) as response:
        assert response.status == 200
        assert await response.json() == msgspec.to_builtins(answer)


async def test_query_parameters_have_types(client: Client, service: RecordingService) -> None:
    await get(
        client,
        "/v1/conversations",
        archived="any",
        muted="true",
        unread="false",
        limit="7",
        listing_id="12",
    )
    assert service.command == commands.GetUserConversations(
        archived="any", muted=True, unread=False, limit=7, listing_id="12"
    )


@pytest.mark.parametrize("value", ["true", "false"])
async def test_archived_may_be_a_truth_value(
    client: Client, service: RecordingService, value: str
) -> None:
    await get(client, "/v1/conversations", archived=value)
    command = service.command
    assert isinstance(command, commands.GetUserConversations)
    assert command.archived is (value == "true")


@pytest.mark.parametrize(
    ("query", "user_ids"),
    [
        ("user_ids=a,b", ["a", "b"]),
        ("user_ids=a&user_ids=b,c", ["a", "b", "c"]),
        ("user_ids=a%2Cb", ["a", "b"]),
        ("user_ids=", []),
    ],
)
async def test_lists_are_comma_separated(
    client: Client, service: RecordingService, query: str, user_ids: list[str]
) -> None:
    async with client.get(f"/v1/presence?{query}", headers=bearer()) as response:
        assert response.status == 200
    assert service.command == commands.GetOnlineStatus(user_ids=user_ids)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=many", "limit"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=1&limit=2", "limit"),
        ("unread=perhaps", "unread"),
        ("sort=price", "sort"),
        ("archived=some", "archived"),
        ("listing_id=%00", "listing_id"),
        ("listing_id=%ff", "listing_id"),
        ("q=lamp", "q"),
    ],
)
async def test_a_bad_parameter_is_named(
    client: Client, service: RecordingService, query: str, field: str
) -> None:
    async with client.get(f"/v1/conversations?{query}", headers=bearer()) as response:
        body = await problem(response, 400, "invalid_field")
    assert body["field"] == field
    assert service.commands == []


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/v1/messages", {}, "conversation_id"),
        ("POST", "/v1/messages", {"conversation_id": "c-1"}, "conversation_id"),
        ("POST", "/v1/messages", {"conversation_id": CONVERSATION_ID, "text": 7}, "text"),
        ("POST", "/v1/messages", {"conversation_id": CONVERSATION_ID, "text": ""}, "text"),
        ("POST", "/v1/messages", {"conversation_id": CONVERSATION_ID, "metadata": 1}, "metadata"),
        (
            "POST",
            "/v1/messages",
            {"conversation_id": CONVERSATION_ID, "attachment_ids": ["a", 2]},
            "attachment_ids",
        ),
        ("POST", f"{CONVERSATION}/members", {"user_ids": []}, "user_ids"),
        ("PUT", f"{CONVERSATION}/archive", {"archived": "true"}, "archived"),
        ("PUT", f"{CONVERSATION}/mute", {}, "until"),
        ("PUT", "/v1/blocks/no%20name", None, "user_id"),
        ("GET", "/v1/conversations/1", None, "conversation_id"),
        ("GET", f"{CONVERSATION}/messages/-1", None, "message_id"),
        ("DELETE", f"{CONVERSATION}?scope=all", None, "scope"),
        ("GET", "/v1/presence", None, "user_ids"),
        ("GET", "/v1/presence?user_ids=a,,b", None, "user_ids"),
    ],
)
async def test_a_bad_field_is_named(
    client: Client, service: RecordingService, method: str, path: str, body: Any, field: str
) -> None:
    async with client.request(method, path, json=body, headers=bearer()) as response:
        told = await problem(response, 400, "invalid_field")
    assert told["field"] == field
    assert service.commands == []


async def test_unknown_members_are_ignored_and_the_path_wins(
    client: Client, service: RecordingService
) -> None:
    body = {"type": 1, "id": {}, "conversation_id": 7, "message_id": "9", "text": "b", "new": []}
    path = f"{CONVERSATION}/messages/{MESSAGE_ID}"
    async with client.patch(path, json=body, headers=bearer()) as response:
        assert response.status == 200
    assert service.command == commands.EditMessage(
        conversation_id=CONVERSATION_ID, message_id=MESSAGE_ID, text="b"
    )


@pytest.mark.parametrize("body", [{}, {"key": None}, {"key": "k-1"}])
async def test_the_idempotency_key_is_the_key(
    client: Client, service: RecordingService, body: dict[str, Any]
) -> None:
    content = {"conversation_id": CONVERSATION_ID, "text": "hello", **body}
    headers = bearer() | {"Idempotency-Key": "k-1"}
    async with client.post("/v1/messages", json=content, headers=headers) as response:
        assert response.status == 201
    assert service.command == commands.SendMessage(
        conversation_id=CONVERSATION_ID, text="hello", key="k-1"
    )


@pytest.mark.parametrize(
    ("header", "key"),
    [("k-1", "k-2"), ("k-1", ["k-1"]), ("", None), ("k" * 129, None)],
)
async def test_a_key_that_cannot_be_is_refused(
    client: Client, service: RecordingService, header: str, key: Any
) -> None:
    content = {"conversation_id": CONVERSATION_ID, "text": "hello", "key": key}
    headers = bearer() | {"Idempotency-Key": header}
    async with client.post("/v1/messages", json=content, headers=headers) as response:
        body = await problem(response, 400, "invalid_field")
    assert body["field"] == "key"
    assert service.commands == []


async def test_a_wrong_method_is_told_the_right_ones(client: Client) -> None:
    methods: dict[str, set[str]] = {}
    for route in ROUTES:
        methods.setdefault(route.path, set()).add(route.method)
    for path, allowed in methods.items():
        address = re.sub(r"{\w+}", "1", path)
        async with client.request("TRACE", address, headers=bearer()) as response:
            await problem(response, 405, "bad_request")
            assert set(response.headers["Allow"].split(",")) == allowed


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/unread/", "/v1/search"])
async def test_an_unknown_address_is_not_found(client: Client, path: str) -> None:
    async with client.get(path, headers=bearer()) as response:
        await problem(response, 404, "not_found")


def test_names_of_paths_are_fields_of_their_commands() -> None:
    for route in ROUTES:
        assert set(route.path_fields) <= set(route.command.__struct_fields__)
