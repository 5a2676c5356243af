"""Bare callers: a WebSocket that shows all that comes, and HTTP with the same commands."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias

import aiohttp

from tests.e2e.authorization_calls import TWINS, UPGRADE
from tests.e2e.harness import DEADLINE_S, Server
from tradewire.client.codec import Codec, Json, codec_for

Subprotocol = Literal["json", "msgpack"]
SUBPROTOCOLS: tuple[Subprotocol, ...] = ("json", "msgpack")
TRANSPORTS = (*SUBPROTOCOLS, "http")

_TIMEOUT = aiohttp.ClientTimeout(total=DEADLINE_S)
_GONE = frozenset({aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR})


class Closed(Exception):
    """The server closed the connection; `code` is its close code, None where there was none."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Talker(Protocol):
    """Whoever gives commands, whatever the transport."""

    async def ask(self, command: str, **fields: Any) -> Json:
        """The result of a command that succeeds."""

    async def refused(self, command: str, **fields: Any) -> Json:
        """The error of a command that is refused."""


class Device:
    """One WebSocket.

    Attributes:
        welcome: the first event.
        pings: how many heartbeats came; they are answered unless `mute`.
        replies: to commands that nobody awaits, in the order they came.
        most: the greatest number of objects that came in one frame.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, codec: Codec) -> None:
        self.socket = socket
        self.welcome: Json = {}
        self.pings = 0
        self.mute = False
        self.replies: list[Json] = []
        self.most = 0
        self._codec = codec
        self._events: list[Json] = []
        self._last_id = 0

    async def begin(self) -> None:
        """Read the `Welcome`; whatever follows it is kept."""
        await self._take()
        self.welcome = self._events.pop(0)
        assert self.welcome["type"] == "Welcome"

    async def frame(self) -> str | bytes:
        """The next frame as it came. Raises Closed."""
        while True:
            message = await self.socket.receive(timeout=DEADLINE_S)
            if message.type is aiohttp.WSMsgType.CLOSE:
                raise Closed(message.data)
            if message.type in _GONE:
                raise Closed(None)
            if message.type is aiohttp.WSMsgType.PING:
                self.pings += 1
                if not self.mute:
                    await self.socket.pong(message.data)
                continue
            binary = message.type is aiohttp.WSMsgType.BINARY
            assert binary == self._codec.binary, f"a frame of the wrong kind: {message}"
            data: str | bytes = message.data
            return data

    async def put(self, frame: Json | list[Json]) -> None:
        """Send an object or an array as one frame, and wait for nothing."""
        # The codec's own signature is for one object; it writes arrays just as well.
        data = self._codec.encode(frame)  # type: ignore[arg-type]
        await self.put_raw(data, binary=self._codec.binary)

    async def put_raw(self, data: bytes, *, binary: bool) -> None:
        """Send a frame of either kind."""
        if binary:
            await self.socket.send_bytes(data)
        else:
            await self.socket.send_frame(data, aiohttp.WSMsgType.TEXT)

    async def call(self, command: str, **fields: Any) -> Json:
        """Give a command and wait for its reply; what else comes meanwhile is kept."""
        self._last_id += 1
        await self.put({"type": command, "id": self._last_id, **fields})
        return await self.reply(self._last_id)

    async def reply(self, to: int | str | None) -> Json:
        """Wait for the reply that carries this id."""
        while True:
            for reply in self.replies:
                if reply["id"] == to:
                    self.replies.remove(reply)
                    return reply
            await self._take()

    async def ask(self, command: str, **fields: Any) -> Json:
        reply = await self.call(command, **fields)
        assert "result" in reply, f"{command} was refused: {reply}"
        result: Json = reply["result"]
        return result

    async def refused(self, command: str, **fields: Any) -> Json:
        reply = await self.call(command, **fields)
        assert "error" in reply, f"{command} was not refused: {reply}"
        error: Json = reply["error"]
        return error

    async def hear(self, kind: str) -> Json:
        """Wait for the next event of this type; the others are kept."""
        while True:
            for event in self._events:
                if event["type"] == kind:
                    self._events.remove(event)
                    return event
            await self._take()

    async def heard(self, *kinds: str) -> list[Json]:
        """All events up to now, or those of these types; forgets them all.

        What the server had for this connection is in front of its reply to a Ping.
        """
        await self.ask("Ping")
        events, self._events = self._events, []
        return [event for event in events if not kinds or event["type"] in kinds]

    async def closed(self) -> int | None:
        """Read until the server closes; its close code."""
        try:
            while True:
                await self._take()
        except Closed as end:
            return end.code

    async def _take(self) -> None:
        objects = self._codec.decode(await self.frame())
        self.most = max(self.most, len(objects))
        for item in objects:
            (self.replies if item["type"] == "Reply" else self._events).append(item)


@asynccontextmanager
async def connected(
    server: Server,
    user: str,
    *roles: str,
    tenant: str = "default",
    protocol: Subprotocol = "json",
    token: str | None = None,
    **query: str | int,
) -> AsyncIterator[Device]:
    """A device of a user; `query` goes into the address."""
    codec = codec_for(protocol)
    query["token"] = token or server.token(user, *roles, tenant=tenant)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"{server.url}/ws/chat",
            params=query,
            protocols=(codec.subprotocol,),
            autoping=False,
            autoclose=False,
            max_msg_size=1 << 24,
            timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
        ) as socket,
    ):
        device = Device(socket, codec)
        await device.begin()
        yield device


class HttpCaller:
    """A user's commands as HTTP requests.

    Attributes:
        status: of the newest answer.
        headers: of the newest answer.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._url = url
        self._session = session

    async def ask(self, command: str, **fields: Any) -> Json:
        body = await self.call(command, **fields)
        assert self.status < 400, f"{command} was refused: {body}"
        return body

    async def refused(self, command: str, **fields: Any) -> Json:
        problem = await self.call(command, **fields)
        assert self.status >= 400, f"{command} was not refused: {problem}"
        assert self.headers["Content-Type"].startswith("application/problem+json")
        assert problem["status"] == self.status
        return problem

    async def request(self, method: str, path: str, **options: Any) -> Json:
        """Any request; the answer's JSON."""
        async with self._session.request(method, self._url + path, **options) as response:
            self.status, self.headers = response.status, dict(response.headers)
            body: Json = await response.json(content_type=None)
            return body

    async def call(self, command: str, **fields: Any) -> Json:
        """The body of the answer, whatever it is."""
        method, path = TWINS[command]
        rest = {name: value for name, value in fields.items() if f"{{{name}}}" not in path}
        address = re.sub(r"{(\w+)}", lambda name: str(fields[name[1]]), path)
        if method in {"GET", "DELETE"}:
            query = {name: _parameter(value) for name, value in rest.items()}
            return await self.request(method, address, params=query)
        return await self.request(method, address, json=rest)


