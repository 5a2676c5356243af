"""Writers and readers that move between nodes and keep a record of all that they were told.

Nodes do not yet tell each other of new messages as they come: who is connected to one hears of what
was sent through another only by a resume. So a reader resumes often, and from where its last resume
stood, not from what it heard since.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import aiohttp

from tests.e2e.harness import Server
from tests.fault.load import LOST, RETRY_S, WINDOW, Ended, SocketWriter, Told
from tests.fault.load import Load as OneServerLoad
from tests.fault.process import ServerProcess
from tradewire.client import ClientError, CommandError
from tradewire.domain.ids import TIME_SHIFT, node_of
from tradewire.domain.limits import RESUME_OVERLAP_MS

Json = dict[str, Any]

REST_S = 2.0
"""How long a bare socket rests at most after all that it had in flight was answered."""
PATIENCE_S = (3.0, 6.0, 20.0)
"""How long a client may wait for an answer, before it tries its luck with another node.

Not less: who leaves a node that lives and is about to answer has both store the message. All that
was acknowledged is there once even so, but the log has the other one too.
"""
STAY_S = 3.0
"""How long a reader stays at most, once it is told all that it missed."""
RESUME_S = 8.0
CONNECT_S = 3.0
QUIET_S = 1.0
"""Seconds without any acknowledgement count from here on as the service being away."""
CLOSE_S = 0.2
LEAVES = 0.1
"""How often a writer moves although nothing is wrong."""
LATE_MS = 2_000

PASSING = frozenset({"unavailable", "overloaded", "draining", "rate_limited"})
"""Refusals after which the same message, with the same key, is to be sent again."""

WITHHELD = (*LOST, TimeoutError, ClientError)


class Moved(ConnectionError):
    """The client has left by its own will."""


class Load(OneServerLoad):
    """What the writers do together, and how far they are.

    Attributes:
        rng: decides on the blows, so that a seed repeats them; the clients have luck of their own,
            which they draw on in whatever order they come.
        nodes: where clients go, each to any of them.
        refused: how often a send was refused, by code.
        away_s: for how long nothing was acknowledged, gaps under QUIET_S left out.
        late: messages that a reader heard of after younger ones.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(random.Random(seed))
        self.luck = random.Random(seed + 1)
        self.nodes: list[ServerProcess] = []
        self.refused: Counter[str] = Counter()
        self.away_s = 0.0
        self.late: set[int] = set()
        self._heard_at = time.monotonic()

    def any_node(self) -> ServerProcess:
        """A node at random, whether it lives or not."""
        return self.luck.choice(self.nodes)

    def patience_s(self) -> float:
        """How long a client waits for answers on one connection."""
        return self.luck.choice(PATIENCE_S)

    async def pause(self, most_s: float = RETRY_S) -> None:
        """Wait a little before the next try."""
        await asyncio.sleep(self.luck.uniform(0, most_s))

    def acknowledge(self, result: Json) -> Told:
        """Count an answer."""
        now = time.monotonic()
        if now - self._heard_at > QUIET_S:
            self.away_s += now - self._heard_at
        self._heard_at = now
        return super().acknowledge(result)

    def refuse(self, code: str) -> None:
        """Count a refusal, which must be one that passes."""
        assert code in PASSING, code
        self.refused[code] += 1


