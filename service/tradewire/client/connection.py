"""One WebSocket, from its handshake to its close."""

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp

from tradewire.client.clock import Clock
from tradewire.client.codec import Codec, Json, UnreadableFrame
from tradewire.client.ending import Disconnected
from tradewire.client.errors import CommandError, ConnectionLost

CLOSE_WAIT_S = 2.0
LARGEST_FRAME_BYTES = 16 * 1024 * 1024
"""What the server may send: a page of 200 of the longest messages takes some 10 MB."""
_GONE = {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR}


@dataclass(frozen=True)
class Handshake:
    """Where to connect and what to say."""

    url: str
    token: str
    params: Mapping[str, str]
    codec: Codec
    timeout_s: float

    async def perform(self, http: aiohttp.ClientSession, clock: Clock) -> "Connection":
        """Open the socket and read its `Welcome`.

        Raises Disconnected, UnreadableFrame, or ConnectionLost for an address that is none.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                connection = Connection(await self._upgrade(http), self.codec, clock)
                try:
                    await connection.begin()
                except BaseException:
                    await connection.close()
                    raise
                return connection
        except aiohttp.WSServerHandshakeError as error:
            raise Disconnected(
                f"the handshake was refused with {error.status}",
                status=error.status,
                retry_after_s=retry_after_s(error.headers or {}),
            ) from error
        except aiohttp.InvalidURL as error:
            raise ConnectionLost(f"not an address: {self.url}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Disconnected(f"cannot connect: {error!r}") from error

    async def _upgrade(self, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        return await http.ws_connect(
            self.url,
            protocols=(self.codec.subprotocol,),
            headers={"Authorization": f"Bearer {self.token}"},
            params=self.params,
            autoclose=False,
            autoping=False,
            max_msg_size=LARGEST_FRAME_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WAIT_S),
        )


class Connection:
    """One live WebSocket, its unanswered commands and the keys it mints."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, codec: Codec, clock: Clock) -> None:
        self._socket = socket
        self._codec = codec
        self._clock = clock
        self._opcode = aiohttp.WSMsgType.BINARY if codec.binary else aiohttp.WSMsgType.TEXT
        self._objects: deque[Json] = deque()
        self._unanswered: dict[int, asyncio.Future[Json]] = {}
        self._minted = 0
        self.welcome: Json = {}
        self.heard_at = clock.now()
        self.token_expiring = asyncio.Event()
        self.told_to_leave = asyncio.Event()
        self.leave_at = 0.0

    async def begin(self) -> None:
        """Read the first event. Raises Disconnected, also when it is not a `Welcome`."""
        self.welcome = await self.next()
        if self.welcome.get("type") != "Welcome":
            raise Disconnected("the server did not begin with Welcome", close_code=4400)

    async def next(self) -> Json:
        """The next object that the server sent. Raises Disconnected when there will be none."""
        while not self._objects:
            self._objects.extend(await self._receive())
        return self._objects.popleft()

    def mint_key(self) -> str:
        """A key that the server knows to be fresh (protocol §3): send with it at once."""
        self._minted += 1
        return f"{self.welcome['session_id']}:{self._minted}"

    async def request(self, command_id: int, command: Json) -> Json:
        """Send a command and wait for its result.

        Raises CommandError, ConnectionLost when the connection ends first, TypeError or ValueError
        for a field that cannot be encoded.
        """
        frame = self._codec.encode({**command, "id": command_id})
        self._check_size(frame)
        answer = asyncio.get_running_loop().create_future()
        self._unanswered[command_id] = answer
        try:
            await self._write(frame)
            result: Json = await answer
            return result
        finally:
            self._unanswered.pop(command_id, None)

    async def post(self, command: Json) -> None:
        """Send a command whose reply, if any, is read from `next`."""
        await self._write(self._codec.encode(command))

    def answer(self, reply: Json) -> None:
        """Give a reply to whoever waits for it, if anyone still does."""
        waiting = self._unanswered.get(reply["id"])
        if waiting is None or waiting.done():
            return
        if "error" in reply:
            waiting.set_exception(CommandError.from_body(reply["error"]))
        else:
            waiting.set_result(reply["result"])

    def abandon(self) -> None:
        """Tell those who wait for a reply that none will come, in the order they asked."""
        for waiting in self._unanswered.values():
            if not waiting.done():
                waiting.set_exception(ConnectionLost("the connection ended before the reply"))

    def leave_in(self, seconds: float) -> None:
        """The server asked to move away, so many seconds from now."""
        self.leave_at = self._clock.now() + seconds
        self.told_to_leave.set()

    async def close(self) -> None:
        """Close the socket; waits two seconds at most for the server to agree."""
        await self._socket.close()

    async def _receive(self) -> list[Json]:
        message = await self._socket.receive()
        self.heard_at = self._clock.now()
        if message.type is aiohttp.WSMsgType.PING:
            await self._write(message.data, aiohttp.WSMsgType.PONG)
            return []
        if message.type is aiohttp.WSMsgType.CLOSE:
            reason = f"the server closed the connection: {message.data} {message.extra or ''}"
            raise Disconnected(reason.rstrip(), close_code=message.data)
        if message.type in _GONE:
            raise Disconnected("the connection broke", close_code=self._own_close_code())
        return self._decode(message)

    def _decode(self, message: aiohttp.WSMessage) -> list[Json]:
        if message.type is aiohttp.WSMsgType.PONG:
            return []
        if message.type is not self._opcode:
            raise UnreadableFrame(f"a {message.type.name} frame on {self._codec.subprotocol}")
        return self._codec.decode(message.data)

    def _own_close_code(self) -> int | None:
        """1009 when the server sent too large a frame; any other fault may pass."""
        return 1009 if self._socket.close_code == 1009 else None

    async def _write(self, frame: bytes, opcode: aiohttp.WSMsgType | None = None) -> None:
        # Why a write fails is for the reader to find out: the close code may still be unread.
        with suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.send_frame(frame, opcode or self._opcode)

    def _check_size(self, frame: bytes) -> None:
        largest = self.welcome.get("limits", {}).get("frame_bytes", 65_536)
        if len(frame) > largest:
            message = f"a frame of {len(frame)} bytes is over the {largest} that are allowed"
            raise CommandError("too_large", 413, message)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """`Retry-After` in seconds; 0 where it is left out or given as a date."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0
