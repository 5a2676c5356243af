"""One chat connection, from its upgrade to its end."""

import asyncio
import random
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

import structlog
from aiohttp import WebSocketError, WSMsgType, web
from msgspec import UNSET

from tradewire.domain import limits
from tradewire.domain.commands import Command, Ping, RefreshToken, RequestId, SendMessage
from tradewire.domain.errors import (
    Blocked,
    Close,
    Internal,
    RateLimited,
    TradewireError,
    Unauthenticated,
)
from tradewire.domain.events import Event, Reply, SyncCompleted, TokenExpiring, Welcome
from tradewire.domain.ids import timestamp
from tradewire.domain.results import PongResult, Result, TokenResult
from tradewire.edge.handshake import Handshake
from tradewire.edge.hub import Connection
from tradewire.edge.incoming import ChatResponse, Frame
from tradewire.edge.outbound import Outbound
from tradewire.edge.pending import SEND_DEADLINE_S, Outcome, PendingSend, PendingSends
from tradewire.protocol.frames import Malformed
from tradewire.protocol.session import HEARTBEAT_S, SILENCE_S, Session
from tradewire.usecases.resume import Backlog
from tradewire.usecases.sending import Admission

if TYPE_CHECKING:
    from tradewire.edge.websocket import ChatSockets

_log = structlog.get_logger(__name__)

EXPIRY_NOTICE_S = 60.0
EXPIRY_LOOK_S = 3_600.0
RESUME_BYTES = 1 << 18
DRAIN_DEADLINE_S = 30.0
CLOSE_DEADLINE_S = 2.0
NO_CLOSE_FRAME = 1006

_ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})
_THEIR_ERRORS = (WebSocketError, OSError)
"""What a client or its network can do to a connection."""

_PING = b"\x89\x00"
_CLOSE = b"\x88\x02"


