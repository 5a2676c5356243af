"""A scripted peer that speaks the server's side of the protocol, and a clock that tests turn."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
import pytest
from aiohttp import WSMessage, WSMsgType, web

from tradewire.client import Client

DEADLINE_S = 10.0
Json = dict[str, Any]


def snowflake(ms: int, sequence: int = 0) -> int:
    """An id issued so many milliseconds after the epoch of ids."""
    return (ms << 22) | sequence


def message(message_id: int, **fields: Any) -> Json:
    given = {"message_id": str(message_id), "conversation_id": "c1", "sender_id": "bob"}
    return {**given, "text": f"text {message_id}", **fields}


def received(message_id: int, **fields: Any) -> Json:
    return {"type": "MessageReceived", "message": message(message_id, **fields)}


def read(change_id: int, up_to: int = 1, user_id: str = "bob") -> Json:
    ids = {"change_id": str(change_id), "up_to": str(up_to)}
    return {"type": "MessageRead", "conversation_id": "c1", "user_id": user_id, **ids}


def typing(user_id: str = "bob") -> Json:
    return {"type": "TypingStarted", "conversation_id": "c1", "user_id": user_id}


def sync_completed(cursor: int, *, truncated: bool = False) -> Json:
    return {"type": "SyncCompleted", "cursor": str(cursor), "truncated": truncated}


class PeerSocket:
    """The server's end of one connection; every wait has a deadline."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.query = dict(request.query)
        self._request = request
        self._socket = socket
        self._commands: asyncio.Queue[Json] = asyncio.Queue(10_000)
        self._pongs: asyncio.Queue[bytes] = asyncio.Queue(100)
        self._gone = asyncio.Event()

    @property
    def binary(self) -> bool:
        return self._socket.ws_protocol == "chat.v1.msgpack"

    async def tell(self, *objects: Json) -> None:
        """Send objects, each in a frame of its own."""
        for value in objects:
            await self._send(value)

    async def tell_together(self, *objects: Json) -> None:
        """Send objects in one frame."""
        await self._send(list(objects))

    async def tell_raw(self, frame: str) -> None:
        await self._socket.send_str(frame)

    async def ping(self) -> None:
        """Send a WebSocket ping and wait for the answer."""
        await self._socket.ping()
        async with asyncio.timeout(DEADLINE_S):
            await self._pongs.get()

    async def welcome(self, session_id: str, cursor: int = 0) -> None:
        limits = {"frame_bytes": 65_536}
        given = {"session_id": session_id, "user_id": "alice", "cursor": str(cursor)}
        await self.tell({"type": "Welcome", **given, "limits": limits})

    async def heard(self, kind: str) -> Json:
        """The next command, which has to be of this type."""
        async with asyncio.timeout(DEADLINE_S):
            command = await self._commands.get()
        assert command["type"] == kind, command
        return command

    def heard_no_more(self) -> bool:
        return self._commands.empty()

    async def reply(self, command: Json, **result: Any) -> None:
        await self.tell({"type": "Reply", "id": command["id"], "result": result})

    async def refuse(self, command: Json, code: str, status: int, **fields: Any) -> None:
        error = {"code": code, "status": status, "message": "no", **fields}
        await self.tell({"type": "Reply", "id": command["id"], "error": error})

    async def close(self, code: int) -> None:
        await self._socket.close(code=code)

    def cut(self) -> None:
        """Break the connection without a word."""
        transport = self._request.transport
        assert transport is not None, "the connection is gone already"
        transport.abort()

    async def gone(self) -> None:
        """Wait until the connection has ended."""
        async with asyncio.timeout(DEADLINE_S):
            await self._gone.wait()

    async def listen(self) -> None:
        """Note what the client says until it is gone."""
        try:
            async for frame in self._socket:
                self._note(frame)
        finally:
            self._gone.set()

    def _note(self, frame: WSMessage) -> None:
        if frame.type is WSMsgType.PONG:
            self._pongs.put_nowait(frame.data)
        else:
            assert (frame.type is WSMsgType.BINARY) == self.binary
            load = msgpack.unpackb if self.binary else json.loads
            self._commands.put_nowait(load(frame.data))

    async def _send(self, value: object) -> None:
        if self.binary:
            await self._socket.send_bytes(msgpack.packb(value))
        else:
            await self._socket.send_str(json.dumps(value))


class Peer:
    """A server that does what a test tells it to."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens: list[str] = []
        self._refusals: list[tuple[int, dict[str, str]]] = []
        self._accepted: asyncio.Queue[PeerSocket] = asyncio.Queue(100)

    def refuse_handshake(self, status: int, **headers: str) -> None:
        """Answer one of the next handshakes, in order, with a status."""
        self._refusals.append((status, {k.replace("_", "-"): v for k, v in headers.items()}))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers["Authorization"].removeprefix("Bearer "))
        if self._refusals:
            status, headers = self._refusals.pop(0)
            return web.Response(status=status, headers=headers)
        protocols = ("chat.v1.json", "chat.v1.msgpack")
        socket = web.WebSocketResponse(protocols=protocols, autoping=False, compress=False)
        await socket.prepare(request)
        end = PeerSocket(request, socket)
        self._accepted.put_nowait(end)
        await end.listen()
        return socket

    async def accept(self) -> PeerSocket:
        """The next connection, not welcomed yet."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._accepted.get()

    async def welcome(self, session_id: str = "s2", cursor: int = 0) -> PeerSocket:
        """The next connection, welcomed."""
        end = await self.accept()
        await end.welcome(session_id, cursor)
        return end


class ManualClock:
    """Time passes when a test says so."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._changed = asyncio.Event()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, wake))
        self._changed.set()
        await wake

    async def asleep(self, seconds: float) -> None:
        """Wait until someone sleeps exactly so long from now."""
        async with asyncio.timeout(DEADLINE_S):
            while not self._someone_sleeps(seconds):
                self._changed.clear()
                await self._changed.wait()

    async def advance(self, seconds: float) -> None:
        """Wait until someone sleeps exactly so long from now, and let that time pass."""
        await self.asleep(seconds)
        self._now += seconds
        for at, wake in self._sleepers:
            if at <= self._now and not wake.done():
                wake.set_result(None)

    def _someone_sleeps(self, seconds: float) -> bool:
        until = pytest.approx(self._now + seconds)
        return any(at == until and not wake.done() for at, wake in self._sleepers)


@asynccontextmanager
async def joined(client: Client, peer: Peer, cursor: int = 0) -> AsyncIterator[PeerSocket]:
    """A client that has connected to its peer as session `s1`, and is closed in the end."""
    async with asyncio.timeout(DEADLINE_S):
        entering = asyncio.create_task(client.__aenter__(), name="entering")
        end = await peer.welcome("s1", cursor)
        await entering
    try:
        yield end
    finally:
        await client.close()


async def next_event(client: Client) -> Json:
    async with asyncio.timeout(DEADLINE_S):
        return await anext(client.events())