@asynccontextmanager
async def over_http(
    server: Server, user: str, *roles: str, tenant: str = "default"
) -> AsyncIterator[HttpCaller]:
    """A user's HTTP connection."""
    headers = {"Authorization": f"Bearer {server.token(user, *roles, tenant=tenant)}"}
    async with aiohttp.ClientSession(
        headers=headers, timeout=_TIMEOUT, json_serialize=partial(json.dumps, ensure_ascii=False)
    ) as session:
        yield HttpCaller(server.url, session)


def _parameter(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


async def refused_handshake(
    url: str, query: dict[str, str], headers: dict[str, str] | None = None
) -> tuple[Json, int, dict[str, str]]:
    """The body, status and headers of the answer to a handshake that is refused."""
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT) as session,
        session.get(
            f"{url}/ws/chat", params=query, headers={**UPGRADE, **(headers or {})}
        ) as response,
    ):
        assert response.status != 101, "the handshake was not refused"
        return await response.json(content_type=None), response.status, dict(response.headers)


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until an awaitable condition holds."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_S} s: {what}") from None


async def direct(talker: Talker, peer: str) -> str:
    """The id of the caller's direct conversation with a user."""
    return _id_of(await talker.ask("CreateConversation", user_id=peer))


async def group(talker: Talker, *members: str, kind: str = "group") -> str:
    """The id of a new group or channel of the caller's with these members."""
    return _id_of(
        await talker.ask("CreateConversation", kind=kind, title=kind, member_ids=list(members))
    )


async def say(talker: Talker, conversation_id: str, *texts: str) -> list[str]:
    """Send these texts; the message ids."""
    sent = [
        await talker.ask("SendMessage", conversation_id=conversation_id, text=text)
        for text in texts
    ]
    return [result["message"]["message_id"] for result in sent]


def _id_of(result: Json) -> str:
    conversation_id: str = result["conversation"]["conversation_id"]
    return conversation_id


Connect: TypeAlias = Callable[..., Awaitable[Device]]
Call: TypeAlias = Callable[..., Awaitable[HttpCaller]]
Talk: TypeAlias = Callable[..., Awaitable[Talker]]
