"""One WebSocket of the generator: sends, asks, and checks what it gets."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Protocol

from loadtest import commands
from loadtest.commands import Check, Command
from loadtest.flow import Flow
from loadtest.messages import DECODERS, Message, ServerFrame, command_frame, frame_encoder
from loadtest.plan import NOT_BACK, Connection, Conversation, Endpoint, Kind, Plan
from loadtest.tally import Tally
from loadtest.websocket import HANDSHAKE_SECONDS, WebSocket, WebSocketError, connect

RESUMING_SECONDS = 10.0
"""How long after a reconnect the server may repeat itself: a cell tells twice what was missed, the
second time when all its nodes can know of the connection.
"""
BACK_SECONDS = 30.0
"""How long a connection that was cut may take to come back and resume, with all its tries."""
RECONNECT_PAUSE_SECONDS = 0.5
"""The greatest pause after the first try; it doubles with each."""
NO_ANSWER = "no answer"
PREPARED = "prepared"
"""The session that the keys of messages begin with which were there before."""

MOST_IN_FLIGHT = 100_000
"""Past it nothing more is sent: a server that is so far behind must not fill the memory, too."""


class Actor(Protocol):
    """Who carries out operations: a connection, or the publisher of orders."""

    def perform(self, kind: Kind, dues: Sequence[float]) -> None:
        """Carry out an operation for each scheduled time, all at once."""


class Shared:
    """What the sessions of a generator have in common.

    Attributes:
        flows: by the session that their keys begin with.
    """

    def __init__(self, plan: Plan, tally: Tally) -> None:
        self.plan = plan
        self.tally = tally
        self.flows: dict[str, Flow] = {}


class Session:
    """One connection: acts in its conversation and checks what others send.

    Attributes:
        number: its index among those of the plan.
        flow: what it sends; None: nothing.
    """

    def __init__(
        self, shared: Shared, number: int, flow: Flow | None, conversation: Conversation | None
    ) -> None:
        plan = shared.plan
        self.number = number
        self.flow = flow
        self._shared = shared
        self._tally = shared.tally
        self._plan = plan
        self._connection: Connection = plan.connections[number]
        self._conversation = conversation
        self._decode = DECODERS[plan.protocol]
        self._last_sent = 0
        self._last_asked = 0
        self._asked: dict[int, tuple[Kind, float, Check]] = {}
        self._heard = 0
        self._cursor = 0
        self._resuming_until = 0.0
        self._last_failure = NO_ANSWER
        self._welcomed: asyncio.Future[None]
        self._resumed: asyncio.Future[None]
        self._socket: WebSocket

    @property
    def gone(self) -> bool:
        """Whether the connection is closed."""
        return self._socket.closed.done()

    async def open(self, query: str = "") -> None:
        """Connect and wait for the ``Welcome``; raises as `connect` does."""
        at: Endpoint = self._connection.endpoint
        loop = asyncio.get_running_loop()
        self._welcomed, self._resumed = loop.create_future(), loop.create_future()
        subprotocol = f"chat.v1.{self._plan.protocol}"
        self._socket = await connect(at.host, at.port, at.path + query, subprotocol, self._receive)
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await self._came(self._welcomed)

    def perform(self, kind: Kind, dues: Sequence[float]) -> None:
        """See `Actor`."""
        tally = self._tally
        tally.due(len(dues))
        if self.gone or tally.in_flight >= MOST_IN_FLIGHT:
            tally.error("not sent: no connection" if self.gone else "not sent: too many in flight")
        elif kind == "send":
            self._send(dues)
        else:
            for due in dues:
                self._ask(kind, due)

    async def reconnect(self) -> None:
        """Lose the connection, come back and resume, within 30 s.

        Not to come back is an error, to be welcome and then not brought up to date a fault.
        """
        cut_at = perf_counter()
        self._socket.cut()
        self._resuming_until = cut_at + BACK_SECONDS
        # Its descriptor is free then: a storm must not need two for each connection.
        await self._socket.closed
        try:
            async with asyncio.timeout(BACK_SECONDS):
                welcomed_at = await self._come_back()
        except TimeoutError:
            self._give_up()
            return
        now = perf_counter()
        self._tally.took("welcome", cut_at, welcomed_at)
        self._resuming_until = now + RESUMING_SECONDS
        self._tally.in_flight += 1
        self._tally.done("resume", cut_at, now)

    def close(self) -> None:
        """Close the connection; the server having done so before is an error."""
        if self.gone:
            self._tally.error(self._socket.closed.result())
        self._socket.close()

    async def _come_back(self) -> float:
        """Connect again and resume, however many tries it takes; when it was welcome."""
        for attempt in itertools.count():
            try:
                await self.open(f"&since={max(self._cursor, self._heard)}")
                welcomed_at = perf_counter()
                await self._came(self._resumed)
                break
            except (WebSocketError, OSError) as error:
                self._last_failure = str(error) or NO_ANSWER
                self._tally.error(f"reconnect: {self._last_failure}")
                self._socket.cut()
            pause = min(RECONNECT_PAUSE_SECONDS * 2**attempt, BACK_SECONDS)
            await asyncio.sleep(random.uniform(0, pause))
        return welcomed_at

    async def _came(self, event: asyncio.Future[None]) -> None:
        """Wait for it; raises `WebSocketError` when the connection is lost before."""
        either: list[asyncio.Future[Any]] = [event, self._socket.closed]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not event.done():
            raise WebSocketError(self._socket.closed.result())

    def _give_up(self) -> None:
        """Give up coming back, and tell why."""
        if self._welcomed.done() and not self.gone:
            self._tally.faults["never resumed"] += 1
        else:
            self._tally.error(f"{NOT_BACK}: {self._last_failure}")
            self._socket.cut()

    def _send(self, dues: Sequence[float]) -> None:
        assert self.flow is not None
        first = self._last_sent + 1
        self._last_sent += len(dues)
        for n, due in enumerate(dues, first):
            self.flow.sent(n, due)
        self._tally.in_flight += len(dues)
        numbers = range(first, self._last_sent + 1)
        self._socket.send(b"".join([self._encode(n) for n in numbers]))

    def _ask(self, kind: Kind, due: float) -> None:
        """Send a command other than a message; such have negative ids."""
        command = self._command(kind)
        self._last_asked -= 1
        self._asked[self._last_asked] = (kind, due, command.check)
        self._tally.in_flight += 1
        fields = {**command.fields, "id": self._last_asked}
        self._socket.send(command_frame(self._plan.protocol, fields))

    def _command(self, kind: Kind) -> Command:
        assert self._conversation is not None
        if kind == "read":
            return commands.read(self._conversation, self._heard)
        if kind == "typing":
            return commands.typing(self._conversation)
        return commands.page(kind, self._plan, self._connection, self._conversation)

    def _receive(self, payloads: list[bytes]) -> None:
        now = perf_counter()
        tally = self._tally
        tally.heard_at = now
        if now >= tally.edge:
            tally.roll(now)
        replies = 0
        for payload in payloads:
            frame = self._decode(payload)
            if frame.type == "MessageReceived" and frame.message is not None:
                self._delivered(frame.message, now)
            elif frame.type == "Reply":
                self._replied(frame, now)
                replies += 1
            elif frame.type == "Welcome":
                self._greeted(frame)
            elif frame.type == "SyncCompleted":
                self._synchronized(frame)
        if replies and tally.refill is not None:
            tally.refill(self, replies, now)

    def _delivered(self, message: Message, now: float) -> None:
        session_id, _, digits = message.key.rpartition(":")
        tally = self._tally
        flow = self._shared.flows.get(session_id)
        if flow is None or not digits.isdecimal():
            if session_id != PREPARED:
                tally.faults["not of this run"] += 1
            return
        message_id = message.message_id
        resuming = now < self._resuming_until
        due = flow.delivered(self.number, int(digits), message_id, resuming=resuming)
        self._heard = max(self._heard, int(message_id))
        if message.text != flow.text or message.conversation_id != flow.conversation_id:
            tally.faults["altered"] += 1
        if due is None:
            return
        if flow.kind == "order":
            tally.done("order", due, now)
        else:
            tally.took("delivered", due, now)

    def _replied(self, frame: ServerFrame, now: float) -> None:
        if not isinstance(frame.id, int):
            self._tally.faults["reply without our id"] += 1
        elif frame.id < 0:
            self._answered(frame.id, frame, now)
        else:
            self._acknowledged(frame.id, frame, now)

    def _acknowledged(self, n: int, frame: ServerFrame, now: float) -> None:
        assert self.flow is not None
        result = frame.result
        if result is None or result.message is None:
            self._refused(frame)
            self.flow.refused(n)
            return
        due = self.flow.acknowledged(n, result.message.message_id, result.duplicate)
        if due is not None:
            self._tally.done("send", due, now)

    def _answered(self, asked: int, frame: ServerFrame, now: float) -> None:
        known = self._asked.pop(asked, None)
        if known is None:
            self._tally.faults["answered twice"] += 1
            return
        kind, due, check = known
        if frame.result is None:
            self._refused(frame)
            return
        self._tally.done(kind, due, now)
        fault = check(frame.result)
        if fault:
            self._tally.faults[fault] += 1

    def _refused(self, frame: ServerFrame) -> None:
        self._tally.failed(frame.error.code if frame.error else "no result")

    def _greeted(self, frame: ServerFrame) -> None:
        session_id = frame.session_id
        if self.flow is not None:
            self._shared.flows[session_id] = self.flow
            conversation_id = self.flow.conversation_id
            self._encode = frame_encoder(self._plan.protocol, conversation_id, session_id)
        self._cursor = max(self._cursor, int(frame.cursor))
        self._welcomed.set_result(None)

    def _synchronized(self, frame: ServerFrame) -> None:
        if frame.truncated:
            self._tally.error("resume: truncated")
        self._cursor = max(self._cursor, int(frame.cursor))
        if not self._resumed.done():
            self._resumed.set_result(None)
