"""A node with a conversation to be defended, and what every answer of it must keep to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

import tradewire
from tests.e2e.authorization_calls import UPGRADE, Json
from tests.e2e.fuzz_values import CONVERSATION, MESSAGE, Request
from tests.e2e.harness import DEADLINE_S, Server
from tradewire.client.codec import codec_for
from tradewire.protocol.session import HEARTBEAT_S

STATUSES = {
    "bad_request": {400, 405, 413, 417, 431},
    "invalid_field": {400},
    "text_too_long": {400},
    "unsupported_media_type": {400, 415},
    "unauthenticated": {401},
    "token_expired": {401},
    "forbidden": {403},
    "blocked": {403},
    "conversation_closed": {403},
    "not_found": {404},
    "key_reused": {409},
    "conflict": {409},
    "too_large": {413},
}
"""What a client's mistake may be answered with (protocol §6)."""

PROBE = "the connection still serves"
_LEAKS = [b"Traceback", b'.py"', str(Path(tradewire.__file__).parent).encode()]


def check_no_leak(answer: bytes) -> None:
    """Fail if an answer shows the inside of the server."""
    assert not [leak for leak in _LEAKS if leak in answer], answer


def check_error(error: Json) -> None:
    """Fail unless an error blames the client, with a code and status of the protocol."""
    assert error["status"] in STATUSES.get(error["code"], set()), error


class Target:
    """A direct conversation of `fuzzer` and `witness`, and connections of `fuzzer`."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self._http = http
        self._sockets: dict[str, tuple[aiohttp.ClientWebSocketResponse, float]] = {}
        self._ids = {CONVERSATION: CONVERSATION, MESSAGE: MESSAGE}

    @classmethod
    @asynccontextmanager
    async def on(cls, server: Server) -> AsyncIterator["Target"]:
        """The target on a server."""
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as http,
            AsyncExitStack() as stack,
        ):
            target = cls(server, http)
            await target._prepare()
            stack.push_async_callback(target._close)
            yield target

    def real(self, data: bytes) -> bytes:
        """The data with the ids of what exists."""
        for name, id in self._ids.items():
            data = data.replace(name.encode(), id.encode())
        return data

    async def connect(self, protocol: str) -> aiohttp.ClientWebSocketResponse:
        """A new socket of the fuzzer's, welcomed."""
        socket = await self._http.ws_connect(
            f"{self.server.url}/ws/chat",
            params={"token": self.server.token("fuzzer")},
            protocols=(protocol,),
            max_msg_size=1 << 24,
        )
        await socket.receive(timeout=DEADLINE_S)
        return socket

    async def replies(self, protocol: str, frame: bytes, *, binary: bool) -> list[Json]:
        """What a frame is answered with; fails unless the connection outlives it."""
        socket = await self._kept(protocol)
        kind = aiohttp.WSMsgType.BINARY if binary else aiohttp.WSMsgType.TEXT
        await socket.send_frame(self.real(frame), kind)
        found = await until_probed(socket, protocol)
        self._sockets[protocol] = socket, asyncio.get_running_loop().time()
        return found

    async def _kept(self, protocol: str) -> aiohttp.ClientWebSocketResponse:
        """The socket of the frame before, unless tests without this loop have run since."""
        socket, used = self._sockets.pop(protocol, (None, 0.0))
        if socket is not None and asyncio.get_running_loop().time() - used < HEARTBEAT_S:
            return socket
        if socket is not None:
            await socket.close()
        return await self.connect(protocol)

    async def request(self, request: Request) -> tuple[int, Json]:
        """The status and the object that answer a request."""
        path = self.real(request.path.encode()).decode()
        headers = dict(request.headers)
        if request.caller != "nobody":
            roles = ["service"] if request.caller == "service" else []
            token = self.server.token(request.caller, *roles)
            headers["Authorization"] = f"Bearer {token}"
        return await self._answer(
            request.method, path, headers=headers, data=self.real(request.body)
        )

    async def handshake(self, query: str) -> tuple[int, Json]:
        """The status and the object that answer a request for a socket."""
        token = self.server.token("fuzzer")
        return await self._answer("GET", f"/ws/chat?token={token}&{query}", headers=UPGRADE)

    async def state(self) -> list[Json]:
        """What the fuzzer can see of all that is theirs."""
        conversation = f"/v1/conversations/{self._ids[CONVERSATION]}"
        paths = ["/v1/conversations", conversation, f"{conversation}/messages", "/v1/blocks"]
        return list(await asyncio.gather(*(self._get("GET", path) for path in paths)))

    async def _prepare(self) -> None:
        created = await self._get("POST", "/v1/conversations", {"user_id": "witness"})
        self._ids[CONVERSATION] = created["conversation"]["conversation_id"]
        fields = {"conversation_id": self._ids[CONVERSATION], "text": "first"}
        sent = await self._get("POST", "/v1/messages", fields)
        self._ids[MESSAGE] = sent["message"]["message_id"]
        assert all(len(name) == len(id) for name, id in self._ids.items())

    async def _get(self, method: str, path: str, fields: Json | None = None) -> Json:
        headers = {"Authorization": f"Bearer {self.server.token('fuzzer')}"}
        url = self.server.url + path
        async with self._http.request(method, url, headers=headers, json=fields) as response:
            assert response.status < 300, await response.text()
            body: Json = await response.json()
            return body

    async def _answer(self, method: str, path: str, **options: Any) -> tuple[int, Json]:
        url = URL(self.server.url + path, encoded=True)
        async with self._http.request(method, url, **options) as response:
            if response.status == 101:
                response.close()
                return 101, {}
            content = await response.read()
            check_no_leak(content)
            refused = "application/problem+json", "application/json"
            assert response.content_type == refused[response.status < 400], content
            body: Json = await response.json(content_type=None)
            return response.status, body

    async def _close(self) -> None:
        for socket, _ in self._sockets.values():
            await socket.close()


async def until_probed(socket: aiohttp.ClientWebSocketResponse, protocol: str) -> list[Json]:
    """The replies up to that of a Ping sent now; fails if none comes."""
    codec = codec_for("msgpack" if protocol == "chat.v1.msgpack" else "json")
    kind = aiohttp.WSMsgType.BINARY if codec.binary else aiohttp.WSMsgType.TEXT
    await socket.send_frame(codec.encode({"type": "Ping", "id": PROBE}), kind)
    found: list[Json] = []
    while True:
        message = await socket.receive(timeout=DEADLINE_S)
        assert message.type is kind, f"closed with {socket.close_code}"
        check_no_leak(message.data if codec.binary else message.data.encode())
        for item in codec.decode(message.data):
            if item.get("id") == PROBE:
                return found
            if item["type"] == "Reply":
                found.append(item)