class RovingSocketWriter(SocketWriter):
    """A bare socket with many messages in flight, keyed as protocol §3 says fresh keys are minted.

    What was not answered, or was refused for now, it repeats with the key it had, on the same
    connection or on any node.
    """

    def __init__(self, load: Load, user: str, room: str) -> None:
        super().__init__(load, load.nodes[0], user, room)
        self._all = load
        self._refused: list[int] = []

    async def run(self) -> None:
        """Write until the load is finishing and all is answered."""
        while not self._done:
            with suppress(*LOST, TimeoutError):
                async with opened(self._all.any_node(), self.user) as socket:
                    await self._talk(socket)
            await self._all.pause()

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        patience = self._all.patience_s()
        session = (await next_object(socket, CONNECT_S))["session_id"]
        minted = count(1)
        await self._repeat(socket, list(self._unanswered))
        while self._unanswered or not self._all.finishing:
            while len(self._unanswered) < WINDOW and not self._all.finishing:
                number = next(self._numbers)
                self._unanswered[number] = f"{session}:{next(minted)}"
                await self._send(socket, number)
            await self._hear_all(socket, patience)
            if self._all.finishing:
                continue
            await asyncio.sleep(self._all.luck.uniform(0, REST_S))
            if self._all.luck.random() < LEAVES:
                raise Moved
        self._done = True

    async def _repeat(self, socket: aiohttp.ClientWebSocketResponse, numbers: list[int]) -> None:
        for number in numbers:
            self._all.retried += 1
            await self._send(socket, number)

    async def _hear_all(self, socket: aiohttp.ClientWebSocketResponse, patience: float) -> None:
        """Hear until everything in flight was answered, one way or the other."""
        self._refused = []
        while len(self._refused) < len(self._unanswered):
            heard = await next_object(socket, patience)
            if heard["type"] == "Reply" and "error" in heard:
                self._all.refuse(heard["error"]["code"])
                self._refused.append(heard["id"])
            else:
                self._hear(heard)
        if self._refused:
            await asyncio.sleep(self._all.luck.uniform(0, CONNECT_S / 3))
            if self._all.luck.random() < 0.5:
                raise Moved
            await self._repeat(socket, sorted(self._refused))
            await self._hear_all(socket, patience)


class RovingClientWriter:
    """The client of the SDK, one message at a time: each is acknowledged before the next goes."""

    def __init__(self, load: Load, user: str, room: str) -> None:
        self.user = user
        self.acknowledged: dict[int, Told] = {}
        self._load = load
        self._room = room
        self._next = 0
        self._key: str | None = None

    async def run(self) -> None:
        """Write until the load is finishing and all is answered."""
        while not self._done:
            options: Json = {"reconnect_base_s": RETRY_S, "reconnect_cap_s": RETRY_S}
            node = self._load.any_node()
            with suppress(*WITHHELD):
                async with node.client(
                    self.user, protocol="msgpack", connect_timeout_s=CONNECT_S, **options
                ) as client:
                    while not self._done:
                        await self._send(client)
                        await asyncio.sleep(self._load.luck.uniform(0, REST_S / 10))
                        if self._load.luck.random() < LEAVES / 10:
                            break
            await self._load.pause()

    @property
    def _done(self) -> bool:
        return self._load.finishing and self._key is None

    async def _send(self, client: Any) -> None:
        number, text = self._next, f"{self.user} {self._next}"
        given = {} if self._key is None else {"key": self._key}
        self._load.retried += len(given)
        try:
            result = await client.send(self._room, text, timeout_s=self._load.patience_s(), **given)
        except ClientError as error:
            self._key = error.key or self._key
            if isinstance(error, CommandError):
                self._load.refuse(error.code)
            raise
        told = self._load.acknowledge(result)
        assert told.text == text
        assert self._key in {None, told.key}
        self.acknowledged[number] = told
        self._next, self._key = number + 1, None


class Record:
    """What a reader was told of one conversation.

    Attributes:
        since: where the next resume begins.
    """

    def __init__(self, load: Load) -> None:
        self.received: dict[int, Told] = {}
        self.resumes = 0
        self.since = 0
        self._load = load
        self._asked = 0
        self._synced = False
        self._newest: dict[int, int] = {}

    @property
    def synced(self) -> bool:
        """Whether this connection has told all that was missed."""
        return self._synced

    def begin(self) -> None:
        """A new connection, which resumes from `since`."""
        self._asked = self.since
        self._synced = False
        self._newest = {}

    def hear(self, event: Json) -> None:
        """Take an event."""
        if event["type"] == "SyncCompleted":
            assert not event["truncated"]
            self._synced = True
            self.resumes += 1
            self.since = max(self.since, int(event["cursor"]))
        elif event["type"] == "MessageReceived":
            self._take(Told.of(event["message"]))

    def _take(self, told: Told) -> None:
        value = told.message_id
        is_new = self.received.setdefault(value, told) is told
        assert self.received[value] == told
        if not self._synced:
            if is_new and value <= self._asked - (RESUME_OVERLAP_MS << TIME_SHIFT):
                self._load.late.add(value)
            return
        # The order is that of one node: between two, a slower one may come just after.
        node = node_of(value)
        newest = self._newest.get(node, 0)
        if is_new and value < newest:
            behind = (newest >> TIME_SHIFT) - (value >> TIME_SHIFT)
            assert behind > LATE_MS, f"out of order on a live connection: {value} after {newest}"
            self._load.late.add(value)
        self._newest[node] = max(newest, value)


