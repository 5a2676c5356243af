"""Sockets cut at any byte: what clients show, built from events alone, is what the server holds."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.e2e.harness import Server, serving
from tests.e2e.places import embedded
from tests.fault.devices import Json, Screen, differences, read_afresh, read_conversation
from tests.fault.flow import Flow, begin
from tests.fault.load import Ended, open_direct, receive, receive_batch, send_many
from tests.fault.proxy import Proxy
from tests.fault.waiting import until
from tradewire.domain.ids import TIME_SHIFT
from tradewire.domain.limits import RESUME_EVENTS, RESUME_OVERLAP_MS, TEXT_CHARACTERS
from tradewire.usecases import resume

LIVES = 3
"""How often the server is started."""
ACTIONS = 200
"""What each device does in all."""
ACT_S = 120.0

RECEIVE_BUFFER_BYTES = 4096
FLOOD = 50
MOST_FLOODS = 60
"""30 MB: more than any socket buffers take."""


async def reach(flow: Flow, share: float) -> None:
    """Wait until this share of all actions is done."""
    await until(lambda: flow.actions >= share * ACTIONS * len(flow.devices), ACT_S)


@asynccontextmanager
async def serving_behind(proxy: Proxy, data_dir: Path) -> AsyncIterator[Server]:
    async with serving(embedded(data_dir), CONNECTIONS_PER_USER="1000") as server:
        proxy.upstreams = [urlsplit(server.url).port or 0]
        yield server
        # asyncio of Python 3.11 leaks what it accepts while a listener is being closed.
        proxy.upstreams = []


@pytest.fixture(params=[RESUME_OVERLAP_MS, 0], ids=["overlap", "no-overlap"])
def overlap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How far a resume reaches back: as it is, and not at all.

    The overlap is for nodes that differ. On one node cursors are to be exact, which it would hide.
    """
    monkeypatch.setattr(resume, "_OVERLAP", request.param << TIME_SHIFT)


@pytest.mark.fault
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("overlap")
async def test_what_is_built_from_events_and_resume_equals_a_fresh_read(
    tmp_path: Path, seed: int, tell: Callable[[str], None]
) -> None:
    async with Proxy() as proxy, asyncio.TaskGroup() as group:
        flow = Flow(proxy, seed)
        running = [group.create_task(device.run()) for device in flow.devices]
        acting = group.create_task(flow.act(lambda done: done >= ACTIONS))
        for life in range(1, LIVES):
            async with serving_behind(proxy, tmp_path) as server:
                await begin(server)
                await reach(flow, life / LIVES)
        async with serving_behind(proxy, tmp_path) as server:
            await asyncio.wait_for(acting, ACT_S)
            wrong = await flow.converge(server)
        for task in running:
            task.cancel()
    tell(f"seed {seed}: {flow.cuts} cuts, {flow.told}")
    assert not wrong, "\n".join(wrong)


class TestResume:
    async def test_after_a_restart_all_that_was_missed_is_told_once_and_in_order(
        self, tmp_path: Path
    ) -> None:
        async with serving(embedded(tmp_path)) as server:
            room = await open_direct(server, "alice", "bob")
            known = await send_many(server, "alice", room, ["known 1", "known 2"])
            async with server.socket("bob", since=0) as bob:
                events = await resumed(bob)
            missed = await send_many(server, "alice", room, ["edited", "deleted", "left"])
            path = f"/v1/conversations/{room}/messages"
            async with server.http("alice") as http:
                await http.request("PATCH", f"{path}/{missed[0]}", json={"text": "as edited"})
                await http.request("DELETE", f"{path}/{missed[1]}")
                title = {"metadata": {"about": "a bicycle"}}
                await http.request("PATCH", f"/v1/conversations/{room}", json=title)
        assert [event["message"]["message_id"] for event in messages_of(events)] == known
        async with serving(embedded(tmp_path)) as server:
            late = await send_many(server, "alice", room, ["after the restart"])
            async with server.socket("bob", since=events[-1]["cursor"]) as bob:
                events = await resumed(bob)
                live = await send_many(server, "alice", room, ["live"])
                assert (await receive(bob))["message"]["message_id"] == live[0]
        told = messages_of(events)
        assert [event["message"]["message_id"] for event in told] == [*known, *missed, *late]
        by_id = {event["message"]["message_id"]: event["message"] for event in told}
        assert by_id[missed[0]]["text"] == "as edited"
        assert by_id[missed[1]]["deleted"]
        assert "text" not in by_id[missed[1]]
        changes = {event["type"]: event for event in events}
        assert changes["MessageEdited"]["message"]["message_id"] == missed[0]
        assert changes["MessageDeleted"]["message"]["message_id"] == missed[1]
        assert changes["ConversationUpdated"]["conversation"]["metadata"] == {"about": "a bicycle"}
        assert events[-1]["truncated"] is False
        assert int(events[-1]["cursor"]) >= int(late[-1])

    @pytest.mark.timeout(120)
    async def test_more_than_the_limit_is_truncated_and_a_reload_makes_up_for_it(
        self, tmp_path: Path
    ) -> None:
        async with serving(embedded(tmp_path)) as server:
            room = await open_direct(server, "alice", "bob")
            sent = await send_many(server, "alice", room, ["one of many"] * (RESUME_EVENTS + 100))
            async with server.socket("bob", since=0, batch=1) as bob:
                events = await resumed(bob)
            assert events[-1]["truncated"] is True
            assert 0 < len(events) - 1 <= RESUME_EVENTS
            told = [event["message"]["message_id"] for event in messages_of(events)]
            assert told == sent[: len(told)]

            screen = Screen("bob")
            options: Json = {"since": events[-1]["cursor"], "acknowledge_delivery": False}
            async with server.client("bob", **options) as client, server.http("bob") as http:
                screen.seed(*await read_conversation(http, room))
                sent += await send_many(server, "alice", room, ["and one more"])
                async for event in client.events():
                    screen.apply(event)
                    if event.get("message", {}).get("message_id") == sent[-1]:
                        break
                assert differences(screen.view(), await read_afresh(http)) == []
            assert [m["message_id"] for m in screen.view()[room]["messages"]] == sent


