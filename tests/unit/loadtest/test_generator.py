"""The generator against the floor, as a process, with few messages."""

import os
import uuid
from collections.abc import Callable
from itertools import count

import pytest
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer

from loadtest.bench import Options, compare, generate
from loadtest.floor import peer_of
from loadtest.messages import Protocol
from loadtest.plan import ClosedLoop, Endpoint, OpenLoop, Pair, Plan, on_pairs
from loadtest.report import summarize
from loadtest.servers import Floor, running

WARM_UP = 0.1
LOAD = ClosedLoop(in_flight=2, seconds=0.1)
PROTOCOLS = pytest.mark.parametrize("protocol", ["json", "msgpack"])


@PROTOCOLS
async def test_a_closed_loop_finds_the_floor_correct(protocol: Protocol) -> None:
    async with running(Floor()) as server:
        load = ClosedLoop(in_flight=2, seconds=0.2)
        pairs = await server.pairs(2)
        plan = Plan(protocol, *on_pairs(pairs), load, WARM_UP)
        traffic = await generate(plan, {"server": server.pids})
    assert traffic.faults == {}
    assert traffic.acknowledged > 0
    assert traffic.latency_ms.p50 > 0
    assert traffic.generator_cpu_s > 0


async def test_an_open_loop_sends_what_is_due() -> None:
    async with running(Floor()) as server:
        load = OpenLoop(rate=100, seconds=0.5, seed=1)
        pairs = await server.pairs(2)
        plan = Plan("json", *on_pairs(pairs), load, WARM_UP)
        traffic = await generate(plan, {"server": server.pids})
    assert traffic.faults == {}
    assert traffic.acknowledged > 0
    assert traffic.latency_ms.max >= traffic.latency_ms.p50 > 0


async def test_the_processor_time_of_all_servers_is_added_up() -> None:
    async with running(Floor()) as server:
        load = ClosedLoop(in_flight=2, seconds=0.5)
        pairs = await server.pairs(2)
        plan = Plan("json", *on_pairs(pairs), load, WARM_UP)
        parts = {"server": server.pids * 2, "broker": server.pids}
        traffic = await generate(plan, parts)
    assert traffic.broker_cpu_s
    # The clocks of a process tick a hundred times a second, and are read one after the other.
    assert traffic.server_cpu_s == pytest.approx(2 * traffic.broker_cpu_s, abs=0.05)


async def test_a_comparison_of_the_floor_with_itself_is_complete() -> None:
    options = Options(
        duration=0.2, rounds=1, connections=4, in_flight=2, rate=50, idle_connections=120
    )
    progress: list[str] = []
    results = await compare(options, Floor(), Floor(name="itself"), progress.append)
    assert len(results.closed) == len(results.open) == 1
    assert not [reason for reason in summarize(results).invalid if " x " in reason]
    assert results.idle_floor.connections == results.idle_subject.connections == 20
    assert len(progress) == 3


Spoil = Callable[[list[dict[str, object]]], list[dict[str, object]]]


class Relay:
    """A relay of two users; the first two events to each of them go through ``spoil``."""

    def __init__(self, spoil: Spoil) -> None:
        self._spoil = spoil
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._first_two: dict[str, list[dict[str, object]]] = {"a0": [], "b0": []}
        self._numbers = count(1)

    @property
    def senders(self) -> list[str]:
        """Those who sent something."""
        return [user_id for user_id, messages in self._first_two.items() if messages]

    def server(self) -> TestServer:
        """A server of it, perhaps one of several."""
        application = web.Application()
        application.router.add_get("/ws/chat", self.serve)
        return TestServer(application, host="127.0.0.1")

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat.v1.json",))
        await socket.prepare(request)
        user_id = request.query["user_id"]
        self._sockets[user_id] = socket
        await socket.send_json({"type": "Welcome", "session_id": user_id})
        async for frame in socket:
            await self._relay(user_id, frame.json())
        return socket

    async def _relay(self, user_id: str, command: dict[str, object]) -> None:
        message = {name: command[name] for name in ("conversation_id", "key", "text")}
        message["message_id"] = str(next(self._numbers))
        reply = {"type": "Reply", "id": command["id"], "result": {"message": message}}
        await self._sockets[user_id].send_json(reply)
        first_two = self._first_two[user_id]
        first_two.append(message)
        if len(first_two) > 1:
            events = self._spoil(first_two) if len(first_two) == 2 else [message]
            peer = self._sockets[peer_of(user_id)]
            for event in events:
                await peer.send_json({"type": "MessageReceived", "message": event})


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda events: events[1:], "never delivered"),
        (lambda events: [*events, events[0]], "delivered twice or never sent"),
        (lambda events: events[::-1], "out of order"),
        (lambda events: [{**event, "text": "x"} for event in events], "altered"),
        (lambda events: [{**event, "conversation_id": "x"} for event in events], "altered"),
    ],
    ids=["lost", "duplicate", "out of order", "text", "conversation"],
)
async def test_a_wrong_server_is_found_out(spoil: Spoil, fault: str) -> None:
    async with Relay(spoil).server() as server:
        plan = Plan("json", *on_pairs([pair_on(server, server)]), LOAD, WARM_UP)
        traffic = await generate(plan, {"server": [os.getpid()]})
    assert [seen for seen in traffic.faults if seen.startswith(fault)]


async def test_one_way_the_first_of_a_pair_sends_to_the_second_on_another_server() -> None:
    relay = Relay(lambda events: events)
    async with relay.server() as one, relay.server() as other:
        who = on_pairs([pair_on(one, other)], one_way=True)
        plan = Plan("json", *who, LOAD, WARM_UP)
        traffic = await generate(plan, {"server": [os.getpid()]})
    assert traffic.faults == {}
    assert traffic.acknowledged > 0
    assert relay.senders == ["a0"]


def pair_on(one: BaseTestServer, other: BaseTestServer) -> Pair:
    first, second = (
        Endpoint("127.0.0.1", server.port or 0, f"/ws/chat?user_id={user_id}")
        for server, user_id in ((one, "a0"), (other, "b0"))
    )
    return Pair((first, second), str(uuid.uuid4()))
