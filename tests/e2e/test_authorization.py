"""Every command as every kind of caller, over HTTP and over WebSocket (protocol §4)."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.e2e.authorization_calls import HTTP_ONLY, TWINS, Callers, Json
from tests.e2e.authorization_tables import CONVERSATION_ROWS, PERSONAL_ROWS, Row
from tests.e2e.authorization_world import (
    World,
    first_of_pair,
    made,
    personal_fields,
    surroundings,
)
from tests.e2e.harness import DEADLINE_S, Server, serving
from tests.e2e.places import STORES, Place, StoreKind
from tradewire.client import Client, CommandError
from tradewire.domain.commands import COMMANDS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(module_place: Place) -> AsyncIterator[Server]:
    async with serving(module_place) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def callers(server: Server) -> AsyncIterator[Callers]:
    async with Callers.of(server) as callers:
        yield callers


def _transports(row: Row, store: StoreKind) -> list[str]:
    """Those that have the command; one is enough on the second store, which sees none of them."""
    over_http, over_websocket = row.command in TWINS, row.command not in HTTP_ONLY
    ways = ["websocket"] * over_websocket + ["http"] * over_http
    return ways if store == "sqlite" else ways[:1]


def _on_all_of(rows: list[Row]) -> pytest.MarkDecorator:
    cases = [
        pytest.param(store, row, transport, id=f"{store}-{row.kind}-{row.label}-{transport}")
        for store in STORES
        for row in rows
        for transport in _transports(row, store)
    ]
    names = ("module_place", "row", "transport")
    return pytest.mark.parametrize(names, cases, indirect=names[:1], scope="module")


async def test_every_command_stands_in_the_tables() -> None:
    commands = {command.__name__ for command in COMMANDS}
    assert {row.command for row in (*CONVERSATION_ROWS, *PERSONAL_ROWS)} == commands | HTTP_ONLY


async def test_every_http_operation_is_driven(callers: Callers) -> None:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_S)) as session,
        session.get(f"{callers.server.url}/openapi.json") as response,
    ):
        document = await response.json()
    offered = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        if path.startswith("/v1/")
        for method in item.keys() & {"get", "post", "put", "patch", "delete"}
    }
    assert offered == set(TWINS.values())


@_on_all_of(PERSONAL_ROWS)
async def test_commands_about_the_caller_alone(callers: Callers, row: Row, transport: str) -> None:
    faults = []
    for caller, expected in row.outcomes.items():
        fields = personal_fields(callers, row.label, caller)
        before = await surroundings(callers)
        outcome = await callers.outcome(transport, caller, row.command, fields)
        if outcome != expected:
            faults.append(f"{caller}: {outcome} instead of {expected}")
        elif (outcome != "allowed" or caller == "tenant") and await surroundings(callers) != before:
            faults.append(f"{caller}: {outcome}, and yet something was stored")
    assert not faults, "\n".join(faults)


@_on_all_of(CONVERSATION_ROWS)
async def test_commands_on_a_conversation(callers: Callers, row: Row, transport: str) -> None:
    faults = []
    untouched: dict[str, World] = {}
    for caller, expected in row.outcomes.items():
        pair = first_of_pair(caller)
        world = untouched.pop(pair, None) or await made(callers, row.kind, caller)
        faults += await _faults_on(world, callers, row, transport, caller)
        if expected != "allowed":
            untouched[pair] = world
    assert not faults, "\n".join(faults)


async def _faults_on(
    world: World, callers: Callers, row: Row, transport: str, caller: str
) -> list[str]:
    expected = row.outcomes[caller]
    fields = await world.fields(row.label, caller)
    before = await world.before() if expected != "allowed" else None
    outcome = await callers.outcome(transport, caller, row.command, fields)
    if outcome != expected:
        return [f"{caller}: {outcome} instead of {expected}"]
    if before is not None and await world.state() != before:
        return [f"{caller}: {outcome}, and yet something was stored"]
    return []


async def test_nothing_is_heard_across_a_block(callers: Callers) -> None:
    world = await made(callers, "direct", "blocked")
    quiet = {"conversation_id": world.id}
    client = callers.server.client("other", tenant=callers.tenant, acknowledge_delivery=False)
    async with client as other:
        await other.request("WatchPresence", user_ids=["blocked"])
        await callers.ask("blocked", "SetTypingIndicator", **quiet, typing=True)
        await callers.ask("blocked", "MarkMessagesAsRead", **quiet, all=True)
        await callers.ask("blocked", "SetOnlineStatus", status="away")
        for command in ("SendMessage", "SetTypingIndicator"):
            fields = {**quiet, "text": "psst", "typing": False}
            await callers.outcome("websocket", "blocked", command, fields)
        await made(callers, "direct", "member")
        heard = await _events_until_created(other)
    assert [event for event in heard if "blocked" in _users(event)] == []
    seen = await callers.do("other", "GetTypingIndicators", **quiet)
    assert seen == {"user_ids": []}


async def _events_until_created(client: Client) -> list[Json]:
    """What a client hears up to the news of a conversation."""
    heard: list[Json] = []
    async with asyncio.timeout(DEADLINE_S):
        async for event in client.events():
            if event["type"] == "ConversationCreated":
                return heard
            heard.append(event)
    raise AssertionError("the events ended")


def _users(event: Json) -> set[str]:
    return {event.get("user_id", ""), event.get("message", {}).get("sender_id", "")}


async def test_a_suspension_ends_what_is_open(callers: Callers) -> None:
    async with callers.server.socket("rowdy", tenant=callers.tenant) as socket:
        await socket.receive_json(timeout=DEADLINE_S)
        await callers.tell("UserBlocked", user_id="rowdy")
        async with asyncio.timeout(DEADLINE_S):
            while not (await socket.receive()).type.name.startswith("CLOSE"):
                pass
    assert socket.close_code == 4403


async def test_what_a_suspended_user_tried_left_nothing(callers: Callers) -> None:
    before = await _own_state(callers, "penitent")
    await callers.tell("UserBlocked", user_id="penitent")
    for row in PERSONAL_ROWS:
        if row.command in TWINS:
            fields = personal_fields(callers, row.label, "penitent")
            outcome = await callers.outcome("http", "penitent", row.command, fields)
            assert outcome == row.outcomes["banned"], row.label
    await callers.tell("UserUnblocked", user_id="penitent")
    assert await _own_state(callers, "penitent") == before


async def _own_state(callers: Callers, caller: str) -> list[Json]:
    reads = ("GetUserConversations", "GetUnreadCount", "GetBlockedUsers")
    return [await callers.do(caller, read) for read in reads]


async def test_a_token_of_another_user_does_not_refresh(callers: Callers) -> None:
    with pytest.raises(CommandError) as refused:
        await callers.ask("member", "RefreshToken", token=callers.token("tenant"))
    assert refused.value.code == "unauthenticated"
