import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from loadtest.websocket import (
    BINARY,
    PING,
    TEXT,
    FrameReader,
    WebSocket,
    WebSocketError,
    connect,
    masked_frame,
)

DEADLINE = 10.0
SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]
Serve = Callable[[Talk], Awaitable[TestServer]]


async def echo(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start an aiohttp server that talks in the given way on every socket."""
    servers: list[TestServer] = []

    async def start(talk: Talk) -> TestServer:
        async def handle(request: web.Request) -> web.WebSocketResponse:
            socket = web.WebSocketResponse(protocols=("chat.v1.json",), max_msg_size=1_000_000)
            await socket.prepare(request)
            await talk(socket)
            return socket

        application = web.Application()
        application.router.add_get("/ws", handle)
        servers.append(TestServer(application, host="127.0.0.1"))
        await servers[-1].start_server()
        return servers[-1]

    yield start
    for server in servers:
        await server.close()


class Inbox:
    """Payloads as they come in."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()

    def receive(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._queue.put_nowait(payload)

    async def next(self) -> bytes:
        return await asyncio.wait_for(self._queue.get(), DEADLINE)


async def dial(server: TestServer, inbox: Inbox, path: str = "/ws") -> WebSocket:
    assert server.port is not None
    return await connect("127.0.0.1", server.port, path, "chat.v1.json", inbox.receive)


async def test_frames_of_every_length_survive_the_way_there_and_back(serve: Serve) -> None:
    inbox = Inbox()
    socket = await dial(await serve(echo), inbox)
    for size in SIZES:
        payload = b"x" * size
        for opcode in (TEXT, BINARY):
            socket.send(masked_frame(opcode, payload))
            assert await inbox.next() == payload
    socket.close()


async def test_several_frames_go_in_one_write(serve: Serve) -> None:
    inbox = Inbox()
    socket = await dial(await serve(echo), inbox)
    socket.send(b"".join(masked_frame(TEXT, b"%d" % n) for n in range(100)))
    assert [await inbox.next() for _ in range(100)] == [b"%d" % n for n in range(100)]
    socket.close()


async def test_the_subprotocol_is_agreed(serve: Serve) -> None:
    async def tell(socket: web.WebSocketResponse) -> None:
        await socket.send_str(socket.ws_protocol or "none")
        await echo(socket)

    inbox = Inbox()
    socket = await dial(await serve(tell), inbox)
    assert await inbox.next() == b"chat.v1.json"
    socket.close()


async def test_a_ping_is_answered(serve: Serve) -> None:
    async def ping(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"are you there")
        await echo(socket)

    inbox = Inbox()
    socket = await dial(await serve(ping), inbox)
    socket.send(masked_frame(PING, b""))
    socket.send(masked_frame(TEXT, b"after the pong"))
    assert await inbox.next() == b"after the pong"
    assert not socket.closed.done()
    socket.close()


async def test_closing_says_goodbye(serve: Serve) -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def note(socket: web.WebSocketResponse) -> None:
        await echo(socket)
        codes.put_nowait(socket.close_code)

    socket = await dial(await serve(note), Inbox())
    socket.close()
    assert await asyncio.wait_for(codes.get(), DEADLINE) == 1000


async def test_the_code_of_a_server_that_closes_is_told(serve: Serve) -> None:
    async def refuse(socket: web.WebSocketResponse) -> None:
        await socket.close(code=4503)

    socket = await dial(await serve(refuse), Inbox())
    reason = await asyncio.wait_for(socket.closed, DEADLINE)
    assert reason == "closed by the server with 4503"


async def test_a_refused_handshake_raises(serve: Serve) -> None:
    server = await serve(echo)
    with pytest.raises(WebSocketError, match="404"):
        await dial(server, Inbox(), "/elsewhere")


def server_frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


@given(
    sizes=st.lists(st.sampled_from(SIZES[:-1]), max_size=5),
    cuts=st.lists(st.integers(0, 200_000), max_size=12),
)
def test_frames_are_found_however_the_stream_is_cut(sizes: list[int], cuts: list[int]) -> None:
    frames = [(TEXT, b"%d" % (size % 10) * size) for size in sizes]
    stream = b"".join(server_frame(opcode, payload) for opcode, payload in frames)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader = FrameReader()
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert [frame for piece in pieces for frame in reader.feed(piece)] == frames


@pytest.mark.parametrize(
    "header",
    [b"\x01\x01", b"\xc1\x01", b"\x81\x81"],
    ids=["fragment", "extension bit", "masked"],
)
def test_what_a_server_must_not_send_raises(header: bytes) -> None:
    with pytest.raises(WebSocketError):
        FrameReader().feed(header + b"x")
