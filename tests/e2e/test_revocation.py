"""Tokens that are taken their power, and users who are turned away, on every node (protocol §2)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
import pytest

from tests.e2e.devices import (
    Call,
    Connect,
    Device,
    HttpCaller,
    connected,
    over_http,
    refused_handshake,
)
from tests.e2e.harness import DEADLINE_S, SECRET, Server, serving
from tests.e2e.marketplace import Json, cloud_event
from tests.e2e.places import Place
from tests.integration.commands import tradewire
from tradewire.app import Node
from tradewire.domain.errors import Unavailable

HEARD_WITHIN_S = 5.0
ON_A_CLUSTER = pytest.mark.parametrize("place", ["scylla"], indirect=True)


def signed(server: Server, user: str = "alice", **claims: Any) -> str:
    """A token as another issuer signs it."""
    tenant = server.place.tenant("default")
    return jwt.encode({"sub": user, "tenant": tenant, "exp": time.time() + 600, **claims}, SECRET)


def with_id(server: Server) -> tuple[str, str]:
    """A token of alice, and its id."""
    token_id = uuid4().hex
    return signed(server, jti=token_id, iat=int(time.time())), token_id


async def closed(device: Device) -> int | None:
    return await asyncio.wait_for(device.closed(), HEARD_WITHIN_S)


async def accepted(server: Server, token: str) -> bool:
    """Whether a token opens both doors; refused, it is so as a revoked one."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        http = HttpCaller(server.url, session)
        answer = await http.call("GetUnreadCount")
    if http.status == 200:
        async with connected(server, "alice", token=token) as device:
            await device.ask("Ping")
        return True
    handshake, status, _ = await refused_handshake(server.url, {"token": token})
    assert (http.status, status) == (401, 401)
    for problem in (answer, handshake):
        assert problem["code"] == "unauthenticated"
        assert "revoked" in problem["detail"]
    return False


async def test_a_user_is_revoked(server: Server, connect: Connect, http: Call) -> None:
    old, without_iat = server.token("alice"), signed(server)
    devices = [await connect("alice", token=token) for token in (old, without_iat)]
    bob = await connect("bob")
    service = await http("shop", "service")
    assert await service.ask("Revoke", user_id="alice") == {}
    assert [await closed(device) for device in devices] == [4401, 4401]
    assert not await accepted(server, old)
    assert not await accepted(server, without_iat)
    assert await accepted(server, server.token("alice"))
    await bob.ask("Ping")


async def test_a_token_is_revoked(server: Server, connect: Connect, http: Call) -> None:
    (lost, lost_id), (kept, _) = with_id(server), with_id(server)
    one, other = await connect("alice", token=lost), await connect("alice", token=kept)
    elsewhere = await connect("alice", tenant="elsewhere")
    admin = await http("root", "admin")
    assert await admin.ask("Revoke", token_id=lost_id) == {}
    assert await closed(one) == 4401
    assert not await accepted(server, lost)
    assert await accepted(server, kept)
    await other.ask("Ping")
    await elsewhere.ask("Ping")


async def test_over_a_socket_too(server: Server, connect: Connect) -> None:
    alice, shop = await connect("alice"), await connect("shop", "service")
    assert await shop.ask("Revoke", user_id="alice") == {}
    assert await closed(alice) == 4401


async def test_a_refreshed_connection_has_its_new_token_alone(
    server: Server, connect: Connect, http: Call
) -> None:
    (first, first_id), (second, second_id) = with_id(server), with_id(server)
    alice, service = await connect("alice", token=first), await http("shop", "service")
    await alice.ask("RefreshToken", token=second)
    await service.ask("Revoke", token_id=first_id)
    error = await alice.refused("RefreshToken", token=first)
    assert (error["code"], "revoked" in error["message"]) == ("unauthenticated", True)
    await alice.ask("Ping")
    await service.ask("Revoke", token_id=second_id)
    assert await closed(alice) == 4401


@pytest.mark.parametrize("fields", [{}, {"user_id": "alice", "token_id": "t-1"}])
async def test_what_is_revoked_is_one_thing(http: Call, fields: Json) -> None:
    service = await http("shop", "service")
    assert (await service.refused("Revoke", **fields))["code"] == "invalid_field"