async def test_a_retry_that_overtakes_the_first_try_leaves_one_message(tmp_path: Path) -> None:
    """The first try may still lie unread in the server when the client has long reconnected."""
    async with serving(embedded(tmp_path)) as server:
        room = await open_direct(server, "alice", "bob")
        async with server.socket("alice") as first, server.socket("alice") as second:
            key = f"{(await receive(first))['session_id']}:1"
            await receive(second)
            message = {"conversation_id": room, "key": key, "text": "once"}
            results = []
            for socket_ in (second, first):
                await socket_.send_json({"type": "SendMessage", "id": 1, **message})
                while (heard := await receive(socket_))["type"] != "Reply":
                    pass
                results.append(heard["result"])
        assert [result["duplicate"] for result in results] == [False, True]
        assert results[0]["message"]["message_id"] == results[1]["message"]["message_id"]
        async with server.http("bob") as http:
            _, stored = await read_conversation(http, room)
        assert [message["text"] for message in stored] == ["once"]


async def test_a_reader_too_slow_is_cut_with_4503_and_resumes(tmp_path: Path) -> None:
    async with serving(embedded(tmp_path)) as server:
        room = await open_direct(server, "alice", "bob")
        async with narrow_socket(server, "bob") as bob:
            cursor = (await receive(bob))["cursor"]
            sent = []
            for _ in range(MOST_FLOODS):
                sent += await send_many(server, "alice", room, ["x" * TEXT_CHARACTERS] * FLOOD)
                if await slow_consumers_closed(server):
                    break
            heard = await all_ids(bob)
            assert bob.close_code == 4503
        assert heard == sent[: len(heard)]
        assert len(heard) < len(sent)
        async with server.socket("bob", since=max([cursor, *heard], key=int)) as bob:
            events = await resumed(bob)
        resumed_ids = [event["message"]["message_id"] for event in messages_of(events)]
        assert sorted({*heard, *resumed_ids}, key=int) == sent
        assert events[-1]["truncated"] is False


@asynccontextmanager
async def narrow_socket(
    server: Server, user: str
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A bare WebSocket whose system takes little before its owner reads."""

    def narrow(address: tuple[object, ...]) -> socket.socket:
        made = socket.socket(address[0], address[1], address[2])  # type: ignore[arg-type]
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        return made

    connector = aiohttp.TCPConnector(socket_factory=narrow)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(f"{server.url}/ws/chat", params={"token": server.token(user)}) as opened,
    ):
        yield opened


async def slow_consumers_closed(server: Server) -> bool:
    """Whether the server says that it has cut a connection for being too slow."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as response:
        return "tradewire_slow_consumers_closed_total 1" in await response.text()


async def all_ids(opened: aiohttp.ClientWebSocketResponse) -> list[str]:
    """The ids of all messages that still come before the close."""
    ids: list[str] = []
    with suppress(Ended):
        while True:
            event = await receive(opened)
            if event["type"] == "MessageReceived":
                ids.append(event["message"]["message_id"])
    return ids


async def resumed(opened: aiohttp.ClientWebSocketResponse) -> list[Json]:
    """The events after Welcome, up to SyncCompleted, which is the last."""
    events: list[Json] = []
    while not events or events[-1]["type"] != "SyncCompleted":
        events += await receive_batch(opened)
    return events[1:]


def messages_of(events: list[Json]) -> list[Json]:
    return [event for event in events if event["type"] == "MessageReceived"]