class RovingReader:
    """What both kinds of reader have."""

    def __init__(self, load: Load, user: str) -> None:
        self.record = Record(load)
        self._load = load
        self._user = user

    @property
    def received(self) -> dict[int, Told]:
        """The messages it was told, by id."""
        return self.record.received


class RovingSocketReader(RovingReader):
    """A bare socket that resumes on any node: it drops what it knows, and sorts nothing."""

    async def run(self) -> None:
        """Read for ever, now here and now there."""
        while True:
            with suppress(*LOST, TimeoutError):
                await self.visit(self._load.any_node(), self._load.luck.uniform(0, STAY_S))
            await self._load.pause()

    async def visit(self, node: Server, stay_s: float) -> None:
        """Hear what was missed, and then what comes within so many seconds.

        Raises:
            LOST, TimeoutError: not all that was missed was told.
        """
        async with opened(node, self._user, since=self.record.since) as socket:
            self.record.begin()
            async with asyncio.timeout(RESUME_S):
                while not self.record.synced:
                    self.record.hear(await next_object(socket, RESUME_S))
            with suppress(TimeoutError):
                async with asyncio.timeout(stay_s):
                    while True:
                        self.record.hear(await next_object(socket, RESUME_S))


class RovingClientReader(RovingReader):
    """The client of the SDK, which resumes by itself when its connection breaks."""

    async def run(self) -> None:
        """Read for ever, now here and now there."""
        while True:
            with suppress(*WITHHELD):
                await self.visit(self._load.any_node(), self._load.luck.uniform(0, STAY_S))
            await self._load.pause()

    async def visit(self, node: Server, stay_s: float) -> None:
        """As a bare socket's."""
        options: Json = {"since": self.record.since, "connect_timeout_s": CONNECT_S}
        async with node.client(self._user, **options) as client:
            self.record.begin()
            welcome, events = client.welcome, client.events()
            async with asyncio.timeout(RESUME_S):
                while not self.record.synced:
                    self.record.hear(await anext(events))
            with suppress(TimeoutError):
                async with asyncio.timeout(stay_s):
                    async for event in events:
                        if client.welcome is not welcome or event["type"] == "SyncCompleted":
                            # It resumed from what it heard live, which is no safe place yet; and
                            # what is live on the new connection comes before what was missed.
                            return
                        self.record.hear(event)


class Auditor:
    """Reads the log of domain events as it grows, on any node, and never goes back."""

    def __init__(self, load: Load) -> None:
        self.events: list[Json] = []
        self._load = load
        self._after = "0"

    async def run(self) -> None:
        """Read for ever."""
        while True:
            with suppress(*WITHHELD):
                await self.read(self._load.any_node())
            await asyncio.sleep(self._load.luck.uniform(0, 1))

    async def read(self, node: Server) -> None:
        """Read on to the present end."""
        async with node.http("auditor", "service") as http:
            while True:
                page = await http.request("GET", f"/v1/events?after={self._after}&limit=1000")
                self.events += page["events"]
                if page["next_after"] == self._after:
                    return
                self._after = page["next_after"]


@asynccontextmanager
async def opened(
    node: Server, user: str, **query: Any
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A bare socket that waits neither for a node that is frozen, nor long for a farewell.

    Raises:
        LOST, TimeoutError: there is nobody.
    """
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(CONNECT_S):
            socket = await session.ws_connect(
                f"{node.url}/ws/chat",
                params={"token": node.token(user), **query},
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            )
        try:
            yield socket
        finally:
            await socket.close()


async def next_object(socket: aiohttp.ClientWebSocketResponse, within_s: float) -> Json:
    """The next object on a bare socket that asked for no batches.

    Raises:
        Ended: there will be none.
        TimeoutError: there was none in time.
    """
    message = await socket.receive(timeout=within_s)
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise Ended(message.type.name)
    heard: Json = json.loads(message.data)
    return heard