async def test_it_outlives_the_server(place: Place) -> None:
    async with serving(place) as server:
        (token, token_id), users = with_id(server), server.token("alice")
        async with over_http(server, "shop", "service") as service:
            await service.ask("Revoke", token_id=token_id)
            await service.ask("Revoke", user_id="alice")
    async with serving(place) as again:
        assert not await accepted(again, token)
        assert not await accepted(again, users)
        assert await accepted(again, again.token("alice"))


async def test_by_the_command_line(server: Server, connect: Connect) -> None:
    token, token_id = with_id(server)
    where = ("--url", server.url, "--tenant", server.place.tenant("default"))
    alice, bob = await connect("alice", token=token), await connect("bob")
    for device, which in ((alice, ("--token-id", token_id)), (bob, ("--user", "bob"))):
        ended = await tradewire({"JWT_SECRET": SECRET}, "revoke", *which, *where)
        assert ended == (0, "", "")
        assert await closed(device) == 4401
    assert await accepted(server, server.token("bob"))


@asynccontextmanager
async def two_nodes(place: Place) -> AsyncIterator[tuple[Server, Server]]:
    async with serving(place) as one, serving(place) as other:
        yield one, other


@ON_A_CLUSTER
async def test_a_revocation_is_heard_on_the_other_node(place: Place) -> None:
    async with two_nodes(place) as (one, other):
        (lost, lost_id), old = with_id(other), other.token("alice")
        assert await accepted(other, lost)
        async with (
            connected(other, "alice", token=lost) as by_id,
            connected(other, "alice", token=old) as by_user,
            over_http(one, "shop", "service") as service,
        ):
            await service.ask("Revoke", token_id=lost_id)
            assert await closed(by_id) == 4401
            await by_user.ask("Ping")
            assert not await accepted(other, lost)
            await service.ask("Revoke", user_id="alice")
            assert await closed(by_user) == 4401
            assert not await accepted(other, old)
            async with connected(other, "alice") as new:
                await new.ask("Ping")
        assert await _measured(other) == 2


@ON_A_CLUSTER
async def test_a_platform_block_is_heard_on_the_other_node(place: Place) -> None:
    async with two_nodes(place) as (one, other):
        async with (
            connected(other, "alice") as alice,
            connected(other, "bob") as bob,
            over_http(one, "shop", "service") as service,
        ):
            await service.ask("TakeEvents", **cloud_event("UserBlocked", user_id="alice"))
            assert await closed(alice) == 4403
            await bob.ask("Ping")
        body, status, _ = await refused_handshake(other.url, {"token": other.token("alice")})
        assert (status, body["code"]) == (403, "blocked")


@ON_A_CLUSTER
@pytest.mark.parametrize("statement", ["REFUSALS", "SUSPENSION"])
async def test_it_is_heard_when_the_store_is_back(place: Place, statement: str) -> None:
    async with (
        two_nodes(place) as (one, other),
        connected(other, "alice") as alice,
        over_http(one, "shop", "service") as service,
    ):
        refused = _refusing(other.node, statement)
        await service.ask("TakeEvents", **cloud_event("UserBlocked", user_id="alice"))
        async with asyncio.timeout(DEADLINE_S):
            while len(refused) < 2:
                await asyncio.sleep(0.05)
        other.node._store.engine.on_statement = None  # type: ignore[attr-defined]
        assert await closed(alice) == 4403


def _refusing(node: Node, statement: str) -> list[str]:
    """Let none of these reach the cluster from now on; they are listed."""
    refused: list[str] = []

    def refuse(name: str) -> None:
        if name == statement:
            refused.append(name)
            raise Unavailable

    node._store.engine.on_statement = refuse  # type: ignore[attr-defined]
    return refused


async def _measured(server: Server) -> float:
    """How many refusals have closed sockets on a node."""
    metrics = server.node._metrics.render().decode()
    [line] = [
        line for line in metrics.splitlines() if line.startswith("tradewire_refusal_seconds_count")
    ]
    return float(line.split()[1])