class ChatSocket:
    """Reads frames, carries out their commands one after another, and answers.

    Messages are the exception: they are appended to the commit group at once and answered when
    durable, any number in flight; a command behind them waits for their answers, so what one
    connection asks takes effect in its order.

    Attributes:
        turn: in which second of the heartbeat's round it is pinged.
    """

    __slots__ = (
        "_closed", "_closing", "_ended", "_expiry", "_fresh", "_handshake", "_held", "_items",
        "_loop", "_missed", "_outbound", "_sends", "_session", "_sockets", "_transport", "_ws",
        "connection", "turn",
    )  # fmt: skip

    def __init__(
        self,
        sockets: "ChatSockets",
        transport: asyncio.Transport,
        ws: ChatResponse,
        handshake: Handshake,
    ) -> None:
        caller = handshake.caller
        session_id = sockets.hub.new_session_id()
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._transport = transport
        self._ws = ws
        self._handshake = handshake
        self._session = Session(
            session_id,
            caller,
            handshake.codec,
            sockets.admission.limits,
            sockets.admission.messages_of(caller),
            self._loop.time(),
        )
        self._outbound = Outbound(transport, handshake.codec, batch=handshake.batch)
        self.connection = Connection(
            sockets.hub,
            self._session,
            handshake.device_id or session_id,
            self._outbound,
            self.close,
            self.resume,
        )
        self.turn = random.randrange(HEARTBEAT_S)
        self._closing: Close | None = None
        self._closed: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._missed: int | None = None
        self._sends = PendingSends(self._answer)
        # The frame in hand: what of it comes next, and the command before that, if it must wait.
        self._items: Iterator[Command | Malformed] = iter(())
        self._held: Command | None = None
        self._fresh = False

    @classmethod
    async def accept(
        cls, sockets: "ChatSockets", request: web.Request, handshake: Handshake
    ) -> "ChatSocket":
        """Upgrade a request."""
        ws = ChatResponse(
            protocols=(handshake.codec.name,),
            compress=False,
            autoping=False,
            decode_text=False,
            max_msg_size=limits.FRAME_BYTES + 1,
            timeout=CLOSE_DEADLINE_S,
        )
        await ws.prepare(request)
        return cls(sockets, cast(asyncio.Transport, request.transport), ws, handshake)

    async def run(self) -> web.StreamResponse:
        """Serve the connection until it ends."""
        self._sockets.add(self)
        self._arm_expiry()
        self._refresh_presence()
        try:
            await self._begin()
            await self._read()
        except TimeoutError:
            self.close(Close.TOO_SLOW)
        except Unauthenticated:
            self.close(Close.UNAUTHENTICATED)
        except Blocked:
            self.close(Close.BLOCKED)
        except RateLimited:
            self.close(Close.FLOOD)
        except TradewireError as error:
            _log.warning("connection not served", reason=str(error))
            self.close(Close.GOING_AWAY)
        finally:
            self._end()
        if self._closed is not None:
            # Returning earlier would let aiohttp end the connection with a code of its own.
            await self._closed
        return self._ws

    def tell(self, event: Event) -> None:
        """Send what concerns this connection alone."""
        self._outbound.put_event(event)
        self._sockets.hub.touch(self.connection)

    def close(self, code: Close) -> None:
        """Close the connection, once what is in flight has been answered."""
        if self._closing is None:
            self._closing = code
            self._closed = self._sockets.tasks.start(
                f"close {self._session.session_id}", self._close(code)
            )

    def resume(self, since: int) -> None:
        """Tell once more, soon, what its user was to be told since an id."""
        if self._missed is not None:
            self._missed = min(self._missed, since)
            return
        self._missed = since
        self._sockets.tasks.start(f"resume {self._session.session_id}", self._tell_again())

    def look(self, now: float, *, ping: bool) -> None:
        """See to the deadlines: silence, and sends that the store does not answer."""
        if now - self._session.heard_at > SILENCE_S:
            self.close(Close.SILENT)
        elif ping and not self._transport.is_closing():
            self._transport.write(_PING)
        self._sends.expire(now)

    async def _begin(self) -> None:
        """Welcome, then whatever was missed."""
        hub, service, handshake = self._sockets.hub, self._sockets.service, self._handshake
        cursor = hub.cursor
        await hub.placed(self.connection.user)
        # Once more now that the hub knows it: what was decided meanwhile could not close it.
        await service.standing.check(handshake.caller)
        self._sockets.admission.check_joined(handshake.caller)
        shown = (
            await service.inbox.first_page(handshake.caller, handshake.conversations)
            if handshake.conversations
            else UNSET
        )
        welcome = Welcome(
            session_id=self._session.session_id,
            user_id=handshake.caller.user_id,
            device_id=self.connection.device_id,
            server_time=timestamp(service.context.clock.now_ms()),
            heartbeat_s=HEARTBEAT_S,
            protocol=handshake.codec.name,
            cursor=str(cursor),
            limits=self._limits(),
            conversations=shown,
        )
        self._outbound.release(welcome)
        hub.touch(self.connection)
        if handshake.since is not None:
            await self._resume(handshake.since)

    def _limits(self) -> dict[str, int]:
        rates = self._sockets.admission.limits
        return {
            "frame_bytes": limits.FRAME_BYTES,
            "text_characters": limits.TEXT_CHARACTERS,
            "metadata_bytes": limits.METADATA_BYTES,
            "attachments": limits.ATTACHMENTS,
            "page": limits.PAGE_MAX,
            "messages_per_second": int(rates.messages_per_second),
            "commands_per_second": int(rates.commands_per_second),
        }

    async def _resume(self, since: int) -> None:
        cursor = self._sockets.hub.cursor
        async with self._sockets.resumes:
            backlog = await self._sockets.service.resume.missed(self._session.caller, since)
        await self._tell_all(backlog)
        self.tell(SyncCompleted(cursor=str(max(cursor, since)), truncated=backlog.truncated))

    async def _tell_again(self) -> None:
        try:
            async with self._sockets.resumes:
                since, self._missed = self._missed or 0, None
                backlog = await self._sockets.service.resume.missed(self._session.caller, since)
            await self._tell_all(backlog)
        except (TradewireError, TimeoutError) as error:
            _log.warning("connection not resumed", reason=str(error))
            self.close(Close.RESTART)
            return
        if backlog.truncated:
            # Whoever comes back resumes by its own cursor, and is told that there was more.
            self.close(Close.RESTART)

    async def _tell_all(self, backlog: Backlog) -> None:
        for event in backlog.events:
            self.tell(event)
            if self._outbound.bytes > RESUME_BYTES:
                await self._outbound.drained(DRAIN_DEADLINE_S)

    async def _read(self) -> None:
        while True:
            self._ws.offer(self._take)
            frame = await self._ws.receive()
            kind = frame.type
            if kind in _ENDS:
                if isinstance(frame.data, Exception) and not isinstance(frame.data, _THEIR_ERRORS):
                    _log.error("connection broken off", exc_info=frame.data)
                return
            if self._closing is not None:
                continue
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                await self._finish(frame)
            else:
                self._session.heard_at = self._loop.time()
                if kind is WSMsgType.PING and not self._over:
                    await self._ws.pong(frame.data)

    def _take(self, frame: Frame) -> bool:
        """Carry out what a frame holds, up to what must be waited for; whether that was all."""
        if self._closing is None:
            now = self._loop.time()
            binary = frame.type is WSMsgType.BINARY
            self._items = iter(self._session.receive(frame.data, binary=binary, now=now))
            self._advance()
        return self._held is None

    async def _finish(self, frame: Frame) -> None:
        """Go on with a frame that was begun as it arrived, or else begin it."""
        if self._held is None:
            self._take(frame)
        while self._held is not None:
            command = self._held
            try:
                await self._carry_out(command)
            except Exception as error:  # noqa: BLE001  # one command must not end the connection
                self._fail(command, error)
            self._advance()

    def _advance(self) -> None:
        """Carry out commands up to the first that must be waited for, which is held."""
        self._held = None
        for item in self._items:
            if self._closing is not None:
                return
            if isinstance(item, Malformed):
                self._refuse(item.id, item.error)
                continue
            try:
                if not isinstance(item, SendMessage) or not self._send_ready(item):
                    self._held = item
                    return
            except Exception as error:  # noqa: BLE001  # one command must not end the connection
                self._fail(item, error)
        if self._session.close is not None:
            self.close(self._session.close)

    @property
    def _over(self) -> bool:
        """Whether nothing more is answered; then nothing more takes effect."""
        return self._closing is not None or self._transport.is_closing()

    async def _carry_out(self, command: Command) -> None:
        if isinstance(command, SendMessage):
            fresh = self._fresh
            admission = await self._sockets.service.sending.prepare(
                self._session.caller, command, fresh=fresh
            )
            self._send(command, admission, fresh=fresh and self.connection.keys_fresh)
            return
        if self._sends:
            await self._sends.settled()
            if self._over:
                return
        self._reply(command.id, await self._execute(command))

    def _send_ready(self, command: SendMessage) -> bool:
        """Send, if nothing must be waited for."""
        fresh = self._session.is_fresh(command.key) and self.connection.keys_fresh
        admission = self._sockets.service.sending.ready(self._session.caller, command, fresh=fresh)
        if admission is None:
            self._fresh = fresh
            return False
        self._send(command, admission, fresh=fresh)
        return True

    def _send(self, command: SendMessage, admission: Admission, *, fresh: bool) -> None:
        if self._over:
            return
        send = PendingSend(self._sends, command.id, self._session.heard_at + SEND_DEADLINE_S)
        self._sockets.service.sending.append(
            self._session.caller,
            command,
            admission,
            send,
            session_id=self._session.session_id,
            fresh=fresh,
        )
        self._sends.add(send)

    def _fail(self, command: Command, error: Exception) -> None:
        """Answer a command that raised something."""
        if not isinstance(error, TradewireError):
            _log.error("command failed", command=type(command).__name__, exc_info=error)
            error = Internal()
        self._refuse(command.id, error)

    def _answer(self, request_id: RequestId | None, outcome: Outcome) -> None:
        """What became of a send."""
        if isinstance(outcome, TradewireError):
            self._refuse(request_id, outcome)
        else:
            self._reply(request_id, outcome)

    async def _execute(self, command: Command) -> Result:
        if isinstance(command, Ping):
            return self._pong()
        if isinstance(command, RefreshToken):
            return await self._refresh_token(command)
        return await self._sockets.service.execute(self._session.caller, command, self.connection)

    def _reply(self, request_id: RequestId | None, result: Result) -> None:
        if request_id is not None:
            self.tell(Reply(id=request_id, result=result))

    def _refuse(self, request_id: RequestId | None, error: TradewireError) -> None:
        self._sockets.metrics.rejected.add(labels=(error.code,))
        self.tell(Reply(id=request_id, error=error.body()))

    def _pong(self) -> PongResult:
        now_ms = self._sockets.service.context.clock.now_ms()
        return PongResult(str(self._sockets.hub.cursor), timestamp(now_ms))

    async def _refresh_token(self, command: RefreshToken) -> TokenResult:
        caller = await self._sockets.authenticator.authenticate(command.token)
        if (caller.tenant, caller.user_id) != self.connection.user:
            raise Unauthenticated("The token is another user's.", field="token")
        # Before it is checked: what is revoked meanwhile finds it here.
        before, self._session.caller = self._session.caller, caller
        try:
            await self._sockets.service.standing.check(caller)
        except TradewireError:
            self._session.caller = before
            raise
        self._arm_expiry()
        return TokenResult(timestamp(int(caller.expires_at * 1000)))

    def _arm_expiry(self, *, noticed: bool = False) -> None:
        """See to the token's end: a notice before, the close at it."""
        if self._expiry is not None:
            self._expiry.cancel()
        expires_at = self._session.caller.expires_at
        left = expires_at - self._sockets.service.context.clock.now_ms() / 1000
        if left <= 0:
            self.close(Close.UNAUTHENTICATED)
            return
        if left <= EXPIRY_NOTICE_S and not noticed:
            self.tell(TokenExpiring(expires_at=timestamp(int(expires_at * 1000))))
            noticed = True
        wait = left if noticed else min(left - EXPIRY_NOTICE_S, EXPIRY_LOOK_S)
        self._expiry = self._loop.call_later(wait, partial(self._arm_expiry, noticed=noticed))

    async def _close(self, code: Close) -> None:
        try:
            async with asyncio.timeout(CLOSE_DEADLINE_S):
                if code is Close.RESTART:
                    await self._sends.settled()
                self._outbound.flush(self._loop.time())
                # Not by aiohttp, which would end the connection at once: with frames of the client
                # still unread, the system would reset it and drop what the client has not read.
                if not self._transport.is_closing():
                    self._transport.write(_CLOSE + int(code).to_bytes(2))
                await self._ended.wait()
        except TimeoutError:
            self._transport.abort()

    def _end(self) -> None:
        self._ended.set()
        self._sockets.remove(self, int(self._closing or self._ws.close_code or NO_CLOSE_FRAME))
        if self._expiry is not None:
            self._expiry.cancel()
        self._refresh_presence()

    def _refresh_presence(self) -> None:
        name = f"presence {self._session.session_id}"
        self._sockets.tasks.start(name, self._tell_presence())

    async def _tell_presence(self) -> None:
        try:
            await self._sockets.hub.placed(self.connection.user)
            await self._sockets.service.presence.refresh(*self.connection.user)
        except TradewireError as error:
            _log.warning("presence not recorded", reason=str(error))
