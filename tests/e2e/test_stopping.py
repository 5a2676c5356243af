"""How a server ends: sent away in order by SIGTERM, at once by a second one, and by SIGKILL."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import aiohttp
import pytest

from tests.e2e.places import Place
from tests.fault.load import Ended, Json, history, open_direct, receive, send_many
from tests.fault.process import ServerProcess, free_port

DRAIN_S = 1.0
STOPPING_S = 5.0
"""What a stop may take beyond the drain: clients that do not answer a close get two seconds."""
ROOMS = 40
IN_FLIGHT = 12
"""Messages in each room: the first of each finds nothing at hand that says who may write."""


@pytest.fixture
async def process(place: Place) -> AsyncIterator[ServerProcess]:
    environ = {"DRAIN_SECONDS": str(DRAIN_S)}
    async with ServerProcess(place, port=free_port(), environ=environ) as running:
        yield await running.start()


async def farewell(socket: aiohttp.ClientWebSocketResponse) -> tuple[list[Json], int | None]:
    """What a bare socket still hears, and the code it is closed with."""
    heard: list[Json] = []
    with suppress(Ended):
        while True:
            heard.append(await receive(socket))
    return heard, socket.close_code


def answered(heard: list[Json]) -> list[str]:
    """The keys of the sends that were taken; none may be refused for any reason but the stop."""
    replies = [event for event in heard if event["type"] == "Reply"]
    assert {reply["error"]["code"] for reply in replies if "error" in reply} <= {"draining"}
    return [reply["result"]["message"]["key"] for reply in replies if "result" in reply]


async def status(server: ServerProcess, path: str, **options: object) -> tuple[int, Json]:
    """The status and body of an answer; (0, {}) when the connection is refused."""
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.request(str(options.pop("method", "GET")), server.url + path, **options) as answer,  # type: ignore[arg-type]
        ):
            return answer.status, await answer.json(content_type=None)
    except aiohttp.ClientConnectionError:
        return 0, {}


class TestSigterm:
    async def test_each_socket_is_told_when_to_come_back_then_closed_with_1012(
        self, process: ServerProcess
    ) -> None:
        async with (
            process.socket("alice") as alice,
            process.socket("bob") as bob,
            process.socket("bob", protocol="chat.v1.json", device_id="phone") as phone,
        ):
            for socket in (alice, bob, phone):
                assert (await receive(socket))["type"] == "Welcome"
            process.signal(signal.SIGTERM)
            for socket in (alice, bob, phone):
                heard, code = await farewell(socket)
                assert [event["type"] for event in heard] == ["Reconnect"]
                assert 0 <= heard[0]["after_ms"] <= DRAIN_S * 1000
                assert code == 1012
        async with asyncio.timeout(DRAIN_S + STOPPING_S):
            assert await process.ended() == 0

    async def test_an_idle_server_exits_with_0_within_the_drain_time(
        self, process: ServerProcess
    ) -> None:
        process.signal(signal.SIGTERM)
        async with asyncio.timeout(DRAIN_S + STOPPING_S):
            assert await process.ended() == 0

    async def test_while_draining_it_is_not_ready_and_takes_nothing_new(
        self, process: ServerProcess
    ) -> None:
        room = await open_direct(process, "alice", "bob")
        assert (await status(process, "/readyz"))[0] == 200
        headers = {"Authorization": f"Bearer {process.token('alice')}"}
        async with process.socket("bob") as bob, process.socket("carol") as carol:
            # Carol never reads, so never answers the close: the server waits for her a while.
            await receive(bob)
            process.signal(signal.SIGTERM)
            await farewell(bob)
            ready, reason = await status(process, "/readyz")
            send = {"conversation_id": room, "text": "too late"}
            sent, refusal = await status(
                process, "/v1/messages", method="POST", json=send, headers=headers
            )
            connected, _ = await status(process, "/ws/chat", headers=headers)
            assert not carol.closed
        assert (ready, sent, connected) in {(503, 503, 503), (503, 503, 0), (503, 0, 0), (0, 0, 0)}
        if ready == 503:
            assert "draining" in str(reason)
        if sent == 503:
            assert refusal["code"] == "draining"
        assert await process.ended() == 0
        await process.start()
        assert await history(process, "alice", room) == []

    async def test_sends_in_flight_are_answered_or_not_stored(self, process: ServerProcess) -> None:
        rooms = [await open_direct(process, "alice", f"bob{number}") for number in range(ROOMS)]
        async with AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(process.socket("alice")) for _ in rooms]
            for socket in sockets:
                assert (await receive(socket))["type"] == "Welcome"
            for number in range(IN_FLIGHT):
                for room, socket in zip(rooms, sockets, strict=True):
                    fields = {"conversation_id": room, "key": f"key {number}", "text": "in flight"}
                    await socket.send_json({"type": "SendMessage", "id": number, **fields})
            process.signal(signal.SIGTERM)
            farewells = [await farewell(socket) for socket in sockets]
        assert {code for _, code in farewells} == {1012}
        assert await process.ended() == 0
        await process.start()
        for room, (heard, _) in zip(rooms, farewells, strict=True):
            assert [told.key for told in await history(process, "alice", room)] == answered(heard)

    async def test_a_client_comes_back_by_itself_and_misses_nothing(
        self, process: ServerProcess
    ) -> None:
        room = await open_direct(process, "alice", "bob")
        heard: list[str] = []
        async with process.client("alice") as alice, process.client("bob", since=0) as bob:
            await alice.send(room, "before")
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
            await process.start()
            await alice.send(room, "after")
            async with asyncio.timeout(30):
                async for event in bob.events():
                    if event["type"] == "MessageReceived":
                        heard.append(event["message"]["text"])
                    if heard[-1:] == ["after"]:
                        break
        assert heard == ["before", "after"]

    async def test_a_second_one_ends_it_at_once(self, process: ServerProcess) -> None:
        async with process.socket("alice") as alice, process.socket("carol") as carol:
            # Carol never reads, so never answers the close: the server waits for her a while.
            await receive(alice)
            process.signal(signal.SIGTERM)
            await farewell(alice)
            process.signal(signal.SIGTERM)
            assert await process.ended() == -signal.SIGTERM
            assert not carol.closed


class TestSigkill:
    async def test_the_next_start_serves_what_was_acknowledged(
        self, process: ServerProcess
    ) -> None:
        room = await open_direct(process, "alice", "bob")
        sent = await send_many(process, "alice", room, [f"number {n}" for n in range(100)])
        await process.kill()
        await process.start()
        stored = await history(process, "bob", room)
        assert [str(told.message_id) for told in stored] == sent
        assert [told.text for told in stored] == [f"number {n}" for n in range(100)]
        sent += await send_many(process, "bob", room, ["and on it goes"])
        assert [str(told.message_id) for told in await history(process, "alice", room)] == sent
